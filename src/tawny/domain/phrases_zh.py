"""Chinese phrases to schedules: 每个工作日早上8点, 30分钟后, 明天上午8点, 每月最后一天18点.

Read whole or not at all, as in English. Traditional characters are read as their simplified ones.
"""

import re
from datetime import datetime, timedelta

import msgspec

from tawny.clock import SECOND, format_duration
from tawny.domain import daytimes
from tawny.domain.moments import (
    Reading,
    Time,
    is_in_every_month,
    next_date,
    on_day,
    recurring,
    weekly,
    written_date,
)
from tawny.errors import InvalidInput

_SIMPLE = str.maketrans(
    "週禮點鐘個後號兩時這過間從為將聽書隔節開關與", "周礼点钟个后号两时这过间从为将听书隔节开关与"
)
_DIGITS = {
    "零": 0,
    "〇": 0,
    "一": 1,
    "二": 2,
    "两": 2,
    "三": 3,
    "四": 4,
    "五": 5,
    "六": 6,
    "七": 7,
    "八": 8,
    "九": 9,
}
_WEEKDAYS = {"日": 0, "天": 0, "一": 1, "二": 2, "三": 3, "四": 4, "五": 5, "六": 6}
_PARTS = {
    "凌晨": "dawn",
    "早上": "morning",
    "早晨": "morning",
    "清晨": "morning",
    "上午": "forenoon",
    "中午": "noon",
    "下午": "afternoon",
    "傍晚": "evening",
    "晚上": "late",
    "晚间": "late",
    "夜里": "dead",
    "半夜": "dead",
    "深夜": "dead",
    "午夜": "dead",
    "晚": "late",
    "早": "morning",
}
_DEFAULT = Time(9, 0)
_MOST_DIGITS = 5

_N = r"[0-9]+|[零〇一二两三四五六七八九十]+"
_PART = "|".join(_PARTS)
_CLOCK = (
    rf"(?P<part>{_PART})?的?"
    rf"(?:(?P<hour>{_N})(?:点钟?|时|:|：)(?:(?P<half>半)|(?P<quarter>[一三])刻|[整正]|过?(?P<minute>{_N})分?)?)?"
)
_CLOCK_SHAPE = re.sub(r"\?P<\w+>", "?:", _CLOCK)
_CLOCKS = rf"(?P<clocks>{_CLOCK_SHAPE}(?:[、和及与]{_CLOCK_SHAPE})*)"
_SPAN = rf"(?P<count>{_N}|半)个?(?P<half_more>半)?(?P<unit>秒钟?|分钟?|小时|钟头|天|日|周|星期|礼拜|月|年)"
_SECONDS = {
    "秒": 1,
    "分": 60,
    "小": 3600,
    "钟": 3600,
    "天": 86_400,
    "日": 86_400,
    "周": 604_800,
    "星": 604_800,
    "礼": 604_800,
}
_LETTER = {"秒": "s", "分": "m", "小": "h", "钟": "h"}
_WEEK = r"(?:周|星期|礼拜)"
_DAY = r"[一二三四五六日天]"


def read(text: str, wall: datetime) -> Reading | None:
    """What the phrase means, `None` when this grammar does not know it.

    Raises:
        InvalidInput: it is known, and still means no one schedule.
    """
    words = re.sub(r"[\s,，。!！]+", "", text.translate(_SIMPLE))
    words = re.sub(rf"([{''.join(_DIGITS)}]{{4}})年", _year, words)
    words = re.sub(r"^(请|在)|(提醒我|叫我)$", "", words)
    until: datetime | None = None
    match = re.fullmatch(r"(.+?)(?:一直)?(?:直到|到|至)(.+?)(?:为止)?", words)
    if (
        match
        and not re.search(rf"{_WEEK}{_DAY}$", match[1])
        and (day := _date(match[2], wall))
        and not day[1]
    ):
        until = day[0].replace(hour=23, minute=59, second=59, microsecond=0)
        words = match[1]
    for rule in (_delay, _interval, _recurring, _dated):
        if (reading := rule(words, wall)) is not None:
            return msgspec.structs.replace(reading, until=until) if until else reading
    return None


