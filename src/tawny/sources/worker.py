"""The child process: reads one request at a time from stdin, does the job, writes the answer to stdout.

A message is a length of four bytes (big endian) and JSON. Request: `{"job", "place", "query", "found", "cpu"}`; answer:
`{"ok": …}` or `{"error": {"class", "message", "hint"}}`. What hostile input can do here ends with
this process: memory and CPU time are limited, and the parent kills it when the time is up.

A child that parses runs in the sandbox: it is started with `sealed`, and the first message is a filter of system calls
that it puts over itself before it reads anything else.
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
    Content,
    DocumentQuery,
    EntriesQuery,
    FeedQuery,
    Letters,
    MailQuery,
    MessageQuery,
    NewEvent,
    NewTodo,
    PickQuery,
    Place,
    TextQuery,
    TodoQuery,
    WeatherQuery,
)

FETCHING: dict[str, tuple[str, str, type[msgspec.Struct], Any]] = {
    "calendar.collect": ("tawny.sources.calendars", "collect", CalendarQuery, None),
    "calendar.before": ("tawny.sources.calendars", "before", NewEvent, None),
    "calendar.put": ("tawny.sources.calendars", "put", NewEvent, bytes),
    "todo.collect": ("tawny.sources.todos", "collect", TodoQuery, None),
    "todo.add": ("tawny.sources.todos", "add", NewTodo, None),
    "mail.collect": ("tawny.sources.mailboxes", "collect", MailQuery, None),
    "feed.collect": ("tawny.sources.fetch", "collect", FeedQuery, None),
    "weather.collect": ("tawny.sources.forecasts", "collect", WeatherQuery, None),
    "contacts.collect": ("tawny.sources.addressbooks", "collect", ContactQuery, None),
    "document.collect": ("tawny.sources.fetch", "collect", DocumentQuery, None),
}
"""Name of a job → module, function, the struct of what is asked, and the shape of what an earlier job has found.

These reach the network and the owner's files: they speak the protocols and bring bytes.
"""

PARSING: dict[str, tuple[str, str, type[msgspec.Struct], Any]] = {
    "calendar.parse": ("tawny.sources.ics", "read", CalendarQuery, list[bytes]),
    "calendar.write": ("tawny.sources.eventfile", "write", NewEvent, list[bytes]),
    "todo.parse": ("tawny.sources.todolist", "read", TodoQuery, list[bytes]),
    "mail.parse": ("tawny.sources.letters", "read", MailQuery, Letters),
    "mail.message": ("tawny.sources.letters", "parse", MessageQuery, None),
    "feed.parse": ("tawny.sources.feeds", "read", FeedQuery, Content),
    "feed.entries": ("tawny.sources.feeds", "entries", EntriesQuery, None),
    "weather.parse": ("tawny.sources.forecasts", "read", WeatherQuery, Content),
    "contacts.parse": ("tawny.sources.vcard", "read", ContactQuery, list[bytes]),
    "document.parse": ("tawny.sources.documents", "read", DocumentQuery, Content),
    "page.pick": ("tawny.sources.extraction", "pick", PickQuery, None),
    "page.text": ("tawny.sources.markup", "read", TextQuery, None),
}
"""These make sense of strangers' bytes: they reach nothing, and need nothing but the bytes."""

MAX_MESSAGE = 64 * 1024 * 1024
_MEMORY = 1024 * 1024 * 1024
_IDLE_SECONDS = 30
_NO_NEW_PRIVILEGES, _SECCOMP, _FILTER = 38, 22, 2


class Request(msgspec.Struct):
    """One job. `found` is what an earlier one answered; `cpu` the CPU time it may use, in seconds."""

    job: str
    place: Place
    query: msgspec.Raw
    found: msgspec.Raw = msgspec.Raw(b"null")
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


def seal(program: bytes) -> None:
    """Put a filter of system calls over this process, for good.

    Raises:
        OSError: the kernel does not take it.
    """
    if not program:
        return

    import ctypes  # noqa: PLC0415 - the gateway reads the tables above and seals nothing

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))

    libc = ctypes.CDLL(None, use_errno=True)
    filters = Program(len(program) // 8, program)
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) or libc.prctl(
        _SECCOMP, _FILTER, ctypes.byref(filters), 0, 0
    ):
        raise OSError(ctypes.get_errno(), "the filter of system calls is not taken")


def _do(request: Request) -> object:
    known = FETCHING.get(request.job) or PARSING.get(request.job)
    if known is None:
        raise errors.PermanentError(f"there is no job {request.job!r}")
    module, function, query_type, shape = known
    query = msgspec.json.decode(request.query, type=query_type)
    found = [] if shape is None else [msgspec.json.decode(request.found, type=shape)]
    _limit_job(request.cpu)
    return getattr(importlib.import_module(module), function)(request.place, query, *found)


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


def _message(source: FileIO) -> bytes | None:
    """The next message; `None` where there will be no more."""
    head = _read_exactly(source, 4)
    return None if head is None else _read_exactly(source, *struct.unpack(">I", head))


def main() -> None:
    """Serve until stdin closes, or nothing has been asked for 30 seconds."""
    _limit_process()
    source = FileIO(os.dup(0), "rb")
    sink = os.fdopen(os.dup(1), "wb")
    # Whatever a library prints must not get into the protocol.
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)

    def reply(said: dict[str, Any]) -> None:
        body = msgspec.json.encode(said)
        sink.write(struct.pack(">I", len(body)) + body)
        sink.flush()

    if sys.argv[1:] == ["sealed"]:
        program = _message(source)
        if program is None:
            return
        seal(program)
        reply({"ok": "sealed"})
    while select.select([source], [], [], _IDLE_SECONDS)[0]:
        body = _message(source)
        if body is None:
            return
        reply(answer(body))


if __name__ == "__main__":
    main()
