"""One day in English: "tomorrow morning", "next monday", "april 15", "the 15th", a date."""

import re
from datetime import datetime, timedelta

import msgspec

from tawny.domain.english import DAY, DAYS, MONTH, MONTHS, PART
from tawny.domain.moments import next_date, written_date
from tawny.errors import InvalidInput


class Day(msgspec.Struct, frozen=True):
    """A day, what follows it, the part of it that was named, and by how much it moves on if it has passed."""

    day: datetime
    rest: str = ""
    part: str | None = None
    again: timedelta = timedelta()


def find(words: str, wall: datetime) -> Day | None:
    for rule in (_near_day, _weekday_date, _month_date, _day_of_month, _written):
        if (found := rule(words.removeprefix("on "), wall)) is not None:
            return found
    return None


def _near_day(words: str, wall: datetime) -> Day | None:
    match = re.match(
        rf"(?:(?P<day>today|tomorrow|(?:the )?day after tomorrow|tonight)|this (?P<this>morning|afternoon|evening))"
        rf"(?: (?:in the )?(?P<part>{PART}))?(?:,? |$)",
        words,
    )
    if match is None or (match["part"] and (match["this"] or match["day"] == "tonight")):
        return None
    day = match["day"] or "today"
    offset = {"tomorrow": 1, "today": 0, "tonight": 0}.get(day, 2)
    part = match["part"] or match["this"] or ("night" if day == "tonight" else None)
    if day == "tonight" and not words[match.end() :]:
        part = "evening"
    return Day(wall + timedelta(days=offset), words[match.end() :], part)


def _weekday_date(words: str, wall: datetime) -> Day | None:
    match = re.match(
        rf"(?P<which>next |this |coming |this coming )?(?P<day>{DAY})(?P<week>,? (?:of )?(?:next|this) week)?"
        rf"(?: (?:in the )?(?P<part>{PART}))?(?:,? |$)",
        words,
    )
    if match is None or match["day"].endswith("ays"):
        return None
    number = DAYS[match["day"][:3]]
    ahead = (number - wall.isoweekday() % 7) % 7
    rest, again = words[match.end() :], timedelta(days=7)
    if match["week"]:
        if match["which"]:
            return None
        weeks = 1 if match["week"].endswith("next week") else 0
        day = wall + timedelta(days=(number - 1) % 7 - wall.weekday() + 7 * weeks)
        return Day(day, rest, match["part"])
    if match["which"] == "next ":
        if 0 < ahead <= 6 - wall.weekday():
            near, far = wall + timedelta(days=ahead), wall + timedelta(days=ahead + 7)
            raise InvalidInput(
                f"next {match['day']} could be {near:%B} {near.day} or {far:%B} {far.day}",
                hint=f"say 'this {match['day']}', '{match['day']} next week', or the date",
            )
        ahead = ahead or 7
    # a date beside the weekday must be that day
    day = wall + timedelta(days=ahead)
    if rest and (dated := _month_date(rest, wall) or _of_day(rest, wall)) is not None:
        if match["which"] or dated.day.isoweekday() % 7 != number:
            raise InvalidInput(
                f"{dated.day:%B} {dated.day.day} is no {match['day']}", hint="name one of the two"
            )
        return msgspec.structs.replace(dated, part=match["part"] or dated.part)
    return Day(day, rest, match["part"], timedelta() if match["which"] == "this " else again)


def _month_date(words: str, wall: datetime) -> Day | None:
    match = re.match(
        rf"(?:the )?(?:(?P<month>{MONTH}) (?:the )?(?P<day>\d{{1,2}})(?:st|nd|rd|th)?"
        rf"|(?P<day2>\d{{1,2}})(?:st|nd|rd|th)? (?:of )?(?P<month2>{MONTH}))(?:,? (?P<year>\d{{4}}))?"
        rf"(?: in the (?P<part>morning|afternoon|evening))?(?:,? |$)",
        words,
    )
    if match is None:
        return None
    month = MONTHS.index((match["month"] or match["month2"])[:3]) + 1
    day = next_date(wall, month=month, day=int(match["day"] or match["day2"]), year=match["year"])
    again = timedelta()
    if not match["year"] and day.date() == wall.date():
        again = next_date(wall + timedelta(days=1), month=month, day=day.day) - day
    return Day(day, words[match.end() :], match["part"], again)


def _of_day(words: str, wall: datetime) -> Day | None:
    """`the 15th`: the next day of that number."""
    match = re.match(
        r"(?:the )?(\d{1,2})(?:st|nd|rd|th)(?:(?: day)? of (?:the )?(this|next) month)?(?:,? |$)", words
    )
    if match is None:
        return None
    number, day = int(match[1]), wall
    if match[2]:
        first = wall.replace(day=1) if match[2] == "this" else next_date(wall.replace(day=1), months=1)
        day = first + timedelta(days=number - 1)
        return Day(day, words[match.end() :]) if day.month == first.month else None
    found = [later for ahead in range(93) if (later := day + timedelta(days=ahead)).day == number]
    return Day(found[0], words[match.end() :], None, found[1] - found[0]) if len(found) > 1 else None


def _day_of_month(words: str, wall: datetime) -> Day | None:
    return _of_day(words, wall)


def _written(words: str, _: datetime) -> Day | None:
    if match := re.match(r"(\d{4}-\d\d?-\d\d?)(?: |$)", words):
        day = written_date(match[1])
        return None if day is None else Day(day, words[match.end() :])
    return None
