"""Telling that a run goes in circles: the very same call with the same outcome, whatever noise is in the outcome."""

import re
from enum import StrEnum

import msgspec

from tawny.domain.tasks import Json

WARN, BLOCK, END = 5, 8, 12

# What changes by itself from one outcome to the next. Small numbers stay: page 1 and page 2 are two things.
_NOISE = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
    r"|\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?"
    r"|\b\d{1,2}:\d{2}:\d{2}(?:\.\d+)?\b"
    r"|\b\d+(?:\.\d+)?\s?(?:ms|µs|s|sec|seconds)\b"
    r"|(?<![0-9a-z])(?:\d{5,}(?:\.\d+)?|\d+\.\d{3,})(?![0-9a-z])"
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


class LoopGuard:
    """Counts, over one run, how often each call had the same outcome in a row."""

    def __init__(self) -> None:
        self._streaks: dict[str, tuple[str, int]] = {}

    def before(self, tool: str, arguments: Json) -> Loop:
        """Whether the call may be made once more. A blocked call counts as one more time."""
        call = _call(tool, arguments)
        outcome, count = self._streaks.get(call, ("", 0))
        if count + 1 < BLOCK:
            return Loop.GO_ON
        self._streaks[call] = (outcome, count + 1)
        return Loop.END if count + 1 >= END else Loop.BLOCK

    def after(self, tool: str, arguments: Json, outcome: Json) -> Loop:
        """Take note of what came of a call."""
        # A line's end is a letter in JSON, and would hide the number or time that begins the next line.
        text = _text(outcome).replace("\\n", "\n").replace("\\t", "\t")
        call, now = _call(tool, arguments), _NOISE.sub("#", text)
        before, count = self._streaks.get(call, ("", 0))
        count = count + 1 if before == now else 1
        self._streaks[call] = (now, count)
        return Loop.WARN if count >= WARN else Loop.GO_ON


def _call(tool: str, arguments: Json) -> str:
    # Not a digit is noise here: two appointments that differ in their times alone are two calls.
    return f"{tool} {_text(arguments)}"


def _text(value: Json) -> str:
    return _encode(value).decode()
