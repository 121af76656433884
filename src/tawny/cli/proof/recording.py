"""Everything a program does to the files of one folder, in order: a recording made by strace, read into operations."""

import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from tawny.errors import PermanentError

_CALLS = (
    "open,openat,creat,write,pwrite64,writev,pwritev,pwritev2,fsync,fdatasync,sync_file_range,truncate,ftruncate,"
    "fallocate,unlink,unlinkat,rename,renameat,renameat2,mkdir,mkdirat,rmdir,link,linkat,copy_file_range,sendfile,mmap"
)
_NOT_UNDERSTOOD = frozenset(
    {"writev", "pwritev", "pwritev2", "truncate", "fallocate", "copy_file_range", "sendfile"}
)
_LINE = re.compile(r"(\d+) +(.*)", re.DOTALL)
_UNFINISHED = re.compile(r"(\w+)\((.*?),? *<unfinished \.\.\.>$", re.DOTALL)
_RESUMED = re.compile(r"<\.\.\. (\w+) resumed>(.*)$", re.DOTALL)
_WHOLE = re.compile(r"(\w+)\((.*)\) += (-?\w+)(?:<([^>]*)>)?(?: .*)?$", re.DOTALL)
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')
_DESCRIPTOR = re.compile(r"^-?\w+<([^>]*)>")
_MOST = 64 * 1024 * 1024


class Op(msgspec.Struct, frozen=True):
    """One operation on a file or folder. What happened before `upto` (an index) is on the disk after a `sync`.

    `kind`: write · truncate · create · mkdir · unlink · link · rename · sync · fail (of a sync) · say (to the diary).
    """

    kind: str
    path: str
    offset: int = 0
    data: bytes = b""
    to: str = ""
    upto: int = 0


def record(argv: Sequence[str], folder: Path, *, diary: Path, inject: str = "") -> tuple[list[Op], int]:
    """Run a program and watch what it does below `folder`; the operations and its exit code.

    What it appends to `diary` (which lies elsewhere) becomes `say` operations: the order between what it says and
    what it writes is kept. `inject` is strace's, such as `fdatasync:error=EIO:when=9..12`.

    Raises:
        PermanentError: strace is not here, or saw a call that this reader does not understand.
    """
    strace = shutil.which("strace")
    if strace is None:
        raise PermanentError("the power-loss proof needs strace", hint="install strace (Linux)")
    trace = diary.with_suffix(".strace")
    command = [
        strace,
        "-f",
        "-y",
        "-xx",
        "-qq",
        "-s",
        str(_MOST),
        "-e",
        f"trace={_CALLS}",
        "-e",
        "signal=none",
    ]
    if inject:
        command += ["-e", f"inject={inject}"]
    done = subprocess.run([*command, "-o", str(trace), *argv], check=False)
    with trace.open(encoding="ascii") as lines:
        ops = list(_Reader(str(folder), str(diary)).read(lines))
    trace.unlink()
    return ops, done.returncode


class _Call(msgspec.Struct):
    """A call as it began; `args` is the text between the parentheses."""

    name: str
    args: str
    began: int


