"""Parts of the day and the hours they can mean: "at 8 in the evening" is 20:00, "tonight at 12" is midnight.

An hour that its part of the day cannot have ("this evening at 9am") means nothing: better no reading than a wrong one.
"""

from tawny.domain.moments import Time

USUAL = {
    "dawn": Time(0, 0),
    "morning": Time(8, 0),
    "forenoon": Time(9, 0),
    "noon": Time(12, 0),
    "afternoon": Time(15, 0),
    "pm": Time(15, 0),
    "evening": Time(18, 0),
    "night": Time(21, 0),
    "late": Time(20, 0),
    "dead": Time(0, 0, 1),
}
"""When something is done that has a part of the day and no hour. `late` is 晚上, `pm` 下午, `dead` the hours
around midnight."""

_HOURS: dict[str, tuple[tuple[int, int, int], ...]] = {
    "dawn": ((0, 6, 0),),
    "morning": ((1, 11, 0),),
    "forenoon": ((6, 12, 0), (1, 5, 0)),
    "noon": ((11, 14, 0),),
    "afternoon": ((12, 19, 0),),
    "pm": ((12, 23, 0),),
    "evening": ((16, 23, 0),),
    "night": ((18, 23, 0), (0, 4, 1)),
    "late": ((17, 23, 0), (0, 0, 1)),
    "dead": ((22, 23, 0), (0, 5, 1)),
}
"""From which hour to which, and how many days later the clock has turned by then."""


def hour_of_half(hour: int, half: str) -> int | None:
    """12 hours and am or pm as 24; `None` where no clock says that."""
    if not 1 <= hour <= 12:
        return None
    return hour % 12 + (12 if half == "pm" else 0)


def within(part: str, hour: int, minute: int, *, half: str = "") -> Time | None:
    """The time that an hour has in a part of the day, `None` where it has none there.

    `half` is am or pm where it was said. A time after midnight belongs to the night before: its `days` is 1.
    """
    if half:
        exact = hour_of_half(hour, half)
        candidates = [] if exact is None else [exact]
    elif hour == 24:
        candidates = [0]
    else:
        candidates = [hour, (hour + 12) % 24] if 1 <= hour <= 12 else [hour]
    for candidate in candidates:
        for first, last, days in _HOURS[part]:
            if first <= candidate <= last and minute < 60:
                return Time(candidate, minute, days)
    return None
