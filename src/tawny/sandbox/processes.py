"""Commands that conversations have started: who started which, how far each has been read, and who is told of its end.

What is known of a process is kept in its folder, beside what its supervisor keeps: `note` (who and what), `cursor`
(how far it has been polled), `pushed` (its end is to be told), `told` (it has been). So all of it is there again after
a restart.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping

import msgspec

from tawny.clock import MINUTE, SECOND, Clock, Instant, sleep
from tawny.domain.tasks import Json, Origin
from tawny.errors import Conflict, NotFound
from tawny.log import Log
from tawny.sandbox.commands import Chunk, Command, Commands, Outcome
from tawny.sandbox.order import Order

KEPT = 30 * MINUTE
"""How long a finished process stays readable."""
_log = Log("sandbox.processes")
_TRY_AGAIN = 5.0


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """Who started a process, and what it is. `conversation` is the session, or the task that has none."""

    conversation: str
    session: str | None
    task_id: str
    line: str
    cwd: str
    fingerprint: str
    started_at: Instant
    pty: bool = False
    origin: Origin = Origin()
    params: dict[str, Json] = {}


class Process:
    """One process of a conversation."""

    def __init__(self, command: Command, note: Note) -> None:
        self.command = command
        self.note = note

    @property
    def id(self) -> str:
        return self.command.id

    @property
    def cursor(self) -> int:
        """The offset up to which its output has been polled."""
        return self._polled()[0]

    def advance(self, offset: int, *, start: int = 0, call: str = "") -> None:
        """Remember that the output has been polled up to `offset`, and by which call from where."""
        place = self.command.folder / "cursor"
        fresh = place.with_suffix(".new")
        fresh.write_text(f"{offset} {start} {call}", encoding="utf-8")
        fresh.replace(place)

    def poll(self, *, limit: int, call: str) -> Chunk:
        """What is new since the last poll; the next one goes on after it.

        The very same `call`, made again because its answer was lost in a crash, reads again from where it began.
        """
        offset, start, before = self._polled()
        begin = start if call == before else offset
        chunk = self.command.read("output", begin, limit=limit)
        self.advance(chunk.end, start=begin, call=call)
        return chunk

    def _polled(self) -> tuple[int, int, str]:
        try:
            offset, _, rest = (self.command.folder / "cursor").read_text(encoding="utf-8").partition(" ")
            start, _, call = rest.partition(" ")
            return int(offset), int(start or 0), call
        except (FileNotFoundError, ValueError):
            return 0, 0, ""

    def mark(self, name: str) -> None:
        """Leave one of the marks `pushed` and `told`."""
        with contextlib.suppress(FileNotFoundError):
            (self.command.folder / name).touch()

    def is_marked(self, name: str) -> bool:
        return (self.command.folder / name).exists()


Ended = Callable[[Process, Outcome], Awaitable[None]]
"""Tells the conversation, and whoever waits for it, that a process has ended. Called again if it raises."""


class Processes:
    """The processes of one home."""

    def __init__(self, commands: Callable[[], Commands], clock: Clock) -> None:
        self._commands = commands
        self._clock = clock
        self._starting = asyncio.Lock()
        self._watched: asyncio.Queue[Process] = asyncio.Queue()

    async def start(self, process_id: str, order: Order, note: Note) -> tuple[Process, bool]:
        """Start a process once; the same command still running in the conversation is returned instead.

        The second value tells whether it was running already.
        """
        async with self._starting:
            for process in self.of(note.conversation):
                same = process.id == process_id or process.note.fingerprint == note.fingerprint
                if same and process.command.outcome() is None:
                    return process, process.id != process_id
            command = await self._commands().start(process_id, order, note=msgspec.json.encode(note))
            return Process(command, note), False

    def push(self, process: Process) -> None:
        """Have the end of a running process told."""
        process.mark("pushed")
        self._watched.put_nowait(process)

    def find(self, conversation: str, process_id: str) -> Process:
        """The conversation's process of that id.

        Raises:
            NotFound: there is none, or it is another conversation's.
        """
        process = self.any(process_id)
        if process.note.conversation != conversation:
            raise _unknown(process_id)
        return process

    def any(self, process_id: str) -> Process:
        """The process of that id, whosever it is: for judging what a call would do, not for doing it.

        Raises:
            NotFound: there is none.
        """
        process = self._open(self._commands().find(process_id))
        if process is None:
            raise _unknown(process_id)
        return process

    def of(self, conversation: str) -> list[Process]:
        """The conversation's processes, oldest first."""
        mine = [process for process in self._all() if process.note.conversation == conversation]
        return sorted(mine, key=lambda process: process.note.started_at)

    async def remove(self, process: Process, *, running: bool) -> None:
        """Forget a process; with `running`, end it first.

        Raises:
            Conflict: it is running still.
        """
        if process.command.outcome() is None:
            if not running:
                raise Conflict(f"the process {process.id} is still running", hint="kill it, or use remove")
            process.mark("told")
            await process.command.kill()
        process.command.remove()

    async def run(self, ended: Ended) -> None:
        """Watch what is to be told of, that of an earlier life included, until cancelled."""
        self.sweep()
        for process in self._all():
            if process.is_marked("pushed") and not process.is_marked("told"):
                self._watched.put_nowait(process)
        async with asyncio.TaskGroup() as group:
            while True:
                process = await self._watched.get()
                group.create_task(self._tell(process, ended))

    def sweep(self) -> None:
        """Forget what has ended long ago."""
        now = self._clock.now()
        for process in self._all():
            outcome = process.command.outcome()
            untold = process.is_marked("pushed") and not process.is_marked("told")
            if (
                outcome is not None
                and not untold
                and (outcome.ended_at or process.note.started_at) < now - KEPT
            ):
                process.command.remove()

    async def _tell(self, process: Process, ended: Ended) -> None:
        outcome = await process.command.wait()
        while not process.is_marked("told") and process.command.folder.exists():
            try:
                await ended(process, outcome)
            except Exception as error:  # noqa: BLE001 - telling is somebody else's code; it is tried again
                _log.error("the end of a process was not told", exc=error, process=process.id)
                await sleep(self._clock, _TRY_AGAIN)
            else:
                process.mark("told")
        self.sweep()

    def _all(self) -> list[Process]:
        opened = (self._open(command) for command in self._commands().all())
        return [process for process in opened if process is not None]

    def _open(self, command: Command) -> Process | None:
        try:
            note = msgspec.json.decode((command.folder / "note").read_bytes(), type=Note)
        except (FileNotFoundError, msgspec.MsgspecError):
            return None
        return Process(command, note)


def _unknown(process_id: str) -> NotFound:
    return NotFound(f"there is no process {process_id}", hint='{"action": "list"} shows those there are')


def described(process: Process) -> Mapping[str, Json]:
    """A process in a list."""
    outcome = process.command.outcome()
    return {
        "sessionId": process.id,
        "command": process.note.line[:500],
        "cwd": process.note.cwd,
        "status": status_of(outcome),
        "exitCode": outcome.exit_code if outcome else None,
        "startedAt": process.note.started_at // SECOND,
        "unread": process.command.size() - process.cursor,
    }


def status_of(outcome: Outcome | None) -> str:
    """`running`, `completed` (exit code 0), `failed`, or the way it was ended."""
    if outcome is None:
        return "running"
    if outcome.state == "exited":
        return "completed" if outcome.exit_code == 0 else "failed"
    return outcome.state
