"""The gateway's side of running commands: start one under its supervisor, find it again, read it, end it.

A command is a folder (see `supervisor.py`). Whoever holds the folder's lock is alive; the lock is taken before the
supervisor starts and handed to it, so there is no moment in which a started command looks dead. Starting is therefore
something that can be tried again after a crash: `start` on a folder that exists returns what is there.
"""

import asyncio
import fcntl
import hashlib
import marshal
import os
import shutil
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec

from tawny.errors import Conflict, NotFound, PermanentError, Refused
from tawny.sandbox.held import HELD
from tawny.sandbox.launcher import Launcher
from tawny.sandbox.limits import Holder, find_holder
from tawny.sandbox.order import PROXY_PORT, Order, Sandbox, Wrapped
from tawny.sandbox.pids import is_alive, start_time

_SEGMENT = 256 * 1024
_KEEP = 32
"""32 segments of 256 KB: the newest 8 MB of each stream stay."""
_GRACE = 2.0
_KILL_DEADLINE = 8.0


class Outcome(msgspec.Struct, frozen=True):
    """How a command ended.

    `state` is exited, timed_out, killed, out_of_memory, refused (never started; `message` says why) or unknown
    (its supervisor died: nobody knows how far it got). `exit_code` is 128 + the signal where one ended it. `clean`
    tells that none of its processes is left. `ended_at` is in microseconds since the epoch.
    """

    state: str
    exit_code: int | None = None
    message: str = ""
    clean: bool = True
    cpu_seconds: float = 0.0
    max_rss: int = 0
    ended_at: int = 0
    sizes: dict[str, int] = {}

    @property
    def succeeded(self) -> bool:
        return self.state == "exited" and self.exit_code == 0


class Chunk(msgspec.Struct, frozen=True):
    """A piece of a stream: its bytes, the offsets it covers, and how many bytes before it are no longer kept."""

    data: bytes
    start: int
    end: int
    dropped: int = 0


