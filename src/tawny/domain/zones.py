"""Time zones and the days on which clocks change: wall times become instants by Debian's rule.

A wall time that does not exist (the gap) happens once, at the first valid minute; one that exists twice (the fold)
happens once, the first time. Expressions with a wildcard in minute or hour follow elapsed time instead: nothing is
moved out of a gap, and both passes of a fold count.
"""

import bisect
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tawny.clock import SECOND, Instant, to_datetime
from tawny.errors import InvalidInput

NextWall = Callable[[datetime], datetime | None]
"""The first matching naive wall time at or after the given one."""

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - a wall time
_ONE = timedelta(seconds=1)
_DAY = 86_400


@lru_cache(maxsize=256)
def load(name: str) -> ZoneInfo:
    """The zone of that IANA name.

    Raises:
        InvalidInput: there is none.
    """
    try:
        if not name:
            raise ValueError
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidInput(
            f"timezone: {name!r} is no time zone", hint="use an IANA name such as Europe/Berlin"
        ) from error


def wall(instant: Instant, zone: ZoneInfo) -> datetime:
    """The naive wall time of an instant."""
    return to_datetime(instant, zone).replace(tzinfo=None)


def _offset(seconds: int, zone: ZoneInfo) -> int:
    moment = datetime.fromtimestamp(seconds, UTC).astimezone(zone)
    offset = moment.utcoffset()
    assert offset is not None
    return offset.days * _DAY + offset.seconds


@lru_cache(maxsize=4096)
def changes(zone: ZoneInfo, year: int) -> tuple[tuple[int, int, int], ...]:
    """The changes of offset in a UTC year: (seconds since the epoch, offset before, offset after), all in seconds."""
    start = (date(year, 1, 1) - _EPOCH.date()).days * _DAY
    end = start + 366 * _DAY
    found: list[tuple[int, int, int]] = []
    before = _offset(start - 1, zone)
    for day in range(start, min(end, 253_402_200_000), _DAY):
        after = _offset(day + _DAY - 1, zone)
        if after != before:
            low, high = day - 1, day + _DAY - 1
            while high - low > 1:
                middle = (low + high) // 2
                if _offset(middle, zone) == before:
                    low = middle
                else:
                    high = middle
            found.append((high, before, after))
            before = after
    return tuple(found)


def first_change(zone: ZoneInfo, after: int, until: int) -> tuple[int, int, int] | None:
    """The first change of offset in (after, until], seconds since the epoch."""
    for year in range(
        datetime.fromtimestamp(after, UTC).year,
        min(datetime.fromtimestamp(min(until, 253_402_200_000), UTC).year, 9998) + 1,
    ):
        listed = changes(zone, year)
        at = bisect.bisect_right(listed, (after, 1 << 60, 0))
        if at < len(listed):
            return listed[at] if listed[at][0] <= until else None
    return None


def to_instant(moment: datetime, zone: ZoneInfo) -> Instant:
    """When a naive wall time happens: its first pass, or the first valid minute where it lies in a gap."""
    aware = moment.replace(tzinfo=zone, fold=0)
    instant = _instant(aware)
    if wall(instant, zone) == moment:
        return instant
    seconds = instant // SECOND
    change = first_change(zone, seconds - 2 * _DAY, seconds + 2 * _DAY)
    while change is not None:
        at, before, after = change
        if at + before <= _naive_seconds(moment) < at + after:
            return -(-at // 60) * 60 * SECOND
        change = first_change(zone, at, seconds + 2 * _DAY)
    return instant


def next_fixed(walls: NextWall, zone: ZoneInfo, after: Instant) -> Instant | None:
    """The first instant after `after` of wall times that each happen exactly once."""
    candidate = walls(wall(after, zone).replace(microsecond=0))
    while candidate is not None:
        instant = to_instant(candidate, zone)
        if instant > after:
            return instant
        candidate = walls(candidate + _ONE)
    return None


def next_elapsed(walls: NextWall, zone: ZoneInfo, after: Instant) -> Instant | None:
    """The first instant after `after` whose wall time matches, whatever the clocks do."""
    start = after // SECOND + 1
    while True:
        offset = _offset(start, zone)
        candidate = walls(_EPOCH + timedelta(seconds=start + offset))
        if candidate is None:
            return None
        found = _naive_seconds(candidate) - offset
        change = first_change(zone, start, found)
        if change is None:
            return found * SECOND
        start = change[0]


def _naive_seconds(moment: datetime) -> int:
    delta = moment - _EPOCH
    return delta.days * _DAY + delta.seconds


def _instant(aware: datetime) -> Instant:
    delta = aware.astimezone(UTC).replace(tzinfo=None) - _EPOCH
    return (delta.days * _DAY + delta.seconds) * SECOND + delta.microseconds
