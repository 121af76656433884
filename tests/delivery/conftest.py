"""A desk with a ledger in a temporary file, from which messages are sent over channels in memory."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import servers
from tawny.clock import Clock
from tawny.delivery.dispatcher import Dispatcher, Manners
from tawny.delivery.roster import Roster
from tawny.domain.messages import Outgoing
from tawny.ledger import channels, events, outbox
from tawny.ledger.channels import ChannelState
from tawny.ledger.database import Ledger, Store, Tx
from tawny.ledger.migrations import migrate
from tawny.ledger.outbox import Line
from tawny.ledger.postgres import PostgresStore
from tawny.ledger.sqlite import SqliteStore
from tawny.testing import FakeClock, MemoryChannel


class Desk:
    """What a test of the delivery needs: put something, see what became of it."""

    def __init__(self, ledger: Ledger, clock: FakeClock) -> None:
        self.ledger = ledger
        self.clock = clock
        self.inbox = MemoryChannel("inbox", kind="inbox", can_edit=False, has_buttons=False)

    async def dispatcher(
        self, *members: Any, manners: Manners | None = None, clock: Clock | None = None, **roster: Any
    ) -> Dispatcher:
        members = (*members, self.inbox)

        def note(tx: Tx) -> None:
            for member in members:
                channels.opened(tx, member.name, member.kind)

        await self.ledger.write(note)
        return Dispatcher(self.ledger, clock or self.clock, Roster(members, **roster), manners)

    @asynccontextmanager
    async def running(self, part: Any) -> AsyncIterator[None]:
        task = asyncio.create_task(part.run())
        try:
            yield
        finally:
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    async def put(self, text: str, *, target: str = "a", **more: Any) -> str:
        more.setdefault("task_id", None)
        more.setdefault("transition", "reply")
        message = more.pop("message", None) or Outgoing(key="", text=text)
        delivery_id = await self.ledger.write(
            lambda tx: outbox.put(tx, target=target, message=message, **more)
        )
        assert delivery_id is not None
        return delivery_id

    async def line(self, delivery_id: str) -> Line:
        return await self.ledger.read(lambda tx: outbox.get(tx, delivery_id))

    async def status(self, delivery_id: str) -> str:
        return (await self.line(delivery_id)).status

    async def lines(self, **more: Any) -> list[Line]:
        """Everything owed, oldest first."""
        return list(reversed(await self.ledger.read(lambda tx: outbox.page(tx, limit=2000, **more))))

    async def all_held(self) -> bool:
        """Whether quiet hours or the digest hold everything."""
        return all(line.held_until for line in await self.lines())

    async def events(self) -> list[str]:
        return [event.type for event in await self.ledger.read(lambda tx: events.after(tx, 0, limit=5000))]

    async def states(self) -> dict[str, ChannelState]:
        return {state.name: state for state in await self.ledger.read(channels.states)}

    async def until(self, condition: Callable[[], Any], *, seconds: float = 10) -> None:
        """Wait until the condition holds, for real seconds at most."""
        async with asyncio.timeout(seconds):
            while True:
                found = condition()
                if asyncio.iscoroutine(found):
                    found = await found
                if found:
                    return
                await asyncio.sleep(0.005)

    async def add_task(self, task_id: str = "task_1", **changes: Any) -> None:
        """A bare row of the tasks table; what delivery reads of it is its id and its delivery status."""

        def insert(tx: Tx) -> None:
            row: dict[str, Any] = {
                "task_id": task_id, "kind": "simulate", "params": "{}", "title": "t", "runtime": "cli",
                "owner": "owner", "status": "succeeded", "priority": "normal", "notify": "done_only", "detached": 1,
                "retry": "{}", "queue_rank": 0, "progress": "{}", "created_at": tx.now, "queued_at": tx.now,
                "updated_at": tx.now, "delivery": "{}", "delivery_status": "pending", "usage": "{}", "origin": "{}",
                **changes,
            }  # fmt: skip
            names = ", ".join(row)
            tx.execute(f"INSERT INTO tasks ({names}) VALUES ({', '.join(':' + name for name in row)})", **row)

        await self.ledger.write(insert)

    async def task_status(self, task_id: str = "task_1") -> str:
        return await self.ledger.read(
            lambda tx: tx.value("SELECT delivery_status FROM tasks WHERE task_id = :id", id=task_id)
        )


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A database of either kind."""
    if request.param == "sqlite":
        yield SqliteStore(tmp_path / "state.db")
        return
    with servers.database(request.getfixturevalue("postgres")) as url:
        yield PostgresStore(url)


@pytest.fixture
async def desk(store: Store) -> AsyncIterator[Desk]:
    clock = FakeClock()
    migrate(store, clock)
    async with Ledger(store, clock) as ledger:
        yield Desk(ledger, clock)
