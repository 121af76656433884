"""Tasks over HTTP: the contract's documents, once only, steered by anyone who may."""

import asyncio
from typing import Any

import pytest

from tawny.config import Config, Home, Limits

from .conftest import House, open_house

FIELDS = {
    "task_id", "execution_id", "attempt", "automation_id", "parent_id", "flow_id", "runtime", "kind", "title",
    "owner", "session", "status", "priority", "notify", "progress", "logs", "created_at", "started_at",
    "ended_at", "estimated_completion", "next_attempt_at", "waiting_for", "verdict", "result", "error",
    "delivery", "usage", "artifacts",
}  # fmt: skip


async def test_task_is_accepted_run_and_shown_whole(house: House) -> None:
    task = await house.run(title="Two steps")
    assert set(task) >= FIELDS
    assert task["status"] == "queued"

    done = await house.until(task["task_id"], "succeeded")

    assert done["progress"]["percentage"] == 100
    assert done["title"] == "Two steps"
    steps = (await house.client.get(f"/v1/tasks/{task['task_id']}/steps")).json()["items"]
    assert [step["status"] for step in steps] == ["succeeded", "succeeded"]
    assert set(steps[0]) == {
        "key", "name", "status", "effect", "attempts", "started_at", "ended_at", "result", "error",
    }  # fmt: skip
    tried = (await house.client.get(f"/v1/tasks/{task['task_id']}/executions")).json()["items"]
    assert [entry["attempt"] for entry in tried] == [1]
    events = (await house.client.get(f"/v1/tasks/{task['task_id']}/events")).json()["items"]
    assert [events[0]["type"], events[-1]["type"]] == ["task.queued", "task.succeeded"]
    for part in ("logs", "artifacts", "deliveries"):
        assert (await house.client.get(f"/v1/tasks/{task['task_id']}/{part}")).status_code == 200


async def test_listing_pages_newest_first(house: House) -> None:
    made = [(await house.run())["task_id"] for _ in range(5)]
    first = (await house.client.get("/v1/tasks?limit=2")).json()
    rest = (await house.client.get("/v1/tasks", params={"limit": 3, "cursor": first["next_cursor"]})).json()
    assert [task["task_id"] for task in first["items"] + rest["items"]] == made[::-1]
    assert rest["next_cursor"] is None


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=501", "limit=x", "status=asleep", "runtime=x", "bogus=1"]
)
async def test_wrong_filters_are_refused(house: House, query: str) -> None:
    assert (await house.client.get(f"/v1/tasks?{query}")).status_code == 422


async def test_filters_by_several_statuses(house: House) -> None:
    task = await house.run()
    await house.until(task["task_id"], "succeeded")
    found = (await house.client.get("/v1/tasks?status=failed,succeeded&runtime=cli")).json()["items"]
    assert [entry["task_id"] for entry in found] == [task["task_id"]]
    assert (await house.client.get("/v1/tasks?status=failed")).json()["items"] == []
    assert (await house.client.get("/v1/tasks?status=&session=")).json()["items"] != []


async def test_words_find_tasks_over_http_and_the_filters_narrow_it_down(house: House) -> None:
    first = await house.run(title="Invoice of the plumber")
    second = await house.run("remind", params={"text": "ask the plumber, 水管工"})
    await house.until(second["task_id"], "succeeded")

    async def found(**query: Any) -> list[str]:
        answer = await house.client.get("/v1/tasks", params=query)
        assert answer.status_code == 200, answer.text
        return [entry["task_id"] for entry in answer.json()["items"]]

    assert await found(q="Plumber") == [second["task_id"], first["task_id"]]
    assert await found(q="plumber", kind="remind") == [second["task_id"]]
    assert await found(q="水管") == [second["task_id"]]
    assert await found(q="plumber", status="failed") == []
    assert await found(q="", kind="simulate") == [first["task_id"]]
    assert (await house.client.get("/v1/tasks", params={"q": "x" * 201})).status_code == 422


async def test_steering_changes_the_task_and_says_so(house: House) -> None:
    task = await house.run(params={"steps": 100, "step_seconds": 0.05})
    id = task["task_id"]
    await house.until(id, "running")
    assert (await house.client.post(f"/v1/tasks/{id}/pause")).status_code == 200
    await house.until(id, "paused")
    assert (await house.client.post(f"/v1/tasks/{id}/resume")).json()["status"] in ("queued", "running")
    changed = await house.client.patch(
        f"/v1/tasks/{id}", json={"notify": "state_changes", "priority": "high"}
    )
    assert (changed.json()["notify"], changed.json()["priority"]) == ("state_changes", "high")
    assert (await house.client.post(f"/v1/tasks/{id}/cancel")).status_code == 200
    ended = await house.until(id, "cancelled")
    late = await house.client.post(f"/v1/tasks/{id}/cancel")
    assert late.status_code == 409
    assert late.json()["error"]["code"] == "terminal"
    again = (await house.client.post(f"/v1/tasks/{id}/retry")).json()
    assert again["task_id"] != ended["task_id"]
    await house.client.post(f"/v1/tasks/{again['task_id']}/cancel")


@pytest.mark.parametrize(
    "path", ["", "/steps", "/logs", "/artifacts", "/events", "/executions", "/deliveries"]
)
async def test_missing_task_is_not_found(house: House, path: str) -> None:
    answer = await house.client.get(f"/v1/tasks/task_missing{path}")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_found"


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "nonsense"},
        {"kind": "simulate", "params": {"steps": "many"}},
        {"kind": "simulate", "params": {"steps": 1}, "timeout": "soon"},
        {"kind": "simulate", "params": {"steps": 1}, "bogus": 1},
        {"kind": "simulate", "params": {"steps": 1}, "priority": "top"},
        {"kind": "simulate", "params": {"steps": 1}, "after": ["task_missing"]},
        {},
        [],
    ],
)
async def test_wrong_work_is_refused_and_leaves_nothing(house: House, body: Any) -> None:
    answer = await house.client.post("/v1/tasks", json=body)
    assert answer.status_code == 422
    assert answer.json()["error"]["message"]
    assert (await house.client.get("/v1/tasks")).json()["items"] == []


