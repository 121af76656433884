"""Yearly rules by the number of the week (BYWEEKNO): a week belongs to one year, also across New Year.

RFC 5545 numbers weeks as ISO 8601 does: week 1 is the first with four days in the year, so that 31 December may lie in
week 1 of the next one. dateutil tears such a week in two where years are skipped or places counted, and finds a week 53
in some years that have none; so it is asked for the days only, and the weeks are numbered here.
"""

import calendar
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from itertools import groupby, islice, takewhile
from typing import Any

_CYCLE = 400
"""The calendar repeats after so many years: what has not come by then never comes."""


class WeekYears:
    """The instances of such a rule from its start on."""

    def __init__(self, parts: Mapping[str, str], start: datetime, *, days: Any, first_day: int) -> None:
        """`days` is the rule for every week of every year; a week begins on `first_day` (0 is Monday)."""
        self._days = days
        self._start = start
        self._first_day = first_day
        self._weeks = {int(week) for week in parts["BYWEEKNO"].split(",")}
        if not all(1 <= abs(week) <= 53 for week in self._weeks):
            raise ValueError("BYWEEKNO is from 1 to 53, or from -53 to -1")
        self._places = [int(place) for place in parts.get("BYSETPOS", "").split(",") if place]
        self._interval = int(parts.get("INTERVAL", "1"))
        self._count = int(parts["COUNT"]) if "COUNT" in parts else None
        base = self._year_of(start)
        is_instance = self._has_week(start) and days.after(start, inc=True) == start
        # A start that is no instance itself counts from the calendar's year, as with every other yearly rule.
        self._base = base if is_instance else start.year

    def after(self, wall: datetime) -> datetime | None:
        """The first time at `wall` or later."""
        wall = max(wall, self._start)
        # A count is counted from the start on; what has passed of any other rule is stepped over.
        since = self._start.year if self._count is not None else wall.year
        last = wall.year + _CYCLE * self._interval
        years = takewhile(lambda found: found[0] <= last, self._years(since - 1))
        days = (day for year, days in years if (year - self._base) % self._interval == 0 for day in days)
        counted = islice((day for day in days if day >= self._start), self._count)
        return next((day for day in counted if day >= wall), None)

    def _years(self, first: int) -> Iterator[tuple[int, list[datetime]]]:
        """The years from `first` on, each with its instances in order."""
        early = self._start.replace(year=first - 1, month=12, day=20)
        for year, days in groupby(self._days.replace(dtstart=early), key=self._year_of):
            if year >= first:
                yield year, self._placed([day for day in days if self._has_week(day)])

    def _placed(self, days: list[datetime]) -> list[datetime]:
        if not self._places:
            return days
        size = len(days)
        places = {place - 1 if place > 0 else size + place for place in self._places}
        return [days[place] for place in sorted(places) if 0 <= place < size]

    def _year_of(self, day: datetime) -> int:
        return self._middle(day).year

    def _has_week(self, day: datetime) -> bool:
        middle = self._middle(day)
        passed = middle.timetuple().tm_yday - 1
        to_come = 364 + calendar.isleap(middle.year) - passed
        return passed // 7 + 1 in self._weeks or -1 - to_come // 7 in self._weeks

    def _middle(self, day: datetime) -> datetime:
        """The fourth day of its week, which lies in the year that has most of it."""
        return day + timedelta(days=3 - (day.weekday() - self._first_day) % 7)
