"""Telling that a run goes in circles: the very same call with the same outcome, whatever noise is in the outcome.

Noise is what changes by itself: ids, times, durations, process numbers, ports, addresses in memory. A long number may
be noise or a counter, and is told by its company (`31000 of 90000`, `"processed": 31000`), else by how it moves: a
counter never falls, and grows by a hundredth at least within four looks. Once it has done so three times it is known as
one, and may go on as slowly as it will, or begin anew. Small numbers always count: page 1 and page 2 are two things.
"""

import re
from collections.abc import Sequence
from enum import StrEnum

import msgspec

from tawny.domain.tasks import Json

WARN, BLOCK, END = 5, 8, 12
_GROWS = 1.01
_WITHIN = 4
"""Looks in which a counter must grow by that much; a clock or a number of a process does not."""
_KNOWN = 3
"""How often it must have done so to be known as a counter."""

_UNITS = (
    "of|rows?|records?|lines?|items?|entries|files?|messages?|frames?|pages?|steps?|iterations?|samples?"
    "|tokens?|tests?"
)
_DONE = (
    "processed|done|completed?|finished|offset|position|progress|total|count|scanned|seen|imported|exported"
    "|remaining|left"
)
# An early alternative takes a place before a later one can; gaps have bounds, as what is read is a stranger's. Only
# the groups `counted` and `number` are looked at.
_MOVES = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
    r"|\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?"
    r"|\b\d{1,2}:\d{2}:\d{2}(?:\.\d+)?\b"
    # Durations, with their unit or under their name.
    r"|\b(?:\d+h\s?)?(?:\d+m\s?)?\d+(?:\.\d+)?s\b"
    r"|\b\d+(?:\.\d+)?\s?(?:ms|µs|us|ns|s|sec|seconds?|minutes?|hours?)\b"
    r"|(?<![a-z])(?:duration|elapsed|took|latency|uptime|timestamp|time|ts)(?:_?[mun]?s|_?seconds)?\"?\s{0,3}[:=]\s{0,3}\d+(?:\.\d+)?"
    # Numbers of processes, threads and ports, however small.
    r"|(?<![a-z])(?:p?pid|tid|thread|process|port)\"?\s{0,3}[:=#]?\s{0,3}\d+\b"
    r"|(?:\blocalhost|\b\d{1,3}(?:\.\d{1,3}){3}|\[[0-9a-f:]{2,45}\]):\d{2,5}\b"
    r"|\b0x[0-9a-f]+\b"
    r"|(?P<counted>(?<![0-9a-z])\d{5,}(?=\s{0,3}/\s{0,3}\d|\s{0,3}%|\s{1,3}(?:" + _UNITS + r")\b)"
    r"|(?:\b\d+\s{0,3}/\s{0,3}|\bof\s{1,3}|(?<![a-z])(?:" + _DONE + r")\"?\s{0,3}[:=]?\s{0,3})\d{5,}\b)"
    r"|(?<![0-9a-z.])(?P<number>\d{5,}(?:\.\d+)?)(?![0-9a-z])"
    r"|(?<![0-9a-z])\d+\.\d{3,}(?![0-9a-z])"
    r"|(?<![0-9a-z])(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{7}(?![0-9a-z])"
    r"|(?<![0-9a-z])(?=[0-9a-z]*\d)(?=[0-9a-z]*[a-z])[0-9a-z]{8,}(?![0-9a-z])",
    re.IGNORECASE,
)
_encode = msgspec.json.Encoder(order="sorted").encode


class Loop(StrEnum):
    """What to do about a call."""

    GO_ON = "go_on"
    WARN = "warn"
    BLOCK = "block"
    END = "end"


class _Counter:
    """A number that may be a counter. `times` is how often in a row it has stood still."""

    def __init__(self, number: float) -> None:
        self.times = 1
        self._last = self._base = number
        self._crept = 0
        self._grown = 0

    def goes_on(self, number: float) -> bool:
        """Take what it is now; whether it may still be a counter."""
        before, self._last = self._last, number
        is_known = self._grown >= _KNOWN
        if number == before:
            return True
        if number >= self._base * _GROWS:
            self._grown += 1
        elif not is_known:
            self._crept += 1
            return number > before and self._crept < _WITHIN
        elif number < before:
            self._grown = 0
        self.times, self._base, self._crept = 1, number, 0
        return True


class _Streak:
    """How often in a row a call had one outcome."""

    def __init__(self, text: str, numbers: Sequence[float]) -> None:
        self._text = text
        self._times = 1
        self._counters = {place: _Counter(number) for place, number in enumerate(numbers)}

    @property
    def times(self) -> int:
        """How often the same came, an advance of a counter being something new."""
        return min((self._times, *(counter.times for counter in self._counters.values())))

    def goes_on(self, text: str, numbers: Sequence[float]) -> bool:
        """Take one more outcome, if it is the same but for noise."""
        if text != self._text:
            return False
        self.again()
        for place, counter in list(self._counters.items()):
            if not counter.goes_on(numbers[place]):
                del self._counters[place]
        return True

    def again(self) -> None:
        self._times += 1
        for counter in self._counters.values():
            counter.times += 1


class LoopGuard:
    """Counts, over one run, how often each call had the same outcome in a row."""

    def __init__(self) -> None:
        self._streaks: dict[str, _Streak] = {}

    def before(self, tool: str, arguments: Json) -> Loop:
        """Whether the call may be made once more. A blocked call counts as one more time."""
        streak = self._streaks.get(_call(tool, arguments))
        if streak is None or streak.times + 1 < BLOCK:
            return Loop.GO_ON
        streak.again()
        return Loop.END if streak.times >= END else Loop.BLOCK

    def after(self, tool: str, arguments: Json, outcome: Json) -> Loop:
        """Take note of what came of a call."""
        call, (text, numbers) = _call(tool, arguments), _told(outcome)
        streak = self._streaks.get(call)
        if streak is None or not streak.goes_on(text, numbers):
            streak = self._streaks[call] = _Streak(text, numbers)
        return Loop.WARN if streak.times >= WARN else Loop.GO_ON


def _call(tool: str, arguments: Json) -> str:
    # Not a digit is noise here: two appointments that differ in their times alone are two calls.
    return f"{tool} {_text(arguments)}"


def _told(outcome: Json) -> tuple[str, list[float]]:
    """The outcome without its noise, and the long numbers of which only their moves can tell what they are."""
    numbers: list[float] = []

    def without(match: re.Match[str]) -> str:
        if match["counted"]:
            return match[0]
        if match["number"]:
            numbers.append(float(match["number"]))
        return "#"

    # In JSON a line's end is a letter and would hide the number that begins the next line, and a mark hides a name.
    text = _text(outcome).replace("\\n", "\n").replace("\\t", "\t").replace('\\"', '"')
    return _MOVES.sub(without, text), numbers


def _text(value: Json) -> str:
    return _encode(value).decode()
