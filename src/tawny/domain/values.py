"""Plain data as expressions know it.

Null, booleans, numbers, money, text, lists, objects. What is not there (a name without a value, a key an object
lacks, null) is *absent*.
"""

from collections.abc import Mapping
from typing import Any, TypeGuard, cast

from tawny.domain.money import Money
from tawny.errors import PermanentError

MAX_TEXT = 10_000
MAX_NUMBER = 1e30

Value = Any
"""Plain data, or `ABSENT`."""


class EvaluationError(PermanentError):
    """An expression that could not be evaluated with these values."""

    code = "expression"


class _Absent:
    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "absent"


ABSENT = _Absent()
_PLAIN = (bool, int, float, str, Money, list, tuple, Mapping, frozenset, set, _Absent)


def describe(value: Value) -> str:
    """The kind of a value in a person's word."""
    if value is ABSENT or value is None:
        return "nothing"
    words: list[tuple[type | tuple[type, ...], str]] = [
        (bool, "true or false"),
        ((int, float), "a number"),
        (Money, "an amount of money"),
        (str, "text"),
        ((list, tuple, set, frozenset), "a list"),
    ]
    return next((word for kind, word in words if isinstance(value, kind)), "an object")


def plain(value: Value) -> Value:
    """The value if it is plain data; null becomes absent.

    Raises:
        EvaluationError: it is something else.
    """
    if value is None:
        return ABSENT
    if not isinstance(value, _PLAIN):
        raise EvaluationError(f"a value of type {type(value).__name__} cannot be used in an expression")
    return cast(Value, value)


def is_number(value: Value) -> TypeGuard[float]:
    """Whether it is a number (true and false are none)."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def as_number(value: Value, where: str) -> float:
    """The number; `where` names what needs it in the error."""
    if not is_number(value):
        raise EvaluationError(f"{where} needs a number, not {describe(value)}")
    return value


def as_text(value: Value, where: str) -> str:
    """The text; `where` names what needs it in the error."""
    if not isinstance(value, str):
        raise EvaluationError(f"{where} needs text, not {describe(value)}")
    return value


def bounded(value: Value) -> Value:
    """What was computed, unless it has grown beyond reason."""
    if isinstance(value, str) and len(value) > MAX_TEXT:
        raise EvaluationError(f"the text grows over {MAX_TEXT} characters")
    if is_number(value) and abs(float(value)) > MAX_NUMBER:
        raise EvaluationError("the number grows too large")
    return value
