"""Programs as a source of events: the end of one, or a line of it that matches. They run in the sandbox."""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from tawny.clock import iso
from tawny.domain.automations import On
from tawny.domain.tasks import Json
from tawny.errors import TemporaryError
from tawny.sandbox.commands import Command, Commands
from tawny.sandbox.order import Limits, Order
from tawny.sandbox.place import Workplace, find_program
from tawny.sources.listening.files import changes
from tawny.sources.listening.host import Desk, Event, Listener, key_of

_MOST_LINES = 100
_LONGEST_LINE = 4000
_PATIENCE = 500

Open = Callable[[], Commands]


def process(commands: Open, place: Workplace) -> Listener:
    """Runs `on.argv` once and tells its end; a command that outlived a restart of ours is waited for again."""

    async def listen(on: On, desk: Desk) -> None:
        if desk.cursor.get("ended"):
            return
        command = await _command(on, desk, commands(), place)
        outcome = await command.wait()
        data: dict[str, Json] = {
            "argv": list(on.argv),
            "exit_code": outcome.exit_code,
            "state": outcome.state,
            "output": command.tail().data.decode("utf-8", "replace"),
        }
        name = str(desk.cursor.get("command"))
        await desk.take([Event(event_id=f"{name}:ended", data=data)], {**desk.cursor, "ended": True})

    return listen


def stream(commands: Open, place: Workplace) -> Listener:
    """Keeps `on.argv` running and tells each line that `on.match` is found in (all of them without it)."""

    async def listen(on: On, desk: Desk) -> None:
        command = await _command(on, desk, commands(), place)
        pattern = re.compile(on.match)
        offset = desk.cursor.get("offset")
        position = offset if isinstance(offset, int) else 0
        try:
            async for _ in _growth(command):
                position = await _read(on, desk, command, pattern, position)
        except asyncio.CancelledError:
            # nobody listens any more, or we are leaving: a stream begins anew when it is wanted again
            await asyncio.shield(command.kill(at_once=True))
            raise
        outcome = await command.wait()
        await _read(on, desk, command, pattern, position)
        await desk.take([], {})
        raise TemporaryError(f"{on.argv[0]} ended with {outcome.exit_code}; a stream is to go on")

    return listen


async def _command(on: On, desk: Desk, commands: Commands, place: Workplace) -> Command:
    """The command of an earlier life where it still runs, else a new one."""
    known = desk.cursor.get("command")
    if isinstance(known, str):
        command = commands.find(known)
        if command.was_started:
            return command
    name = f"{key_of(on).replace(':', '-')}-{hashlib.sha256(iso(desk.clock.now()).encode()).hexdigest()[:8]}"
    cwd = place.folder(None)
    order = Order(
        argv=(find_program(on.argv[0], cwd), *on.argv[1:]),
        cwd=str(cwd),
        writable=place.writable(),
        protected=place.protected(),
        allow=place.network.allow,
        allow_private=place.network.allow_private,
        limits=Limits(seconds=None),
    )
    command = await commands.start(name, order)
    await desk.take([], {"command": name, "offset": 0})
    await _begun(command)
    return command


async def _begun(command: Command) -> None:
    """Until the supervisor has said who it is: from then on its end can be waited for without a thread."""
    for _ in range(_PATIENCE):
        if command.outcome() is not None or await command.supervisor() is not None:
            return
        await asyncio.sleep(0.01)


async def _growth(command: Command) -> AsyncIterator[None]:
    """Once at first, and whenever the output has grown, until the command has ended."""
    ended = asyncio.Event()
    waiting: Any = asyncio.ensure_future(command.wait())  # noqa: TID251 - awaited by the caller, cancelled below

    def note(_: Any) -> None:
        ended.set()

    waiting.add_done_callback(note)
    try:
        yield
        async for _ in changes(Path(command.folder), until=ended):
            yield
    finally:
        waiting.cancel()


async def _read(on: On, desk: Desk, command: Command, pattern: re.Pattern[str], position: int) -> int:
    """Tell the whole lines from `position` on; where the next ones begin."""
    chunk = command.read(offset=position)
    whole = chunk.data.rfind(b"\n") + 1
    if not whole:
        return position
    events: list[Event] = []
    at = chunk.start
    for line in chunk.data[:whole].splitlines(keepends=True):
        text = line.decode("utf-8", "replace").rstrip("\r\n")[:_LONGEST_LINE]
        match = pattern.search(text)
        if match is not None and len(events) < _MOST_LINES:
            data: dict[str, Json] = {"argv": list(on.argv), "line": text, "groups": list(match.groups())}
            events.append(Event(event_id=f"{desk.cursor.get('command')}:{at}", data=data))
        at += len(line)
    await desk.take(events, {**desk.cursor, "offset": at})
    return at
