"""The functions an expression may call. The list in the documentation is made from `FUNCTIONS`."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, cast

import msgspec

from tawny.clock import DAY, HOUR, MINUTE, SECOND, from_datetime
from tawny.domain.money import Money
from tawny.domain.operators import contains
from tawny.domain.values import (
    ABSENT,
    MAX_TEXT,
    EvaluationError,
    Value,
    as_number,
    as_text,
    describe,
    is_number,
    plain,
)

MAX_SEARCHED = 100_000


class Function(msgspec.Struct, frozen=True):
    """A function of the language, how many arguments it takes, and what it does."""

    call: Callable[..., Value]
    fewest: int
    most: int
    description: str
    sees_absent: bool = False
    """Whether it is called with absent arguments too; for others the value is absent then."""


FUNCTIONS: dict[str, Function] = {}


def _function(
    name: str, description: str, fewest: int = 1, most: int | None = None, *, sees_absent: bool = False
) -> Callable[[Callable[..., Value]], Callable[..., Value]]:
    def register(call: Callable[..., Value]) -> Callable[..., Value]:
        FUNCTIONS[name] = Function(call, fewest, fewest if most is None else most, description, sees_absent)
        return call

    return register


@_function("abs", "the number without its sign")
def _absolute(value: Value) -> Value:
    if isinstance(value, Money):
        return Money(abs(value.amount), value.currency)
    return abs(as_number(value, "abs"))


@_function("contains", "whether a text, list or object has it", 2)
def _contains(whole: Value, part: Value) -> bool:
    return contains(part, whole)


@_function("default", "the second where the first is absent", 2, sees_absent=True)
def _default(value: Value, other: Value) -> Value:
    return other if value is ABSENT else value


@_function("exists", "whether there is a value", sees_absent=True)
def _exists(value: Value) -> bool:
    return value is not ABSENT


@_function("days", "so many days, in seconds")
def _days(n: Value) -> float:
    return as_number(n, "days") * (DAY // SECOND)


@_function("hours", "so many hours, in seconds")
def _hours(n: Value) -> float:
    return as_number(n, "hours") * (HOUR // SECOND)


@_function("minutes", "so many minutes, in seconds")
def _minutes(n: Value) -> float:
    return as_number(n, "minutes") * (MINUTE // SECOND)


@_function("time", "a moment (ISO 8601 with a zone) in seconds since 1970")
def _time(value: Value) -> float:
    if is_number(value):
        return value
    try:
        return from_datetime(datetime.fromisoformat(as_text(value, "time"))) / SECOND
    except ValueError as error:
        raise EvaluationError(f"{value!r} is no time with a zone, such as 2026-12-01T08:00:00Z") from error


@_function("lower", "the text in small letters")
def _lower(text: Value) -> str:
    return as_text(text, "lower").lower()


@_function("upper", "the text in capital letters")
def _upper(text: Value) -> str:
    return as_text(text, "upper").upper()


@_function("trim", "the text without blanks at its ends")
def _trim(text: Value) -> str:
    return as_text(text, "trim").strip()


@_function("starts_with", "whether the text starts so", 2)
def _starts_with(text: Value, start: Value) -> bool:
    return as_text(text, "starts_with").startswith(as_text(start, "starts_with"))


@_function("ends_with", "whether the text ends so", 2)
def _ends_with(text: Value, end: Value) -> bool:
    return as_text(text, "ends_with").endswith(as_text(end, "ends_with"))


@_function("len", "the length of a text, list or object")
def _length(value: Value) -> int:
    if isinstance(value, str | list | tuple | Mapping | set | frozenset):
        return len(cast(list[Value], value))
    raise EvaluationError(f"len needs text, a list or an object, not {describe(value)}")


@_function("matches", "whether the regular expression (RE2, a quoted text) is found in the text", 2)
def _matches(text: Value, pattern: Value) -> bool:
    searched = as_text(text, "matches")[:MAX_SEARCHED]
    return (
        compile_pattern(as_text(pattern, "matches")).search(searched.encode("utf-8", "replace")) is not None
    )


def compile_pattern(pattern: str) -> Any:
    """The regular expression in RE2's syntax, whose cost grows with the text and no faster.

    Raises:
        EvaluationError: it is none.
    """
    import re2  # noqa: PLC0415 # pyright: ignore[reportMissingTypeStubs] # loaded with the first pattern only

    library = cast(Any, re2)
    options = library.Options()
    options.log_errors = False
    options.max_mem = 1 << 20
    try:
        return library.compile(pattern.encode("utf-8", "replace"), options)
    except library.error as error:
        said = error.args[0] if error.args else b""
        words = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        raise EvaluationError(f"{pattern!r} is no regular expression: {words}") from None


def _numbers(values: tuple[Value, ...], where: str) -> list[float]:
    if len(values) == 1 and isinstance(values[0], list | tuple):
        values = tuple(cast(list[Value], values[0]))
    if not values:
        raise EvaluationError(f"{where} needs at least one number")
    return [as_number(value, where) for value in values]


@_function("max", "the largest number", 1, 20)
def _max(*values: Value) -> float:
    return max(_numbers(values, "max"))


@_function("min", "the smallest number", 1, 20)
def _min(*values: Value) -> float:
    return min(_numbers(values, "min"))


@_function("sum", "the sum of a list of numbers")
def _sum(items: Value) -> float:
    return sum(_numbers((items,), "sum")) if items else 0


@_function("round", "the number rounded to so many digits", 1, 2)
def _round(value: Value, digits: Value = 0) -> float:
    return round(as_number(value, "round"), max(-15, min(15, int(as_number(digits, "round")))))


@_function("number", "the number in a text")
def _to_number(value: Value) -> float:
    if is_number(value):
        return value
    if isinstance(value, Money):
        return value.amount
    cleaned = as_text(value, "number").strip()[:100]
    try:
        return int(cleaned) if cleaned.lstrip("+-").isdecimal() else float(cleaned)
    except ValueError:
        raise EvaluationError(f"{cleaned!r} is no number") from None


@_function("text", "the value as text")
def _to_text(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float | Money):
        return str(value)
    raise EvaluationError(f"text needs text, a number or true or false, not {describe(value)}")


@_function("join", "the items of a list as one text, with a separator", 1, 2)
def _join(items: Value, separator: Value = ", ") -> str:
    if not isinstance(items, list | tuple):
        raise EvaluationError(f"join needs a list, not {describe(items)}")
    parts = cast(list[Value], items)[:MAX_TEXT]
    return as_text(separator, "join").join(_to_text(part) for part in parts)


@_function("first", "the first item of a list")
def _first(items: Value) -> Value:
    return _pick(items, 0)


@_function("last", "the last item of a list")
def _last(items: Value) -> Value:
    return _pick(items, -1)


def _pick(items: Value, index: int) -> Value:
    if not isinstance(items, list | tuple | str):
        raise EvaluationError(f"first and last need a list, not {describe(items)}")
    return plain(cast(list[Value], items)[index]) if items else ABSENT
