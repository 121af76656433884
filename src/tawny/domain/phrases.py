"""Natural phrases to schedules: "every weekday at 8", "in 30 minutes", "明天上午8点".

A small grammar for English; Chinese is read by `phrases_zh`. The answer is a schedule's document, never an action:
whoever asked shows it with the next three times and lets the person confirm.
"""

import re
from datetime import datetime, timedelta
from typing import Any

import msgspec

from tawny.clock import Instant, format_duration, iso
from tawny.domain import phrases_zh, schedule, zones
from tawny.domain.moments import Reading, Time, next_date, on_day
from tawny.errors import InvalidInput

HINT = "for example 'every weekday at 8', 'in 30 minutes', 'tomorrow at 9am', '明天上午8点'"

_DAYS = {"sun": 0, "mon": 1, "tue": 2, "wed": 3, "thu": 4, "fri": 5, "sat": 6}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve".split()  # noqa: SIM905 - readable so
)
_ORDINALS = {"first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "last": -1}
_PARTS = {
    "morning": Time(8, 0),
    "noon": Time(12, 0),
    "midday": Time(12, 0),
    "afternoon": Time(15, 0),
    "evening": Time(18, 0),
    "night": Time(21, 0),
    "midnight": Time(0, 0),
}
_DEFAULT = Time(9, 0)

_DAY_NAME = r"(?:sun|mon|tues?|wed(?:nes)?|thur?s?|fri|satur|sat)(?:day)?s?"
_MONTH_NAME = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
    r"|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
)
_UNIT = r"(?P<unit>seconds?|secs?|minutes?|mins?|hours?|hrs?|days?|weeks?|months?|years?|s|m|h|d)"
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_TIME = (
    r"(?:(?P<hour>\d{1,2})(?:[:.](?P<minute>\d{2}))?\s*(?P<half>am|pm|a\.m\.|p\.m\.)?(?:\s*o'?clock)?"
    r"|(?P<part>noon|midday|midnight))"
)


class Phrase(msgspec.Struct, frozen=True):
    """A phrase understood: the schedule's document and the next times (at most three)."""

    schedule: dict[str, Any]
    next: tuple[Instant, ...]

    def document(self) -> dict[str, Any]:
        return {"schedule": self.schedule, "next": [iso(instant) for instant in self.next]}


def parse(text: str, *, now: Instant, timezone: str) -> Phrase:
    """Understand a phrase, as of `now` in `timezone`.

    Raises:
        InvalidInput: the grammar does not know it, or it names no time to come.
    """
    zone = zones.load(timezone)
    wall = zones.wall(now, zone)
    reading = phrases_zh.read(text, wall) if re.search(r"[\u4e00-\u9fff]", text) else _read(text, wall)
    if reading is None:
        raise InvalidInput(f"{text!r} is not understood as a time", hint=HINT)
    document = reading.document(timezone)
    plan = schedule.compile(document, now=now, timezone=timezone)
    return Phrase(document, tuple(schedule.first_slots(plan, now, 3)))


def _read(text: str, wall: datetime) -> Reading | None:
    words = re.sub(r"\s+", " ", text.strip().lower().rstrip(".!"))
    words, until = _split_until(words, wall)
    for rule in (_delay, _interval, _recurring, _dated):
        if (reading := rule(words, wall)) is not None:
            return msgspec.structs.replace(reading, until=until) if until else reading
    return None


def _split_until(words: str, wall: datetime) -> tuple[str, datetime | None]:
    head, word, tail = words.partition(" until ")
    if not word:
        return words, None
    day = _date(tail, wall)
    if day is None:
        raise InvalidInput(f"until {tail!r} is not understood", hint="for example 'until April 15'")
    # the day named still counts
    return head, day[0].replace(hour=23, minute=59, second=59, microsecond=0)


def _number(text: str) -> float | None:
    if text in ("a", "an"):
        return 1
    if text in _NUMBERS:
        return _NUMBERS.index(text)
    if text == "half an":
        return 0.5
    return float(text) if re.fullmatch(r"\d+(?:\.\d+)?", text) else None


_COUNT = r"(?P<count>\d+(?:\.\d+)?|an?|half an|" + "|".join(_NUMBERS) + ")"


def _span(count: str, unit: str) -> timedelta | None:
    number = _number(count)
    return None if number is None else timedelta(seconds=number * _SECONDS[unit[0]])


def _delay(words: str, wall: datetime) -> Reading | None:
    """`in 30 minutes`, `30m`, `in an hour`."""
    match = re.fullmatch(rf"(?:in |after )?{_COUNT} ?{_UNIT}(?: from now| later)?", words)
    if match is None:
        return None
    unit = match["unit"]
    if unit.startswith(("month", "year")):
        months = int(_number(match["count"]) or 0) * (12 if unit.startswith("year") else 1)
        return Reading(at=next_date(wall, months=months))
    span = _span(match["count"], unit)
    return None if span is None else Reading(delay=format_duration(round(span.total_seconds() * 1_000_000)))


