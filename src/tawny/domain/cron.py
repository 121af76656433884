"""Cron expressions as croner's OCPS 1.4 reads them: 5 fields, 6 with seconds in front, 7 with the year at the end.

Each field is a set of bits, so that the next match is found by shifts and not by trying. Two deliberate readings:
`?` is the same as `*` everywhere, also where it decides between day-of-month and day-of-week; and a list element is
checked strictly (`5L` as a day of the month is refused, not read as "5 and the last").
"""

import calendar
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import lru_cache

import msgspec

from tawny.errors import InvalidInput

EXAMPLE = "0 8 * * 1-5"

_NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_MONTHS = {
    name: n
    for n, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), start=1
    )
}
_WEEKDAYS = {name: n for n, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}

_LAST = 1 << 5
_EVERY = (1 << 6) - 1
# A calendar repeats after 400 years: what does not match within them never does.
_HORIZON = 400


class Field(msgspec.Struct, frozen=True):
    """One field's name, range and names; `size` bounds a step, as croner has it."""

    name: str
    low: int
    high: int
    size: int
    example: str
    names: dict[str, int] = {}


_SECOND = Field("second", 0, 59, 60, "0 or */10")
_MINUTE = Field("minute", 0, 59, 60, "30 or */15")
_HOUR = Field("hour", 0, 23, 24, "8 or 9-17")
_DAY = Field("day of month", 1, 31, 31, "1, L, LW or 15W")
_MONTH = Field("month", 1, 12, 12, "1-3 or JAN", _MONTHS)
_WEEKDAY = Field("day of week", 0, 7, 7, "1-5, MON, FRI#2 or FRIL", _WEEKDAYS)
_YEAR = Field("year", 1, 9999, 10_000, "2027 or 2027-2030")


class Cron(msgspec.Struct, frozen=True, kw_only=True):
    """A parsed expression. Bit n of a mask stands for the value n; `weekdays` holds a mask of occurrences per day.

    `elapsed` says that minute or hour is a wildcard: such an expression follows elapsed time when clocks change,
    the others follow the wall clock, once (Debian's rule; applied in `tawny.domain.zones`).
    """

    expression: str
    seconds: int
    minutes: int
    hours: int
    days: int
    last_day: bool
    last_weekday: bool
    nearest: int
    any_day: bool
    months: int
    weekdays: tuple[int, ...]
    any_weekday: bool
    both_days: bool
    years: frozenset[int] | None
    elapsed: bool

    def matches(self, wall: datetime) -> bool:
        """Whether the naive wall time, cut to the second, is one of this expression's."""
        return self.next_wall(wall.replace(microsecond=0)) == wall.replace(microsecond=0)

    def next_wall(self, start: datetime) -> datetime | None:
        """The first naive wall time at or after `start` that matches; `None` where there is none (any more)."""
        if start.microsecond:
            start = start.replace(microsecond=0) + timedelta(seconds=1)
        time = self._time_from(start.hour, start.minute, start.second)
        first = True
        for year, month, days in self._months_from(start.year, start.month):
            if first:
                first = False
                if (year, month) == (start.year, start.month):
                    if time is not None and days >> start.day & 1:
                        return datetime(year, month, start.day, *time)  # noqa: DTZ001 - a wall time
                    days &= -2 << start.day
            if days:
                return datetime(year, month, _lowest(days), *self._first_time())  # noqa: DTZ001 - a wall time
        return None

    def _first_time(self) -> tuple[int, int, int]:
        return _lowest(self.hours), _lowest(self.minutes), _lowest(self.seconds)

    def _time_from(self, hour: int, minute: int, second: int) -> tuple[int, int, int] | None:
        """The first time of day at or after the given one, `None` when the day has none left."""
        if self.hours >> hour & 1:
            if self.minutes >> minute & 1 and (seconds := self.seconds >> second):
                return hour, minute, second + _lowest(seconds)
            if minutes := self.minutes & (-2 << minute):
                return hour, _lowest(minutes), _lowest(self.seconds)
        if hours := self.hours & (-2 << hour):
            return _lowest(hours), _lowest(self.minutes), _lowest(self.seconds)
        return None

    def _months_from(self, year: int, month: int) -> Iterator[tuple[int, int, int]]:
        """Months that may match, with the mask of their matching days."""
        for current in range(year, min(self._last_year(year), 9999) + 1):
            if self.years is not None and current not in self.years:
                continue
            for number in range(month if current == year else 1, 13):
                if self.months >> number & 1:
                    yield current, number, self._days(current, number)

    def _last_year(self, year: int) -> int:
        return year + _HORIZON if self.years is None else max(self.years)

    def _days(self, year: int, month: int) -> int:
        first, length = calendar.monthrange(year, month)
        # calendar counts from Monday, cron from Sunday
        return _days_of(self, (first + 1) % 7, length)


