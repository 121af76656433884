"""kill -9 at each point of a send, on every channel: the world gets it once at most, and what is not known is said."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from channel_worlds import COMMITS, WORLDS, World, matrix
from owing import SENDER, owe, status
from tawny import plugins

# A homeserver's start counts into the first test's time.
pytestmark = [pytest.mark.crash, pytest.mark.timeout(300)]


class Sender:
    """The program that delivers: each run a process of its own, forked from one that has imported everything."""

    def __init__(self, program: "subprocess.Popen[str]") -> None:
        self._program = program

    async def deliver(self, home: Path, world: World, *, fuse: int = 0, kill_when: str = "") -> bool:
        """One run; whether it came to rest by itself."""
        order = [str(home), fuse, world.tables, str(home / "prints.txt")]
        assert self._program.stdin is not None
        self._program.stdin.write(json.dumps(order) + "\n")
        self._program.stdin.flush()
        async with asyncio.timeout(110):
            child = await self._number()
            if kill_when:
                world.on_send[kill_when] = lambda: os.kill(child, signal.SIGKILL)
            ended = await self._number()
        assert ended in (0, -signal.SIGKILL), (home / "prints.txt").read_text()
        return ended == 0

    async def _number(self) -> int:
        assert self._program.stdout is not None
        return int(await asyncio.to_thread(self._program.stdout.readline))


@pytest.fixture(scope="module")
def sender() -> Iterator[Sender]:
    with subprocess.Popen(
        [sys.executable, str(SENDER), "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as program:
        try:
            yield Sender(program)
        finally:
            program.kill()


@pytest.fixture
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    name = request.param
    made = matrix(request.getfixturevalue("homeserver")) if name == "matrix" else WORLDS[name](tmp_path)
    async with made as world:
        yield world


_ALL = [*WORLDS, "matrix"]
_AT_HOME = ("file", "memory", "inbox", "chat", "terminal")


def test_no_channel_is_left_out() -> None:
    tried = {name.partition("_")[0] for name in _ALL}
    assert {kind.partition("-")[0] for kind in plugins.installed().channels} <= tried


async def _use(sender: Sender, world: World, home: Path, name: str) -> None:
    """Where the channel tells by what came before: let something have come before."""
    if name.endswith("in_use"):
        owe(home, world.target, text="before")
        assert await sender.deliver(home, world)


async def _is_there_once_at_most(
    sender: Sender, world: World, home: Path, delivery_id: str, name: str
) -> None:
    """The process is started again, twice: what was cut off is settled then, and stays as it is."""
    there = world.copies()
    assert there <= 1
    claimed = status(home, delivery_id)
    assert claimed in ("pending", "sending", "delivered")
    for _ in range(2):
        assert await sender.deliver(home, world)
        found = (status(home, delivery_id), world.copies())
        if claimed != "sending" or world.knows or (name == "ntfy" and there):
            assert found == ("delivered", 1)
        else:
            # Shown as unknown, and left as it is.
            assert found == ("unknown", there)


@pytest.mark.parametrize("point", ["begun", "asked", "done"])
@pytest.mark.parametrize(
    ("world", "name"), [(name, name) for name in _ALL if name not in _AT_HOME], indirect=["world"]
)
async def test_a_kill_during_the_request_leaves_one_copy_at_most(
    sender: Sender, world: World, tmp_path: Path, name: str, point: str
):
    """`begun`: in the midst of it; `asked`: it has come, nothing is done; `done`: the answer is not out yet."""
    await _use(sender, world, tmp_path, name)
    delivery_id = owe(tmp_path, world.target)
    assert not await sender.deliver(tmp_path, world, kill_when=point), "the kill must have come"
    assert world.copies() == (point == "done")
    assert status(tmp_path, delivery_id) == "sending"
    await _is_there_once_at_most(sender, world, tmp_path, delivery_id, name)


def _fuses() -> Iterator[tuple[str, str, int]]:
    """Each commit of a send on each channel, before it (odd) and after it (even)."""
    for name in _ALL:
        for fuse in range(1, 2 * COMMITS.get(name, 2) + 1):
            yield name, name, fuse


@pytest.mark.parametrize(("world", "name", "fuse"), list(_fuses()), indirect=["world"])
async def test_a_kill_at_a_commit_leaves_one_copy_at_most(
    sender: Sender, world: World, tmp_path: Path, name: str, fuse: int
):
    await _use(sender, world, tmp_path, name)
    delivery_id = owe(tmp_path, world.target)
    assert not await sender.deliver(tmp_path, world, fuse=fuse), "the kill must have come"
    if fuse <= 2:
        # Before the intent is down, or just after: nothing has gone out.
        assert world.copies() == 0
        assert status(tmp_path, delivery_id) == ("pending" if fuse == 1 else "sending")
    if fuse == 2 * COMMITS.get(name, 2):
        # After the record.
        assert (status(tmp_path, delivery_id), world.copies()) == ("delivered", 1)
    await _is_there_once_at_most(sender, world, tmp_path, delivery_id, name)
