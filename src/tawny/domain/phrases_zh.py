"""Chinese phrases to schedules: 每个工作日早上8点, 30分钟后, 明天上午8点, 每月最后一天18点.

Read whole or not at all, as in English. Traditional characters are read as their simplified ones.
"""

import re
from datetime import datetime, timedelta

import msgspec

from tawny.clock import SECOND, format_duration
from tawny.domain.chinese import (
    CLOCK,
    CLOCKS,
    DAY,
    DEFAULT,
    LETTER,
    LONGEST,
    SECONDS,
    SPAN,
    WEEK,
    WEEKDAYS,
    N,
    number,
    plain,
    read_clock,
    read_clocks,
)
from tawny.domain.moments import (
    Reading,
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
    """What the phrase means, `None` when this grammar does not know it.

    Raises:
        InvalidInput: it is known, and still means no one schedule.
    """
    words = plain(text)
    until: datetime | None = None
    match = re.fullmatch(r"(.+?)(?:一直)?(?:直到|到|至)(.+?)(?:为止)?", words)
    if match and not re.search(rf"{WEEK}{DAY}$", match[1]) and (day := _date(match[2], wall)) and not day[1]:
        until = day[0].replace(hour=23, minute=59, second=59, microsecond=0)
        words = match[1]
    for rule in (_delay, _interval, _whole, _recurring, _dated):
        if (reading := rule(words, wall)) is not None:
            return msgspec.structs.replace(reading, until=until) if until else reading
    return None


# --- spans


def _delay(words: str, wall: datetime) -> Reading | None:
    """30分钟后, 一个半小时后, 1小时30分钟后, 三天后上午9点."""
    match = re.fullmatch(
        rf"(?:过|再过)?{SPAN}(?:(?P<rest>{N})分钟?)?(?P<after>之后|以后|过后|后)?(?P<clock>.*)", words
    )
    quarter = re.fullmatch(rf"(?:过|再过)?(?P<count>{N})刻钟(?P<after>之后|以后|过后|后)?", words)
    if quarter and (quarter["after"] or words.startswith(("过", "再过"))):
        return Reading(delay=f"{15 * number(quarter['count'])}m") if number(quarter["count"]) > 0 else None
    if match is None or not (words.startswith(("过", "再过")) or match["after"]):
        return None
    unit, count = match["unit"][0], _count(match)
    if count <= 0 or (match["rest"] and unit not in "小钟"):
        return None
    if unit == "年" and (count >= LONGEST or match["count"][0] == "0"):
        return None  # a year by its number: 2018年之后
    if match["clock"]:
        return _delay_to_clock(match, count, wall)
    if unit in "月年":
        return _months_later(unit, count, wall)
    seconds = count * SECONDS[unit] + 60 * (number(match["rest"]) if match["rest"] else 0)
    return Reading(delay=format_duration(round(seconds * SECOND)))


def _delay_to_clock(match: re.Match[str], count: float, wall: datetime) -> Reading | None:
    unit, clock = match["unit"][0], re.fullmatch(CLOCK, match["clock"].removeprefix("的"))
    time = read_clock(clock) if clock else None
    if time is None or unit in LETTER or count != int(count):
        return None
    if unit in "月年":
        return Reading(at=on_day(next_date(wall, months=_months(unit, count)), time, roll=False))
    return Reading(at=on_day(wall + timedelta(seconds=count * SECONDS[unit]), time, roll=False))


def _months_later(unit: str, count: float, wall: datetime) -> Reading | None:
    """三个月后, 一年半后; 半个月 is fifteen days."""
    months = count * (12 if unit == "年" else 1)
    if months == 0.5:
        return Reading(delay="15d")
    return Reading(at=next_date(wall, months=int(months))) if months == int(months) else None


def _months(unit: str, count: float) -> int:
    return int(count) * (12 if unit == "年" else 1)


def _count(match: re.Match[str]) -> float:
    if match["count"] == "半":
        return 0 if match["half_more"] else 0.5
    return number(match["count"]) + (0.5 if match["half_more"] else 0)


def _interval(words: str, wall: datetime) -> Reading | None:
    """每6小时, 每隔30分钟, 每两天早上8点, 隔天, 每两周的周一9点."""
    if single := re.fullmatch(r"每隔?(?:(?:一|个|一个)?(?P<hour>小时)|一?分钟)", words):
        return Reading(cron="0 * * * *" if single["hour"] else "* * * * *")
    words = re.sub(rf"^(?:每)?隔(?=天|日|{WEEK})", "每隔一", words)
    match = re.fullmatch(rf"每(?P<skip>隔|过)?{SPAN}(?:一次)?(?P<rest>.*)", words)
    if match is None:
        return None
    unit, count = match["unit"][0], _count(match)
    if count <= 0:
        return None
    if unit in LETTER:
        if match["rest"]:
            return None
        minutes = count * SECONDS[unit] / 60
        return Reading(every=f"{count:g}{LETTER[unit]}" if count == int(count) else f"{minutes:g}m")
    if unit in "月年" and not match["skip"]:
        return _every_months(count * (12 if unit == "年" else 1), match["rest"], wall)
    if count != int(count) or unit not in "天日周星礼":
        return None
    count = int(count)
    if match["skip"]:
        if count > 1:
            raise InvalidInput(
                f"每隔{match['count']}{match['unit']} is read in two ways",
                hint=f"say 每{match['count']}{match['unit']}, or 每{count + 1}{match['unit']}",
            )
        count = 2
    return _spaced(count, unit in "天日", match["rest"].removeprefix("的"), wall)


def _every_months(count: float, rest: str, wall: datetime) -> Reading | None:
    """每三个月, 每半年上午9点: from the next such time on, in months that all have its day."""
    clock = re.fullmatch(CLOCK, rest) if rest else None
    time = read_clock(clock) if clock else None if rest else DEFAULT
    if time is None or time.days or count != int(count) or count < 2:
        return None
    start = on_day(wall, time, roll=True)
    return Reading(rrule=f"FREQ=MONTHLY;INTERVAL={int(count)}", start=start) if start.day <= 28 else None


def _whole(words: str, _: datetime) -> Reading | None:
    """每周, 每个月9点, 每季度, 每年: on its first day."""
    match = re.fullmatch(rf"每个?(?P<unit>{WEEK}|月|季度?|年)(?:一次)?{CLOCKS}", words)
    if match is None:
        return None
    times = read_clocks(match["clocks"]) if match["clocks"] else [DEFAULT]
    fields = {"月": "1 * *", "季": "1 1,4,7,10 *", "年": "1 1 *"}.get(match["unit"][0], "* * 1")
    return recurring(times, fields) if times else None


def _spaced(count: int, is_days: bool, rest: str, wall: datetime) -> Reading | None:  # noqa: FBT001 - days or weeks
    day = None if is_days else re.match(rf"(?:在)?{WEEK}({DAY})", rest)
    clock = re.fullmatch(CLOCK, rest[day.end() :] if day else rest)
    time = (read_clock(clock) if clock else None) or (
        None if rest and not (day and day.end() == len(rest)) else DEFAULT
    )
    if time is None or (time.days and (count > 1 or not is_days)):
        return None
    if count == 1:
        weekday = WEEKDAYS[day[1]] if day else 1
        return recurring([time], "* * *" if is_days else f"* * {weekday}")
    if day:
        return weekly(count, [WEEKDAYS[day[1]]], time, wall)
    frequency = "DAILY" if is_days else "WEEKLY"
    return Reading(rrule=f"FREQ={frequency};INTERVAL={count}", start=on_day(wall, time, roll=True))


# --- again and again

_DAY_WORDS = (
    rf"(?:(?P<all>每天|每日|天天)|(?P<work>每个?工作日|工作日)|(?P<end>每个?周末|每逢周末)"
    rf"|(?:每个?)?{WEEK}(?P<first>{DAY})(?:到|至|-|~){WEEK}?(?P<last>{DAY})(?:的?每天)?"
    rf"|每个?{WEEK}(?P<days>{DAY}(?:[、和及与]?{WEEK}?{DAY})*)"
    rf"|每个?月(?:的)?(?:(?P<dates>(?:{N})[号日]?(?:[、和及与](?:{N})[号日]?)*(?<=[号日]))|(?P<last_day>最后一天|月?底|月末)"
    rf"|(?P<first_day>第一天|月?初)|(?P<last_work>最后一个工作日)|(?P<first_work>第一个工作日)"
    rf"|(?:第(?P<nth>[一二三四五1-5])|最后一)个?{WEEK}(?P<nth_day>{DAY}))"
    rf"|每年(?:的)?(?P<month>{N})月(?P<date>{N})[号日]?)"
)


def _recurring(words: str, wall: datetime) -> Reading | None:
    if re.match(r"每(早|晚|上午|中午|下午)", words):
        words = "每天" + words[1:]
    match = re.fullmatch(rf"{_DAY_WORDS}(?:的)?{CLOCKS}", words)
    if match is None:
        return None
    times = read_clocks(match["clocks"]) if match["clocks"] else [DEFAULT]
    fields = _fields(match, wall)
    return recurring(times, fields) if times and fields else None


def _fields(match: re.Match[str], wall: datetime) -> str | None:
    """Day of month, month and day of week of a cron expression."""
    fixed = {
        "all": "* * *", "work": "* * 1-5", "end": "* * 0,6", "last_day": "L * *", "first_day": "1 * *",
        "last_work": "LW * *", "first_work": "1W * *",
    }  # fmt: skip
    for group, fields in fixed.items():
        if match[group]:
            return fields
    if match["first"]:
        first, last = ((WEEKDAYS[match[group]] - 1) % 7 for group in ("first", "last"))
        days = [(day + 1) % 7 for day in range(first, last + 1)]
        return (
            f"* * {','.join(map(str, sorted(days)))}"
            if days != [1, 2, 3, 4, 5] and days
            else "* * 1-5"
            if days
            else None
        )
    if match["days"]:
        named = sorted({WEEKDAYS[day] for day in re.findall(DAY, re.sub(WEEK, "", match["days"]))})
        return f"* * {','.join(map(str, named))}"
    if match["dates"]:
        dates = [number(one) for one in re.findall(N, match["dates"])]
        return f"{','.join(map(str, dates))} * *" if all(is_in_every_month(day) for day in dates) else None
    if match["nth_day"]:
        return f"* * {WEEKDAYS[match['nth_day']]}#{number(match['nth']) if match['nth'] else 'L'}"
    month, date = number(match["month"]), number(match["date"])
    next_date(wall, month=month, day=date)  # such a day there must be
    return f"{date} {month} *"


# --- one day


def _dated(words: str, wall: datetime) -> Reading | None:
    found = _date(words, wall)
    if found is None:
        match = re.fullmatch(CLOCK, words)
        time = read_clock(match) if match and (match["hour"] is not None or words == "中午") else None
        return None if time is None else Reading(at=on_day(wall, time, roll=True))
    day, rest, move = found
    match = re.fullmatch(CLOCK, rest.removeprefix("的"))
    if match is None:
        return None
    time = read_clock(match)
    if time is None:
        if match["hour"] is not None or match["part"]:
            return None
        time = DEFAULT
    at = in_this_night(on_day(day, time, roll=False), time, wall)
    return Reading(at=at + move if at <= wall else at)


def _date(words: str, wall: datetime) -> tuple[datetime, str, timedelta] | None:
    """A day, what follows it, and by how much it moves on if it has passed."""
    for rule in (_near_day, _weekday, _calendar_day):
        if (found := rule(words, wall)) is not None:
            return found
    return None


def _near_day(words: str, wall: datetime) -> tuple[datetime, str, timedelta] | None:
    match = re.match(r"(今天|今日|明天|明日|大后天|大后日|后天|后日|今晚|明晚|明早|今早)", words)
    if match is None:
        return None
    word = match[1]
    offset = {"明": 1, "后": 2, "大": 3}.get(word[0], 0)
    rest = words[match.end() :]
    if word[1] in "晚早":
        rest = word[1] + rest.removeprefix("上")
    return wall + timedelta(days=offset), rest, timedelta()


def _weekday(words: str, wall: datetime) -> tuple[datetime, str, timedelta] | None:
    match = re.match(rf"(?P<next>下{{1,2}}个?)?(?P<this>这个?|本|今个)?{WEEK}(?P<day>{DAY})", words)
    if match is None or (match["next"] and match["this"]):
        return None
    weekday = (WEEKDAYS[match["day"]] - 1) % 7
    rest = words[match.end() :]
    if match["next"] or match["this"]:
        # a named week is that week; its days that have passed do not come back
        weeks = match["next"].count("下") if match["next"] else 0
        return wall + timedelta(days=7 * weeks - wall.weekday() + weekday), rest, timedelta()
    return wall + timedelta(days=(weekday - wall.weekday()) % 7), rest, timedelta(days=7)


def _calendar_day(words: str, wall: datetime) -> tuple[datetime, str, timedelta] | None:
    if match := re.match(
        rf"(?:(?P<year>\d{{4}})年|(?P<next>明年))?(?P<month>{N})月(?P<day>{N})[号日]?", words
    ):
        year = str(wall.year + 1) if match["next"] else match["year"]
        day = next_date(wall, month=number(match["month"]), day=number(match["day"]), year=year)
        return day, words[match.end() :], timedelta()
    if match := re.match(rf"(?P<which>这个?月|本月|下个?月)?(?P<day>(?!两){N})[号日]", words):
        days = _days_of_month(wall, match["which"], number(match["day"]))
        again = days[1] - days[0] if len(days) > 1 else timedelta()
        return (days[0], words[match.end() :], again) if days else None
    if (match := re.match(r"(\d{4}-\d\d?-\d\d?)", words)) and (day := written_date(match[1])):
        return day, words[match.end() :], timedelta()
    return None


def _days_of_month(wall: datetime, which: str | None, number: int) -> list[datetime]:
    """The days of that number: the one of this month or the next, or the next ones to come."""
    first = wall.replace(day=1)
    months = [1] if which and which.startswith("下") else [0] if which else [0, 1, 2, 3]
    found: list[datetime] = []
    for ahead in months:
        month = next_date(first, months=ahead)
        day = month + timedelta(days=number - 1)
        if number >= 1 and day.month == month.month and (which or day.date() >= wall.date()):
            found.append(day)
    return found
