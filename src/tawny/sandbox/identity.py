"""What a program or a file is right now: where it really lies, and its content's hash."""

import hashlib
import os
import time
from collections.abc import Iterable
from pathlib import Path

from tawny.domain.commands import Binary
from tawny.errors import NotFound
from tawny.sandbox.place import find_program

_MOST_FILES = 64
_DEEPEST = 4
"""As many scripts run scripts as the kernel lets them."""
_LINE = 256
"""The bytes of a first line that the kernel looks at."""
_LARGEST = 32 * 1024 * 1024
"""Bytes that are hashed at most, as nothing else happens meanwhile: some 25 ms, once for each state of a file."""
_SETTLED = 2_000_000_000
"""Nanoseconds after which a changed file's times have certainly moved on: before that nothing is remembered of it."""

_known: dict[tuple[str, int, int, int, int, int], str] = {}


def find_binary(name: str, cwd: Path) -> Binary | None:
    """The program behind a name as it is on the disk now."""
    try:
        path = os.path.realpath(find_program(name, cwd))
        status = os.stat(path)
    except (NotFound, OSError):
        return None
    return Binary(path, status.st_dev, status.st_ino, digest(path))


def files_among(words: Iterable[str], cwd: Path) -> tuple[tuple[str, str], ...]:
    """The files that the words name, as they are or behind an option's `=`, each with its hash."""
    found: dict[str, str] = {}
    for word in words:
        for name in (word, word.partition("=")[2]):
            if name and "\0" not in name and len(found) < _MOST_FILES:
                path = os.path.realpath(cwd / name)
                if os.path.isfile(path):
                    found[path] = digest(path)
    return tuple(sorted(found.items()))


def behind(path: str, cwd: Path) -> tuple[tuple[str, str], ...]:
    """The interpreters that a script's first line names, and those of theirs, each with its hash: they run with it."""
    found: dict[str, str] = {}
    for _ in range(_DEEPEST):
        interpreter = _interpreter(path, cwd)
        if interpreter is None or interpreter in found:
            break
        found[interpreter] = digest(interpreter)
        path = interpreter
    return tuple(sorted(found.items()))


def _interpreter(path: str, cwd: Path) -> str | None:
    try:
        with open(path, "rb") as file:
            head = file.read(_LINE)
    except OSError:
        return None
    if not head.startswith(b"#!"):
        return None
    words = head[2:].split(b"\n", 1)[0].decode(errors="surrogateescape").split()
    name = words[0] if words else ""
    if os.path.basename(name) == "env":
        # env finds the program itself: behind its options and what it is to set.
        name = next((word for word in words[1:] if not word.startswith("-") and "=" not in word), "")
    try:
        return os.path.realpath(find_program(name, cwd)) if name and "\0" not in name else None
    except NotFound:
        return None


def digest(path: str) -> str:
    """SHA-256 of the file's content; of one that is too large or cannot be read, what the disk says of it.

    The latter has the time of the last change in it, which the kernel sets and no program can.
    """
    try:
        status = os.stat(path)
    except OSError:
        return ""
    key = (path, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    if key in _known:
        return _known[key]
    try:
        if status.st_size > _LARGEST:
            raise OSError
        with open(path, "rb") as file:
            made = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return "unread:" + hashlib.sha256(repr(key).encode()).hexdigest()
    if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > _SETTLED:
        if len(_known) > 1000:
            _known.clear()
        _known[key] = made
    return made
