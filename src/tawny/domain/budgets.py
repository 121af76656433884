"""Budgets: what a scope may use, what it has used, and whether one more call fits."""

from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

import msgspec

from tawny.clock import Instant, from_datetime, to_datetime

WARN_AT = 0.8


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """Upper bounds; 0 is unbounded. Money in millionths of a US dollar, time (at work, not waiting) in milliseconds."""

    tokens: int = 0
    micro_usd: int = 0
    model_calls: int = 0
    tool_calls: int = 0
    milliseconds: int = 0

    @property
    def is_open(self) -> bool:
        return not any(getattr(self, name) for name in self.__struct_fields__)


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """What a scope has used, or what is reserved in it."""

    tokens: int = 0
    micro_usd: int = 0
    model_calls: int = 0
    tool_calls: int = 0
    milliseconds: int = 0

    def plus(self, more: "Use") -> "Use":
        return Use(**{name: getattr(self, name) + getattr(more, name) for name in self.__struct_fields__})


_SAID = {
    "tokens": "tokens",
    "micro_usd": "US dollars",
    "model_calls": "model calls",
    "tool_calls": "tool calls",
    "milliseconds": "seconds",
}


def exceeded(bounds: Bounds, used: Use, reserved: Use, want: Use) -> str | None:
    """What does not fit, for a person; `None` when the call may be made.

    A call that asks for more than is left is refused, unless nothing is used or reserved yet: the smallest budget
    still buys one call.
    """
    for name in bounds.__struct_fields__:
        bound = getattr(bounds, name)
        taken = getattr(used, name) + getattr(reserved, name)
        if not bound or not getattr(want, name):
            continue
        if taken >= bound or (taken and taken + getattr(want, name) > bound):
            return f"{_amount(name, getattr(used, name))} of {_amount(name, bound)} {_SAID[name]} are used"
    return None


def is_nearly_used(bounds: Bounds, used: Use) -> str | None:
    """What has reached 80 %, for a person; `None` while all is below."""
    for name in bounds.__struct_fields__:
        bound = getattr(bounds, name)
        if bound and getattr(used, name) >= WARN_AT * bound:
            return f"{_amount(name, getattr(used, name))} of {_amount(name, bound)} {_SAID[name]} are used"
    return None


def widened(bounds: Bounds, more: Use) -> Bounds:
    """Bounds raised by `more`; what is unbounded stays so."""
    return Bounds(
        **{
            name: getattr(bounds, name) and getattr(bounds, name) + getattr(more, name)
            for name in bounds.__struct_fields__
        }
    )


class Window(msgspec.Struct, frozen=True):
    """The time a scope counts for, [start, end); 0 and 0 for one that counts for good."""

    start: Instant = 0
    end: Instant = 0


_EACH = {"automation": "day", "session": "day", "day": "day", "owner": "month"}


def window(scope: str, now: Instant, zone: ZoneInfo) -> Window:
    """The day or month that a scope counts for, in the owner's zone.

    A `day:` has its date in its name, so what it has used stays its own; only its end matters.
    """
    each = _EACH.get(scope.partition(":")[0])
    if each is None:
        return Window()
    first = to_datetime(now, zone).date()
    if each == "month":
        first = first.replace(day=1)
        after = (first + timedelta(days=31)).replace(day=1)
    else:
        after = first + timedelta(days=1)
    start, end = (from_datetime(datetime.combine(one, time.min, zone)) for one in (first, after))
    return Window(0 if scope.startswith("day:") else start, end)


_MIDNIGHT = " It goes on at midnight by itself."
_ANEW = {
    "day": _MIDNIGHT,
    "session": _MIDNIGHT,
    "automation": _MIDNIGHT,
    "owner": " It goes on with the next month by itself.",
}


def waiting_text(scope: str, reason: str) -> str:
    """What is said to whoever waits for an answer, while a budget of it is used up."""
    when = _ANEW.get(scope.partition(":")[0], "")
    return (
        f"This waits because a budget is used up: {reason}.{when} To raise it: tawny sessions raise {scope}"
        " with --tokens, --cost, --model-calls, --tool-calls or --seconds."
    )


def _amount(name: str, value: int) -> str:
    if name == "milliseconds":
        return f"{value / 1000:.0f}"
    return f"{value / 1_000_000:.2f}" if name == "micro_usd" else str(value)
