"""Calendars: .ics from a file or over http(s), and CalDAV. Runs in the child process."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from icalendar import Calendar, Event

from tawny.clock import DAY, to_datetime
from tawny.domain.calendar import CalendarEvent
from tawny.errors import PermanentError
from tawny.sources import dav
from tawny.sources.fetch import fetch, path_of, read_file
from tawny.sources.ics import events
from tawny.sources.place import CalendarQuery, NewEvent, Place, Reading, split

_PRODUCT = "-//Tawny//Tawny//EN"


def read(place: Place, query: CalendarQuery) -> Reading[CalendarEvent]:
    """The instances that touch the query's span.

    Raises:
        TawnyError: the place does not answer, or holds no calendar at all.
    """
    if dav.speaks(place):
        start, end = to_datetime(query.start - DAY), to_datetime(query.end + DAY)
        data = dav.search_events(place, start, end)
    else:
        data = [fetch(place)]
    return events(data, query, place)


def add(place: Place, new: NewEvent) -> str:
    """Write an event; the same `uid` again replaces it. Returns the uid.

    Raises:
        PermanentError: the place cannot be written to.
    """
    if dav.speaks(place):
        dav.put(place, new.uid, _single(place, new).to_ical())
        return new.uid
    parts = split(place)
    if parts.scheme != "file":
        raise PermanentError(
            f"{place.label} can only be read: {parts.scheme} addresses take no new events",
            hint="add a caldav:// calendar or a file",
        )
    path = path_of(place, parts)
    calendar = _empty()
    if path.exists():
        loaded = Calendar.from_ical(read_file(place, path))
        assert isinstance(loaded, Calendar)
        calendar = loaded
    calendar.subcomponents[:] = [part for part in calendar.subcomponents if part.get("UID") != new.uid]
    calendar.add_component(_event(new, place))
    scratch = path.with_name(path.name + ".tawny-new")
    scratch.write_bytes(calendar.to_ical())
    scratch.replace(path)
    return new.uid


def _empty() -> Calendar:
    calendar: Any = Calendar()
    calendar.add("prodid", _PRODUCT)
    calendar.add("version", "2.0")
    return calendar


def _single(place: Place, new: NewEvent) -> Calendar:
    calendar = _empty()
    calendar.add_component(_event(new, place))
    return calendar


def _event(new: NewEvent, place: Place) -> Event:
    zone = ZoneInfo(place.zone)
    start, end = to_datetime(new.start, zone), to_datetime(new.end, zone)
    event: Any = Event()
    event.add("uid", new.uid)
    event.add("summary", new.title)
    if new.all_day:
        last = end.date() if end.date() > start.date() else start.date() + timedelta(days=1)
        event.add("dtstart", start.date())
        event.add("dtend", last)
    else:
        event.add("dtstart", start.astimezone(UTC))
        event.add("dtend", end.astimezone(UTC))
    # The time stamp is the event's own, so that writing it again writes the same bytes.
    event.add("dtstamp", datetime.fromtimestamp(new.start // 1_000_000, UTC))
    if new.location:
        event.add("location", new.location)
    if new.description:
        event.add("description", new.description)
    return event
