"""Audit, outside events, figures."""

from typing import Any

import msgspec
import pytest

from tawny.domain.messages import Outgoing
from tawny.ledger import channels, outbox

from .conftest import Door, House


async def test_audit_is_listed_verified_and_exported(house: House) -> None:
    task = await house.run(title="=cmd()")
    await house.until(task["task_id"], "succeeded")
    rows = (await house.client.get("/v1/audit", params={"task_id": task["task_id"]})).json()["items"]
    assert "task.create" in {row["action"] for row in rows}
    assert rows[0]["seq"] > rows[-1]["seq"]
    checked = (await house.client.get("/v1/audit/verify")).json()
    assert checked["ok"] is True
    lines = await house.client.get("/v1/audit/export")
    assert lines.headers["x-audit-head"] == checked["head"]
    assert lines.headers["content-disposition"].startswith("attachment")
    assert len(lines.text.splitlines()) == checked["rows"]
    sheet = (await house.client.get("/v1/audit/export?format=csv&after=1h")).text
    assert sheet.splitlines()[0].startswith("seq,time,actor,action")
    assert ",=cmd" not in sheet


async def test_changed_row_is_found(house: House) -> None:
    await house.until((await house.run())["task_id"], "succeeded")
    await house.app.ledger.write(lambda tx: tx.execute("UPDATE audit SET actor = 'nobody' WHERE seq = 1"))
    checked = (await house.client.get("/v1/audit/verify")).json()
    assert (checked["ok"], checked["broken_at"]) == (False, 1)


@pytest.mark.parametrize("query", ["after=x", "limit=0", "cursor=x", "bogus=1"])
async def test_wrong_audit_filters_are_refused(house: House, query: str) -> None:
    assert (await house.client.get(f"/v1/audit?{query}")).status_code == 422


async def test_outside_event_is_stored_once(house: House) -> None:
    body = {"event_id": "e-1", "time": "2026-03-01T00:00:00Z", "data": {"amount": 3}}
    first = await house.client.post("/v1/events/shop", json=body)
    again = await house.client.post("/v1/events/shop", json=body)
    assert (first.status_code, again.status_code) == (202, 202)
    assert (first.json()["duplicate"], again.json()["duplicate"]) == (False, True)
    keyed = [
        await house.client.post("/v1/events/shop", json={"data": {}}, headers={"idempotency-key": "e-2"})
        for _ in range(2)
    ]
    assert keyed[0].json() == keyed[1].json()
    kept = (await house.client.get("/v1/events?source=shop")).json()["items"]
    assert [event["event_id"] for event in kept] == ["e-2", "e-1"]
    assert kept[0]["trust"] == "owner"


async def test_guests_events_are_untrusted(house: House) -> None:
    _, secret = await house.door.token_with("write")
    async with house.door.browser(authorization=f"Bearer {secret}") as program:
        assert (await program.post("/v1/events/shop", json={"data": {}})).status_code == 202
    (kept,) = (await house.client.get("/v1/events")).json()["items"]
    assert kept["trust"] == "untrusted"


async def test_event_starts_the_automation_it_meets(house: House) -> None:
    document = {
        "name": "Orders",
        "type": "event",
        "on": {"source": "shop", "filter": "amount > 100"},
        "action": {"type": "simulate", "parameters": {"steps": 1, "step_seconds": 0}},
    }
    made = await house.client.post("/v1/automations", json=document)
    if made.status_code != 201:
        pytest.skip(f"event automations are not there yet: {made.text}")
    for amount in (50, 150):
        await house.client.post("/v1/events/shop", json={"data": {"amount": amount}})
    assert (await house.client.get("/v1/events")).status_code == 200


async def test_figures_add_up(house: House) -> None:
    good = await house.run()
    bad = await house.run(params={"steps": 2, "step_seconds": 0, "fail_at": 2, "error": "permanent"})
    await house.until(good["task_id"], "succeeded")
    await house.until(bad["task_id"], "failed")
    stats = (await house.client.get("/v1/stats?window=7d")).json()
    assert stats["counts"] == {"succeeded": 1, "failed": 1}
    assert stats["success_rate"] == 0.5
    assert stats["by_kind"][0]["count"] == 2
    assert sum(bucket["succeeded"] for bucket in stats["series"]) == 1
    assert (await house.client.get("/v1/stats?window=soon")).status_code == 422


