"""Signed webhooks: the signature in place of the token."""

import base64
import hashlib
import hmac
import json

import pytest

from .conftest import House

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()


async def add_hook(house: House) -> None:
    (house.door.home.root / "hook-secret").write_text(SECRET)
    document = {
        "name": "Orders",
        "type": "event",
        "on": {"source": "webhook", "name": "orders", "secret": "file:hook-secret"},
        "action": {"type": "simulate", "parameters": {"steps": 1, "step_seconds": 0}},
    }
    made = await house.client.post("/v1/automations", json=document)
    assert made.status_code == 201, made.text


def signed(body: bytes, id: str, time: int) -> dict[str, str]:
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    mark = hmac.new(key, f"{id}.{time}.".encode() + body, hashlib.sha256).digest()
    return {
        "webhook-id": id,
        "webhook-timestamp": str(time),
        "webhook-signature": "v1," + base64.b64encode(mark).decode(),
        "content-type": "application/json",
    }


async def test_signed_hook_is_taken_once_without_a_token(house: House) -> None:
    await add_hook(house)
    now = house.app.clock.now() // 1_000_000
    body = json.dumps({"order": 7}).encode()
    async with house.door.browser() as vendor:
        first = await vendor.post("/hooks/orders", content=body, headers=signed(body, "msg_1", now))
        assert first.status_code == 202, first.text
        replay = await vendor.post("/hooks/orders", content=body, headers=signed(body, "msg_1", now))
    assert (first.json()["duplicate"], replay.json()["duplicate"]) == (False, True)
    (event,) = (await house.client.get("/v1/events?source=webhook")).json()["items"]
    assert event["trust"] == "untrusted"
    assert event["data"]["order"] == 7


async def test_a_body_that_names_a_hook_is_of_the_hook_it_came_in_by(house: House) -> None:
    """GitHub's ping has a key `hook` of its own; and who has one hook's secret speaks for no other hook."""
    await add_hook(house)
    other = {
        "name": "Payroll",
        "type": "event",
        "on": {"source": "webhook", "name": "payroll", "secret": "file:hook-secret"},
        "action": {"type": "simulate", "parameters": {"steps": 1, "step_seconds": 0}},
    }
    assert (await house.client.post("/v1/automations", json=other)).status_code == 201
    now = house.app.clock.now() // 1_000_000
    async with house.door.browser() as vendor:
        for number, hook in enumerate(["payroll", {"type": "Repository", "id": 1}]):
            body = json.dumps({"zen": "Keep it logically awesome.", "hook": hook}).encode()
            answer = await vendor.post(
                "/hooks/orders", content=body, headers=signed(body, f"msg_{number}", now)
            )
            assert answer.status_code == 202, answer.text
    events = (await house.client.get("/v1/events?source=webhook")).json()["items"]
    assert [event["data"]["hook"] for event in events] == ["orders", "orders"]
    await house.events("automation.ran", count=2)
    started = (await house.client.get("/v1/tasks?kind=simulate")).json()["items"]
    assert [task["title"] for task in started] == ["Orders", "Orders"]


@pytest.mark.parametrize("fault", ["none", "body", "old", "garbage", "short"])
async def test_unsigned_hooks_leave_nothing(house: House, fault: str) -> None:
    await add_hook(house)
    now = house.app.clock.now() // 1_000_000
    body = b'{"order": 7}'
    headers = signed(body, "msg_1", now - 600 if fault == "old" else now)
    if fault == "none":
        headers = {"content-type": "application/json"}
    if fault == "garbage":
        headers["webhook-signature"] = "v1,AAAA"
    if fault == "short":
        headers["webhook-signature"] = ""
    async with house.door.browser() as stranger:
        sent = b'{"order": 8}' if fault == "body" else body
        assert (await stranger.post("/hooks/orders", content=sent, headers=headers)).status_code == 401
        assert (await stranger.post("/hooks/nothing", content=body)).status_code == 404
        assert (await stranger.get("/hooks/orders")).status_code == 405
    assert (await house.client.get("/v1/events")).json()["items"] == []


async def test_missing_secret_is_our_fault_and_says_nothing(house: House) -> None:
    await add_hook(house)
    (house.door.home.root / "hook-secret").unlink()
    async with house.door.browser() as vendor:
        answer = await vendor.post("/hooks/orders", content=b"{}", headers=signed(b"{}", "m", 1))
    assert answer.status_code == 503
    assert "hook-secret" not in answer.text


async def test_files_that_a_hook_claims_to_bring_are_data_and_nothing_is_read(house: House) -> None:
    await add_hook(house)
    now = house.app.clock.now() // 1_000_000
    claimed = {
        "files": [{"path": "/etc/passwd", "filepath": "/etc/passwd", "name": "../../token"}],
        "body": {"files": {"data": {"path": str(house.app.home.token_file), "size": 1}}},
    }
    body = json.dumps(claimed).encode()
    for number, kind in enumerate(("application/json", "multipart/form-data; boundary=x")):
        headers = {**signed(body, f"msg_{number}", now), "content-type": kind}
        async with house.door.browser() as vendor:
            answer = await vendor.post("/hooks/orders", content=body, headers=headers)
        assert house.door.token not in answer.text
        assert "root:" not in answer.text
    kept = (await house.client.get("/v1/events?source=webhook")).json()["items"]
    assert kept
    assert all(event["data"].get("files", claimed["files"]) == claimed["files"] for event in kept)
    assert kept[0]["data"]["files"] == claimed["files"]
    assert house.door.token not in json.dumps(kept)
