"""The small process that stands by one command: it outlives the gateway and keeps what happened on the disk.

Only the standard library is imported, and little of it, as this runs once per command: a Python that imports `json`,
`signal` and `socket` takes twice as long to start as one that makes do with what is compiled in. It gets its spec
marshalled on standard input from a gateway of the same Python, and works in one folder:

    lock            held by an inherited descriptor for as long as this process lives
    supervisor.json who stands by: process id and start time
    started         exists from just before the command runs
    control         a pipe for orders: one JSON object a line
    output.N        what the command wrote, in segments named by the offset of their first byte; the oldest go
    network.jsonl   what the way out refused, and why
    exit.json       how it ended; absent means that nobody knows

Its own death kills the command, so an `exit.json` is never false, and its absence never means success.
"""

from __future__ import annotations

import errno
import fcntl
import marshal
import os
import resource
import select
import struct
import sys
import termios
import time

TYPE_CHECKING = False
if TYPE_CHECKING:  # `typing` takes as long to import as half of the rest together
    import signal
    import socket
    from typing import Any
else:
    import _signal as signal
    import _socket as socket

_CHUNK = 65536
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1
_CONFIRM = 5.0
LOCK = 3


class Segments:
    """A stream on the disk: files named by offset, of which only the newest are kept."""

    def __init__(self, folder: str, name: str, *, segment: int, keep: int) -> None:
        self._prefix = os.path.join(folder, name + ".")
        self._segment = segment
        self._keep = keep
        self._starts: list[int] = []
        self._file = -1
        self.offset = 0
        self._next()

    def write(self, data: bytes) -> None:
        while data:
            room = self._starts[-1] + self._segment - self.offset
            if room <= 0:
                self._next()
                continue
            part = data[:room]
            try:
                written = os.write(self._file, part)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                    raise
                # A full disk costs output, never the command: the gap shows as a jump in the offsets.
                self.offset += len(data)
                self._next()
                return
            self.offset += written
            data = data[written:]

    def _next(self) -> None:
        if self._file >= 0:
            os.close(self._file)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._file = os.open(self._prefix + str(self.offset), flags, 0o600)
        self._starts.append(self.offset)
        while len(self._starts) > self._keep:
            os.unlink(self._prefix + str(self._starts.pop(0)))


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
        touch(os.path.join(self.folder, "started"))
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
        os.write(descriptor, as_json(document).encode())
        if durable:
            os.fsync(descriptor)
        os.close(descriptor)
        os.replace(path + ".new", path)
        if durable:
            sync_folder(self.folder)


# -- in the child, between fork and exec -----------------------------------------------------------------------


def become(
    spec: dict[str, Any], argv: list[str], ends: list[int], keep: list[int], out: socket.socket
) -> None:
    """Turn into the command; never returns."""
    inheritable = True
    try:
        signal.set_wakeup_fd(-1)
        for number in range(1, signal.NSIG):
            if number not in (signal.SIGKILL, signal.SIGSTOP) and not 31 < number < 34:
                try:
                    signal.signal(number, signal.SIG_DFL)
                except (OSError, ValueError):
                    continue
        os.setsid()
        if spec["take_terminal"]:
            fcntl.ioctl(ends[0], termios.TIOCSCTTY, 0)
        for group in spec["cgroups"]:
            enter_group(group)
        network = spec.get("network")
        listener = enter_network(int(network["port"])) if network else None
        for name, soft, hard in spec["rlimits"]:
            which = int(getattr(resource, "RLIMIT_" + name))
            ceiling = resource.getrlimit(which)[1]
            if ceiling != resource.RLIM_INFINITY:
                soft, hard = min(soft, ceiling), min(hard, ceiling)
            resource.setrlimit(which, (soft, hard))
        if listener is not None:
            passed = struct.pack("i", listener.fileno())
            out.sendmsg([b"listener"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)])
        else:
            out.send(b"ready")
        for target, end in enumerate(ends):
            os.dup2(end, target)
        for descriptor in keep:
            os.set_inheritable(descriptor, inheritable)
        os.umask(0o077)
        os.chdir(spec["cwd"])
        os.execve(argv[0], argv, spec["env"])
    except BaseException as error:  # noqa: BLE001 - a forked child must never run on as its parent
        out.send(f"error: {error}".encode())
        os._exit(127)


def enter_network(port: int) -> socket.socket:
    """A network of our own with nothing in it but loopback, and on that a listener for the proxy."""
    import ctypes  # noqa: PLC0415 - only where a namespace is made

    libc = ctypes.CDLL(None, use_errno=True)
    uid, gid = os.geteuid(), os.getegid()
    if uid != 0 or libc.unshare(_CLONE_NEWNET) != 0:
        if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"no network namespace: {os.strerror(number)}")
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{uid} {uid} 1"),
            ("gid_map", f"{gid} {gid} 1"),
        ):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
    probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    request = struct.pack("16sH14s", b"lo", 0, b"")
    flags = struct.unpack("16sH14s", fcntl.ioctl(probe.fileno(), _SIOCGIFFLAGS, request))[1]
    fcntl.ioctl(probe.fileno(), _SIOCSIFFLAGS, struct.pack("16sH14s", b"lo", flags | _IFF_UP, b""))
    probe.close()
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(("127.0.0.1", port))
    listener.listen(64)
    return listener


