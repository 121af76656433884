"""English phrases to schedules: "every weekday at 8", "in 30 minutes", "9am on the last friday of every month".

A phrase is read whole or not at all: what is left over would be something the person said and we did not hear.
"""

import re
from datetime import datetime, timedelta

import msgspec

from tawny.clock import format_duration
from tawny.domain import daytimes, english_days
from tawny.domain.english import (
    AND,
    DAY,
    DEFAULT,
    MONTH,
    MONTHS,
    NTH,
    PART,
    SAYS_TIME,
    SECONDS,
    TIME,
    TIMES,
    UNIT,
    WEEKLY,
    Span,
    nth,
    nth_weekdays,
    plain,
    read_clock,
    read_clocks,
    read_span,
    time_last,
    weekday_field,
    weekdays,
)
from tawny.domain.moments import (
    Reading,
    Time,
    in_this_night,
    is_in_every_month,
    next_date,
    on_day,
    recurring,
    weekly,
    written_date,
)
from tawny.errors import InvalidInput


def read(text: str, wall: datetime) -> Reading | None:
    """What the phrase means as of `wall`, `None` where this grammar does not know it.

    Raises:
        InvalidInput: it is known, and still means no one schedule.
    """
    words, until = _split_until(time_last(plain(text)), wall)
    for rule in (_delay, _interval, _by_week, _by_month, _by_year, _dated):
        if (reading := rule(words, wall)) is not None:
            return msgspec.structs.replace(reading, until=until) if until else reading
    return None


def _split_until(words: str, wall: datetime) -> tuple[str, datetime | None]:
    head, word, tail = words.partition(" until ")
    if not word:
        return words, None
    found = english_days.find(tail, wall)
    if found is None:
        raise InvalidInput(f"until {tail!r} is not understood", hint="for example 'until April 15'")
    if not found.rest:
        # the day named still counts; "until friday", said on a friday, is the next one
        is_today = found.day.date() == wall.date() and found.again == timedelta(days=7)
        return head, (found.day + found.again if is_today else found.day).replace(
            hour=23, minute=59, second=59, microsecond=0
        )
    time = read_clock(found.rest.removeprefix("at "), found.part)
    if time is None:
        raise InvalidInput(f"until {tail!r} is not understood", hint="for example 'until April 15 at noon'")
    return head, on_day(found.day, time, roll=False)


def _delay(words: str, wall: datetime) -> Reading | None:
    """`in 30 minutes`, `30m`, `in an hour and a half`, `3 days from now at 5pm`."""
    match = re.fullmatch(
        rf"(?:in |after )?(?P<span>.+?)(?: from (?:now|today)| later| hence)?(?:,? at (?P<time>{TIME}))?",
        words,
    )
    span = read_span(match["span"]) if match else None
    if match is None or span is None:
        return None
    if match["time"] is not None:
        time = read_clock(match["time"])
        if time is None or span.unit in ("s", "m", "h"):
            return None
        day = next_date(wall, months=span.months) + timedelta(seconds=span.seconds)
        return Reading(at=on_day(day, time, roll=False))
    if span.months:
        return Reading(at=next_date(wall, months=span.months))
    return Reading(delay=format_duration(round(span.seconds * 1_000_000)))


# --- every so often

_INTERVAL = re.compile(
    rf"every (?P<span>other {UNIT}|half (?:an )?hour|.+?)"
    rf"(?: (?:between|from) (?P<from>{TIME}) (?:and|to|-|until) (?P<to>{TIME}))?"
    rf"(?:,? (?:on |every )?(?P<days>{WEEKLY})| on (?:the )?(?P<date>{NTH})(?: day)?)?"
    rf"(?:,? at (?P<times>{TIMES}))?"
)


def _interval(words: str, wall: datetime) -> Reading | None:
    """`every 6 hours`, `hourly`, `every 2 weeks on monday at 7`, `every 15 minutes between 9am and 5pm on weekdays`."""
    if words in ("hourly", "every hour"):
        return Reading(cron="0 * * * *")
    if words in ("every minute", "minutely"):
        return Reading(cron="* * * * *")
    match = _INTERVAL.fullmatch("every hour" + words[6:] if words.startswith("hourly ") else words)
    if match is None:
        return None
    said = match["span"]
    span = read_span(re.sub(r"^other ", "2 ", said) if said.startswith("other ") else said)
    if span is None and re.match(r"[a-z]", said):
        span = read_span(f"1 {said}")
    if span is None:
        return None
    if not span.months and span.unit in ("s", "m", "h"):
        return _within_the_day(span, match)
    if match["from"]:
        return None
    times = read_clocks(match["times"])
    if not times:
        return None
    return _spaced(span, match, times, wall)