def _year(match: re.Match[str]) -> str:
    """二零二七年 as 2027年."""
    return "".join(str(_DIGITS[digit]) for digit in match[1]) + "年"


def number(text: str) -> int:
    """`十二`, `二十`, `30` as an integer; -1 where no number is written so.

    Raises:
        InvalidInput: it is too large to be meant.
    """
    if "十" in text:
        tens, _, ones = text.partition("十")
        if len(tens) > 1 or len(ones) > 1 or ones == "十":
            return -1
        return (_DIGITS[tens] if tens else 1) * 10 + (_DIGITS[ones] if ones else 0)
    digits = "".join(str(_DIGITS.get(digit, digit)) for digit in text)
    if len(digits) > _MOST_DIGITS:
        raise InvalidInput(f"{text} is too large a number", hint="for example '30分钟后'")
    return int(digits)


# --- spans


def _delay(words: str, wall: datetime) -> Reading | None:
    """30分钟后, 一个半小时后, 1小时30分钟后, 三天后上午9点."""
    match = re.fullmatch(
        rf"(?:过|再过)?{_SPAN}(?:(?P<rest>{_N})分钟?)?(?P<after>之后|以后|过后|后)?(?P<clock>.*)", words
    )
    quarter = re.fullmatch(rf"(?:过|再过)?(?P<count>{_N})刻钟(?P<after>之后|以后|过后|后)?", words)
    if quarter and (quarter["after"] or words.startswith(("过", "再过"))):
        return Reading(delay=f"{15 * number(quarter['count'])}m") if number(quarter["count"]) > 0 else None
    if match is None or not (words.startswith(("过", "再过")) or match["after"]):
        return None
    unit, count = match["unit"][0], _count(match)
    if count <= 0 or (match["rest"] and unit not in "小钟"):
        return None
    if match["clock"]:
        return _delay_to_clock(match, count, wall)
    if unit in "月年":
        return None if count != int(count) else Reading(at=next_date(wall, months=_months(unit, count)))
    seconds = count * _SECONDS[unit] + 60 * (number(match["rest"]) if match["rest"] else 0)
    return Reading(delay=format_duration(round(seconds * SECOND)))


def _delay_to_clock(match: re.Match[str], count: float, wall: datetime) -> Reading | None:
    unit, clock = match["unit"][0], re.fullmatch(_CLOCK, match["clock"].removeprefix("的"))
    time = _time(clock) if clock else None
    if time is None or unit in _LETTER or count != int(count):
        return None
    if unit in "月年":
        return Reading(at=on_day(next_date(wall, months=_months(unit, count)), time, roll=False))
    return Reading(at=on_day(wall + timedelta(seconds=count * _SECONDS[unit]), time, roll=False))


def _months(unit: str, count: float) -> int:
    return int(count) * (12 if unit == "年" else 1)


def _count(match: re.Match[str]) -> float:
    if match["count"] == "半":
        return 0 if match["half_more"] else 0.5
    return number(match["count"]) + (0.5 if match["half_more"] else 0)


def _interval(words: str, wall: datetime) -> Reading | None:
    """每6小时, 每隔30分钟, 每两天早上8点, 隔天, 每两周的周一9点."""
    if re.fullmatch(r"每(?:隔)?(?:一|个|一个)?小时", words):
        return Reading(cron="0 * * * *")
    if re.fullmatch(r"每(?:隔)?(?:一)?分钟", words):
        return Reading(cron="* * * * *")
    words = re.sub(rf"^(?:每)?隔(?=天|日|{_WEEK})", "每隔一", words)
    match = re.fullmatch(rf"每(?P<skip>隔|过)?{_SPAN}(?:一次)?(?P<rest>.*)", words)
    if match is None:
        return None
    unit, count = match["unit"][0], _count(match)
    if count <= 0:
        return None
    if unit in _LETTER:
        if match["rest"]:
            return None
        minutes = count * _SECONDS[unit] / 60
        return Reading(every=f"{count:g}{_LETTER[unit]}" if count == int(count) else f"{minutes:g}m")
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


