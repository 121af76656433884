"""The operators of expressions, on plain data."""

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any, cast

from tawny.domain.money import Money
from tawny.domain.values import EvaluationError, Value, as_number, as_text, describe, is_number


def _order(compare: Callable[[Any, Any], bool], sign: str) -> Callable[[Value, Value], bool]:
    def ordered(left: Value, right: Value) -> bool:
        if isinstance(left, Money) or isinstance(right, Money):
            first, second = _money_pair(left, right, sign)
            return compare(first.amount, second.amount)
        if (is_number(left) and is_number(right)) or (isinstance(left, str) and isinstance(right, str)):
            return compare(left, right)
        raise EvaluationError(f"{describe(left)} and {describe(right)} cannot be compared with {sign}")

    return ordered


def _money_pair(left: Value, right: Value, sign: str) -> tuple[Money, Money]:
    first = left if isinstance(left, Money) else Money(as_number(left, sign))
    second = right if isinstance(right, Money) else Money(as_number(right, sign))
    if not first.same_currency(second):
        raise EvaluationError(f"{first} and {second} are in different currencies")
    return first, second


def _equal(left: Value, right: Value) -> bool:
    if isinstance(left, Money) or isinstance(right, Money):
        if not all(isinstance(side, Money) or is_number(side) for side in (left, right)):
            return False
        first, second = _money_pair(left, right, "==")
        return first.amount == second.amount
    if isinstance(left, bool) != isinstance(right, bool):
        return False
    return bool(left == right)


def contains(left: Value, right: Value) -> bool:
    """Whether `left in right`."""
    if isinstance(right, str):
        return as_text(left, "'in' with text on its right") in right
    if isinstance(right, set | frozenset):
        return left in right if isinstance(left, str | int | float) else False
    if isinstance(right, list | tuple):
        return any(_equal(left, item) for item in cast(list[Value], right))
    if isinstance(right, Mapping):
        return isinstance(left, str) and left in right
    raise EvaluationError(f"'in' needs a list, text or an object on its right, not {describe(right)}")


COMPARISONS: dict[type[ast.cmpop], Callable[[Value, Value], bool]] = {
    ast.Eq: _equal,
    ast.NotEq: lambda left, right: not _equal(left, right),
    ast.Lt: _order(operator.lt, "<"),
    ast.LtE: _order(operator.le, "<="),
    ast.Gt: _order(operator.gt, ">"),
    ast.GtE: _order(operator.ge, ">="),
    ast.In: contains,
    ast.NotIn: lambda left, right: not contains(left, right),
}


# ---- arithmetic


def _add(left: Value, right: Value) -> Value:
    if isinstance(left, str) and isinstance(right, str):
        return left + right
    return _calculate(operator.add, "+")(left, right)


def _calculate(fn: Callable[[Any, Any], Any], sign: str) -> Callable[[Value, Value], Value]:
    def calculated(left: Value, right: Value) -> Value:
        if isinstance(left, Money) or isinstance(right, Money):
            return _calculate_money(fn, sign, left, right)
        try:
            return fn(as_number(left, sign), as_number(right, sign))
        except ZeroDivisionError as error:
            raise EvaluationError("division by zero") from error
        except OverflowError as error:
            raise EvaluationError("the number grows too large") from error

    return calculated


def _calculate_money(fn: Callable[[Any, Any], Any], sign: str, left: Value, right: Value) -> Value:
    if sign in "+-":
        first, second = _money_pair(left, right, sign)
        return Money(fn(first.amount, second.amount), first.currency or second.currency)
    if sign == "/" and isinstance(left, Money) and isinstance(right, Money):
        first, second = _money_pair(left, right, sign)
        return _calculate(fn, sign)(first.amount, second.amount)
    if sign in "*/" and isinstance(left, Money):
        return Money(_calculate(fn, sign)(left.amount, right), left.currency)
    if sign == "*" and isinstance(right, Money):
        return Money(_calculate(fn, sign)(left, right.amount), right.currency)
    raise EvaluationError(f"{describe(left)} and {describe(right)} do not go with {sign}")


def _negate(value: Value) -> Value:
    if isinstance(value, Money):
        return Money(-value.amount, value.currency)
    return -as_number(value, "-")


def _keep(value: Value) -> Value:
    return value if isinstance(value, Money) else as_number(value, "+")


def _divide(left: float, right: float) -> float:
    return left / right


OPERATORS: dict[type[ast.AST], Callable[..., Value]] = {
    ast.Add: _add,
    ast.Sub: _calculate(operator.sub, "-"),
    ast.Mult: _calculate(operator.mul, "*"),
    ast.Div: _calculate(_divide, "/"),
    ast.Mod: _calculate(operator.mod, "%"),
    ast.USub: _negate,
    ast.UAdd: _keep,
}
