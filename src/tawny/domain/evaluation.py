"""How a checked expression gets its value: simpleeval's walk over our own, smaller set of nodes.

A comparison or sum with what is absent is absent too, `not absent` is absent, and an absent condition does not hold.
`default(x, y)`, `exists(x)` and `x == null` look at absence itself.
"""

import ast
from collections.abc import Callable, Mapping
from typing import Any, cast

import simpleeval  # pyright: ignore[reportMissingTypeStubs]

from tawny.domain.functions import FUNCTIONS
from tawny.domain.operators import COMPARISONS, OPERATORS
from tawny.domain.values import ABSENT, EvaluationError, Value, bounded, plain


class Evaluator(simpleeval.SimpleEval):
    """Walks one checked tree with one set of values."""

    def __init__(self, values: Mapping[str, Value], *, strict: bool) -> None:
        super().__init__(operators=OPERATORS, functions={}, names={})  # pyright: ignore[reportUnknownMemberType]
        self._values = values
        self._strict = strict
        self.nodes: dict[type[ast.AST], Callable[[Any], Value]] | None = {
            ast.Constant: self._constant,
            ast.Name: self._name,
            ast.Attribute: self._attribute,
            ast.Subscript: self._item,
            ast.List: self._list,
            ast.Tuple: self._list,
            ast.UnaryOp: self._unary,
            ast.BinOp: self._binary,
            ast.BoolOp: self._boolean,
            ast.Compare: self._compare,
            ast.IfExp: self._choose,
            ast.Call: self._call,
        }

    def value(self, node: ast.expr) -> Value:
        """The value of a node: simpleeval's dispatch, which refuses every node not in the table."""
        try:
            return cast(Value, self._eval(node))  # pyright: ignore[reportUnknownMemberType]
        except simpleeval.InvalidExpression as error:
            raise EvaluationError(str(error)) from error

    def _check_disallowed_items(self, item: Value) -> None:
        # Only plain data comes in (see `plain`), so looking into every list again at every node is not needed.
        plain(item)

    def _constant(self, node: ast.Constant) -> Value:
        return plain(node.value)

    def _name(self, node: ast.Name) -> Value:
        return self._found(self._values.get(node.id), node.id)

    def _attribute(self, node: ast.Attribute) -> Value:
        owner = self.value(node.value)
        if isinstance(owner, Mapping):
            return self._found(cast(Mapping[str, Value], owner).get(node.attr), ast.unparse(node))
        return self._found(None, ast.unparse(node))

    def _item(self, node: ast.Subscript) -> Value:
        owner, key = self.value(node.value), self.value(node.slice)
        where = ast.unparse(node)
        if isinstance(owner, Mapping) and isinstance(key, str):
            return self._found(cast(Mapping[str, Value], owner).get(key), where)
        if isinstance(owner, list | tuple) and isinstance(key, int) and not isinstance(key, bool):
            items = cast(list[Value], owner)
            return self._found(items[key] if -len(items) <= key < len(items) else None, where)
        return self._found(None, where)

    def _found(self, value: Value, where: str) -> Value:
        if value is None and self._strict:
            raise EvaluationError(f"{where!r} has no value here")
        return plain(value)

    def _list(self, node: ast.List | ast.Tuple) -> Value:
        return [self.value(item) for item in node.elts]

    def _unary(self, node: ast.UnaryOp) -> Value:
        value = self.value(node.operand)
        if value is ABSENT:
            return ABSENT
        return not value if isinstance(node.op, ast.Not) else OPERATORS[type(node.op)](value)

    def _binary(self, node: ast.BinOp) -> Value:
        left, right = self.value(node.left), self.value(node.right)
        if left is ABSENT or right is ABSENT:
            return ABSENT
        return bounded(OPERATORS[type(node.op)](left, right))

    def _boolean(self, node: ast.BoolOp) -> Value:
        settles = isinstance(node.op, ast.Or)
        result: Value = not settles
        for part in node.values:
            value = self.value(part)
            if value is not ABSENT and bool(value) is settles:
                return value
            if value is ABSENT or result is not ABSENT:
                result = value
        return result

    def _compare(self, node: ast.Compare) -> Value:
        left = self.value(node.left)
        left_is_null = _is_null(node.left)
        for operation, comparator in zip(node.ops, node.comparators, strict=True):
            right = self.value(comparator)
            holds: Value
            if left_is_null or _is_null(comparator):
                same = (left is ABSENT) is (right is ABSENT)
                holds = same if isinstance(operation, ast.Eq | ast.Is) else not same
            elif left is ABSENT or right is ABSENT:
                return ABSENT
            else:
                holds = COMPARISONS[type(operation)](left, right)
            if not holds:
                return False
            left, left_is_null = right, _is_null(comparator)
        return True

    def _choose(self, node: ast.IfExp) -> Value:
        return self.value(node.body if self.value(node.test) else node.orelse)

    def _call(self, node: ast.Call) -> Value:
        name = cast(ast.Name, node.func).id
        function = FUNCTIONS[name]
        lenient = function.sees_absent
        strict, self._strict = self._strict, self._strict and not lenient
        try:
            arguments = [self.value(argument) for argument in node.args]
        finally:
            self._strict = strict
        if not lenient and any(argument is ABSENT for argument in arguments):
            return ABSENT
        return bounded(function.call(*arguments))


def _is_null(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None
