"""English words for times, days and lengths of time, brought to one form and read."""

import re

import msgspec

from tawny.domain import daytimes
from tawny.domain.moments import Time

DAYS = {"sun": 0, "mon": 1, "tue": 2, "wed": 3, "thu": 4, "fri": 5, "sat": 6}
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = {
    "twenty": 20,
    "thirty": 30,
    "forty": 40,
    "fifty": 50,
    "sixty": 60,
    "seventy": 70,
    "eighty": 80,
    "ninety": 90,
}
_ORDINALS = {"first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "last": -1}
DEFAULT = Time(9, 0)
_MOST = 100_000
"""Larger numbers are a mistake."""

DAY = r"(?:sun|mon|tues?|wed(?:nes)?|thur?s?|fri|satur|sat)(?:day)?s?"
MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
    r"|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
)
UNIT = r"(?:seconds?|secs?|minutes?|mins?|hours?|hrs?|days?|weeks?|months?|years?|s|m|h|d|w)"
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
TIME = (
    r"(?:(?:\d{1,2}(?:[:.]\d{2})? ?(?:am|pm)?|noon|midday|midnight)"
    r"(?: in the (?:morning|afternoon|evening)| at night)?)"
)
TIMES = rf"{TIME}(?:(?:, and |, ?| and | & ){TIME})*"
PART = r"(?:morning|afternoon|evening|night)"
AND = r"(?:, and |, ?| and | & |/)"
WEEKLY = (
    rf"(?:weekdays?|work(?:ing )?days?|business days?|weekends?|{DAY}(?: to |-){DAY}|{DAY}(?:{AND}{DAY})*)"
)
NTH = rf"(?:\d{{1,2}}(?:st|nd|rd|th)|{'|'.join(_ORDINALS)})"


# --- the words in one form

_WORDED = {
    word: number
    for number, word in enumerate(
        (
            "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth",
            "eleventh", "twelfth", "thirteenth", "fourteenth", "fifteenth", "sixteenth", "seventeenth",
            "eighteenth", "nineteenth", "twentieth", "twenty-first", "twenty-second", "twenty-third",
            "twenty-fourth", "twenty-fifth", "twenty-sixth", "twenty-seventh", "twenty-eighth", "twenty-ninth",
            "thirtieth", "thirty-first",
        ),
        1,
    )
}  # fmt: skip
_WORDED_NTH = "|".join(word.replace("-", "[ -]") for word in sorted(_WORDED, key=len, reverse=True))
_MINUTES = rf"(?:{'|'.join(_ONES[10:])}|(?:{'|'.join(list(_TENS)[:4])})(?:[ -](?:{'|'.join(_ONES[1:10])}))?)"
_SIDE = r"(?=$|,| (?:am|pm|on|in|every|tomorrow|today|tonight)\b|(?:am|pm)\b)"