def _interval(words: str, wall: datetime) -> Reading | None:
    """`every 6 hours`, `every 15 minutes`, `hourly`, `every 2 days at 7`."""
    if words in ("hourly", "every hour"):
        return Reading(cron="0 * * * *")
    if words in ("every minute",):
        return Reading(cron="* * * * *")
    match = re.fullmatch(
        rf"every (?:{_COUNT} |(?P<other>other) )?{_UNIT}(?: on (?P<day>{_DAY_NAME}))?(?: at {_TIME})?", words
    )
    if match is None:
        return None
    count = 2 if match["other"] else int(_number(match["count"] or "1") or 0)
    unit, time = match["unit"], _time(match)
    if count < 1:
        return None
    if unit[0] in "smh" and not unit.startswith("month"):
        return None if time or match["day"] else Reading(every=f"{count}{unit[0]}")
    day = _DAYS[match["day"][:3]] if match["day"] else None
    return _spaced(count, unit[0], day, time or _DEFAULT, wall)


def _spaced(count: int, unit: str, day: int | None, time: Time, wall: datetime) -> Reading | None:
    """Every `count` days, weeks, months or years."""
    start = on_day(wall, time, roll=True)
    if unit == "w":
        if count == 1:
            return Reading(cron=f"{time.cron} * * {1 if day is None else day}")
        if day is not None:
            start += timedelta(days=(day - start.isoweekday()) % 7)
        return Reading(rrule=f"FREQ=WEEKLY;INTERVAL={count}", start=start)
    if day is not None:
        return None
    if count == 1:
        return Reading(cron=f"{time.cron} " + {"d": "* * *", "m": "1 * *", "y": "1 1 *"}[unit])
    return Reading(
        rrule=f"FREQ={ ({'d': 'DAILY', 'm': 'MONTHLY', 'y': 'YEARLY'}[unit]) };INTERVAL={count}", start=start
    )


def _time(match: re.Match[str]) -> Time | None:
    groups = match.groupdict()
    if groups.get("part"):
        return _PARTS[groups["part"]]
    if groups.get("hour") is None:
        return None
    hour, minute = int(groups["hour"]), int(groups["minute"] or 0)
    half = (groups["half"] or "").replace(".", "")
    if hour > 23 or minute > 59 or (half and not 1 <= hour <= 12):
        return None
    if half:
        hour = hour % 12 + (12 if half == "pm" else 0)
    return Time(hour, minute)


def _times(text: str) -> list[Time] | None:
    """`8`, `8:30pm`, `8 and 20`, `9, 12 and 18`."""
    found: list[Time] = []
    for part in re.split(r", and |,| and ", text):
        match = re.fullmatch(_TIME, part.strip().removeprefix("at "))
        time = _time(match) if match else None
        if time is None:
            return None
        found.append(time)
    return found


_RECURRING = re.compile(
    r"(?:every |each |on )?(?P<days>mon(?:day)?(?:-| to | through )fri(?:day)?|weekdays?|work(?:ing )?days?"
    r"|weekends?|days?|daily|weekly|monthly|yearly|annually"
    r"|mornings?|evenings?|afternoons?|nights?|noon|midnight|"
    rf"{_DAY_NAME}(?:(?:, and |, ?| and |/){_DAY_NAME})*)"
    r"(?: (?P<of>morning|afternoon|evening|night))?"
    r"(?: at (?P<times>.+))?"
)
_MONTHLY = re.compile(
    r"(?:every month |monthly |each month |every |each )?(?:on )?(?:the )?"
    rf"(?P<nth>\d{{1,2}}(?:st|nd|rd|th)?|first|second|third|fourth|last)(?: (?P<what>day|weekday|workday|{_DAY_NAME}))?"
    r"(?P<of>(?: of)? (?:every|each|the) month)?(?: at (?P<times>.+))?"
)
_YEARLY = re.compile(
    rf"(?:every year |yearly |annually )(?:on )?(?:(?P<month>{_MONTH_NAME}) (?P<day>\d{{1,2}})(?:st|nd|rd|th)?)"
    r"(?: at (?P<times>.+))?"
)


def _recurring(words: str, wall: datetime) -> Reading | None:
    del wall
    if (match := _YEARLY.fullmatch(words)) is not None:
        month = _MONTHS.index(match["month"][:3]) + 1
        return _at_times(match["times"], f"{match['day']} {month} *")
    if re.match(r"(every|each|monthly|on the|the) ?", words) and (match := _MONTHLY.fullmatch(words)):
        return _monthly(words, match)
    if (match := _RECURRING.fullmatch(words)) is None or _is_one_day(words, match["days"]):
        return None
    days = match["days"]
    part = days.rstrip("s") if days.rstrip("s") in _PARTS else match["of"]
    return _at_times(match["times"], _days_fields(days), part)


def _is_one_day(words: str, days: str) -> bool:
    """`monday at 9` and `on monday` are one day, `mondays` and `every monday` are all of them; noon is today's."""
    if words in ("noon", "midday", "midnight"):
        return True
    named = re.fullmatch(_DAY_NAME, days) is not None and not days.endswith("s")
    return named and not words.startswith(("every ", "each "))