def _within_the_day(span: Span, match: re.Match[str]) -> Reading | None:
    """Seconds, minutes and hours: an interval, or a cron expression where it is bounded."""
    if match["times"] or match["date"]:
        return None
    if not match["from"] and not match["days"]:
        return Reading(every=format_duration(round(span.seconds * 1_000_000)))
    days = weekday_field(match["days"]) if match["days"] else "*"
    minutes = span.seconds / 60
    first, last = 0, 23
    if match["from"]:
        begin, end = read_clock(match["from"]), read_clock(match["to"])
        if begin is None or end is None or begin.minute or end.minute or begin.hour >= end.hour:
            return None
        first, last = begin.hour, end.hour
    if minutes % 60 == 0 and 24 > minutes / 60 >= 1:
        hours = ",".join(str(hour) for hour in range(first, last + 1, int(minutes / 60)))
        return Reading(cron=f"0 {hours if match['from'] or minutes > 60 else '*'} * * {days}")
    if minutes != int(minutes) or minutes < 1 or 60 % minutes:
        return None
    hours = f"{first}-{last - 1}" if match["from"] else "*"
    return Reading(cron=f"{'*' if minutes == 1 else f'*/{int(minutes)}'} {hours} * * {days}")


def _spaced(span: Span, match: re.Match[str], times: list[Time], wall: datetime) -> Reading | None:
    """Every so many days, weeks, months or years."""
    if span.months:
        return _spaced_months(span.months, match, times, wall)
    count = span.seconds / SECONDS[span.unit]
    if count != int(count) or match["date"]:
        return None
    days = weekday_field(match["days"]) if match["days"] else ""
    if count == 1 and (span.unit == "w" or not days):
        return recurring(times, f"* * {'*' if span.unit == 'd' else days or '1'}")
    if len(times) != 1 or times[0].days or (days and span.unit == "d"):
        return None
    if days:
        return weekly(int(count), weekdays(days), times[0], wall)
    frequency = "WEEKLY" if span.unit == "w" else "DAILY"
    return Reading(rrule=f"FREQ={frequency};INTERVAL={int(count)}", start=on_day(wall, times[0], roll=True))


def _spaced_months(count: int, match: re.Match[str], times: list[Time], wall: datetime) -> Reading | None:
    day = nth(match["date"]) if match["date"] else None
    is_yearly = match["span"].rstrip("s").endswith(("year", "y"))
    if match["days"] or (is_yearly and day is not None) or (day is not None and not is_in_every_month(day)):
        return None
    if count == 1 or (is_yearly and count == 12):
        return recurring(times, "1 1 *" if is_yearly else f"{'L' if day == -1 else day or 1} * *")
    start = on_day(wall, times[0], roll=True)
    if len(times) != 1 or times[0].days or (day is None and start.day > 28):
        # a rule from the 31st passes the shorter months over without a word
        return None
    if day is None:
        return Reading(rrule=f"FREQ=MONTHLY;INTERVAL={count}", start=start)
    while not _is_day_of_month(start, day):
        start += timedelta(days=1)
    return Reading(rrule=f"FREQ=MONTHLY;INTERVAL={count};BYMONTHDAY={day}", start=start)


def _is_day_of_month(moment: datetime, day: int) -> bool:
    return (moment + timedelta(days=1)).day == 1 if day == -1 else moment.day == day


# --- by the week

_BY_WEEK = re.compile(
    r"(?P<every>every |on |weekly on |every week on )?(?:the )?"
    rf"(?P<other>other |\d{{1,2}} )?(?P<days>day|daily|weekly|{PART}s?|noon|midnight|{WEEKLY})"
    rf"(?: (?P<part>{PART})(?P<parts>s)?)?(?:,? at (?P<times>{TIMES}))?"
)


def _by_week(words: str, wall: datetime) -> Reading | None:
    """`every weekday at 8`, `mondays and thursdays`, `every evening`, `every other friday at 10`."""
    match = _BY_WEEK.fullmatch(words)
    if match is None or not _is_repeated(match):
        return None
    days = match["days"]
    part = days.rstrip("s") if re.fullmatch(rf"{PART}s?", days) else match["part"]
    if days in ("noon", "midnight"):
        return None if match["times"] or match["part"] else recurring([read_clock(days) or DEFAULT], "* * *")
    times = read_clocks(match["times"], part)
    if not times:
        return None
    if match["other"]:
        count = 2 if match["other"] == "other " else int(match["other"])
        is_named = re.fullmatch(rf"{DAY}(?:{AND}{DAY})*", days) is not None
        if not is_named or count < 1 or len(times) != 1 or times[0].days:
            return None
        return weekly(count, weekdays(weekday_field(days)), times[0], wall)
    if days in ("day", "daily") or re.fullmatch(rf"{PART}s?", days):
        if days != "day" and match["part"] and part != match["part"]:
            return None
        return recurring(times, "* * *")
    return recurring(times, f"* * {'1' if days == 'weekly' else weekday_field(days)}")


def _is_repeated(match: re.Match[str]) -> bool:
    """`monday at 9` and `on monday` are one day, `mondays` and `every monday` all of them; `morning` is neither."""
    days, every = match["days"], match["every"] or ""
    if every not in ("", "on "):
        return days not in ("daily", "weekly")
    if match["other"]:
        return False
    if days in ("daily", "weekly"):
        return not every
    if match["parts"] or re.match(rf"{DAY}(?: to |-|{AND})", days):
        return True
    # one day is one day; a plural comes back
    return days.endswith("s") and re.fullmatch(r"(?:tue|thur|thu|wedne)s", days) is None


