"""The child process: reads one request at a time from stdin, does the job, writes the answer to stdout.

A message is a length of four bytes (big endian) and JSON. Request: `{"job", "place", "query", "cpu"}`; answer:
`{"ok": …}` or `{"error": {"class", "message", "hint"}}`. What hostile input can do here ends with
this process: memory and CPU time are limited, and the parent kills it when the time is up.
"""

import importlib
import os
import select
import struct
import sys
from io import FileIO
from typing import Any

import msgspec

from tawny import errors
from tawny.sources.place import (
    CalendarQuery,
    ContactQuery,
    DocumentQuery,
    EntriesQuery,
    FeedQuery,
    MailQuery,
    MessageQuery,
    NewEvent,
    NewTodo,
    PickQuery,
    Place,
    TodoQuery,
    WeatherQuery,
)

JOBS: dict[str, tuple[str, str, type[msgspec.Struct]]] = {
    "calendar.read": ("tawny.sources.calendars", "read", CalendarQuery),
    "calendar.add": ("tawny.sources.calendars", "add", NewEvent),
    "todo.read": ("tawny.sources.todos", "read", TodoQuery),
    "todo.add": ("tawny.sources.todos", "add", NewTodo),
    "mail.read": ("tawny.sources.mailboxes", "read", MailQuery),
    "feed.read": ("tawny.sources.feeds", "read", FeedQuery),
    "weather.read": ("tawny.sources.forecasts", "read", WeatherQuery),
    "contacts.read": ("tawny.sources.addressbooks", "read", ContactQuery),
    "page.pick": ("tawny.sources.extraction", "pick", PickQuery),
    "mail.parse": ("tawny.sources.mailboxes", "parse", MessageQuery),
    "feed.entries": ("tawny.sources.feeds", "entries", EntriesQuery),
    "document.read": ("tawny.sources.documents", "read", DocumentQuery),
}
"""Name of a job → module, function, and the struct of what is asked."""

MAX_MESSAGE = 64 * 1024 * 1024
_MEMORY = 1024 * 1024 * 1024
_IDLE_SECONDS = 30


class Request(msgspec.Struct):
    """One job. `cpu` is the CPU time it may use, in seconds."""

    job: str
    place: Place
    query: msgspec.Raw
    cpu: int = 30


def _limit_process() -> None:
    if sys.platform == "win32":
        return
    import resource  # noqa: PLC0415 - not there on Windows

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_MESSAGE, MAX_MESSAGE))


def _limit_job(seconds: int) -> None:
    """Allow `seconds` of CPU time from here on; the kernel ends the process after that."""
    if sys.platform == "win32":
        return
    import resource  # noqa: PLC0415 - not there on Windows

    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    allowed = int(used.ru_utime + used.ru_stime) + seconds + 1
    if hard == resource.RLIM_INFINITY or allowed < hard:
        resource.setrlimit(resource.RLIMIT_CPU, (allowed, hard))


def _do(request: Request) -> object:
    known = JOBS.get(request.job)
    if known is None:
        raise errors.PermanentError(f"there is no job {request.job!r}")
    module, function, query_type = known
    query = msgspec.json.decode(request.query, type=query_type)
    _limit_job(request.cpu)
    return getattr(importlib.import_module(module), function)(request.place, query)


def answer(body: bytes) -> dict[str, Any]:
    """What a request's bytes are answered with."""
    try:
        return {"ok": _do(msgspec.json.decode(body, type=Request))}
    except errors.TawnyError as error:
        name = type(error).__name__
        retry_after = getattr(error, "retry_after", None)
        said = {"class": name, "message": error.message, "hint": error.hint, "retry_after": retry_after}
        return {"error": said}
    except MemoryError:
        return {"error": {"class": "PermanentError", "message": "it needs more memory than is allowed"}}
    except Exception as error:  # noqa: BLE001 - strangers' parsers on strangers' data; the parent names the source
        words = f"{type(error).__name__}: {error}"[:300]
        return {"error": {"class": "PermanentError", "message": f"it cannot be read ({words})"}}


def _read_exactly(stream: FileIO, size: int) -> bytes | None:
    data = bytearray()
    while len(data) < size:
        chunk = stream.read(size - len(data))
        if not chunk:
            return None
        data += chunk
    return bytes(data)


def main() -> None:
    """Serve until stdin closes, or nothing has been asked for 30 seconds."""
    _limit_process()
    source = FileIO(os.dup(0), "rb")
    sink = os.fdopen(os.dup(1), "wb")
    # Whatever a library prints must not get into the protocol.
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    while select.select([source], [], [], _IDLE_SECONDS)[0]:
        head = _read_exactly(source, 4)
        if head is None:
            return
        (size,) = struct.unpack(">I", head)
        body = _read_exactly(source, size)
        if body is None:
            return
        reply = msgspec.json.encode(answer(body))
        sink.write(struct.pack(">I", len(reply)) + reply)
        sink.flush()


if __name__ == "__main__":
    main()
