"""To-dos out of todo.txt, and out of .ics with VTODO. Runs in the child that parses."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from tawny.clock import from_datetime
from tawny.domain.todos import Todo
from tawny.sources import todotxt
from tawny.sources.ics import calendars
from tawny.sources.place import Place, Reading, TodoQuery

_LETTERS = "AABBBCCCCD"


def read(place: Place, query: TodoQuery, data: list[bytes]) -> Reading[Todo]:
    """The to-dos of the place.

    Raises:
        PermanentError: it holds none that can be read.
    """
    problems: list[str] = []
    found: list[Todo] = []
    for text in data:
        if text.lstrip()[:15].upper() == b"BEGIN:VCALENDAR":
            found += _from_ics(text, place, problems)
        else:
            found += todotxt.parse(text, place, problems)
    chosen = tuple(todo for todo in found if query.done or not todo.done)
    return Reading(place.name, chosen, tuple(problems[:20]))


def _from_ics(text: bytes, place: Place, problems: list[str]) -> Iterator[Todo]:
    zone = ZoneInfo(place.zone)
    for calendar in calendars(text, place, problems):
        for part in calendar.subcomponents:
            if part.name != "VTODO":
                continue
            try:
                yield _todo(part, zone, place)
            except (ValueError, TypeError, AttributeError, KeyError, OverflowError) as error:
                title = str(part.get("SUMMARY", "a to-do"))
                problems.append(f"{place.label}: {title!r} cannot be read: {error}; correct it in the list")


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