_FORMS = (
    (r"\s+", " "),
    (r"[–—]", "-"),
    (r"\ba\.m\.?|\ba m\b", "am"),
    (r"\bp\.m\.?|\bp m\b", "pm"),
    (r"@ ?", "at "),
    (r"(\d) (am|pm)\b", r"\1\2"),
    (r"\b(\d{1,2}(?::\d\d)?)([ap])\b", r"\1\2m"),
    (r"\b(\d{1,2}) ?o'? ?clock(?: (am|pm))?", r"\1:00\2"),
    (r"\b(mon|tue|tues|wed|thu|thur|thurs|fri|sat|sun)\.", r"\1"),
    (r"\b(jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec)\.", r"\1"),
    (r"\b(\d{4})/(\d\d?)/(\d\d?)\b", r"\1-\2-\3"),
    (r"\bat (\d\d?)h(\d\d)\b", r"at \1:\2"),
    (r"\bat (\d\d?)h\b", r"at \1:00"),
    (r"\b(\d\d?) ([0-5]\d)(?=am|pm)", r"\1:\2"),
    (r"\b(\d\d?)-(1[3-9]|[2-5]\d)(?=am|pm)", r"\1:\2"),  # 8-30am; 9-11am is from nine to eleven
    (r"\b(\d\d?)([0-5]\d)(?=am|pm)", r"\1:\2"),
    (r"\bat ([01]\d|2[0-3])([0-5]\d)$", r"at \1:\2"),
    (r"\b12 (noon|midnight)\b", r"\1"),
    (r"\ba couple (?:of )?(?=[smhdw])", "2 "),
    (r"\b1/2 (?:an )?hour\b", "half an hour"),
    (r"\b(minutes?|hours?|days?|weeks?|months?)'? time\b", r"\1"),
    (r"\b(in|at) (?:about|around|approximately|roughly) ", r"\1 "),
    (rf"\b(?:about|around) (?={TIME}$)", "at "),
    (r"\b(?:tmrw|tmr|tmw)\b", "tomorrow"),
    (r"(?<=\d|m) sharp\b", ""),
    (r"\beveryday\b", "every day"),
    (r"\beach\b", "every"),
    (r"\bonce (?:a|an|every|per) ", "every "),
    (r"\bevery single\b", "every"),
    (r"\b(?:thru|through|till)\b", "to"),
    (rf"\bevery (?:second|2nd) (?={DAY} (?:of|in) )", "2nd "),
    (
        r"\bevery (?:second|2nd) (?=day|week|month|year|hour|minute|mon|tue|wed|thu|fri|sat|sun)",
        "every other ",
    ),
    (r"\bevery (?:third|3rd) (?=(?:day|week|month|year|hour|minute)\b)", "every 3 "),
    (r"\bevery (\d+)(?:st|nd|rd|th) (day|week|month|year|hour|minute)s?$", r"every \1 \2s"),
    (r"\bnightly\b", "every night"),
    (r"\bevery quarter(?=$| at )", "quarterly"),
    (r"^(?:at the top of every hour|every hour,? on the hour)$", "every hour"),
    (rf"\b((?:next|this) week),? (?:on )?({DAY})\b", r"\2 \1"),
    (r"\bm-f\b", "mon-fri"),
    (rf"\b({DAY}) (?={DAY}\b)", r"\1, "),
    (r"\bchristmas eve\b", "december 24"),
    (r"\bchristmas(?: day)?\b", "december 25"),
    (r"\bnew year'?s eve\b", "december 31"),
    (r"\bnew year'?s day\b", "january 1"),
    (r"\bfortnightly\b", "every 2 weeks"),
    (r"\bin a fortnight\b", "in 2 weeks"),
    (r"\btonite\b", "tonight"),
)


def plain(text: str) -> str:
    words = re.sub(r"\s+", " ", text.strip().lower()).rstrip(".!?")
    words = re.sub(r"^(?:please )?(?:remind me |wake me(?: up)? )?", "", words)
    words = re.sub(rf"\b(at (?:{'|'.join(_ONES[1:13])}))[ -](?=(?:{_MINUTES}){_SIDE})", r"\1:", words)
    words = _digits(_nths(words))
    for pattern, form in _FORMS:
        words = re.sub(pattern, form, words)
    return _past_and_to(words)


def _nths(words: str) -> str:
    """`the twenty-fourth of may` as `the 24th of may`. `first` to `fifth` stay but beside a month: NTH reads them."""

    def form(word: str) -> str:
        return f"{_WORDED[word.replace(' ', '-')]}th"

    beside = rf"(?:({MONTH}) (?:the )?({_WORDED_NTH})|({_WORDED_NTH})(?: day)? of ({MONTH}))"
    words = re.sub(
        rf"\b{beside}\b", lambda m: f"{m[1]} {form(m[2])}" if m[1] else f"{form(m[3])} of {m[4]}", words
    )
    late = "|".join(word for word in _WORDED_NTH.split("|") if word not in _ORDINALS)
    return re.sub(rf"\b({late})\b", lambda match: form(match[1]), words)