# -- control groups --------------------------------------------------------------------------------------------


def make_group(group: dict[str, Any]) -> None:
    path, files = str(group["path"]), dict[str, str](group["files"])
    os.makedirs(path, exist_ok=True)
    for name, text in files.items():
        with open(os.path.join(path, name), "w") as file:
            file.write(text)


def enter_group(group: dict[str, Any]) -> None:
    with open(os.path.join(group["path"], "cgroup.procs"), "w") as file:
        file.write(str(os.getpid()))


def members(group: dict[str, Any]) -> list[int]:
    try:
        with open(os.path.join(group["path"], "cgroup.procs")) as file:
            return [int(line) for line in file]
    except OSError:
        return []


def out_of_memory(group: dict[str, Any]) -> bool:
    """Whether the kernel killed something in the group for want of memory."""
    for name in ("memory.events", "memory.oom_control"):
        try:
            with open(os.path.join(group["path"], name)) as file:
                counts = dict(line.split()[:2] for line in file if " " in line)
        except OSError:
            continue
        if int(counts.get("oom_kill", "0")):
            return True
    return False


def remove_group(group: dict[str, Any]) -> None:
    for _ in range(200):
        try:
            os.rmdir(group["path"])
        except FileNotFoundError:
            return
        except OSError:
            select.select([], [], [], 0.005)
        else:
            return


# -- processes -------------------------------------------------------------------------------------------------


def start_time(process: int) -> int:
    """When the process started, in clock ticks since boot: with its id, a name that is never given twice."""
    try:
        with open(f"/proc/{process}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[19])
    except OSError:
        return 0


def is_alive(process: int) -> bool:
    """Whether the process exists and is more than a record waiting to be read."""
    try:
        with open(f"/proc/{process}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except OSError:
        return False


def descendants(process: int) -> list[int]:
    found: list[int] = []
    waiting = [process]
    while waiting:
        parent = waiting.pop()
        try:
            with open(f"/proc/{parent}/task/{parent}/children") as file:
                children = [int(number) for number in file.read().split()]
        except OSError:
            continue
        found += children
        waiting += children
    return found


def send_signal(process: int, number: int, *, group: bool = False) -> None:
    try:
        (os.killpg if group else os.kill)(process, number)
    except (ProcessLookupError, PermissionError):
        return


# -- small things ----------------------------------------------------------------------------------------------


def blob(data: bytes) -> int:
    """An open descriptor from which `data` can be read."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("blob")
        os.write(descriptor, data)
        os.lseek(descriptor, 0, os.SEEK_SET)
        return descriptor
    read, write = os.pipe()
    os.write(write, data)
    os.close(write)
    return read


def substitute(part: str, descriptors: dict[str, int]) -> str:
    """`@fd:name@` stands for the number of a descriptor that is opened only here."""
    if part.startswith("@fd:") and part.endswith("@"):
        return str(descriptors[part[4:-1]])
    return part


def as_json(value: Any) -> str:
    """The value as JSON; only what a record is made of."""
    if isinstance(value, dict):
        fields: dict[str, Any] = value  # pyright: ignore[reportUnknownVariableType]
        return "{" + ", ".join(f"{as_json(name)}: {as_json(field)}" for name, field in fields.items()) + "}"
    if isinstance(value, str):
        escaped = (c if c >= " " and c not in '"\\' and c.isascii() else _escape(c) for c in value)
        return '"' + "".join(escaped) + '"'
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return repr(value)


def _escape(character: str) -> str:
    number = ord(character)
    if number > 0xFFFF:
        number -= 0x10000
        return f"\\u{0xD800 + (number >> 10):04x}\\u{0xDC00 + (number & 0x3FF):04x}"
    return f"\\u{number:04x}"


def touch(path: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    os.fsync(descriptor)
    os.close(descriptor)
    sync_folder(os.path.dirname(path))


def sync_folder(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    os.fsync(descriptor)
    os.close(descriptor)


def _ignore(*_: object) -> None:
    """Only there so that the signal wakes the loop."""


def main() -> None:
    """Read the spec and stand by."""
    inheritable = False
    os.set_inheritable(LOCK, inheritable)
    # Whatever the gateway had open without meaning to share it.
    os.closerange(LOCK + 1, 1 << 20)
    text = b""
    while part := os.read(0, 1 << 20):
        text += part
    try:
        spec = marshal.loads(text)
    except (ValueError, EOFError, TypeError):
        # The gateway died while it was telling us what to do: nothing has been started.
        return
    Supervisor(spec).run()
    # The proxy's thread is not waited for: what it served is gone.
    os._exit(0)