def _days_fields(days: str) -> str:
    if days.startswith(("weekday", "work")) or re.match(r"mon(day)?(-| to | through )", days):
        return "* * 1-5"
    if days.startswith("weekend"):
        return "* * 0,6"
    fixed = {"weekly": "* * 1", "monthly": "1 * *", "yearly": "1 1 *", "annually": "1 1 *"}
    if days in fixed:
        return fixed[days]
    if days in ("day", "days", "daily") or days.rstrip("s") in _PARTS:
        return "* * *"
    named = sorted({_DAYS[name[:3]] for name in re.split(r", and |, ?| and |/", days)})
    return f"* * {','.join(map(str, named))}"


def _monthly(words: str, match: re.Match[str]) -> Reading | None:
    if not (match["of"] or words.startswith(("every month", "each month", "monthly"))):
        return None
    nth = match["nth"]
    number = _ORDINALS.get(nth) or int(re.sub(r"\D", "", nth) or 0)
    what = match["what"] or "day"
    if what == "day":
        return _at_times(match["times"], f"{'L' if number == -1 else number} * *")
    if what in ("weekday", "workday"):
        if number not in (1, -1):
            return None
        return _at_times(match["times"], f"{'LW' if number == -1 else '1W'} * *")
    if number == 0 or number > 5:
        return None
    return _at_times(match["times"], f"* * {_DAYS[what[:3]]}#{'L' if number == -1 else number}")


def _at_times(text: str | None, fields: str, part: str | None = None) -> Reading | None:
    if text is None:
        times: list[Time] | None = [_PARTS[part] if part else _DEFAULT]
    else:
        times = _times(text)
        if times and part in ("afternoon", "evening", "night"):
            times = [Time(time.hour + 12, time.minute) if time.hour < 12 else time for time in times]
    if not times or len({time.minute for time in times}) != 1:
        return None
    hours = ",".join(str(hour) for hour in sorted({time.hour for time in times}))
    return Reading(cron=f"{times[0].minute} {hours} {fields}")


def _dated(words: str, wall: datetime) -> Reading | None:
    """`tomorrow at 8am`, `at 17:30`, `next monday at 9`, `on april 15 at noon`, `2026-12-24 18:00`."""
    if match := re.fullmatch(rf"(?:at )?{_TIME}", words):
        time = _time(match)
        return None if time is None else Reading(at=on_day(wall, time, roll=True))
    if match := re.fullmatch(r"(\d{4}-\d\d-\d\d)(?:[t ](\d\d:\d\d(?::\d\d)?))?", words):
        return Reading(at=datetime.fromisoformat(f"{match[1]}T{match[2] or _DEFAULT.text}"))
    if found := _date(words, wall):
        day, rest, part, roll = found
        if not rest:
            time = _PARTS[part] if part else _DEFAULT
        else:
            match = re.fullmatch(rf"(?:at )?{_TIME}", rest)
            time = _time(match) if match else None
            if time is None:
                return None
            if part in ("afternoon", "evening", "night") and time.hour < 12:
                time = Time(time.hour + 12, time.minute)
        at = on_day(day, time, roll=False)
        return Reading(at=at + roll if at <= wall else at)
    return None


def _date(words: str, wall: datetime) -> tuple[datetime, str, str | None, timedelta] | None:
    """A day, what follows it, the part of the day it names, and by how much it moves on if it has passed."""
    match = re.match(
        r"(?:(today|tomorrow|the day after tomorrow|tonight)|this (morning|afternoon|evening))"
        r"(?: (morning|noon|afternoon|evening|night))?(?: |$)",
        words,
    )
    if match:
        offset = {"tomorrow": 1, "the day after tomorrow": 2}.get(match[1] or "", 0)
        part = "evening" if match[1] == "tonight" else (match[2] or match[3])
        return wall + timedelta(days=offset), words[match.end() :], part, timedelta()
    match = re.match(
        rf"(?:on )?(?P<next>next |this )?(?P<day>{_DAY_NAME})(?: (?P<part>morning|afternoon|evening|night))?(?: |$)",
        words,
    )
    if match:
        ahead = (_DAYS[match["day"][:3]] - wall.isoweekday() % 7) % 7
        if match["next"] == "next " and ahead == 0:
            ahead = 7
        return wall + timedelta(days=ahead), words[match.end() :], match["part"], timedelta(days=7)
    match = re.match(
        rf"(?:on )?(?:(?P<month>{_MONTH_NAME}) (?P<day>\d{{1,2}})(?:st|nd|rd|th)?"
        rf"|(?P<day2>\d{{1,2}})(?:st|nd|rd|th)? (?:of )?(?P<month2>{_MONTH_NAME}))(?:,? (?P<year>\d{{4}}))?(?: |$)",
        words,
    )
    if match:
        month = _MONTHS.index((match["month"] or match["month2"])[:3]) + 1
        day = next_date(wall, month=month, day=int(match["day"] or match["day2"]), year=match["year"])
        return day, words[match.end() :], None, timedelta()
    if match := re.match(r"(?:on )?(\d{4}-\d\d-\d\d)(?: |$)", words):
        return datetime.fromisoformat(match[1]), words[match.end() :], None, timedelta()
    return None
