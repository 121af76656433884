"""The inbox over HTTP: what is read on one device is read on all."""

from tawny.domain.messages import Outgoing
from tawny.ledger import outbox

from .conftest import House


async def test_a_message_is_unread_until_it_is_read_and_all_devices_hear_so_once(house: House) -> None:
    task = await house.run("simulate", params={"steps": 1, "step_seconds": 0, "fail_at": 1})
    await house.until(task["task_id"], "failed")
    bell = house.app.ledger.bell.subscribe("events")
    while not (items := (await house.client.get("/v1/inbox?unread=true")).json()["items"]):
        await bell.wait()
        bell.clear()
    (message,) = items
    assert message["task_id"] == task["task_id"]
    assert message["read_at"] is None
    path = f"/v1/inbox/{message['delivery_id']}/read"
    first = (await house.client.post(path)).json()
    again = (await house.client.post(path)).json()
    assert first["read_at"] == again["read_at"] is not None
    assert (await house.client.get("/v1/inbox?unread=true")).json()["items"] == []
    assert len((await house.client.get("/v1/inbox")).json()["items"]) == 1
    told = (await house.client.get(f"/v1/tasks/{task['task_id']}/events?limit=100")).json()["items"]
    assert [event["type"] for event in told].count("delivery.read") == 1


async def test_an_unknown_message_is_not_found(house: House) -> None:
    await house.app.ledger.write(
        lambda tx: outbox.put(
            tx, task_id=None, transition="note", target="inbox", message=Outgoing(key="", text="x")
        )
    )
    assert (await house.client.post("/v1/inbox/dlv_nothing/read")).status_code == 404