def _spaced(count: int, is_days: bool, rest: str, wall: datetime) -> Reading | None:  # noqa: FBT001 - days or weeks
    day = None if is_days else re.match(rf"(?:在)?{_WEEK}({_DAY})", rest)
    clock = re.fullmatch(_CLOCK, rest[day.end() :] if day else rest)
    time = (_time(clock) if clock else None) or (
        None if rest and not (day and day.end() == len(rest)) else _DEFAULT
    )
    if time is None or (time.days and (count > 1 or not is_days)):
        return None
    if count == 1:
        weekday = _WEEKDAYS[day[1]] if day else 1
        return recurring([time], "* * *" if is_days else f"* * {weekday}")
    if day:
        return weekly(count, [_WEEKDAYS[day[1]]], time, wall)
    frequency = "DAILY" if is_days else "WEEKLY"
    return Reading(rrule=f"FREQ={frequency};INTERVAL={count}", start=on_day(wall, time, roll=True))


# --- times of day


def _time(match: re.Match[str]) -> Time | None:
    part = _PARTS[match["part"]] if match["part"] else None
    if match["hour"] is None:
        return daytimes.USUAL[part] if part else None
    hour = number(match["hour"])
    if match["half"]:
        minute = 30
    elif match["quarter"]:
        minute = 15 * number(match["quarter"])
    else:
        minute = number(match["minute"]) if match["minute"] else 0
    if not (0 <= hour <= 24 and 0 <= minute < 60) or (hour == 24 and minute):
        return None
    if part:
        return daytimes.within(part, hour, minute)
    return Time(0, 0, 1) if hour == 24 else Time(hour, minute)


def _clocks(text: str) -> list[Time] | None:
    """早上8点和晚上8点; the part of the day is said again or not: 早上8点和9点."""
    found: list[Time] = []
    part = ""
    for one in re.split(r"[、和及与]", text):
        said = re.match(rf"{_PART}", one)
        part = said[0] if said else part
        match = re.fullmatch(_CLOCK, one if said else part + one)
        time = _time(match) if match else None
        if time is None:
            return None
        found.append(time)
    return found


# --- again and again

_DAY_WORDS = (
    rf"(?:(?P<all>每天|每日|天天)|(?P<work>每个?工作日|工作日)|(?P<end>每个?周末|每逢周末)"
    rf"|(?:每个?)?{_WEEK}(?P<first>{_DAY})(?:到|至|-|~){_WEEK}?(?P<last>{_DAY})(?:的?每天)?"
    rf"|每个?{_WEEK}(?P<days>{_DAY}(?:[、和及与]?{_WEEK}?{_DAY})*)"
    rf"|每个?月(?:的)?(?:(?P<dates>(?:{_N})[号日]?(?:[、和及与](?:{_N})[号日]?)*(?<=[号日]))|(?P<last_day>最后一天|月?底|月末)"
    rf"|(?P<first_day>第一天|月?初)|(?P<last_work>最后一个工作日)|(?P<first_work>第一个工作日)"
    rf"|(?:第(?P<nth>[一二三四五1-5])|最后一)个?{_WEEK}(?P<nth_day>{_DAY}))"
    rf"|每年(?:的)?(?P<month>{_N})月(?P<date>{_N})[号日]?)"
)