# --- by the month and the year

_BY_MONTH = re.compile(
    rf"(?P<lead>every month |monthly )?(?:on )?(?:the )?(?P<every>every )?(?P<nths>{NTH}(?:{AND}(?:the )?{NTH})*)"
    rf"(?: (?P<what>days?|weekdays?|work(?:ing )?days?|business days?|{DAY}))?"
    r"(?P<of> (?:of |in )?(?:every|the|a) month)?"
    rf"(?:,? at (?P<times>{TIMES}))?"
)
_WHOLE = re.compile(
    rf"(?P<what>monthly|quarterly|(?:at |on )?(?:the )?(?:beginning|start|end) of every month)"
    rf"(?:,? at (?P<times>{TIMES}))?"
)
_WHOLE_FIELDS = {"monthly": "1 * *", "quarterly": "1 1,4,7,10 *"}


def _by_month(words: str, _: datetime) -> Reading | None:
    """`on the 1st and 15th of every month`, `every first monday of the month at 9`, `monthly`."""
    if match := _WHOLE.fullmatch(words):
        fields = _WHOLE_FIELDS.get(match["what"], "L * *" if "end of" in match["what"] else "1 * *")
        return recurring(read_clocks(match["times"]) or [], fields)
    match = _BY_MONTH.fullmatch(words)
    if (
        match is None
        or not (match["of"] or match["lead"])
        or (match["lead"] and (match["of"] or match["every"]))
    ):
        return None
    numbers = [nth(one.removeprefix("the ")) for one in re.split(AND, match["nths"])]
    times, what = read_clocks(match["times"]) or [], (match["what"] or "day").rstrip("s")
    if what == "day":
        days = ["L" if number == -1 else str(number) for number in numbers if is_in_every_month(number)]
        return recurring(times, f"{','.join(days)} * *") if len(days) == len(numbers) else None
    if what in ("weekday", "workday", "working day", "business day"):
        fields = {"1": "1W * *", "-1": "LW * *"}.get(",".join(map(str, numbers)))
    else:
        fields = (field := nth_weekdays(numbers, what)) and f"* * {field}"
    return recurring(times, fields) if fields else None


_BY_YEAR = re.compile(
    rf"(?:every year |yearly |annually |every )(?:on )?"
    rf"(?:(?:the )?(?:(?P<month>{MONTH}) (?:the )?(?P<day>\d{{1,2}})(?:st|nd|rd|th)?"
    rf"|(?P<day2>\d{{1,2}})(?:st|nd|rd|th)? (?:of )?(?P<month2>{MONTH})"
    rf"|(?P<nth>{NTH}) (?P<weekday>{DAY}) (?:of|in) (?P<month3>{MONTH})))(?:,? at (?P<times>{TIMES}))?"
)


def _by_year(words: str, wall: datetime) -> Reading | None:
    """`every december 24 at 18:00`, `yearly on the 4th of july`, `every fourth thursday in november`."""
    if match := re.fullmatch(rf"(?:yearly|annually)(?:,? at (?P<times>{TIMES}))?", words):
        return recurring(read_clocks(match["times"]) or [], "1 1 *")
    if (match := _BY_YEAR.fullmatch(words)) is None:
        return None
    times = read_clocks(match["times"]) or []
    month = MONTHS.index((match["month"] or match["month2"] or match["month3"])[:3]) + 1
    if match["nth"]:
        field = nth_weekdays([nth(match["nth"])], match["weekday"])
        return recurring(times, f"* {month} {field}") if field else None
    day = int(match["day"] or match["day2"])
    next_date(wall, month=month, day=day)  # such a day there must be
    return recurring(times, f"{day} {month} *")


# --- one day


def _dated(words: str, wall: datetime) -> Reading | None:
    """`tomorrow at 8am`, `at 17:30`, `next monday at 9`, `on april 15 at noon`, `2026-12-24 18:00`."""
    if (words.startswith("at ") or SAYS_TIME.search(words)) and (
        time := read_clock(words.removeprefix("at "))
    ):
        return Reading(at=on_day(wall, time, roll=True))
    if match := re.fullmatch(r"(\d{4}-\d\d?-\d\d?)(?:[t ]| at )(\d\d:\d\d)(:\d\d)?", words):
        day = written_date(match[1])
        try:
            clock = datetime.strptime(match[2] + (match[3] or ":00"), "%H:%M:%S")  # noqa: DTZ007 - a time of day
        except ValueError:
            return None
        return day and Reading(at=day.replace(hour=clock.hour, minute=clock.minute, second=clock.second))
    found = english_days.find(words, wall)
    if found is None:
        return None
    if not found.rest:
        time = daytimes.USUAL[found.part] if found.part else DEFAULT
    else:
        # a bare number after a day could be anything: the 15th, a year
        says_so = found.rest.startswith("at ") or SAYS_TIME.search(found.rest)
        time = read_clock(found.rest.removeprefix("at "), found.part) if says_so else None
    if time is None:
        return None
    at = in_this_night(on_day(found.day, time, roll=False), time, wall)
    return Reading(at=at + found.again if at <= wall else at)
