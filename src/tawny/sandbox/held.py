"""What a yes, or the allow-list, was given for: files with their content, looked at again directly before the start."""

import hashlib
import os
import time
from collections.abc import Iterable
from contextvars import ContextVar

HELD: ContextVar[tuple[str, ...]] = ContextVar("held", default=())
"""`PATH sha256:DIGEST` of what was decided on, from the door down to whoever starts a command for it."""
_MARK = " sha256:"
_LARGEST = 32 * 1024 * 1024
"""Bytes that are hashed at most, as nothing else happens meanwhile: some 25 ms, once for each state of a file."""
_SETTLED = 2_000_000_000
"""Nanoseconds after which a changed file's times have certainly moved on: before that nothing is remembered of it."""

_known: dict[tuple[str, int, int, int, int, int], str] = {}


def exchanged(held: Iterable[str]) -> str | None:
    """The first file that is no longer what was decided on."""
    for text in held:
        path, mark, wanted = text.rpartition(_MARK)
        if mark and digest(path) != wanted:
            return path
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
