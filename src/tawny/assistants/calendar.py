"""The kind `read_calendar`: what is on in a span of days. Such tasks that run together ask each calendar once."""

from datetime import date, timedelta
from zoneinfo import ZoneInfo

import msgspec

from tawny.api import (
    CalendarEvent,
    Context,
    InvalidInput,
    Json,
    Kind,
    Origin,
    Reading,
    Result,
    Shelf,
    TawnyError,
    day_span,
    to_datetime,
)

_SPANS = ("today", "tomorrow", "week")
_LONGEST = 366


class ReadCalendar(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"start": "from", "end": "to"}
):
    """`span` is today, tomorrow or week (Monday to Sunday); or days `from` and `to`, both included."""

    span: str = "today"
    start: str = ""
    end: str = ""


def read_calendar(shelf: Shelf) -> Kind:
    """The kind over the calendars of `shelf`."""

    async def run(ctx: Context, params: ReadCalendar) -> Result:
        first, days = _days(params, to_datetime(ctx.clock.now(), shelf.zone).date())
        start, end = day_span(first, shelf.zone, days=days)
        events: list[CalendarEvent] = []
        missing: list[str] = []
        for name in shelf.names("calendar"):
            try:
                reading = await shelf.calendar(name, start, end)
            except TawnyError as error:
                missing.append(error.message)
                ctx.log(error.message, level="warning")
            else:
                events.extend(reading.items)
                _warn(ctx, reading)
        if events:
            ctx.add_origin(Origin(by="stranger", via="calendar", trusted=False))
        events.sort(key=lambda event: (event.start, event.end, event.title))
        return {
            "text": _text(events, shelf.zone, missing),
            "events": [_document(event, shelf.zone) for event in events],
            "missing": missing,
        }

    return Kind(
        name="read_calendar",
        params=ReadCalendar,
        run=run,
        speaks=True,
        description="What is on: today, tomorrow, this week, or from one day to another.",
        title=lambda params: f"Calendar: {params.span if not params.start else params.start}",
    )


def _warn(ctx: Context, reading: Reading[CalendarEvent]) -> None:
    for problem in reading.problems:
        ctx.log(problem, level="warning")


def _days(params: ReadCalendar, today: date) -> tuple[date, int]:
    """The first day and how many there are."""
    if not params.start:
        if params.span not in _SPANS:
            raise InvalidInput(
                f"span {params.span!r} is none", hint=f"one of {', '.join(_SPANS)}, or from and to"
            )
        if params.span == "week":
            return today - timedelta(days=today.weekday()), 7
        return today + timedelta(days=params.span == "tomorrow"), 1
    try:
        first = date.fromisoformat(params.start)
        last = date.fromisoformat(params.end) if params.end else first
    except ValueError as error:
        raise InvalidInput(f"from and to: {error}", hint="write days like 2026-03-02") from error
    if not 0 <= (last - first).days < _LONGEST:
        raise InvalidInput(f"from {first} to {last} is no span of at most a year", hint="give from before to")
    return first, (last - first).days + 1


def _text(events: list[CalendarEvent], zone: ZoneInfo, missing: list[str]) -> str:
    lines = [
        f"- {_when(event, zone)} {event.title}" + (f" ({event.location})" if event.location else "")
        for event in events
    ]
    return "\n".join([*(lines or ["Nothing scheduled."]), *(f"⚠️ {line}" for line in missing)])


def _when(event: CalendarEvent, zone: ZoneInfo) -> str:
    start = to_datetime(event.start, zone)
    return f"{start:%a %d %b} all day" if event.all_day else f"{start:%a %d %b %H:%M}"


def _document(event: CalendarEvent, zone: ZoneInfo) -> dict[str, Json]:
    return {
        "title": event.title,
        "start": to_datetime(event.start, zone).isoformat(),
        "end": to_datetime(event.end, zone).isoformat(),
        "all_day": event.all_day,
        "location": event.location,
        "calendar": event.calendar,
    }
