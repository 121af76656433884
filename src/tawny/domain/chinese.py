"""Chinese words for times, days and lengths of time, brought to one form and read."""

import re

from tawny.domain import daytimes
from tawny.domain.moments import Time
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
WEEKDAYS = {"日": 0, "天": 0, "一": 1, "二": 2, "三": 3, "四": 4, "五": 5, "六": 6}
_PARTS = {
    "凌晨": "dawn",
    "早上": "morning",
    "早晨": "morning",
    "清晨": "morning",
    "上午": "forenoon",
    "中午": "noon",
    "下午": "pm",
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
DEFAULT = Time(9, 0)
_MOST_DIGITS = 5
LONGEST = 100
"""Years from now; more are a year by its number."""

N = r"[0-9]+|[零〇一二两三四五六七八九十]+"
_PART = "|".join(_PARTS)
CLOCK = (
    rf"(?P<part>{_PART})?的?"
    rf"(?:(?P<hour>{N})(?:点钟?|时|:|：)(?:(?P<half>半)|(?P<quarter>[一三])刻|[整正]|过?(?P<minute>{N})分?)?)?"
)
_CLOCK_SHAPE = re.sub(r"\?P<\w+>", "?:", CLOCK)
CLOCKS = rf"(?P<clocks>{_CLOCK_SHAPE}(?:[、和及与]{_CLOCK_SHAPE})*)"
SPAN = rf"(?P<count>{N}|半)个?(?P<half_more>半)?(?P<unit>秒钟?|分钟?|小时|钟头|天|日|周|星期|礼拜|月|年)"
SECONDS = {
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
LETTER = {"秒": "s", "分": "m", "小": "h", "钟": "h"}
WEEK = r"(?:周|星期|礼拜)"
DAY = r"[一二三四五六日天]"
_SAID_OTHERWISE = (
    (r"^每?逢", "每"),
    (r"^每个?小时整点", "每小时"),
    (r"^每一?刻钟", "每15分钟"),
    (r"^(提醒我)", ""),
    (r"元旦节?", "1月1日"),
    (r"平安夜", "12月24日"),
    (r"圣诞节?", "12月25日"),
)
"""Other words for the same, as patterns."""


def plain(text: str) -> str:
    """The words in one form: simplified, without blanks and what is said around them."""
    words = re.sub(r"[\s,，。!！]+", "", text.translate(_SIMPLE))
    words = re.sub(rf"([{''.join(_DIGITS)}]{{4}})年", _year, words)
    words = re.sub(r"^(请|在)|(提醒我|叫我)(一次|一下)?$", "", words)
    for said, meant in _SAID_OTHERWISE:
        words = re.sub(said, meant, words)
    return words


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


# --- times of day


def read_clock(match: re.Match[str]) -> Time | None:
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


def read_clocks(text: str) -> list[Time] | None:
    """早上8点和晚上8点; the part of the day is said again or not: 早上8点和9点."""
    found: list[Time] = []
    part = ""
    for one in re.split(r"[、和及与]", text):
        said = re.match(rf"{_PART}", one)
        part = said[0] if said else part
        match = re.fullmatch(CLOCK, one if said else part + one)
        time = read_clock(match) if match else None
        if time is None:
            return None
        found.append(time)
    return found
