"""Budgets: what a scope may use, what it has used, and whether one more call fits."""

import msgspec

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


def waiting_text(scope: str, reason: str) -> str:
    """What is said to whoever waits for an answer, while a budget of it is used up."""
    midnight = " It goes on at midnight by itself." if scope.startswith("day:") else ""
    return (
        f"This waits because a budget is used up: {reason}.{midnight} To raise it: tawny sessions raise {scope}"
        " with --tokens, --cost, --model-calls, --tool-calls or --seconds."
    )


def _amount(name: str, value: int) -> str:
    if name == "milliseconds":
        return f"{value / 1000:.0f}"
    return f"{value / 1_000_000:.2f}" if name == "micro_usd" else str(value)
