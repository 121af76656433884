"""To-dos: where they come from and go to, files and CalDAV. Runs in the child that fetches."""

from datetime import UTC, datetime
from typing import Any

import icalendar

from tawny.errors import PermanentError
from tawny.sources import dav, todotxt
from tawny.sources.fetch import fetch, path_of, read_file
from tawny.sources.place import NewTodo, Place, TodoQuery, split


def collect(place: Place, query: TodoQuery) -> list[bytes]:
    """The texts that hold the to-dos.

    Raises:
        TawnyError: the place does not answer, or lets nobody in.
    """
    return dav.search_todos(place, done=query.done) if dav.speaks(place) else [fetch(place)]


def add(place: Place, new: NewTodo) -> str:
    """Write a to-do; writing the same `uid` again does not make a second one. Returns the uid.

    Raises:
        PermanentError: the place cannot be written to.
    """
    if dav.speaks(place):
        dav.put(place, new.uid, _ics(new))
        return new.uid
    parts = split(place)
    if parts.scheme != "file":
        raise PermanentError(
            f"{place.label} can only be read: {parts.scheme} addresses take no new to-dos",
            hint="add a caldav:// list or a file",
        )
    path = path_of(place, parts)
    old = read_file(place, path) if path.exists() else b""
    if path.suffix.lower() == ".ics":
        raise PermanentError(f"{place.label}: {path.name} can only be read", hint="use a todo.txt file")
    line = todotxt.line(new)
    if todotxt.holds(old, new.uid):
        return new.uid
    scratch = path.with_name(path.name + ".tawny-new")
    gap = b"" if not old or old.endswith(b"\n") else b"\n"
    scratch.write_bytes(old + gap + line.encode() + b"\n")
    scratch.replace(path)
    return new.uid


def _ics(new: NewTodo) -> bytes:
    calendar: Any = icalendar.Calendar()
    calendar.add("prodid", "-//Tawny//Tawny//EN")
    calendar.add("version", "2.0")
    todo: Any = icalendar.Todo()
    todo.add("uid", new.uid)
    todo.add("summary", new.title)
    if new.due is not None:
        todo.add("due", new.due)
    if new.priority:
        todo.add("priority", {"A": 1, "B": 4, "C": 7}.get(new.priority, 9))
    if new.created is not None:
        todo.add("dtstamp", datetime(new.created.year, new.created.month, new.created.day, tzinfo=UTC))
    calendar.add_component(todo)
    data: bytes = calendar.to_ical()
    return data
