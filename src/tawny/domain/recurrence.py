"""Recurrence rules of RFC 5545, in wall time: dateutil's, put right where that strays from the letter."""

import calendar
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from tawny.clock import from_datetime
from tawny.domain import zones
from tawny.domain.weekyears import WeekYears
from tawny.errors import InvalidInput

EXAMPLE = "for example FREQ=WEEKLY;INTERVAL=2;BYDAY=MO"
_FREQUENCIES = {"YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY", "MINUTELY"}
_DAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_STEPS = {
    "WEEKLY": timedelta(weeks=1),
    "DAILY": timedelta(days=1),
    "HOURLY": timedelta(hours=1),
    "MINUTELY": timedelta(minutes=1),
}
_ONLY = {
    "BYWEEKNO": {"YEARLY"},
    "BYYEARDAY": {"YEARLY", "HOURLY", "MINUTELY"},
    "BYMONTHDAY": _FREQUENCIES - {"WEEKLY"},
}
"""The frequencies with which the RFC allows a part."""


class Recurrence:
    """A rule from its start on."""

    def __init__(self, rule: Any, start: datetime, step: timedelta | None) -> None:
        """`step` is the rhythm of the rule where it has no other memory than that."""
        self._rule = rule
        self._start = start
        self._step = step

    def after(self, wall: datetime) -> datetime | None:
        """The first time at `wall` or later."""
        wall = max(wall, self._start)
        first, rule = self._rule._dtstart, self._rule  # noqa: SLF001 - it has no other name for it
        if self._step is not None and (passed := (wall - first) // self._step) > 1:
            # what has passed is stepped over at once: dateutil would count it through, each time
            rule = rule.replace(dtstart=first + (passed - 1) * self._step)
        return rule.after(wall, inc=True)


def read(expression: str, start: datetime, timezone: str) -> Recurrence | WeekYears:
    """The rule of an expression; `start` is a wall time of `timezone`.

    Raises:
        InvalidInput: names what is wrong, and a correct example.
    """
    from dateutil import rrule as dateutil_rrule  # noqa: PLC0415 - 10 ms that only users of rrule pay

    parts = _parts(expression)
    _check(parts, expression)
    if "UNTIL" in parts:
        parts["UNTIL"] = _local(parts["UNTIL"], timezone)
    is_by_week = "BYWEEKNO" in parts or (parts["FREQ"] == "WEEKLY" and "BYSETPOS" in parts)
    if is_by_week and not {"BYDAY", "BYMONTHDAY", "BYYEARDAY"} & parts.keys():
        parts["BYDAY"] = _DAYS[start.weekday()]  # what a rule leaves open it takes from its start
    first = start
    if parts["FREQ"] == "WEEKLY" and "BYSETPOS" in parts:
        # the places are counted from the beginning of the week, also of the first one
        first -= timedelta(days=(start.weekday() - _DAYS.index(parts.get("WKST", "MO"))) % 7)
    try:
        read_rule: Any = dateutil_rrule.rrulestr
        if "BYWEEKNO" in parts and parts["FREQ"] == "YEARLY":
            by_day = {key: parts[key] for key in parts.keys() - {"BYWEEKNO", "INTERVAL", "BYSETPOS", "COUNT"}}
            days = read_rule(_join(by_day), dtstart=start)
            return WeekYears(parts, start, days=days, first_day=_DAYS.index(parts.get("WKST", "MO")))
        rule = read_rule(_join(parts), dtstart=first)
        if first != start and "COUNT" in parts:
            early = rule.replace(count=None).between(first, start, inc=True)
            count = int(parts["COUNT"]) + sum(moment < start for moment in early)
            rule = rule.replace(count=count)
        step = None if "COUNT" in parts else _STEPS.get(parts["FREQ"])
        return Recurrence(rule, start, step and step * int(parts.get("INTERVAL", "1")))
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise InvalidInput(f"schedule.expression: {expression!r}: {error}", hint=EXAMPLE) from error


def _parts(expression: str) -> dict[str, str]:
    parts: dict[str, str] = {}
    for part in expression.strip().upper().removeprefix("RRULE:").rstrip(";").split(";"):
        key, _, value = part.partition("=")
        parts[key] = value
    return parts


def _join(parts: Mapping[str, str]) -> str:
    return ";".join(f"{key}={value}" for key, value in parts.items())


def _local(until: str, timezone: str) -> str:
    """UNTIL in the same kind of time as the start: wall time."""
    match = re.fullmatch(r"(\d{8}T\d{6})Z", until)
    if match is None:
        return until
    instant = from_datetime(datetime.strptime(match[1], "%Y%m%dT%H%M%S").replace(tzinfo=UTC))
    return zones.wall(instant, zones.load(timezone)).strftime("%Y%m%dT%H%M%S")


# --- what is refused


def _check(parts: Mapping[str, str], expression: str) -> None:
    """Refuse what the RFC does, and what would be searched for without an end."""
    frequency = parts.get("FREQ")
    if frequency not in _FREQUENCIES:
        raise InvalidInput(
            f"schedule.expression: FREQ is {frequency!r}, none of {', '.join(sorted(_FREQUENCIES))}",
            hint=EXAMPLE,
        )
    if problem := _problem(parts):
        raise InvalidInput(f"schedule.expression: {expression!r}: {problem}", hint=EXAMPLE)
    try:
        days = [abs(int(day)) for day in parts.get("BYMONTHDAY", "").split(",") if day]
        months = [int(month) for month in parts.get("BYMONTH", "").split(",") if month] or list(range(1, 13))
        longest = max(calendar.monthrange(2024, month)[1] for month in months)
    except (ValueError, IndexError) as error:
        raise InvalidInput(f"schedule.expression: {expression!r}: {error}", hint=EXAMPLE) from error
    if days and min(days) > longest:
        raise InvalidInput(
            f"schedule.expression: {expression!r} asks for a day that those months do not have", hint=EXAMPLE
        )


def _problem(parts: Mapping[str, str]) -> str:
    for key in ("INTERVAL", "COUNT"):
        if key in parts and not re.fullmatch(r"0*[1-9]\d{0,8}", parts[key]):
            return f"{key} is a whole number from 1 on"
    if "COUNT" in parts and "UNTIL" in parts:
        return "it has a COUNT or an UNTIL, not both"
    if "WKST" in parts and parts["WKST"] not in _DAYS:
        return f"WKST is one of {', '.join(_DAYS)}"
    return ""


def refuse_stray(expression: str) -> None:
    """Refuse what the RFC gives no meaning to, or none that its readers agree on.

    Raises:
        InvalidInput: names what is wrong, and a correct example.
    """
    parts = _parts(expression)
    if problem := _stray(parts, parts.get("FREQ", "")):
        raise InvalidInput(f"schedule.expression: {expression!r}: {problem}", hint=EXAMPLE)


def _stray(parts: Mapping[str, str], frequency: str) -> str:
    for key, allowed in _ONLY.items():
        if key in parts and frequency not in allowed:
            return f"{key} does not go with FREQ={frequency}"
    numbered = re.search(r"\d", parts.get("BYDAY", "")) is not None
    if numbered and (frequency not in ("MONTHLY", "YEARLY") or "BYWEEKNO" in parts):
        return "a number before a day (BYDAY=1MO) needs FREQ=MONTHLY, or YEARLY without BYWEEKNO"
    if "BYSETPOS" in parts and not any(key.startswith("BY") and key != "BYSETPOS" for key in parts):
        return "BYSETPOS needs another BY… to choose from"
    return ""