def _digits(words: str) -> str:
    """Numbers in words as digits: `twenty five` is 25. `second` stays: it is a unit and an ordinal."""
    ones = "|".join(sorted(_ONES, key=len, reverse=True))

    def tens(match: re.Match[str]) -> str:
        return str(_TENS[match[1]] + (_ONES.index(match[2]) if match[2] else 0))

    words = re.sub(rf"\b({'|'.join(_TENS)})(?:[ -]({'|'.join(_ONES[1:10])}))?\b", tens, words)
    return re.sub(rf"\b({ones})\b", lambda match: str(_ONES.index(match[1])), words)


_PAST = re.compile(
    r"(?<!from )(?<!between )\b"
    r"(?:(?P<half>half)|(?:a )?(?P<quarter>quarter)|(?P<at>at )?(?P<count>\d{1,2})(?P<unit> minutes?)?)"
    r" (?P<way>past|after|to) (?P<hour>\d{1,2})(?P<noon>am|pm)?\b(?![:.-])"
)


def _past_and_to(words: str) -> str:
    """`half past 8` and `quarter to 9pm` as clocks say them."""

    def clock(match: re.Match[str]) -> str:
        minutes = 30 if match["half"] else 15 if match["quarter"] else int(match["count"])
        hour, noon = int(match["hour"]), match["noon"] or ""
        is_range = match["way"] == "to" and match["count"] and not (match["at"] or match["unit"])
        if minutes > 59 or hour > 12 or is_range or (match["half"] and match["way"] == "to"):
            return match[0]
        if match["way"] == "to":
            minutes = 60 - minutes
            if hour == 12 and noon:
                noon = "am" if noon == "pm" else "pm"
            hour = hour - 1 or 12 if noon or hour == 1 else hour - 1
        return f"{match['at'] or ''}{hour}:{minutes:02d}{noon}"

    return _PAST.sub(clock, words)


SAYS_TIME = re.compile(r":|am|pm|noon|midday|midnight|in the|night")
"""What makes a number a time of day; a bare one after or before a day could be anything: the 15th, a year.

So could one with a dot: 5.12 is a day of May, of December, or twelve minutes past five.
"""
_DAY_WORDS = (
    rf"(?:every |on |today|tomorrow|tonight|the day after|this |next |daily|weekly|monthly|yearly|{WEEKLY}\b"
    rf"|{MONTH} \d|\d{{1,2}} {MONTH}|\d{{1,2}}(?:st|nd|rd|th) |\d{{4}}-)"
)


def time_last(words: str) -> str:
    """`at 9am every day` and `every day 9am` as `every day at 9am`."""
    match = re.fullmatch(rf"(?P<at>at )?(?P<times>{TIMES}),? (?P<rest>{_DAY_WORDS}.*)", words)
    if match is None:
        return _with_at(words)
    if " at " in match["rest"]:
        return words
    is_one_day = re.match(r"today|tomorrow|tonight|this (?:morning|afternoon|evening)", match["rest"])
    if not (match["at"] or is_one_day or SAYS_TIME.search(match["times"])):
        return words
    rest, word, until = match["rest"].partition(" until ")
    return f"{rest} at {match['times']}{word}{until}"


def _with_at(words: str) -> str:
    """`every weekday 8am` as `every weekday at 8am`, where the last words are a time of day and nothing else."""
    match = re.fullmatch(rf"(?P<head>{_DAY_WORDS}.*?),? (?P<times>{TIMES})(?P<until> until .+)?", words)
    if match is None or " at " in words or not SAYS_TIME.search(match["times"]):
        return words
    if re.search(r"(?:^| )(?:at|to|from|between|and|or|until|after|before|past|in)$|[-&,/]$", match["head"]):
        return words
    return f"{match['head']} at {match['times']}{match['until'] or ''}"


# --- times of day


def read_clock(text: str, part: str | None = None) -> Time | None:
    """One time of day, in the part of it that was named beside."""
    match = re.fullmatch(
        r"(?:(?P<hour>\d{1,2})(?:[:.](?P<minute>\d{2}))? ?(?P<half>am|pm)?|(?P<word>noon|midday|midnight))"
        r"(?: (?:in the (?P<in>morning|afternoon|evening)|at (?P<at>night)))?",
        text.strip(),
    )
    if match is None:
        return None
    said = match["in"] or match["at"]
    if said and part and said != part:
        return None
    part = said or part
    if match["word"] == "midnight":
        return Time(0, 0, 1) if part in ("night", "evening") else None if part else Time(0, 0)
    if match["word"]:
        return None if part else Time(12, 0)
    hour, minute, half = int(match["hour"]), int(match["minute"] or 0), match["half"] or ""
    if part:
        return daytimes.within(part, hour, minute, half=half)
    exact = daytimes.hour_of_half(hour, half) if half else hour
    return None if exact is None or exact > 23 or minute > 59 else Time(exact, minute)