class _Reader:
    def __init__(self, folder: str, diary: str) -> None:
        self._folder = folder
        self._diary = diary
        self._count = 0
        self._offsets: dict[str, int] = {}
        self._sizes: dict[str, int] = {}
        self._open: dict[str, _Call] = {}

    def read(self, lines: Iterable[str]) -> Iterator[Op]:
        for line in lines:
            for op in self._line(line.rstrip("\n")):
                self._count += 1
                yield op

    def _line(self, line: str) -> Iterator[Op]:
        parted = _LINE.match(line)
        if parted is None:
            return
        pid, text = parted.groups()
        if match := _UNFINISHED.match(text):
            call = _Call(match.group(1), match.group(2), self._count)
            self._open[pid] = call
            # What is written may reach the disk from here on; what is synced is there only at the call's end.
            yield from self._began(call)
        elif match := _RESUMED.match(text):
            call = self._open.pop(pid)
            whole = _WHOLE.match(f"{call.name}({call.args}{match.group(2)}")
            if whole is not None:
                yield from self._ended(call, whole)
        elif match := _WHOLE.match(text):
            call = _Call(match.group(1), match.group(2), self._count)
            yield from self._began(call)
            yield from self._ended(call, match)

    def _began(self, call: _Call) -> Iterator[Op]:
        """Writes count from their beginning."""
        if call.name not in ("write", "pwrite64"):
            return
        path = self._descriptor(call.args)
        if path == self._diary:
            yield Op("say", self._diary, data=self._data(call.args))
        elif path is not None and self._is_ours(path):
            data = self._data(call.args)
            if call.name == "pwrite64":
                offset = int(call.args.rpartition(",")[2])
            else:
                offset = self._offsets.get(path, self._sizes.get(path, 0))
                self._offsets[path] = offset + len(data)
            self._sizes[path] = max(self._sizes.get(path, 0), offset + len(data))
            yield Op("write", path, offset=offset, data=data)

    def _ended(self, call: _Call, match: re.Match[str]) -> Iterator[Op]:
        result = match.group(3)
        if result.startswith("-") and call.name in ("fsync", "fdatasync"):
            if (path := self._descriptor(match.group(2))) is not None and self._is_ours(path):
                yield Op("fail", path, upto=call.began)
            return
        if result.startswith("-") or result == "?" or call.name in ("write", "pwrite64"):
            return
        args = match.group(2)
        if call.name in ("open", "openat", "creat"):
            yield from self._opened(args, _text(match.group(4) or ""))
        elif call.name in ("fsync", "fdatasync"):
            if (path := self._descriptor(args)) is not None and self._is_ours(path):
                yield Op("sync", path, upto=call.began)
        elif call.name == "ftruncate":
            if (path := self._descriptor(args)) is not None and self._is_ours(path):
                size = int(args.rpartition(",")[2])
                self._sizes[path] = size
                yield Op("truncate", path, offset=size)
        elif call.name == "mmap":
            path = _DESCRIPTOR.search(args.split(", ")[4])
            name = _text(path.group(1)) if path else ""
            if (
                self._is_ours(name)
                and "MAP_SHARED" in args
                and "PROT_WRITE" in args
                and not name.endswith("-shm")
            ):
                raise PermanentError(f"{name} is written through memory: this reader does not see that")
        elif named := [name for name in self._names(args) if self._is_ours(name)]:
            yield from self._named(call.name, named)

    def _opened(self, args: str, path: str) -> Iterator[Op]:
        if not self._is_ours(path):
            return
        if "O_CREAT" in args and path not in self._sizes:
            self._sizes[path] = 0
            yield Op("create", path)
        elif "O_TRUNC" in args:
            self._sizes[path] = 0
            yield Op("truncate", path, offset=0)
        self._offsets[path] = self._sizes.get(path, 0) if "O_APPEND" in args else 0

    def _named(self, name: str, paths: list[str]) -> Iterator[Op]:
        if name in _NOT_UNDERSTOOD:
            raise PermanentError(f"{name} on {paths[0]}: this reader does not understand it")
        if name.startswith("rename"):
            self._sizes[paths[1]] = self._sizes.pop(paths[0], 0)
            yield Op("rename", paths[0], to=paths[1])
        elif name.startswith("link"):
            self._sizes[paths[1]] = self._sizes.get(paths[0], 0)
            yield Op("link", paths[0], to=paths[1])
        elif name.startswith("mkdir"):
            yield Op("mkdir", paths[0])
        elif name.startswith(("unlink", "rmdir")):
            self._sizes.pop(paths[0], None)
            yield Op("unlink", paths[0])

    def _descriptor(self, args: str) -> str | None:
        match = _DESCRIPTOR.match(args)
        return None if match is None else _text(match.group(1))

    def _names(self, args: str) -> list[str]:
        """The paths of a call; a relative one is below the folder that the call names by a descriptor."""
        below = _DESCRIPTOR.match(args)
        names: list[str] = []
        for match in _STRING.finditer(args):
            name = _text(match.group(1))
            if not name.startswith("/"):
                if below is None:
                    raise PermanentError(
                        f"{name!r} is relative to nobody knows what: this reader needs whole paths"
                    )
                name = f"{_text(below.group(1))}/{name}"
            names.append(name)
        return names

    def _data(self, args: str) -> bytes:
        match = _STRING.search(args)
        if match is None or match.group(2):
            raise PermanentError("the recording cut a write short")
        return bytes.fromhex(match.group(1).replace("\\x", ""))

    def _is_ours(self, path: str) -> bool:
        return path == self._folder or path.startswith(self._folder + "/")


def _text(escaped: str) -> str:
    """A path as strace writes it with -xx."""
    return bytes.fromhex(escaped.replace("\\x", "")).decode() if escaped.startswith("\\x") else escaped
