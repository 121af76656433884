"""What a phrase can mean, before a zone is put to it: a delay, a wall time, a cron expression, an interval, a rule."""

import calendar
from datetime import datetime, timedelta
from typing import Any

import msgspec

from tawny.errors import InvalidInput

_LAST_YEAR = 9000
_NIGHT_ENDS = 5


class Time(msgspec.Struct, frozen=True):
    """A time of day; `days` is 1 for one after midnight that belongs to the evening before."""

    hour: int
    minute: int
    days: int = 0

    @property
    def cron(self) -> str:
        return f"{self.minute} {self.hour}"

    @property
    def text(self) -> str:
        return f"{self.hour:02d}:{self.minute:02d}"


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """One of its fields is set, and perhaps `until`. `at` and `until` are naive wall times."""

    delay: str | None = None
    at: datetime | None = None
    cron: str | None = None
    every: str | None = None
    rrule: str | None = None
    start: datetime | None = None
    until: datetime | None = None

    def document(self, timezone: str) -> dict[str, Any]:
        """The schedule's document in `timezone`."""
        if self.delay is not None:
            return {"type": "after", "delay": self.delay}
        if self.at is not None:
            return {"type": "at", "time": self.at.isoformat(), "timezone": timezone}
        if self.cron is not None:
            document: dict[str, Any] = {"type": "cron", "expression": self.cron, "timezone": timezone}
        elif self.every is not None:
            document = {"type": "every", "interval": self.every}
        else:
            document = {"type": "rrule", "expression": self.rrule, "timezone": timezone}
            if self.start is not None:
                document["start"] = self.start.isoformat()
        if self.until is not None:
            document |= {"until": self.until.isoformat(), "timezone": timezone}
        return document


def in_this_night(at: datetime, time: Time, wall: datetime) -> datetime:
    """`tonight at 1`, said in the small hours, is of the night that still lasts."""
    early = at - timedelta(days=1)
    return (
        early if time.days and wall.hour < _NIGHT_ENDS and wall < early <= wall + timedelta(hours=5) else at
    )


def on_day(day: datetime, time: Time, *, roll: bool) -> datetime:
    """`time` on that day; with `roll`, on the next day where it has passed by `day`."""
    at = day.replace(hour=time.hour, minute=time.minute, second=0, microsecond=0) + timedelta(days=time.days)
    return at + timedelta(days=1) if roll and at <= day else at


def next_date(
    wall: datetime,
    *,
    months: int = 0,
    month: int | None = None,
    day: int | None = None,
    year: str | None = None,
) -> datetime:
    """The same time `months` later (cut to the month's length), or the next such month and day, today included.

    Raises:
        InvalidInput: there is no such day.
    """
    if month is None:
        total = wall.month - 1 + months
        target, number = wall.year + total // 12, total % 12 + 1
        if target > _LAST_YEAR:
            raise InvalidInput(f"{months} months from now is too far away", hint="for example 'in 3 months'")
        return wall.replace(
            year=target,
            month=number,
            day=min(wall.day, calendar.monthrange(target, number)[1]),
            microsecond=0,
        )
    for candidate in [int(year)] if year else range(wall.year, wall.year + 9):
        try:
            found = wall.replace(year=candidate, month=month, day=day or 1)
        except ValueError:
            continue
        if year or found.date() >= wall.date():
            return found
    raise InvalidInput(f"there is no day {day} in month {month}", hint="for example April 15")


def written_date(text: str) -> datetime | None:
    """A date as `2026-12-24` or `2026-4-5`; `None` where no calendar has it."""
    try:
        year, month, day = (int(part) for part in text.split("-"))
        return datetime(year, month, day)  # noqa: DTZ001 - a wall time, as all here
    except ValueError:
        return None


def recurring(times: list[Time], fields: str) -> Reading | None:
    """The cron expression for these times of day on the days of `fields`.

    Raises:
        InvalidInput: no one expression says it.
    """
    if not times:
        return None
    if len({time.minute for time in times}) != 1:
        raise InvalidInput(
            "times with different minutes are two schedules",
            hint="make one automation for each, or use the same minutes: 'every day at 8:30 and 17:30'",
        )
    if any(time.days for time in times) and fields != "* * *":
        raise InvalidInput(
            "a time after midnight belongs to the day after", hint="name that day: 'every saturday at 1am'"
        )
    hours = ",".join(str(hour) for hour in sorted({time.hour for time in times}))
    return Reading(cron=f"{times[0].minute} {hours} {fields}")


def weekly(interval: int, days: list[int], time: Time, wall: datetime) -> Reading:
    """Every `interval` weeks on these days (0 is Sunday), from the first of them to come on."""
    names = ("SU", "MO", "TU", "WE", "TH", "FR", "SA")
    start = min(_next_weekday(wall, day, time) for day in days)
    # weeks are counted from Monday, and the first one is the one that start lies in
    by_day = f";BYDAY={','.join(names[day] for day in sorted(days, key=lambda day: (day - 1) % 7))}"
    return Reading(rrule=f"FREQ=WEEKLY;INTERVAL={interval}{by_day if len(days) > 1 else ''}", start=start)


def _next_weekday(wall: datetime, day: int, time: Time) -> datetime:
    at = on_day(wall, time, roll=False) + timedelta(days=(day - wall.isoweekday()) % 7)
    return at + timedelta(days=7) if at <= wall else at


def is_in_every_month(day: int) -> bool:
    """Whether it is a day of the month at all.

    Raises:
        InvalidInput: it is one, but not of every month.
    """
    if 29 <= day <= 31:
        raise InvalidInput(
            f"not every month has a day {day}",
            hint=f"say 'on the last day of every month', or give '0 9 {day} * *' for the months that have it",
        )
    return day == -1 or 1 <= day <= 28