class Command:
    """A handle on one command's folder. Any number may exist, in any process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.id = folder.name

    @property
    def was_started(self) -> bool:
        """Whether the command itself may have run; false means that it certainly has not."""
        return (self.folder / "started").exists()

    @property
    def is_alive(self) -> bool:
        """Whether the supervisor stands by it still."""
        try:
            descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def outcome(self) -> Outcome | None:
        """How it ended; `None` while it runs. Unknown where the supervisor died without a record."""
        # Alive first: it may end between the two looks, and then the record is there for the second.
        alive = self.is_alive
        try:
            return msgspec.json.decode((self.folder / "exit.json").read_bytes(), type=Outcome)
        except FileNotFoundError:
            if alive:
                return None
            if not self.was_started:
                return Outcome("refused", message="the supervisor did not start")
            return Outcome("unknown", message="its supervisor died, so nobody knows how it ended")

    async def wait(self) -> Outcome:
        """Until it has ended and its supervisor with it, so that it can be removed: no polling, the kernel tells."""
        while (outcome := self.outcome()) is None or self.is_alive:
            process = await self.supervisor()
            if process is not None and hasattr(os, "pidfd_open"):
                await _until_gone(process)
            else:
                # Between the lock and the record of its id, or where the kernel cannot tell: the lock tells.
                await asyncio.to_thread(self._until_unlocked)
        return outcome

    def read(self, stream: str = "output", offset: int = 0, *, limit: int = 65536) -> Chunk:
        """The bytes from `offset` on, `limit` at most; skips what is no longer kept."""
        position = offset
        data = bytearray()
        first: int | None = None
        for start in self._segments(stream):
            path = self.folder / f"{stream}.{start}"
            try:
                size = path.stat().st_size
                if start + size <= position and not data:
                    continue
                if first is None:
                    first = max(start, offset)
                    position = first
                with path.open("rb") as file:
                    file.seek(max(0, position - start))
                    part = file.read(limit - len(data))
            except FileNotFoundError:
                continue
            data += part
            position += len(part)
            if len(data) >= limit:
                break
        begin = offset if first is None else first
        return Chunk(bytes(data), begin, begin + len(data), dropped=begin - offset)

    def tail(self, stream: str = "output", *, limit: int = 4096) -> Chunk:
        """The last bytes of the stream."""
        return self.read(stream, max(0, self.size(stream) - limit), limit=limit)

    def size(self, stream: str = "output") -> int:
        """The offset of the stream's end."""
        starts = self._segments(stream)
        if not starts:
            return 0
        try:
            return starts[-1] + (self.folder / f"{stream}.{starts[-1]}").stat().st_size
        except FileNotFoundError:
            return starts[-1]

    def refusals(self) -> list[str]:
        """What the way out refused and why, each reason once, in order."""
        said = (f"{entry['reason']}; {entry['hint']}" for entry in self._network() if "reason" in entry)
        return list(dict.fromkeys(said))

    def reached(self) -> list[str]:
        """The places outside that it has reached, each once: `host:port`."""
        return list(dict.fromkeys(entry["reached"] for entry in self._network() if "reached" in entry))

    def _network(self) -> list[dict[str, Any]]:
        try:
            lines = (self.folder / "network.jsonl").read_bytes().splitlines()
        except FileNotFoundError:
            return []
        entries: list[dict[str, Any]] = [msgspec.json.decode(line) for line in lines]
        return entries

    def write(self, data: bytes, *, eof: bool = False) -> None:
        """Hand bytes to the command's input; `eof` closes it after them.

        Raises:
            Conflict: it has ended.
        """
        # A line is written whole or not at all up to the size of a pipe's buffer for that, 4 kB.
        for start in range(0, len(data), 1024):
            self._order(f"write {data[start : start + 1024].hex()}")
        if eof:
            self._order("eof")

    def resize(self, rows: int, columns: int) -> None:
        self._order(f"resize {rows} {columns}")

    async def kill(self, *, at_once: bool = False) -> Outcome:
        """End it and everything it started; returns when none of it is left.

        First every process is asked (TERM), two seconds later the whole namespace is ended by the kernel. If even
        the supervisor does not answer, it is killed, which takes the command with it.

        Raises:
            PermanentError: something of it is still there after eight seconds.
        """
        try:
            self._order("end" if at_once else "kill")
        except Conflict:
            return await self.wait()
        try:
            async with asyncio.timeout(_KILL_DEADLINE):
                return await self.wait()
        except TimeoutError:
            process = await self.supervisor()
            if process is not None:
                os.kill(process, 9)
        try:
            async with asyncio.timeout(_KILL_DEADLINE):
                return await self.wait()
        except TimeoutError as error:
            raise PermanentError(f"the command {self.id} does not end") from error

    def remove(self) -> None:
        """Forget the folder of a command that has ended.

        Raises:
            Conflict: it is still running.
        """
        if self.is_alive:
            raise Conflict(f"the command {self.id} is still running", hint="kill it first")
        shutil.rmtree(self.folder, ignore_errors=True)

    def clear(self, stream: str = "output") -> None:
        """Forget the kept output, all but the segment that is being written."""
        for start in self._segments(stream)[:-1]:
            (self.folder / f"{stream}.{start}").unlink(missing_ok=True)

    def _segments(self, stream: str) -> list[int]:
        prefix = stream + "."
        try:
            names = os.listdir(self.folder)
        except FileNotFoundError:
            return []
        return sorted(
            int(name[len(prefix) :])
            for name in names
            if name.startswith(prefix) and name[len(prefix) :].isdigit()
        )

    def _order(self, order: str) -> None:
        line = order.encode("ascii") + b"\n"
        try:
            descriptor = os.open(self.folder / "control", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except (FileNotFoundError, OSError) as error:
            # ENXIO: nobody has the pipe open any more.
            raise Conflict(f"the command {self.id} has ended") from error
        try:
            os.write(descriptor, line)
        except BlockingIOError as error:
            raise Conflict(
                f"the command {self.id} does not take its input", hint="poll it, then try again"
            ) from error
        finally:
            os.close(descriptor)

    async def supervisor(self) -> int | None:
        """The supervisor's process id, if it is that very process that is alive."""
        try:
            record = msgspec.json.decode((self.folder / "supervisor.json").read_bytes())
        except FileNotFoundError:
            return None
        process = int(record["pid"])
        if not is_alive(process) or start_time(process) != record["start"]:
            return None
        return process

    def _until_unlocked(self) -> None:
        try:
            descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        finally:
            os.close(descriptor)


class Commands:
    """Starts commands in a folder of its own, and finds those of an earlier life again."""

    def __init__(self, folder: Path, sandbox: Sandbox, *, holder: Holder | None = None) -> None:
        self.folder = folder
        self.sandbox = sandbox
        self._holder = holder
        self._launcher = Launcher()
        self._mark = hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:8]
        # Two starts of one id must not meet between making its folder and locking it.
        self._starting = [threading.Lock() for _ in range(16)]

    def find(self, command_id: str) -> Command:
        """The command of that id, running or ended.

        Raises:
            NotFound: there is none.
        """
        folder = self._place(command_id)
        if not folder.is_dir():
            raise NotFound(f"there is no command {command_id}")
        return Command(folder)

    def all(self) -> list[Command]:
        if not self.folder.is_dir():
            return []
        return [Command(path) for path in sorted(self.folder.iterdir()) if path.is_dir()]

    async def start(self, command_id: str, order: Order, *, note: bytes = b"") -> Command:
        """Start the order under a supervisor, once: if the id is known, that command is returned as it is.

        `note` is kept beside it, as `note`, for whoever finds the command later.

        Raises:
            Refused: the sandbox cannot be had; nothing has run.
        """
        loop = asyncio.get_running_loop()
        order = msgspec.structs.replace(order, held=order.held or HELD.get())
        starting = loop.run_in_executor(None, self._start, command_id, order, note)
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            # A thread cannot be stopped: whoever is cancelled must be able to end what it starts all the same.
            await asyncio.wait((starting,))
            raise

    async def run(self, command_id: str, order: Order) -> tuple[Outcome, dict[str, bytes]]:
        """Start the order, wait for its end, and return the kept output by stream; the folder is removed.

        If the caller is cancelled, the command is ended too.
        """
        command = Command(self._place(command_id))
        try:
            await self.start(command_id, order)
            outcome = await command.wait()
        except asyncio.CancelledError:
            # It may have begun although its start has not come back to us.
            if command.folder.is_dir():
                await asyncio.shield(command.kill(at_once=True))
                command.remove()
            raise
        names = ("stdout", "stderr") if order.split and not order.pty else ("output",)
        output = {name: command.read(name, limit=_SEGMENT * _KEEP).data for name in names}
        command.remove()
        return outcome, output

    def _start(self, command_id: str, order: Order, note: bytes) -> Command:
        with self._starting[hash(command_id) % len(self._starting)]:
            return self._start_alone(command_id, order, note)

    def _start_alone(self, command_id: str, order: Order, note: bytes) -> Command:
        folder = self._place(command_id)
        command = Command(folder)
        if folder.is_dir() and (command.was_started or command.is_alive or (folder / "exit.json").exists()):
            return command
        wrapped = self.sandbox.wrap(order)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, mode=0o700)
        if note:
            (folder / "note").write_bytes(note)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            spec = self._spec(command_id, folder, order, wrapped)
            self._launcher.launch(marshal.dumps(spec), lock)
        finally:
            os.close(lock)
        return command

    def _spec(self, command_id: str, folder: Path, order: Order, wrapped: Wrapped) -> dict[str, Any]:
        if self._holder is None:
            self._holder = find_holder()
        holder = self._holder
        network = None
        if wrapped.own_network:
            network = {
                "port": PROXY_PORT,
                "allow": order.allow,
                "allow_private": order.allow_private,
                "path": [path for path in sys.path if path],
            }
        return {
            "folder": str(folder),
            "argv": wrapped.argv,
            "env": wrapped.env,
            "cwd": wrapped.cwd,
            "blobs": wrapped.blobs,
            "network": network,
            # Another home's command of the same name is not to be counted, or ended, with this one.
            "cgroups": holder.groups(f"{command_id}-{self._mark}", order.limits),
            "rlimits": holder.rlimits(order.limits),
            "held": order.held,
            "pty": order.pty,
            "take_terminal": order.pty and not wrapped.takes_terminal,
            "split": order.split,
            "input": order.input,
            "keep_stdin": order.keep_stdin,
            "timeout": order.limits.seconds,
            "grace": _GRACE,
            "segment": _SEGMENT,
            "keep": _KEEP,
        }

    def _place(self, command_id: str) -> Path:
        if not command_id.replace("_", "").replace("-", "").isalnum() or len(command_id) > 100:
            raise Refused(f"{command_id!r} is no id of a command")
        return self.folder / command_id


async def _until_gone(process: int) -> None:
    """Wait for the end of a process, a child or not."""
    try:
        descriptor = os.pidfd_open(process)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    gone: asyncio.Future[None] = loop.create_future()
    loop.add_reader(descriptor, _settle, gone)
    try:
        await gone
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _settle(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
