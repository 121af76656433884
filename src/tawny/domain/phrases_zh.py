"""Chinese phrases to schedules: 每个工作日早上8点, 30分钟后, 明天上午8点, 每月最后一天18点."""

import re
from datetime import datetime, timedelta

import msgspec

from tawny.clock import SECOND, format_duration
from tawny.domain.moments import Reading, Time, next_date, on_day

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
    "凌晨": Time(0, 0),
    "早上": Time(8, 0),
    "早晨": Time(8, 0),
    "清晨": Time(7, 0),
    "上午": Time(9, 0),
    "中午": Time(12, 0),
    "下午": Time(15, 0),
    "傍晚": Time(18, 0),
    "晚上": Time(20, 0),
    "晚": Time(20, 0),
    "早": Time(8, 0),
    "午夜": Time(0, 0),
}
_LATE = ("下午", "傍晚", "晚上", "晚")
_DEFAULT = Time(9, 0)

_N = r"[0-9]+|[零〇一二两三四五六七八九十]+"
_PART = "|".join(_PARTS)
_CLOCK = (
    rf"(?P<part>{_PART})?"
    rf"(?:(?P<hour>{_N})(?:点钟?|时|:|：)(?:(?P<half>半)|(?P<quarter>[一三])刻|(?P<minute>{_N})分?)?)?"
)
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


def read(text: str, wall: datetime) -> Reading | None:
    """What the phrase means, `None` when this grammar does not know it."""
    words = re.sub(r"[\s,，。!！]+", "", text)
    words = re.sub(r"(提醒我|叫我)$", "", words)
    until: datetime | None = None
    if match := re.search(r"[,，]?(?:一直)?(?:直到|到|至)(.+?)(?:为止)?$", words):
        day = _date(match[1], wall)
        if day is not None and not day[1]:
            until = day[0].replace(hour=23, minute=59, second=59, microsecond=0)
            words = words[: match.start()]
    for rule in (_delay, _interval, _recurring, _dated):
        if (reading := rule(words, wall)) is not None:
            return msgspec.structs.replace(reading, until=until) if until else reading
    return None


def number(text: str) -> int:
    """`十二`, `二十`, `30` as an integer."""
    if text.isascii():
        return int(text)
    if "十" in text:
        tens, _, ones = text.partition("十")
        return (_DIGITS[tens] if tens else 1) * 10 + (_DIGITS[ones] if ones else 0)
    return int("".join(str(_DIGITS[digit]) for digit in text))


def _delay(words: str, wall: datetime) -> Reading | None:
    match = re.fullmatch(rf"(?:过|再过)?{_SPAN}(?:之后|以后|后)?", words)
    if match is None or not (words.startswith(("过", "再过")) or words.endswith("后")):
        return None
    unit = match["unit"][0]
    if unit in "月年":
        months = number(match["count"]) * (12 if unit == "年" else 1)
        return Reading(at=next_date(wall, months=months))
    seconds = _count(match) * _SECONDS[unit]
    return Reading(delay=format_duration(round(seconds * SECOND)))


def _count(match: re.Match[str]) -> float:
    if match["count"] == "半":
        return 0.5
    return number(match["count"]) + (0.5 if match["half_more"] else 0)


def _interval(words: str, wall: datetime) -> Reading | None:
    if re.fullmatch(r"每(?:一|个|一个)?小时", words):
        return Reading(cron="0 * * * *")
    if re.fullmatch(r"每(?:一)?分钟", words):
        return Reading(cron="* * * * *")
    match = re.fullmatch(rf"每(?:隔|过)?{_SPAN}(?:一次)?(?P<rest>.*)", words)
    if match is None:
        return None
    unit, count = match["unit"][0], _count(match)
    if unit in _LETTER:
        if match["rest"]:
            return None
        minutes = count * _SECONDS[unit] / 60
        return Reading(every=f"{count:g}{_LETTER[unit]}" if count == int(count) else f"{minutes:g}m")
    clock = re.fullmatch(_CLOCK, match["rest"])
    time = (_time(clock) if clock else None) or (None if match["rest"] else _DEFAULT)
    if time is None or count != int(count) or unit not in "天日周星礼":
        return None
    if count == 1:
        return Reading(cron=f"{time.cron} * * {'*' if unit in '天日' else '1'}")
    frequency = "DAILY" if unit in "天日" else "WEEKLY"
    return Reading(rrule=f"FREQ={frequency};INTERVAL={int(count)}", start=on_day(wall, time, roll=True))


