"""iCalendar bytes to instances of events: recurrence, exceptions, moved instances, zones. For the child that parses."""

import codecs
import re
from collections.abc import Iterable, Iterator
from datetime import date, datetime, time, timedelta
from typing import Any, cast
from zoneinfo import ZoneInfo

import recurring_ical_events  # pyright: ignore[reportMissingTypeStubs]
from icalendar import Calendar

from tawny.clock import from_datetime, to_datetime
from tawny.domain.calendar import CalendarEvent, is_within
from tawny.domain.charsets import decoded, is_utf8
from tawny.errors import PermanentError
from tawny.sources.place import CalendarQuery, Place, Reading

_MOST_INSTANCES = 5_000
_MOST_PROBLEMS = 20
_TEXT = 4_000
_SINGLE = ("UID", "SUMMARY", "DTSTART", "DTEND", "DUE", "DURATION", "RECURRENCE-ID", "STATUS", "LOCATION")
_UNREAD = ("DTSTAMP", "CREATED", "LAST-MODIFIED", "GEO", "SEQUENCE", "ATTACH", "PERCENT-COMPLETE")
_RECURS = ("RRULE", "RDATE", "EXRULE", "RECURRENCE-ID")


def read(place: Place, query: CalendarQuery, data: list[bytes]) -> Reading[CalendarEvent]:
    """The instances that touch the query's span.

    Raises:
        PermanentError: a text is no iCalendar at all.
    """
    return events(data, query, place)


def events(data: Iterable[bytes], query: CalendarQuery, place: Place) -> Reading[CalendarEvent]:
    """The instances within the query's span out of iCalendar texts; what cannot be read becomes a problem.

    Raises:
        PermanentError: a text is no iCalendar at all.
    """
    zone = ZoneInfo(place.zone)
    start = to_datetime(query.start, zone) - timedelta(days=1)
    end = to_datetime(query.end, zone) + timedelta(days=1)
    found: list[CalendarEvent] = []
    problems: list[str] = []
    for text in data:
        for calendar in calendars(text, place, problems):
            for series in _by_uid(calendar):
                found.extend(_instances(series, start, end, place, problems))
    chosen = [event for event in found if is_within(event, query.start, query.end)]
    chosen.sort(key=lambda event: (event.start, event.end, event.title))
    return Reading(place.name, tuple(chosen[:_MOST_INSTANCES]), tuple(problems[:_MOST_PROBLEMS]))


def calendars(text: bytes, place: Place, problems: list[str]) -> list[Calendar]:
    """The calendars in a text: whole where it is sound, else what can be saved of it, component by component.

    Raises:
        PermanentError: it is no iCalendar.
    """
    text = _tidied(text)
    if b"BEGIN:VCALENDAR" not in text.upper():
        raise PermanentError(
            f"{place.label}: this is no iCalendar file (it has no BEGIN:VCALENDAR)",
            hint="export the calendar as .ics, or correct the source's url",
        )
    try:
        found = Calendar.from_ical(text, multiple=True)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        found = []
    if len(found) < text.upper().count(b"BEGIN:VCALENDAR"):
        # A component that never ends swallows what follows it.
        return [_salvage(text.decode("utf-8", "replace"), place, problems)]
    for calendar in found:
        for part in calendar.subcomponents:
            _leave_out_broken(part, place, problems)
    return found


_TIMED = re.compile(
    rb"^((?:DTSTART|DTEND|DUE|DURATION|RRULE|EXDATE|RDATE|EXRULE|RECURRENCE-ID)"
    rb'(?:;[^:\r\n"]*(?:"[^"\r\n]*"[^:\r\n"]*)*)?:)([^\r\n]*)',
    re.MULTILINE | re.IGNORECASE,
)
_DASHED = re.compile(rb"(\d{4})-(\d\d)-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d))?)?(?=Z?(?:[,/\r\n]|$))")


def _tidied(text: bytes) -> bytes:
    """In UTF-8 with line ends, and without the blanks and dashes that some programs write into times and rules."""
    if not is_utf8(text) or text.startswith(codecs.BOM_UTF8):
        text = decoded(text).encode("utf-8", "replace")
    if b"\n" not in text:
        text = text.replace(b"\r", b"\r\n")
    return _TIMED.sub(_tidied_line, text)


def _tidied_line(match: re.Match[bytes]) -> bytes:
    return match[1] + _DASHED.sub(_compact, match[2]).replace(b" ", b"")


