"""What a phrase can mean, before a zone is put to it: a delay, a wall time, a cron expression, an interval, a rule."""

import calendar
from datetime import datetime, timedelta
from typing import Any

import msgspec

from tawny.errors import InvalidInput


class Time(msgspec.Struct, frozen=True):
    """A time of day."""

    hour: int
    minute: int

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


def on_day(day: datetime, time: Time, *, roll: bool) -> datetime:
    """`time` on that day; with `roll`, on the next day where it has passed by `day`."""
    at = day.replace(hour=time.hour, minute=time.minute, second=0, microsecond=0)
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
