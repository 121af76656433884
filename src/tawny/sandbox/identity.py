"""What a program or a file is right now: where it really lies, and its content's hash."""

import os
from collections.abc import Iterable
from pathlib import Path

from tawny.domain.commands import Binary
from tawny.errors import NotFound
from tawny.sandbox.held import digest
from tawny.sandbox.place import find_program

_MOST_FILES = 64
_DEEPEST = 4
"""As many scripts run scripts as the kernel lets them."""
_LINE = 256
"""The bytes of a first line that the kernel looks at."""


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
                    # By the name that is used, too: a link among its parts may be exchanged as well as the file.
                    for each in (path, os.path.normpath(cwd / name)):
                        found[each] = digest(each)
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
