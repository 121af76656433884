"""A full queue refuses with the place and the mend, over HTTP and in a chat, and nothing at all is written."""

import asyncio
from typing import Any

import msgspec
import pytest

from tawny.config import Config, Home, Limits
from tawny.engine.kinds import Kind
from tawny.errors import TawnyError

from .conftest import House, open_house

LATER: dict[str, Any] = {"kind": "remind", "params": {"text": "x"}, "not_before": "1h"}
FULL = "the queue of 'owner' is full: 2 tasks wait and 2 may; this one would be number 3"
HINT = "wait for current tasks to finish, cancel some, or raise [limits] max_queued_per_owner"
FLOW = {"steps": [{"id": "a", "kind": "remind", "params": {"text": "x"}}]}


class Order(msgspec.Struct):
    name: str
    arguments: dict[str, Any]


async def count(house: House, *tables: str) -> list[int]:
    return [
        await house.app.ledger.read(
            lambda tx, table=table: int(tx.value(f"SELECT COUNT(*) AS n FROM {table}"))
        )
        for table in tables
    ]


@pytest.mark.parametrize(
    "order",
    [
        Order("tasks", {"action": "run", **LATER}),
        Order("flows", {"action": "run", "document": FLOW}),
    ],
    ids=lambda order: order.name,
)
async def test_a_full_queue_is_said_alike_and_writes_nothing(home: Home, order: Order) -> None:
    go = asyncio.Event()
    said: list[tuple[str, str, str]] = []
    made: list[House] = []

    async def call(ctx: Any, wanted: Order) -> str:
        """A turn that is under way, and calls its tool once the queue is full."""
        calls = made[0].app.agency.door.for_run(ctx, session="main")
        await go.wait()
        try:
            await calls.call(wanted.name, wanted.arguments, call_id="1")
        except TawnyError as error:
            said.append((error.code, error.message, error.hint))
        return "called"

    config = Config(limits=Limits(concurrency=4, max_running_per_owner=4, max_queued_per_owner=2))
    kinds = {"call": Kind(name="call", params=Order, run=call)}
    async with open_house(home, config, kinds=kinds) as house:
        made.append(house)
        turn = await house.run("call", params=msgspec.to_builtins(order))
        await house.until(turn["task_id"], "running")
        for _ in range(2):
            await house.run(**LATER)

        tables = ("tasks", "audit", "events", "outbox", "idempotency")
        before = await count(house, *tables)
        refused = await house.client.post("/v1/tasks", json=LATER, headers={"idempotency-key": "k"})
        assert refused.status_code == 429
        error = refused.json()["error"]
        assert (error["code"], error["message"], error["hint"]) == ("queue_full", FULL, HINT)
        assert error["retryable"] is True
        assert await count(house, *tables) == before

        go.set()
        await house.until(turn["task_id"], "succeeded")
        assert said == [("queue_full", FULL, HINT)]
        assert await count(house, "tasks") == before[:1]