def _time(match: re.Match[str]) -> Time | None:
    part = match["part"]
    if match["hour"] is None:
        return _PARTS[part] if part else None
    hour = number(match["hour"])
    if match["half"]:
        minute = 30
    elif match["quarter"]:
        minute = 15 * number(match["quarter"])
    else:
        minute = number(match["minute"]) if match["minute"] else 0
    if (part in _LATE and hour < 12) or (part == "中午" and hour < 3):
        hour += 12
    elif part in ("午夜", "凌晨") and hour == 12:
        hour = 0
    if hour == 24 and minute == 0:
        hour = 0
    return Time(hour, minute) if hour < 24 and minute < 60 else None


_DAY_WORDS = (
    r"(?:(?P<all>每天|每日|天天)|(?P<work>每个?工作日|工作日|每个?周一到周五|周一至周五|每周一到周五|每周一至周五)"
    r"|(?P<end>每个?周末|周末)"
    r"|每个?(?:周|星期|礼拜)(?P<days>[一二三四五六日天](?:[、和及,]?(?:周|星期|礼拜)?[一二三四五六日天])*)"
    rf"|每个?月(?:的)?(?:(?P<day>{_N})[号日]|(?P<last>最后一天)|(?P<lastwork>最后一个工作日)"
    rf"|第(?P<nth>[一二三四五1-5])个?(?:周|星期|礼拜)(?P<nthday>[一二三四五六日天]))"
    rf"|每年(?:的)?(?P<month>{_N})月(?P<date>{_N})[号日]?)"
)


def _recurring(words: str, wall: datetime) -> Reading | None:
    del wall
    if re.match(r"每(早|晚|上午|中午|下午)", words):
        words = "每天" + words[1:]
    match = re.fullmatch(rf"{_DAY_WORDS}(?:的)?{_CLOCK}", words)
    if match is None:
        return None
    time = _time(match)
    if time is None:
        if match["hour"] is not None:
            return None
        time = _DEFAULT
    return Reading(cron=f"{time.cron} {_fields(match)}")


def _fields(match: re.Match[str]) -> str:
    """Day of month, month and day of week of a cron expression."""
    fixed = {"work": "* * 1-5", "end": "* * 0,6", "last": "L * *", "lastwork": "LW * *"}
    for group, fields in fixed.items():
        if match[group]:
            return fields
    if match["days"]:
        named = sorted({_WEEKDAYS[day] for day in re.findall(r"[一二三四五六日天]", match["days"])})
        return f"* * {','.join(map(str, named))}"
    if match["day"]:
        return f"{number(match['day'])} * *"
    if match["nth"]:
        return f"* * {_WEEKDAYS[match['nthday']]}#{number(match['nth'])}"
    if match["month"]:
        return f"{number(match['date'])} {number(match['month'])} *"
    return "* * *"


def _dated(words: str, wall: datetime) -> Reading | None:
    found = _date(words, wall)
    if found is None:
        match = re.fullmatch(_CLOCK, words)
        time = _time(match) if match else None
        return None if time is None else Reading(at=on_day(wall, time, roll=True))
    day, rest, move = found
    match = re.fullmatch(_CLOCK, rest.removeprefix("的"))
    if match is None:
        return None
    time = _time(match)
    if time is None:
        if match["hour"] is not None:
            return None
        time = _DEFAULT
    at = on_day(day, time, roll=False)
    return Reading(at=at + move if at <= wall else at)


def _date(words: str, wall: datetime) -> tuple[datetime, str, timedelta] | None:
    """A day, what follows it, and by how much it moves on if it has passed."""
    if match := re.match(r"(今天|今日|明天|明日|后天|大后天|今晚|明晚|明早|今早)", words):
        word = match[1]
        offset = {"明": 1, "后": 2, "大": 3}.get(word[0], 0)
        rest = words[match.end() :]
        if word[1] in "晚早":
            rest = word[1] + rest
        return wall + timedelta(days=offset), rest, timedelta()
    if match := re.match(
        r"(?P<next>下下?个?)?(?:这个?|本)?(?:周|星期|礼拜)(?P<day>[一二三四五六日天])", words
    ):
        weekday = (_WEEKDAYS[match["day"]] - 1) % 7
        if match["next"]:
            weeks = match["next"].count("下")
            day = wall + timedelta(days=7 * weeks - wall.weekday() + weekday)
            return day, words[match.end() :], timedelta()
        return wall + timedelta(days=(weekday - wall.weekday()) % 7), words[match.end() :], timedelta(days=7)
    if match := re.match(rf"(?:(?P<year>\d{{4}})年)?(?P<month>{_N})月(?P<day>{_N})[号日]?", words):
        day = next_date(wall, month=number(match["month"]), day=number(match["day"]), year=match["year"])
        return day, words[match.end() :], timedelta()
    if match := re.match(r"(\d{4}-\d\d-\d\d)", words):
        return datetime.fromisoformat(match[1]), words[match.end() :], timedelta()
    return None