@lru_cache(maxsize=4096)
def _days_of(cron: Cron, first: int, length: int) -> int:
    """The mask of matching days in a month of `length` days whose first is weekday `first` (0 = Sunday)."""
    whole = ((1 << length) - 1) << 1
    chosen = cron.days & whole
    if cron.last_day:
        chosen |= 1 << length
    if cron.last_weekday:
        weekday = (first + length - 1) % 7
        chosen |= 1 << (length - {0: 2, 6: 1}.get(weekday, 0))
    for day in range(1, length + 1):
        if cron.nearest >> day & 1:
            chosen |= 1 << _nearest_weekday(day, (first + day - 1) % 7, length)
    if cron.any_weekday:
        return chosen
    named = 0
    for day in range(1, length + 1):
        occurrences = cron.weekdays[(first + day - 1) % 7]
        if occurrences >> ((day - 1) // 7) & 1 or (occurrences & _LAST and day + 7 > length):
            named |= 1 << day
    if cron.both_days or cron.any_day:
        return chosen & named
    return chosen | named


def _nearest_weekday(day: int, weekday: int, length: int) -> int:
    """The working day nearest to `day`, never leaving the month."""
    if weekday == 0:
        return day - 2 if day == length else day + 1
    if weekday == 6:
        return day + 2 if day == 1 else day - 1
    return day


def _lowest(mask: int) -> int:
    return (mask & -mask).bit_length() - 1


@lru_cache(maxsize=2048)
def parse(expression: str) -> Cron:
    """Read an expression.

    Raises:
        InvalidInput: names the field and a correct example.
    """
    text = expression.strip()
    if text.startswith("@"):
        if (known := _NICKNAMES.get(text.lower())) is None:
            raise InvalidInput(
                f"cron: {text!r} is no nickname",
                hint=f"use one of {', '.join(_NICKNAMES)}",
            )
        text = known
    parts = text.split()
    if not 5 <= len(parts) <= 7:
        raise InvalidInput(
            f"cron: {expression!r} has {len(parts)} fields, not 5, 6 or 7",
            hint=f"minute hour day month weekday, for example {EXAMPLE!r}",
        )
    if len(parts) == 5:
        parts.insert(0, "0")
    if len(parts) == 6:
        parts.append("*")
    second, minute, hour, day, month, weekday, year = (part.replace("?", "*") for part in parts)
    both_days = weekday.startswith("+")
    if both_days:
        weekday = weekday[1:]
    days, nearest, last_day, last_weekday = _days_field(day)
    return Cron(
        expression=expression,
        seconds=_mask(_SECOND, second),
        minutes=_mask(_MINUTE, minute),
        hours=_mask(_HOUR, hour),
        days=days,
        nearest=nearest,
        last_day=last_day,
        last_weekday=last_weekday,
        any_day=day == "*",
        months=_mask(_MONTH, month),
        weekdays=_weekdays_field(weekday),
        any_weekday=weekday == "*",
        both_days=both_days,
        years=None
        if year == "*"
        else frozenset(value for element in year.split(",") for value in _values(_YEAR, element)),
        elapsed=minute.startswith("*") or hour.startswith("*"),
    )


def _wrong(field: Field, element: str, why: str, *, example: str = "") -> InvalidInput:
    return InvalidInput(
        f"cron: {field.name} {element!r} {why}", hint=f"for example {example or field.example}"
    )


def _mask(field: Field, text: str) -> int:
    mask = 0
    for element in text.split(","):
        for value in _values(field, element):
            mask |= 1 << value
    return mask


def _days_field(text: str) -> tuple[int, int, bool, bool]:
    """Days, days with `W`, whether the last day, whether the last weekday."""
    if text.upper() == "LW":
        return 0, 0, False, True
    days = nearest = 0
    last = False
    for element in text.split(","):
        if element.upper() == "L":
            last = True
        elif match := re.fullmatch(r"(\d+)[wW]", element, re.ASCII):
            nearest |= 1 << _number(_DAY, match.group(1), element)
        else:
            for value in _values(_DAY, element):
                days |= 1 << value
    return days, nearest, last, False


def _weekdays_field(text: str) -> tuple[int, ...]:
    days = [0] * 7
    for element in text.split(","):
        body, occurrences = element, _EVERY
        if "#" in element:
            body, _, nth = element.partition("#")
            if nth.upper() == "L":
                occurrences = _LAST
            elif nth in ("1", "2", "3", "4", "5"):
                occurrences = 1 << (int(nth) - 1)
            else:
                raise _wrong(_WEEKDAY, element, "asks for no occurrence from 1 to 5 or L")
        elif len(element) > 1 and element[-1] in "lL":
            body, occurrences = element[:-1], _LAST
        for value in _values(_WEEKDAY, body):
            days[value % 7] |= occurrences
    return tuple(days)


_RANGE = re.compile(r"(\w+)-(\w+)(?:/(\d+))?", re.ASCII)
_STEP = re.compile(r"\*/(\d+)", re.ASCII)
_FROM = re.compile(r"(\d{1,2})/([1-9]\d?)", re.ASCII)


def _values(field: Field, element: str) -> range:
    """The values of one element: `*`, `*/n`, `a`, `a-b`, `a-b/n`."""
    if element == "*":
        return range(field.low, min(field.high, 6 if field is _WEEKDAY else field.high) + 1)
    if match := _STEP.fullmatch(element):
        if field is _YEAR:
            raise _wrong(field, element, "cannot step from a wildcard")
        step = _step(field, match.group(1), element)
        return range(field.low, (6 if field is _WEEKDAY else field.high) + 1, step)
    if match := _RANGE.fullmatch(element):
        low = _number(field, match.group(1), element)
        high = _number(field, match.group(2), element)
        if field is _WEEKDAY and match.group(2).lower() == "sun":
            high = 7
        if low > high:
            around = f"{low}-{6 if field is _WEEKDAY else field.high},{field.low}-{high}"
            raise _wrong(field, element, "runs backwards", example=around)
        return range(low, high + 1, _step(field, match.group(3) or "1", element))
    if (match := _FROM.fullmatch(element)) and field is not _YEAR:
        # Quartz has it, croner not
        around = f"{match[1]}-{6 if field is _WEEKDAY else field.high}/{match[2]}"
        raise _wrong(field, element, "has a step without a range", example=around)
    value = _number(field, element, element)
    return range(value, value + 1)


def _number(field: Field, text: str, element: str) -> int:
    value = field.names.get(text.lower())
    if value is None:
        if not text.isascii() or not text.isdigit():
            raise _wrong(field, element, "is not understood" if text else "is empty")
        value = int(text)
    if not field.low <= value <= field.high:
        raise _wrong(field, element, f"is not within {field.low}-{field.high}")
    return value


def _step(field: Field, text: str, element: str) -> int:
    step = int(text)
    if not 1 <= step <= field.size:
        raise _wrong(field, element, f"steps by {step}, not by 1 to {field.size}")
    return step