async def test_metrics_are_prometheus_text(house: House) -> None:
    await house.until((await house.run())["task_id"], "succeeded")
    text = (await house.client.get("/metrics")).text
    assert 'tawny_tasks{status="succeeded"} 1.0' in text
    assert "tawny_loop_lag_seconds" in text


async def test_run_and_wait_are_histograms_by_kind_that_count_each_task_once(house: House) -> None:
    bucket = 'tawny_task_{}_seconds_bucket{{kind="simulate",le="+Inf"}} {}.0'
    for ended in (1, 2):
        await house.until((await house.run())["task_id"], "succeeded")
        for _ in range(2):
            text = (await house.client.get("/metrics")).text
            assert bucket.format("run", ended) in text
            assert bucket.format("wait", ended) in text
    assert 'tawny_task_run_seconds_bucket{kind="simulate",le="3600.0"} 2.0' in text


async def test_why_tells_what_unblocks(house: House) -> None:
    task = await house.run(not_before="1h")
    answer = (await house.client.get(f"/v1/tasks/{task['task_id']}/why")).json()
    assert answer["text"]
    assert answer["status"] == "queued"


async def test_what_waits_is_counted_at_the_channel_it_will_go_to(door: Door) -> None:
    tables = {"ntfy": ({"topic": "t", "name": "phone"},)}
    door.site.config = msgspec.structs.replace(door.site.config, channels=tables)

    def owe(tx: Any) -> None:
        channels.opened(tx, "phone", "ntfy")
        for target in ("default", "ntfy", "phone:x", "inbox"):
            outbox.put(tx, task_id=None, transition="x", target=target, message=Outgoing(key="", text=""))

    await door.site.ledger.write(owe)
    (phone,) = (await door.client.get("/v1/channels")).json()["items"]
    assert (phone["name"], phone["queued"]) == ("phone", 3)


async def test_channels_memory_and_skills_are_listed(house: House) -> None:
    channels = (await house.client.get("/v1/channels")).json()["items"]
    assert {"name", "kind", "status", "can"} <= set(channels[0]) if channels else True
    assert (await house.client.post("/v1/channels/nowhere/test")).status_code == 404
    (house.door.home.workspace / "MEMORY.md").write_text("- The boiler is serviced every May.\n")
    found = (await house.client.get("/v1/memory?q=boiler")).json()["items"]
    assert "boiler" in found[0]["text"]
    (house.door.home.workspace / "memory").mkdir(exist_ok=True)
    for day in ("2026-11-25", "2026-11-26"):
        (house.door.home.workspace / f"memory/{day}.md").write_text(f"# {day}\n\n- 12:00 – said on {day}\n")
    everything = (await house.client.get("/v1/memory")).json()["items"]
    assert [one["text"] for one in everything] == [
        "- The boiler is serviced every May.",
        "- 12:00 – said on 2026-11-26",
        "- 12:00 – said on 2026-11-25",
    ]
    assert (await house.client.get("/v1/skills")).status_code == 200


async def test_panel_is_sent_small_to_browsers_that_can(house: House) -> None:
    plain = await house.client.get("/", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    small = await house.client.get("/", headers={"accept-encoding": "gzip"})
    assert small.content == plain.content
    again = await house.client.get("/", headers={"if-none-match": plain.headers["etag"]})
    assert again.status_code == 304
    assert plain.headers["cache-control"] == "no-cache"
    for path in house.door.gateway.panel.files:
        if path.startswith("/assets/"):
            assert "immutable" in (await house.client.get(path)).headers["cache-control"]


async def test_seen_on_one_device_is_seen_on_all(house: House) -> None:
    first = await house.client.post("/v1/seen", json={"items": ["task_a", "appr_b", "task_a"]})
    assert first.json() == {"items": ["task_a", "appr_b"]}
    assert (await house.client.post("/v1/seen", json={"items": ["task_a"]})).json() == {"items": []}
    await house.events("system.seen")
    listed = (await house.client.get("/v1/seen")).json()["items"]
    assert {entry["item"] for entry in listed} == {"task_a", "appr_b"}
    assert (await house.client.post("/v1/seen", json={"items": [""]})).status_code == 422