async def test_same_key_same_body_is_one_task_also_after_a_restart(home: Home) -> None:
    body = {"kind": "simulate", "params": {"steps": 1, "step_seconds": 0}}
    key = {"idempotency-key": "k-1"}
    async with open_house(home) as house:
        first = await house.client.post("/v1/tasks", json=body, headers=key)
        spaced = {"params": body["params"], "kind": "simulate"}
        again = await house.client.post("/v1/tasks", json=spaced, headers=key)
        assert again.status_code == 202
        assert again.json() == first.json()
        assert again.headers["idempotency-replayed"] == "true"
    async with open_house(home) as house:
        after = await house.client.post("/v1/tasks", json=body, headers=key)
        assert (after.status_code, after.json()) == (202, first.json())
        assert len((await house.client.get("/v1/tasks")).json()["items"]) == 1


async def test_same_key_other_body_is_a_conflict(house: House) -> None:
    key = {"idempotency-key": "k-2"}
    await house.client.post("/v1/tasks", json={"kind": "remind", "params": {"text": "a"}}, headers=key)
    other = await house.client.post(
        "/v1/tasks", json={"kind": "remind", "params": {"text": "b"}}, headers=key
    )
    assert other.status_code == 409
    assert other.json()["error"]["code"] == "idempotency_key_reused"
    assert len((await house.client.get("/v1/tasks")).json()["items"]) == 1


async def test_the_same_key_at_once_is_one_task(house: House) -> None:
    body = {"kind": "remind", "params": {"text": "once"}}
    answers = await asyncio.gather(
        *(house.client.post("/v1/tasks", json=body, headers={"idempotency-key": "k-3"}) for _ in range(20))
    )
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["task_id"] for answer in answers}) == 1


async def test_keys_of_different_holders_do_not_meet(house: House) -> None:
    body = {"kind": "remind", "params": {"text": "mine"}}
    key = {"idempotency-key": "k-4"}
    mine = await house.client.post("/v1/tasks", json=body, headers=key)
    _, secret = await house.door.token_with("write")
    async with house.door.browser(authorization=f"Bearer {secret}") as program:
        theirs = await program.post("/v1/tasks", json=body, headers=key)
    assert mine.json()["task_id"] != theirs.json()["task_id"]


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 256, "é"])
async def test_unusable_keys_are_refused(house: House, key: str) -> None:
    answer = await house.client.post(
        "/v1/tasks",
        json={"kind": "remind", "params": {"text": "x"}},
        headers=[(b"idempotency-key", key.encode())],
    )
    assert answer.status_code == 400


async def test_full_queue_is_refused_and_not_remembered(home: Home) -> None:
    config = Config(limits=Limits(concurrency=1, max_running_per_owner=1, max_queued_per_owner=2))
    slow = {"steps": 1000, "step_seconds": 0.05}
    async with open_house(home, config) as house:
        running = await house.run(params=slow)
        await house.until(running["task_id"], "running")
        waiting = [await house.run(params=slow) for _ in range(2)]
        body = {"kind": "simulate", "params": slow}
        key = {"idempotency-key": "k-5"}
        refused = await house.client.post("/v1/tasks", json=body, headers=key)
        assert refused.status_code == 429
        assert refused.json()["error"]["code"] == "queue_full"
        assert refused.json()["error"]["retryable"] is True
        assert "retry-after" in refused.headers
        assert len((await house.client.get("/v1/tasks")).json()["items"]) == 3

        await house.client.post(f"/v1/tasks/{waiting[0]['task_id']}/cancel")
        accepted = await house.client.post("/v1/tasks", json=body, headers=key)
        assert accepted.status_code == 202
        for task in (await house.client.get("/v1/tasks?status=queued,running")).json()["items"]:
            await house.client.post(f"/v1/tasks/{task['task_id']}/cancel")


async def test_guest_cannot_act_under_the_owners_name(house: House) -> None:
    _, secret = await house.door.token_with("write", "read", name="ci")
    async with house.door.browser(authorization=f"Bearer {secret}") as program:
        body = {"kind": "remind", "params": {"text": "x"}, "owner": "owner"}
        task = (await program.post("/v1/tasks", json=body)).json()
    assert task["owner"] == "ci"


async def test_kinds_are_listed_with_their_schema(house: House) -> None:
    kinds = {entry["kind"]: entry for entry in (await house.client.get("/v1/kinds")).json()["items"]}
    assert "steps" in str(kinds["simulate"]["schema"])


async def test_artifacts_are_attachments_whatever_they_hold(house: House) -> None:
    from tawny.ledger import artifacts

    task = await house.run()
    root = house.door.home.artifacts
    path = artifacts.store(root, task["task_id"], "päge.html", b"<script>alert(1)</script>")
    made = await house.app.ledger.write(
        lambda tx: artifacts.put(
            tx,
            task["task_id"],
            "päge.html",
            media_type="text/html",
            size=25,
            sha256="0",
            path=path,
            partial=False,
        )
    )
    answer = await house.client.get(f"/v1/artifacts/{made}")
    assert answer.content == b"<script>alert(1)</script>"
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert (await house.client.get("/v1/artifacts/art_missing")).status_code == 404
