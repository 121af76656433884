"""The small process that stands by one command: it outlives the gateway and keeps what happened on the disk.

It is forked by the nursery, which has all of this loaded. It gets its spec marshalled on standard input from a gateway
of the same Python, and works in one folder:

    lock            held by an inherited descriptor for as long as this process lives
    supervisor.json who stands by: process id and start time
    started         exists from just before the command runs
    control         a pipe for orders: one a line
    output.N        what the command wrote, in segments named by the offset of their first byte; the oldest go
    network.jsonl   what the way out refused, and why
    exit.json       how it ended; absent means that nobody knows

Its own death kills the command, so an `exit.json` is never false, and its absence never means success.
"""

import fcntl
import json
import marshal
import os
import resource
import select
import signal
import socket
import struct
import sys
import termios
import time
from typing import Any

from tawny.sandbox.entry import become, blob, substitute
from tawny.sandbox.groups import make_group, members, out_of_memory, remove_group
from tawny.sandbox.held import exchanged
from tawny.sandbox.pids import descendants, is_alive, send_signal, start_time
from tawny.sandbox.segments import Segments

_CHUNK = 65536
_CONFIRM = 5.0


class Supervisor:
    """One command from its start to its record of the end."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec = spec
        self.folder: str = spec["folder"]
        self.child = 0
        self.inner = 0
        self.listener: socket.socket | None = None
        self.master = -1
        self.stdin = -1
        self.outputs: dict[int, Segments] = {}
        self.pending = bytearray(spec["input"])
        self.close_stdin = not spec.get("keep_stdin", False)
        self.status = -1
        self.status_text = b""
        self.reason = ""
        self.kill_at: float | None = None
        self.deadline: float | None = None
        self.proxy: Any = None

    # -- before the command ------------------------------------------------------------------------------------

    def run(self) -> None:
        self.write("supervisor.json", {"pid": os.getpid(), "start": start_time(os.getpid())}, durable=False)
        os.mkfifo(os.path.join(self.folder, "control"), 0o600)
        # Opened for both directions, so that it never reports an end when a writer goes.
        self.control = os.open(os.path.join(self.folder, "control"), os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self.wake, wake_write = os.pipe()
        os.set_blocking(self.wake, False)
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _ignore)
        signal.signal(signal.SIGTERM, self.on_terminate)
        for quiet in (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE):
            signal.signal(quiet, signal.SIG_IGN)
        for group in self.spec["cgroups"]:
            make_group(group)
        failure = self.start()
        if failure:
            self.finish({"state": "refused", "exit_code": None, "message": failure})
            return
        os.write(1, b"r")
        os.dup2(2, 1)
        if self.spec.get("timeout") is not None:
            self.deadline = time.monotonic() + float(self.spec["timeout"])
        self.loop()

    def start(self) -> str:
        """Fork the command; the reason why it could not be started, or nothing."""
        spec = self.spec
        if (path := exchanged(spec.get("held", ()))) is not None:
            return f"{path} was exchanged after it was decided on"
        names = ["output"] if spec["pty"] or not spec["split"] else ["stdout", "stderr"]
        pipes: list[tuple[int, int]] = []
        if spec["pty"]:
            self.master, slave = os.openpty()
            rows, columns = spec.get("rows", 24), spec.get("columns", 80)
            fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            ends = [slave, slave, slave]
            self.stdin = os.dup(self.master)
            readers = [self.master]
        else:
            read_in, self.stdin = os.pipe()
            pipes = [os.pipe() for _ in names]
            ends = [read_in, pipes[0][1], pipes[-1][1]]
            readers = [pipe[0] for pipe in pipes]
        for reader, name in zip(readers, names, strict=True):
            os.set_blocking(reader, False)
            segments = Segments(self.folder, name, segment=spec["segment"], keep=spec["keep"])
            self.outputs[reader] = segments
        os.set_blocking(self.stdin, False)
        self.status, status_write = os.pipe()
        blobs = {name: blob(data) for name, data in spec["blobs"].items()}
        blobs["status"] = status_write
        argv = [substitute(part, blobs) for part in spec["argv"]]
        mine, theirs = socket.socketpair()
        _touch(os.path.join(self.folder, "started"))
        self.child = os.fork()
        if self.child == 0:
            mine.close()
            become(spec, argv, ends, list(blobs.values()), theirs)
        theirs.close()
        for descriptor in {*ends, *blobs.values()}:
            os.close(descriptor)
        return self.handshake(mine)

    def handshake(self, mine: socket.socket) -> str:
        """Take the listener out of the namespace; an error text where the child could not get ready."""
        words = b""
        while True:
            message, ancillary, _, _ = mine.recvmsg(4096, socket.CMSG_SPACE(4))
            for _, _, data in ancillary:
                self.listener = socket.socket(fileno=struct.unpack("i", data[:4])[0])
                self.listener.settimeout(0)
            words += message
            if not message:
                break  # its end closed by itself when the command took over
        mine.close()
        _, problem, text = words.partition(b"error: ")
        if not problem:
            return ""
        os.waitpid(self.child, 0)
        return text.decode(errors="replace")

    # -- while it runs -----------------------------------------------------------------------------------------

    def loop(self) -> None:
        while True:
            poll = select.poll()
            for reader in (*self.outputs, self.control, self.wake):
                poll.register(reader, select.POLLIN)
            if self.status >= 0:
                poll.register(self.status, select.POLLIN)
            if self.listener is not None and self.proxy is None:
                poll.register(self.listener, select.POLLIN)
            if self.stdin >= 0 and self.pending:
                poll.register(self.stdin, select.POLLOUT)
            elif self.stdin >= 0 and self.close_stdin:
                self.end_input()
            for descriptor, _ in poll.poll(self.patience()):
                self.serve(descriptor)
            self.check_time()
            done, status, usage = os.wait4(self.child, os.WNOHANG)
            if done:
                self.ended(status, usage)
                return

    def serve(self, descriptor: int) -> None:
        if descriptor in self.outputs:
            self.copy(descriptor)
        elif descriptor == self.control:
            for line in os.read(descriptor, _CHUNK).splitlines():
                self.obey(line)
        elif descriptor == self.wake:
            os.read(descriptor, 512)
        elif descriptor == self.status:
            self.read_status()
        elif self.listener is not None and descriptor == self.listener.fileno():
            self.open_proxy()
        elif descriptor == self.stdin:
            self.feed()

    def patience(self) -> int | None:
        due = [moment for moment in (self.deadline, self.kill_at) if moment is not None]
        return max(0, int((min(due) - time.monotonic()) * 1000) + 1) if due else None

    def on_terminate(self, *_: object) -> None:
        self.kill("killed")

    def check_time(self) -> None:
        now = time.monotonic()
        if self.deadline is not None and now >= self.deadline:
            self.deadline = None
            self.kill("timed_out")
        if self.kill_at is not None and now >= self.kill_at:
            self.kill_at = now + 1.0
            self.kill_hard()

    def copy(self, reader: int) -> bool:
        """Take what is there; whether there was anything."""
        try:
            data = os.read(reader, _CHUNK)
        except BlockingIOError:
            return False
        except OSError:
            data = b""  # the other end of a pty is gone
        if data:
            self.outputs[reader].write(data)
            return True
        del self.outputs[reader]
        os.close(reader)
        return False

    def feed(self) -> None:
        try:
            del self.pending[: os.write(self.stdin, self.pending[:_CHUNK])]
        except BlockingIOError:
            return
        except OSError:
            self.pending.clear()
            self.close_stdin = True

    def end_input(self) -> None:
        if self.master >= 0:
            # A terminal has no end of file but the character for it.
            if self.spec.get("eof_on_pty", True):
                os.write(self.stdin, b"\x04")
            self.close_stdin = False
            return
        os.close(self.stdin)
        self.stdin = -1

    def read_status(self) -> None:
        data = os.read(self.status, _CHUNK)
        self.status_text += data
        _, found, rest = self.status_text.partition(b'"child-pid": ')
        digits = rest.split(b",")[0].split(b"\n")[0].split(b" ")[0].rstrip(b"}")
        if found and digits.isdigit() and rest != digits:
            self.inner = int(digits)
        if not data:
            os.close(self.status)
            self.status = -1

    def obey(self, line: bytes) -> None:
        """Follow an order: `write HEX`, `eof`, `kill`, `end` (kill at once), `resize ROWS COLUMNS`."""
        what, _, rest = line.partition(b" ")
        if what == b"write" and self.stdin >= 0:
            self.pending += bytes.fromhex(rest.decode("ascii"))
        elif what == b"eof":
            self.close_stdin = True
        elif what in (b"kill", b"end"):
            self.kill("killed", at_once=what == b"end")
        elif what == b"resize" and self.master >= 0:
            rows, columns = (int(number) for number in rest.split())
            fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def open_proxy(self) -> None:
        # Imported now: a command that never goes out never pays for it.
        sys.path.extend(path for path in self.spec["network"]["path"] if path not in sys.path)
        from tawny.sandbox.proxy import serve_in_thread  # noqa: PLC0415 - see above

        assert self.listener is not None
        log = os.path.join(self.folder, "network.jsonl")
        self.proxy = serve_in_thread(self.listener.detach(), self.spec["network"], log)

    # -- the end -----------------------------------------------------------------------------------------------

    def kill(self, reason: str, *, at_once: bool = False) -> None:
        """Ask every process of the command to end; after the grace they are not asked any more."""
        self.reason = self.reason or reason
        self.deadline = None
        if at_once:
            self.kill_hard()
            self.kill_at = time.monotonic() + 1.0
            return
        for process in self.processes():
            send_signal(process, signal.SIGTERM)
        if self.kill_at is None:
            self.kill_at = time.monotonic() + float(self.spec["grace"])

    def kill_hard(self) -> None:
        # The first process of the namespace takes all others with it, double-forked or not.
        if self.inner:
            send_signal(self.inner, signal.SIGKILL)
        for process in self.processes():
            send_signal(process, signal.SIGKILL)
        send_signal(self.child, signal.SIGKILL, group=not self.inner)

    def processes(self) -> list[int]:
        """The command's processes, without the sandbox's own two."""
        everyone = descendants(self.child)
        if self.inner:
            return [process for process in everyone if process != self.inner]
        return [self.child, *everyone]

    def ended(self, status: int, usage: resource.struct_rusage) -> None:
        if self.status >= 0:
            self.read_status()
        clean = self.confirm_gone()
        for reader in list(self.outputs):
            while reader in self.outputs and self.copy(reader):
                pass
        code = os.waitstatus_to_exitcode(status)
        memory = any(out_of_memory(group) for group in self.spec["cgroups"])
        state = self.reason or ("out_of_memory" if memory and code != 0 else "exited")
        record: dict[str, Any] = {
            "state": state,
            "exit_code": code if code >= 0 else 128 - code,
            "clean": clean,
            "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 3),
            "max_rss": usage.ru_maxrss * 1024,
        }
        self.finish(record)

    def confirm_gone(self) -> bool:
        """Wait until the namespace's first process is gone, and with it, by the kernel's word, all others."""
        until = time.monotonic() + _CONFIRM
        while time.monotonic() < until:
            left = [self.inner] if self.inner and is_alive(self.inner) else []
            left += [p for group in self.spec["cgroups"] for p in members(group)]
            if not left:
                return True
            for process in left:
                send_signal(process, signal.SIGKILL)
            select.select([], [], [], 0.002)
        return False

    def finish(self, record: dict[str, Any]) -> None:
        for group in self.spec["cgroups"]:
            remove_group(group)
        record["ended_at"] = time.time_ns() // 1000
        record["sizes"] = self.sizes()
        self.write("exit.json", record)

    def sizes(self) -> dict[str, int]:
        """The end offset of every stream."""
        found: dict[str, int] = {}
        for name in os.listdir(self.folder):
            stream, _, start = name.partition(".")
            if start.isdigit():
                end = int(start) + os.path.getsize(os.path.join(self.folder, name))
                found[stream] = max(found.get(stream, 0), end)
        return found

    def write(self, name: str, document: dict[str, Any], *, durable: bool = True) -> None:
        """Put a document in place, whole or not at all; on the disk, too, where it is `durable`."""
        path = os.path.join(self.folder, name)
        descriptor = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        os.write(descriptor, json.dumps(document).encode())
        if durable:
            os.fsync(descriptor)
        os.close(descriptor)
        os.replace(path + ".new", path)
        if durable:
            _sync_folder(self.folder)


def stand_by() -> None:
    """Read the spec from standard input and stand by its command to the end."""
    text = b""
    while part := os.read(0, 1 << 20):
        text += part
    try:
        spec = marshal.loads(text)
    except (ValueError, EOFError, TypeError):
        # The gateway died while it was telling us what to do: nothing has been started.
        return
    Supervisor(spec).run()


def _touch(path: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    os.fsync(descriptor)
    os.close(descriptor)
    _sync_folder(os.path.dirname(path))


def _sync_folder(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    os.fsync(descriptor)
    os.close(descriptor)


def _ignore(*_: object) -> None:
    """Only there so that the signal wakes the loop."""