def _compact(match: re.Match[bytes]) -> bytes:
    year, month, day, hour, minute, second = match.groups()
    return year + month + day + (b"" if hour is None else b"T" + hour + minute + (second or b"00"))


def _leave_out_broken(part: Any, place: Place, problems: list[str]) -> None:
    """Take the properties that cannot be read out of a component, and say so: the rest of it is good."""
    broken: list[tuple[str | None, str]] = list(part.errors)
    for name, why in broken:
        if name in _UNREAD:
            part.pop(name, None)
            continue
        title = str(part.get("SUMMARY", "") or part.get("UID", "without a title"))
        problems.append(f"{place.label}: {title!r} has a {name or 'line'} that cannot be read: {why}")
        if name:
            part.pop(name, None)
    if part.name in ("VEVENT", "VTODO"):
        for why in _mend(part):
            title = str(part.get("SUMMARY", "") or part.get("UID", "without a title"))
            problems.append(f"{place.label}: {title!r} {why}")


def _mend(part: Any) -> Iterator[str]:
    """Make what can be read, but means nothing, harmless; a line for each."""
    for name in _SINGLE:
        if isinstance(part.get(name), list):
            part[name] = part[name][0]
            yield f"has {name} more than once, the first counts"
    for rule in _listed(part.get("RRULE", [])):
        scale = str(next(iter(_listed(rule.get("RSCALE", []))), "GREGORIAN")).upper()
        if scale == "GREGORIAN":
            # What is left out without saying so is the default, which is all that can be followed.
            for name in ("RSCALE", "SKIP"):
                rule.pop(name, None)
        else:
            del part["RRULE"]
            yield f"recurs by the {scale.lower()} calendar, which is not followed: only its first day is shown"
            break
    dates = [one.dt for entry in _listed(part.get("RDATE", [])) for one in getattr(entry, "dts", [])]
    if any(isinstance(value, time) for value in dates):
        del part["RDATE"]
        yield "has an RDATE that is no day: only its regular days are shown"


_BLOCK = re.compile(
    r"^BEGIN:(VEVENT|VTODO|VTIMEZONE)\r?$.*?^END:\1\r?$", re.MULTILINE | re.DOTALL | re.IGNORECASE
)
_OPEN = re.compile(r"^BEGIN:(VEVENT|VTODO)\r?$", re.MULTILINE | re.IGNORECASE)


def _salvage(text: str, place: Place, problems: list[str]) -> Calendar:
    """Every component that can be read on its own; a problem with its line for each that cannot."""
    saved = Calendar()
    closed: set[int] = set()
    for match in _BLOCK.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        block = match.group(0)
        closed.add(match.start())
        # An event that never ends swallows the next one's beginning: what stands last is whole.
        inner = block.upper().rfind(f"BEGIN:{match.group(1).upper()}")
        if inner > 0:
            closed.add(match.start() + inner)
            problems.append(f"{place.label}: line {line}: {match.group(1)} has no END and is left out")
            block = block[inner:]
        try:
            wrapped = Calendar.from_ical(f"BEGIN:VCALENDAR\r\n{block}\r\nEND:VCALENDAR\r\n")
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            problems.append(
                f"{place.label}: line {line}: {match.group(1)} left out: {error}; correct it there"
            )
            continue
        for part in wrapped.subcomponents:
            _leave_out_broken(part, place, problems)
            saved.add_component(part)
    for match in _OPEN.finditer(text):
        if match.start() not in closed and not any(
            b.start() <= match.start() < b.end() for b in _BLOCK.finditer(text)
        ):
            line = text.count("\n", 0, match.start()) + 1
            problems.append(f"{place.label}: line {line}: {match.group(1)} has no END and is left out")
    return saved


def _by_uid(calendar: Calendar) -> Iterator[Calendar]:
    """One calendar for each series, so that a bad one costs itself alone; zones go with each."""
    groups: dict[str, list[Any]] = {}
    zones: list[Any] = []
    for number, part in enumerate(calendar.subcomponents):
        if part.name == "VTIMEZONE":
            zones.append(part)
        elif part.name == "VEVENT":
            groups.setdefault(str(part.get("UID") or f"#{number}"), []).append(part)
    for parts in groups.values():
        single = Calendar()
        for name in ("X-WR-TIMEZONE",):
            if name in calendar:
                single[name] = calendar[name]
        for part in (*zones, *parts):
            single.add_component(part)
        yield single


