"""Events of a calendar, and which of them fall into a span of time."""

from collections.abc import Iterable
from datetime import date, datetime, time, timedelta, tzinfo

import msgspec

from tawny.clock import Instant, from_datetime


class CalendarEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One instance of an event: a recurring one appears once for each time it takes place.

    `end` is exclusive. An all-day event runs from midnight to midnight in the owner's zone, wherever it was made.
    `status` is confirmed, tentative or cancelled. `calendar` is the name of the source.
    """

    uid: str
    title: str
    start: Instant
    end: Instant
    all_day: bool = False
    location: str = ""
    description: str = ""
    organizer: str = ""
    attendees: tuple[str, ...] = ()
    status: str = "confirmed"
    url: str = ""
    calendar: str = ""


def day_span(day: date, zone: tzinfo, *, days: int = 1) -> tuple[Instant, Instant]:
    """From the midnight that begins `day` to the one that ends the last of `days` days, in `zone`."""
    start = datetime.combine(day, time.min, zone)
    end = datetime.combine(day + timedelta(days=days), time.min, zone)
    return from_datetime(start), from_datetime(end)


def is_within(event: CalendarEvent, start: Instant, end: Instant) -> bool:
    """Whether the event touches [start, end); one without length counts where it begins."""
    if event.end <= event.start:
        return start <= event.start < end
    return event.start < end and event.end > start


def within(events: Iterable[CalendarEvent], start: Instant, end: Instant) -> tuple[CalendarEvent, ...]:
    """The events that touch [start, end), in the order people read them: all-day first, then by time."""
    chosen = [event for event in events if is_within(event, start, end)]
    return tuple(sorted(chosen, key=lambda event: (not event.all_day, event.start, event.end, event.title)))