def _recurring(words: str, wall: datetime) -> Reading | None:
    if re.match(r"每(早|晚|上午|中午|下午)", words):
        words = "每天" + words[1:]
    match = re.fullmatch(rf"{_DAY_WORDS}(?:的)?{_CLOCKS}", words)
    if match is None:
        return None
    times = _clocks(match["clocks"]) if match["clocks"] else [_DEFAULT]
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
        first, last = ((_WEEKDAYS[match[group]] - 1) % 7 for group in ("first", "last"))
        days = [(day + 1) % 7 for day in range(first, last + 1)]
        return (
            f"* * {','.join(map(str, sorted(days)))}"
            if days != [1, 2, 3, 4, 5] and days
            else "* * 1-5"
            if days
            else None
        )
    if match["days"]:
        named = sorted({_WEEKDAYS[day] for day in re.findall(_DAY, re.sub(_WEEK, "", match["days"]))})
        return f"* * {','.join(map(str, named))}"
    if match["dates"]:
        dates = [number(one) for one in re.findall(_N, match["dates"])]
        return f"{','.join(map(str, dates))} * *" if all(is_in_every_month(day) for day in dates) else None
    if match["nth_day"]:
        return f"* * {_WEEKDAYS[match['nth_day']]}#{number(match['nth']) if match['nth'] else 'L'}"
    month, date = number(match["month"]), number(match["date"])
    next_date(wall, month=month, day=date)  # such a day there must be
    return f"{date} {month} *"


# --- one day


def _dated(words: str, wall: datetime) -> Reading | None:
    found = _date(words, wall)
    if found is None:
        match = re.fullmatch(_CLOCK, words)
        time = _time(match) if match and match["hour"] is not None else None
        return None if time is None else Reading(at=on_day(wall, time, roll=True))
    day, rest, move = found
    match = re.fullmatch(_CLOCK, rest.removeprefix("的"))
    if match is None:
        return None
    time = _time(match)
    if time is None:
        if match["hour"] is not None or match["part"]:
            return None
        time = _DEFAULT
    at = on_day(day, time, roll=False)
    return Reading(at=at + move if at <= wall else at)


def _date(words: str, wall: datetime) -> tuple[datetime, str, timedelta] | None:
    """A day, what follows it, and by how much it moves on if it has passed."""
    for rule in (_near_day, _weekday, _calendar_day):
        if (found := rule(words, wall)) is not None:
            return found
    return None


def _near_day(words: str, wall: datetime) -> tuple[datetime, str, timedelta] | None:
    match = re.match(r"(今天|今日|明天|明日|大后天|后天|后日|今晚|明晚|明早|今早)", words)
    if match is None:
        return None
    word = match[1]
    offset = {"明": 1, "后": 2, "大": 3}.get(word[0], 0)
    rest = words[match.end() :]
    if word[1] in "晚早":
        rest = word[1] + rest.removeprefix("上")
    return wall + timedelta(days=offset), rest, timedelta()


def _weekday(words: str, wall: datetime) -> tuple[datetime, str, timedelta] | None:
    match = re.match(rf"(?P<next>下{{1,2}}个?)?(?P<this>这个?|本|今个)?{_WEEK}(?P<day>{_DAY})", words)
    if match is None or (match["next"] and match["this"]):
        return None
    weekday = (_WEEKDAYS[match["day"]] - 1) % 7
    rest = words[match.end() :]
    if match["next"] or match["this"]:
        # a named week is that week; its days that have passed do not come back
        weeks = match["next"].count("下") if match["next"] else 0
        return wall + timedelta(days=7 * weeks - wall.weekday() + weekday), rest, timedelta()
    return wall + timedelta(days=(weekday - wall.weekday()) % 7), rest, timedelta(days=7)


def _calendar_day(words: str, wall: datetime) -> tuple[datetime, str, timedelta] | None:
    if match := re.match(
        rf"(?:(?P<year>\d{{4}})年|(?P<next>明年))?(?P<month>{_N})月(?P<day>{_N})[号日]?", words
    ):
        year = str(wall.year + 1) if match["next"] else match["year"]
        day = next_date(wall, month=number(match["month"]), day=number(match["day"]), year=year)
        return day, words[match.end() :], timedelta()
    if match := re.match(rf"(?P<which>这个?月|本月|下个?月)?(?P<day>(?!两){_N})[号日]", words):
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
