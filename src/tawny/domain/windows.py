"""Windows of the day, such as `22:00-06:00`, in which batch work may start."""

import re
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from tawny.clock import Instant, from_datetime, to_datetime
from tawny.errors import InvalidInput

_WINDOW = re.compile(r"(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})(?:\s*@\s*(\S+))?")


def parse_window(text: str, zone: str) -> tuple[time, time, ZoneInfo]:
    """Start, end and zone of `HH:MM-HH:MM` or `HH:MM-HH:MM@Zone`.

    Raises:
        InvalidInput: it is none.
    """
    match = _WINDOW.fullmatch(text.strip())
    try:
        if match is None:
            raise ValueError("not HH:MM-HH:MM")
        h1, m1, h2, m2, named = match.groups()
        start, end = time(int(h1), int(m1)), time(int(h2), int(m2))
        if start == end:
            raise ValueError("start and end are the same")
        return start, end, ZoneInfo(named or zone)
    except (ValueError, KeyError, OSError) as error:
        raise InvalidInput(
            f"window: {text!r} is no window of the day ({error})", hint="write it like 22:00-06:00"
        ) from error


def next_opening(text: str, *, zone: str, now: Instant) -> Instant:
    """`now` if the window is open, else when it opens next."""
    start, end, where = parse_window(text, zone)
    local = to_datetime(now, where)
    clock = local.timetz().replace(tzinfo=None)
    is_open = start <= clock < end if start < end else (clock >= start or clock < end)
    if is_open:
        return now
    opening = datetime.combine(local.date(), start, where)
    if from_datetime(opening) <= now:
        opening = datetime.combine(local.date() + timedelta(days=1), start, where)
    return max(from_datetime(opening), now)
