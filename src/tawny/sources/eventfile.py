"""A new event as iCalendar text, by itself or within a calendar's file. Runs in the child that parses."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from icalendar import Calendar, Event

from tawny.clock import to_datetime
from tawny.sources.place import NewEvent, Place

_PRODUCT = "-//Tawny//Tawny//EN"


def write(place: Place, new: NewEvent, before: list[bytes]) -> bytes:
    """The text to be stored: what is there `before`, with the event added or put in the place of its `uid`."""
    calendar = _empty()
    if before:
        loaded = Calendar.from_ical(before[0])
        assert isinstance(loaded, Calendar)
        calendar = loaded
    calendar.subcomponents[:] = [part for part in calendar.subcomponents if part.get("UID") != new.uid]
    calendar.add_component(_event(new, place))
    return calendar.to_ical()


def _empty() -> Calendar:
    calendar: Any = Calendar()
    calendar.add("prodid", _PRODUCT)
    calendar.add("version", "2.0")
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
