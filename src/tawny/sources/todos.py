"""To-dos: todo.txt files, .ics files with VTODO, and VTODO over CalDAV. Runs in the child process."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import icalendar

from tawny.clock import from_datetime
from tawny.domain.todos import Todo
from tawny.errors import PermanentError
from tawny.sources import dav, todotxt
from tawny.sources.fetch import fetch, path_of, read_file
from tawny.sources.ics import calendars
from tawny.sources.place import NewTodo, Place, Reading, TodoQuery, split

_LETTERS = "AABBBCCCCD"


def read(place: Place, query: TodoQuery) -> Reading[Todo]:
    """The to-dos of the place.

    Raises:
        TawnyError: the place does not answer or holds no to-dos.
    """
    problems: list[str] = []
    if dav.speaks(place):
        found = list(_from_ics(dav.search_todos(place, done=query.done), place, problems))
    else:
        data = fetch(place)
        if data.lstrip()[:15].upper() == b"BEGIN:VCALENDAR":
            found = list(_from_ics([data], place, problems))
        else:
            found = list(todotxt.parse(data, place, problems))
    chosen = tuple(todo for todo in found if query.done or not todo.done)
    return Reading(place.name, chosen, tuple(problems[:20]))


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


def _from_ics(data: list[bytes], place: Place, problems: list[str]) -> Iterator[Todo]:
    zone = ZoneInfo(place.zone)
    for text in data:
        for calendar in calendars(text, place, problems):
            for part in calendar.subcomponents:
                if part.name != "VTODO":
                    continue
                try:
                    yield _todo(part, zone, place)
                except (ValueError, TypeError, AttributeError, KeyError, OverflowError) as error:
                    title = str(part.get("SUMMARY", "a to-do"))
                    problems.append(
                        f"{place.label}: {title!r} cannot be read: {error}; correct it in the list"
                    )


def _todo(part: Any, zone: ZoneInfo, place: Place) -> Todo:
    due = part.get("DUE")
    if due is None and part.get("DTSTART") is not None and part.get("DURATION") is not None:
        moment: Any = part["DTSTART"].dt + part["DURATION"].dt
    else:
        moment = getattr(due, "dt", None)
    day, instant = None, None
    if isinstance(moment, datetime):
        aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)
        # Something due at midnight is due at the end of the day before.
        local = aware.astimezone(zone)
        day = (local - timedelta(microseconds=1)).date()
        instant = from_datetime(aware)
    elif moment is not None:
        day = moment
    status = str(part.get("STATUS", "")).upper()
    try:
        rank = int(part.get("PRIORITY", 0))
    except (TypeError, ValueError):
        rank = 0
    categories = part.get("CATEGORIES")
    return Todo(
        uid=str(part.get("UID", "")),
        title=str(part.get("SUMMARY", "")).strip()[:500] or "(no title)",
        done=status in ("COMPLETED", "CANCELLED") or part.get("COMPLETED") is not None,
        due=day,
        due_at=instant,
        priority=_LETTERS[rank] if 0 < rank < len(_LETTERS) else "",
        contexts=tuple(str(name) for name in getattr(categories, "cats", ())),
        list=place.name,
    )


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
