"""kill -9 at every point of a send: at most one visible unknown, never a silent second copy, nothing lost."""

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tawny.clock import SystemClock
from tawny.domain.messages import Outgoing
from tawny.ledger import outbox
from tawny.ledger.database import Tx, read_now, write_now
from tawny.ledger.migrations import migrate
from tawny.ledger.outbox import Line
from tawny.ledger.sqlite import SqliteStore

SENDER = Path(__file__).with_name("sender.py")
pytestmark = pytest.mark.crash

# Two short messages in one conversation, a long one of two pieces in another. A run without a kill burns this many.
POINTS = 32


class World:
    """Whoever is at the other end; it writes down all it gets, and nothing makes it forget."""

    def __init__(self) -> None:
        self.got: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            to, key, text = line.decode().rstrip("\n").split(" ", 2)
            self.got.append((to, key))
            self.texts.append(text)
            writer.write(b"%d\n" % len(self.got))
        writer.close()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    yield made
    server.close()


def owe(home: Path) -> dict[str, str]:
    """Three messages; their texts by delivery id."""
    store = SqliteStore(home / "state.db")
    migrate(store, SystemClock())

    def put(tx: Tx) -> dict[str, str]:
        texts = {"one": "socket:a", "two": "socket:a", "p" * 30 + "\n" + "q" * 30: "socket:b"}
        made: dict[str, str] = {}
        for text, target in texts.items():
            message = Outgoing(key="", text=text)
            delivery_id = outbox.put(tx, task_id=None, transition="reply", target=target, message=message)
            assert delivery_id is not None
            made[delivery_id] = text
        return made

    return write_now(store, SystemClock(), put)


async def run(home: Path, world: World, length: int, how: str) -> str:
    child = await asyncio.create_subprocess_exec(
        sys.executable, str(SENDER), str(home), str(world.port), str(length), how,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(60):
        out, _ = await child.communicate()
    # A line that was on its way when the process died still arrives.
    await asyncio.sleep(0.02)
    return out.decode()


def lines(home: Path) -> list[Line]:
    return read_now(SqliteStore(home / "state.db"), SystemClock(), lambda tx: outbox.page(tx, limit=100))


@pytest.mark.parametrize("how", ["at-most-once", "idempotent"])
@pytest.mark.parametrize("point", range(1, POINTS + 1))
async def test_a_killed_send_is_never_repeated_in_silence(tmp_path: Path, world: World, point: int, how: str):
    owed = owe(tmp_path)
    first = await run(tmp_path, world, point, how)
    assert await run(tmp_path, world, 0, how), "the second run comes to rest"
    if how == "idempotent":
        assert {line.status for line in lines(tmp_path)} <= {"delivered", "pending"}
        # What got no answer waits before the harmless repeat; this test does not.
        store = SqliteStore(tmp_path / "state.db")
        write_now(store, SystemClock(), lambda tx: tx.execute("UPDATE outbox SET next_at = 0"))
        await run(tmp_path, world, 0, how)
        assert {line.status for line in lines(tmp_path)} == {"delivered"}
        assert len({key for _, key in world.got}) == 4
        return
    found = {line.delivery_id: line for line in lines(tmp_path)}
    assert set(found) == set(owed)
    assert {line.status for line in found.values()} <= {"delivered", "unknown"}
    # Two conversations are under way at once, and each can have one message in flight.
    assert sum(line.status == "unknown" for line in found.values()) <= (0 if "idle" in first else 2)
    copies = Counter(key for _, key in world.got)
    assert all(count == 1 for count in copies.values()), "a second copy"
    for delivery_id, line in found.items():
        pieces = [key for key in copies if key.partition(".")[0] == delivery_id]
        if line.status == "delivered":
            assert len(pieces) == (2 if "\n" in owed[delivery_id] else 1)
    order = [text for (to, _), text in zip(world.got, world.texts, strict=True) if to == "a"]
    assert order == sorted(order)


async def test_without_a_kill_everything_arrives_once(tmp_path: Path, world: World):
    owe(tmp_path)
    said = await run(tmp_path, world, 10_000, "at-most-once")
    burnt = 10_000 - int(said.split()[1])
    assert burnt <= POINTS, "the points above no longer cover a whole run"
    assert {line.status for line in lines(tmp_path)} == {"delivered"}
    assert len(world.got) == 4
