"""Approvals over HTTP: the first answer wins, on whatever device."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import msgspec
import pytest

from tawny.config import Home
from tawny.domain.approvals import Question
from tawny.engine.kinds import Context, Kind

from .conftest import House, open_house


class Params(msgspec.Struct):
    pass


async def ask(context: Context, _: Params) -> dict[str, Any]:
    answer = await context.ask(
        "send",
        Question(
            tool="mail_send", operation="send", arguments={"to": "a@b", "body": "hi"}, level=3, reason="test"
        ),
    )
    return {"text": answer.status, "arguments": answer.arguments, "note": answer.note}


@pytest.fixture
async def asking(home: Home) -> AsyncGenerator[House]:
    async with open_house(home, kinds={"ask": Kind(name="ask", params=Params, run=ask)}) as house:
        yield house


async def pending(house: House) -> tuple[str, str]:
    task = await house.run("ask")
    await house.until(task["task_id"], "waiting")
    (entry,) = (await house.client.get("/v1/approvals?status=pending")).json()["items"]
    assert entry["arguments"] == {"to": "a@b", "body": "hi"}
    assert entry["task_id"] == task["task_id"]
    return task["task_id"], entry["approval_id"]


async def test_yes_with_edited_arguments_lets_the_task_go_on(asking: House) -> None:
    task_id, id = await pending(asking)
    body = {"arguments": {"to": "c@d", "body": "hello"}, "note": "fine"}
    answer = await asking.client.post(f"/v1/approvals/{id}/approve", json=body)
    assert answer.status_code == 200
    assert answer.json()["status"] == "approved"
    assert answer.json()["answered_by"] == "owner"
    done = await asking.until(task_id, "succeeded")
    assert done["result"]["arguments"] == {"to": "c@d", "body": "hello"}


async def test_first_answer_wins_and_the_second_gets_the_outcome(asking: House) -> None:
    task_id, id = await pending(asking)
    answers = await asyncio.gather(
        asking.client.post(f"/v1/approvals/{id}/approve"), asking.client.post(f"/v1/approvals/{id}/deny")
    )
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    (late,) = (answer.json() for answer in answers if answer.status_code == 409)
    (first,) = (answer.json() for answer in answers if answer.status_code == 200)
    assert late["error"]["code"] == "conflict"
    assert late["approval"]["status"] == first["status"]
    assert (await asking.until(task_id, "succeeded"))["result"]["text"] == first["status"]


async def test_answer_repeated_under_its_key_is_the_same_answer(asking: House) -> None:
    _, id = await pending(asking)
    key = {"idempotency-key": "tap-1"}
    first = await asking.client.post(f"/v1/approvals/{id}/deny", json={"note": "no"}, headers=key)
    again = await asking.client.post(f"/v1/approvals/{id}/deny", json={"note": "no"}, headers=key)
    assert first.json() == again.json()
    assert again.status_code == 200


async def test_only_the_scope_answers(asking: House) -> None:
    _, id = await pending(asking)
    _, secret = await asking.door.token_with("read", "write", "admin", "pairing")
    async with asking.door.browser(authorization=f"Bearer {secret}") as program:
        for verb in ("approve", "deny"):
            assert (await program.post(f"/v1/approvals/{id}/{verb}")).status_code == 403
        assert (await program.get(f"/v1/approvals/{id}")).json()["status"] == "pending"
    await asking.client.post(f"/v1/approvals/{id}/deny")


async def test_always_leaves_a_grant_that_can_be_taken_back(asking: House) -> None:
    _, id = await pending(asking)
    await asking.client.post(f"/v1/approvals/{id}/approve", json={"always": True})
    (grant,) = (await asking.client.get("/v1/grants")).json()["items"]
    assert (await asking.client.delete(f"/v1/grants/{grant['grant_id']}")).status_code == 200
    assert (await asking.client.get("/v1/grants")).json()["items"] == []


async def test_unknown_approval_is_not_found(asking: House) -> None:
    for path in ("", "/approve", "/deny"):
        method = "POST" if path else "GET"
        assert (await asking.client.request(method, f"/v1/approvals/appr_x{path}")).status_code == 404