def _instances(
    series: Calendar, start: datetime, end: datetime, place: Place, problems: list[str]
) -> Iterator[CalendarEvent]:
    zone = ZoneInfo(place.zone)
    parts = [part for part in series.subcomponents if part.name == "VEVENT"]
    title = str(parts[0].get("SUMMARY", "") or parts[0].get("UID", "an event without a title"))
    if not any("DTSTART" in part for part in parts):
        problems.append(f"{place.label}: {title!r} has no DTSTART and is left out")
        return
    try:
        frequency = next((often for part in parts if (often := _frequency(part))), "")
        if frequency:
            problems.append(f"{place.label}: {title!r} recurs {frequency.lower()}, which is left out")
            return
        if _takes_place_once(parts) and "X-WR-TIMEZONE" not in series:
            found = parts  # most events do: no need for the machinery of recurrence
        else:
            found = _recurring(series, parts, (start, end), problems, f"{place.label}: {title!r}")
        for part in found:
            if event := _event(part, zone, place):
                yield event
    except Exception as error:  # noqa: BLE001 - strangers' parsers on strangers' data: a series costs itself alone
        problems.append(f"{place.label}: {title!r} cannot be read: {error}; correct it in the calendar")


def _recurring(
    series: Calendar, parts: list[Any], span: tuple[datetime, datetime], problems: list[str], label: str
) -> list[Any]:
    try:
        found: list[Any] = recurring_ical_events.of(series).between(*span)
    except Exception as error:  # noqa: BLE001 - as below; what a rule means nobody knows, the first day is still there
        problems.append(f"{label} recurs in a way that cannot be read ({error}): only its first day is shown")
        return parts
    return found


def _takes_place_once(parts: list[Any]) -> bool:
    return len(parts) == 1 and not any(name in parts[0] for name in _RECURS)


def _frequency(part: Any) -> str:
    """The frequency that no sane calendar has, empty for all others."""
    for rule in _listed(part.get("RRULE", [])):
        for value in _listed(rule.get("FREQ", [])):
            if str(value).upper() in ("SECONDLY", "MINUTELY"):
                return str(value).upper()
    return ""


def _listed(value: Any) -> list[Any]:
    """What is given once or several times, as a list."""
    return cast(list[Any], value) if isinstance(value, list) else [value]


def _event(part: Any, zone: ZoneInfo, place: Place) -> CalendarEvent | None:
    begin = part.get("DTSTART")
    if begin is None:
        return None
    first: date | datetime = begin.dt
    begun, ended = _instant(first, zone), _instant(_end(part, first), zone)
    is_all_day = not isinstance(first, datetime)
    if is_all_day and ended <= begun:
        ended = _instant(first + timedelta(days=1), zone)  # many write the same day twice
    status = str(part.get("STATUS", "CONFIRMED")).lower()
    if status == "cancelled":
        return None
    return CalendarEvent(
        uid=str(part.get("UID", "")),
        title=_text(part, "SUMMARY", 500) or "(no title)",
        start=begun,
        end=max(begun, ended),
        all_day=is_all_day,
        location=_text(part, "LOCATION", 500),
        description=_text(part, "DESCRIPTION", _TEXT),
        organizer=str(part.get("ORGANIZER", "")).removeprefix("mailto:").removeprefix("MAILTO:"),
        attendees=tuple(_attendees(part)),
        status=status,
        url=str(part.get("URL", "")),
        calendar=place.name,
    )


def _end(part: Any, first: date | datetime) -> date | datetime:
    if (end := part.get("DTEND")) is not None:
        return end.dt
    if (duration := part.get("DURATION")) is not None:
        return first + duration.dt
    return first if isinstance(first, datetime) else first + timedelta(days=1)


def _instant(value: date | datetime, zone: ZoneInfo) -> int:
    """A day begins at the owner's midnight; a time without a zone is the owner's."""
    if not isinstance(value, datetime):
        value = datetime.combine(value, time.min)
    return from_datetime(value if value.tzinfo is not None else value.replace(tzinfo=zone))


def _text(part: Any, name: str, limit: int) -> str:
    return str(part.get(name, "")).strip()[:limit]


def _attendees(part: Any) -> Iterator[str]:
    for one in _listed(part.get("ATTENDEE", [])):
        yield str(one).removeprefix("mailto:").removeprefix("MAILTO:").lower()