def read_clocks(text: str | None, part: str | None = None) -> list[Time] | None:
    """`8`, `8:30pm`, `8 and 20`, `9, 12 and 18`; without any the part's usual time."""
    if text is None:
        return [daytimes.USUAL[part] if part else DEFAULT]
    found = [read_clock(one.removeprefix("at "), part) for one in re.split(AND, text)]
    return None if None in found else [time for time in found if time is not None]


# --- spans

_SPAN_PART = re.compile(
    rf"(?:(?P<count>\d+(?:\.\d+)? ?|(?:an?|half an?|half|\d+ and a half) )(?P<unit>{UNIT})\b)(?P<more> and a half\b)?"
)


class Span(msgspec.Struct, frozen=True):
    """A length of time: whole months, or seconds. `unit` is the smallest that was named."""

    months: int = 0
    seconds: float = 0
    unit: str = ""


def read_span(text: str) -> Span | None:
    """`30 minutes`, `half an hour`, `1h30m`, `an hour and a half`, `2 hours and 15 minutes`."""
    if re.fullmatch(r"(?:a )?quarter (?:of an )?hour", text):
        return Span(seconds=900, unit="m")
    if re.fullmatch(r"3 ?quarters of an hour", text):
        return Span(seconds=2700, unit="m")
    rest, months, seconds, unit = text, 0, 0.0, ""
    while rest:
        match = _SPAN_PART.match(rest)
        if match is None:
            # 1h30m: no end of a word between a unit and a number
            match = re.match(r"(?P<count>\d+(?:\.\d+)?)(?P<unit>[dhms])(?P<more>)(?=\d)", rest)
        if match is None:
            return None
        number = _number(match["count"].strip()) + (0.5 if match["more"] else 0)
        unit = "mo" if match["unit"].startswith("mo") else match["unit"][0]
        if number > _MOST:
            return None
        if unit in ("mo", "y"):
            if number != int(number):
                return None
            months += int(number) * (12 if unit == "y" else 1)
        else:
            seconds += number * SECONDS[unit]
        rest = re.sub(r"^(?:, and |, ?| and | )", "", rest[match.end() :])
    return Span(months, seconds, unit) if not (months and seconds) and (months or seconds) else None


def _number(text: str) -> float:
    if text in ("a", "an"):
        return 1
    if text.endswith(" and a half"):
        return float(text.split()[0]) + 0.5
    return 0.5 if text.startswith("half") else float(text)


# --- weekdays and ordinals


def weekday_field(days: str) -> str:
    """Weekdays in words as a field of cron."""
    if days.startswith(("weekday", "work", "business")):
        return "1-5"
    if days.startswith("weekend"):
        return "0,6"
    if match := re.fullmatch(rf"({DAY})(?: to |-)({DAY})", days):
        first, last = DAYS[match[1][:3]], DAYS[match[2][:3]]
        if first <= last:
            return f"{first}-{last}" if first < last else str(first)
        return ",".join(map(str, sorted({day % 7 for day in range(first, last + 8)})))
    return ",".join(map(str, sorted({DAYS[name[:3]] for name in re.split(AND, days)})))


def weekdays(field: str) -> list[int]:
    found: list[int] = []
    for part in field.split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def nth_weekdays(numbers: list[int], day: str) -> str | None:
    if not all(number == -1 or 1 <= number <= 5 for number in numbers):
        return None
    return ",".join(f"{DAYS[day[:3]]}#{'L' if number == -1 else number}" for number in numbers)


def nth(text: str) -> int:
    return _ORDINALS.get(text) or int(re.sub(r"\D", "", text) or 0)
