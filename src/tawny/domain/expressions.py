r"""One safe expression language, behind one door: rules, filters, watch conditions and flows are written in it.

`amount > $100`, `operation == delete`, `recipient not in contacts`, `change_percent < -5 and value < 2000`,
`matches(subject, "invoice \d+")`, `steps.fetch.result.text`. What it knows: names, `.key` and `[0]` on plain data,
comparisons, `and or not in`, `+ - * / %`, `a if c else b`, the functions of `functions.FUNCTIONS`, and money.
An expression is bounded in length, depth and cost, and touches nothing but the values it is given.
"""

import ast
import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from tawny.domain.evaluation import Evaluator
from tawny.domain.functions import FUNCTIONS, compile_pattern
from tawny.domain.money import SIGNS, Money
from tawny.domain.values import ABSENT, EvaluationError, Value
from tawny.errors import InvalidInput

__all__ = ["EvaluationError", "Expression", "compile"]

MAX_LENGTH = 1000
MAX_DEPTH = 30
MAX_NODES = 300
MAX_PATTERN = 300

_CONSTANTS = {"true": True, "false": False, "null": None, "none": None}
_QUOTED = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'", re.DOTALL)
_MONEY = re.compile(r"[$€£¥](\d+(?:,\d{3})*(?:\.\d+)?)")
_ALLOWED = re.compile(r"[A-Za-z0-9_ .,()\[\]<>=!+\-*/%]")
_MENDS = {
    "&": "write 'and'",
    "|": "write 'or'",
    "$": "write an amount of money as $100",
    "{": "objects cannot be written here",
    ":": "slices cannot be written here",
    "“": "use straight quotes",
    "”": "use straight quotes",
    "'": "close the text with '",
    '"': 'close the text with "',
}
_EXAMPLES = {
    "change_percent": "change_percent < -5",
    "value": "value < 2000",
    "amount": "amount > $100",
    "operation": "operation == delete",
    "steps": 'steps.fetch.result.text != ""',
    "subject": 'contains(lower(subject), "invoice")',
}


class Expression:
    """A checked expression. `names` are the names it looks up."""

    def __init__(self, text: str, tree: ast.expr, *, strict: bool) -> None:
        self.text = text
        self._tree = tree
        self._strict = strict
        self.names = frozenset(node.id for node in _lookups(tree))

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"

    def evaluate(self, values: Mapping[str, Value]) -> Value:
        """The value with these names; `None` where it is absent.

        Raises:
            EvaluationError: the values do not go with it (text compared with a number, division by zero).
        """
        try:
            value = Evaluator(values, strict=self._strict).value(self._tree)
        except EvaluationError as error:
            raise EvaluationError(f"{self.text!r}: {error.message}") from error
        except (ArithmeticError, RecursionError, TypeError, ValueError, LookupError) as error:
            raise EvaluationError(f"{self.text!r}: {error}") from error
        return None if value is ABSENT else value

    def test(self, values: Mapping[str, Value]) -> bool:
        """Whether the condition holds; an absent one does not.

        Raises:
            EvaluationError: as `evaluate`.
        """
        return bool(self.evaluate(values))


def compile(
    text: str,
    names: Iterable[str] | None = None,
    *,
    extra_names: bool = False,
    strict: bool = False,
    example: str = "",
) -> Expression:
    """Check an expression against the names it may use.

    Beside a name, `==`, `!=` and `in` take a bare word for a text: `operation == delete`.

    Args:
        text: the expression, at most 1,000 characters.
        names: the names there are; `None` for any (the keys of an event's data).
        extra_names: other names than `names` may be used too.
        strict: a name or key without a value is an error when evaluated, rather than absent.
        example: a correct expression to show beside an error; one is chosen from the names where it is empty.

    Raises:
        InvalidInput: says what is wrong, in which column (from 1), and shows a correct example.
    """
    known = frozenset(names or ())
    return _Compiler(
        text,
        known,
        open_names=names is None or extra_names,
        example=example
        or next((_EXAMPLES[name] for name in _EXAMPLES if name in known), 'sender == "a@b.org"'),
    ).compile(strict=strict)


class _Compiler:
    def __init__(self, text: str, known: frozenset[str], *, open_names: bool, example: str) -> None:
        self._text = text
        self._known = known
        self._open = open_names
        self._example = example
        self._texts: dict[int, str] = {}
        self._money: dict[int, Money] = {}

    def compile(self, *, strict: bool) -> Expression:
        if not self._text.strip():
            self._fail("the expression is empty", 0)
        if len(self._text) > MAX_LENGTH:
            self._fail(f"the expression has more than {MAX_LENGTH} characters", MAX_LENGTH)
        masked = self._mask()
        # Leading blanks would be an indentation to the parser; columns stay right by counting them.
        self._offset = len(masked) - len(masked.lstrip())
        try:
            tree = ast.parse(masked.strip(), mode="eval").body
        except SyntaxError as error:
            at = error.offset - 1 if error.offset else len(masked.strip())
            self._fail(self._explain(masked, error), self._offset + at)
        except (RecursionError, MemoryError, ValueError):
            self._fail("the expression is nested too deeply", 0)
        self._count = 0
        return Expression(self._text, self._check(tree, 0), strict=strict)

    # ---- text → text that Python's parser may see

    def _mask(self) -> str:
        """The text with every quoted text and amount of money replaced by something harmless of the same length."""
        parts: list[str] = []
        at = 0
        while at < len(self._text):
            rest = self._text[at:]
            if match := _QUOTED.match(self._text, at):
                if parts and re.match(r"[A-Za-z0-9_\"']", self._text[at - 1]):
                    self._fail("a quoted text must stand apart", at)
                self._texts[at] = re.sub(r"\\([\"'\\])", r"\1", match.group()[1:-1])
                parts.append('"' + "x" * (len(match.group()) - 2) + '"')
                at = match.end()
            elif match := _MONEY.match(self._text, at):
                # An imaginary number has the same length, and cannot be written otherwise.
                digits = match.group(1).replace(",", "")
                self._money[at] = Money(float(digits), SIGNS[rest[0]])
                parts.append("1".rjust(len(match.group()) - 1, "1") + "j")
                at = match.end()
            elif rest[0] in "\n\t\r":
                parts.append(" ")
                at += 1
            elif _ALLOWED.match(rest):
                parts.append(rest[0])
                at += 1
            else:
                mend = _MENDS.get(rest[0], "")
                self._fail(f"{rest[0]!r} does not belong here{'; ' + mend if mend else ''}", at)
        return "".join(parts)

    def _explain(self, masked: str, error: SyntaxError) -> str:
        if re.search(r"(?<![=!<>])=(?!=)", masked):
            return "'=' does not compare; write '=='"
        if match := re.search(
            r"\b(import|del|pass|return|class|from|global|with|as|for|while|try|lambda)\b", masked
        ):
            return f"the word {match.group()!r} must be quoted"
        return f"this is no expression ({error.msg})"

    # ---- tree → smaller tree

    def _check(self, node: ast.expr, depth: int) -> ast.expr:
        self._count += 1
        if depth > MAX_DEPTH or self._count > MAX_NODES:
            self._fail("the expression is nested too deeply or too long", self._column(node))
        deeper = depth + 1
        match node:
            case ast.Constant():
                return self._constant(node)
            case ast.Name():
                return self._name(node)
            case ast.Compare():
                self._comparison(node, deeper)
            case ast.Call():
                self._call(node, deeper)
            case ast.Attribute(value=value):
                node.value = self._check(value, deeper)
            case ast.Subscript(value=value, slice=key):
                if not isinstance(key, ast.Constant | ast.Name | ast.UnaryOp | ast.Attribute):
                    self._fail("an item is taken by one key or number, as in items[0]", self._column(node))
                node.value, node.slice = self._check(value, deeper), self._check(key, deeper)
            case _:
                self._operands(node, deeper)
        return node

    def _operands(self, node: ast.expr, depth: int) -> None:
        match node:
            case ast.List(elts=items) | ast.Tuple(elts=items):
                node.elts = [self._check(item, depth) for item in items]
            case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.UAdd(), operand=operand):
                node.operand = self._check(operand, depth)
            case ast.BinOp(
                op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div() | ast.Mod(), left=left, right=right
            ):
                node.left, node.right = self._check(left, depth), self._check(right, depth)
            case ast.BoolOp(values=values):
                node.values = [self._check(value, depth) for value in values]
            case ast.IfExp(test=test, body=body, orelse=orelse):
                node.test, node.body = self._check(test, depth), self._check(body, depth)
                node.orelse = self._check(orelse, depth)
            case _:
                self._fail("this is not part of the language", self._column(node))

    def _constant(self, node: ast.Constant) -> ast.expr:
        value: Any = node.value
        at = self._column(node)
        if isinstance(value, str):
            if node.end_col_offset is not None and node.end_col_offset - node.col_offset != len(value) + 2:
                self._fail("two texts stand side by side; join them with '+'", at)
            value = self._texts.get(at, value)
        elif isinstance(value, complex):
            if at not in self._money:
                self._fail("this is no number", at)
            value = self._money[at]
        elif not isinstance(value, bool | int | float) and value is not None:
            self._fail("this is no value", at)
        elif isinstance(value, int | float) and not abs(value) < 1e30:
            self._fail("the number is too large", at)
        return ast.copy_location(ast.Constant(value), node)

    def _name(self, node: ast.Name) -> ast.expr:
        if node.id in self._known:
            return node
        if node.id.lower() in _CONSTANTS:
            return ast.copy_location(ast.Constant(_CONSTANTS[node.id.lower()]), node)
        if self._open:
            return node
        return self._unknown(node.id, self._column(node))

    def _unknown(self, name: str, column: int) -> NoReturn:
        if name in FUNCTIONS:
            self._fail(f"{name!r} is a function and needs arguments", column)
        close = difflib.get_close_matches(name, self._known, n=1)
        known = (
            f"did you mean {close[0]!r}?"
            if close
            else f"known here: {', '.join(sorted(self._known)) or 'none'}"
        )
        self._fail(f"unknown name {name!r}; {known}", column)

    def _comparison(self, node: ast.Compare, depth: int) -> None:
        sides = [node.left, *node.comparators]
        for index, operation in enumerate(node.ops):
            left, right = sides[index], sides[index + 1]
            if isinstance(operation, ast.Is | ast.IsNot):
                if not (isinstance(right, ast.Constant) and right.value is None) and not _says_null(right):
                    self._fail("'is' goes with null alone; write '=='", self._column(right))
            elif isinstance(operation, ast.Eq | ast.NotEq):
                if self._is_name(left):
                    sides[index + 1] = self._word(right)
                elif self._is_name(right):
                    sides[index] = self._word(left)
            elif isinstance(operation, ast.In | ast.NotIn):
                if isinstance(right, ast.List | ast.Tuple) and self._is_name(left):
                    right.elts = [self._word(item) for item in right.elts]
                elif self._is_name(right):
                    sides[index] = self._word(left)
        node.left, *node.comparators = [self._check(side, depth) for side in sides]

    def _is_name(self, node: ast.expr) -> bool:
        """Whether the node is, or starts with, a name that is looked up."""
        while isinstance(node, ast.Attribute | ast.Subscript):
            node = node.value
        if isinstance(node, ast.Call):
            return True
        return isinstance(node, ast.Name) and (
            node.id in self._known or (self._open and node.id.lower() not in _CONSTANTS)
        )

    def _word(self, node: ast.expr) -> ast.expr:
        """A bare word, also a dotted one such as example.org, as the text it stands for."""
        parts: list[str] = []
        current = node
        while isinstance(current, ast.Attribute):
            parts.append(current.attr)
            current = current.value
        if not isinstance(current, ast.Name) or current.id in self._known:
            return node
        if current.id.lower() in _CONSTANTS or current.id in FUNCTIONS:
            return node
        text = ".".join([current.id, *reversed(parts)])
        # Registered like a quoted text, as `_constant` would otherwise see a text of another length than its place.
        word = ast.copy_location(ast.Constant(text), node)
        word.end_col_offset = word.col_offset + len(text) + 2
        self._texts.setdefault(self._column(word), text)
        return word

    def _call(self, node: ast.Call, depth: int) -> None:
        at = self._column(node)
        if not isinstance(node.func, ast.Name):
            self._fail("only the functions of the language can be called", at)
        name = node.func.id
        if name not in FUNCTIONS:
            close = difflib.get_close_matches(name, FUNCTIONS, n=1)
            known = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(sorted(FUNCTIONS))}"
            self._fail(f"unknown function {name!r}; {known}", at)
        fewest, most = FUNCTIONS[name].fewest, FUNCTIONS[name].most
        if node.keywords or not fewest <= len(node.args) <= most:
            wanted = str(fewest) if fewest == most else f"{fewest} to {most}"
            self._fail(f"{name} takes {wanted} argument{'' if most == 1 else 's'}", at)
        node.args = [self._check(argument, depth) for argument in node.args]
        if name == "matches":
            self._pattern(node.args[1])

    def _pattern(self, node: ast.expr) -> None:
        """A pattern stands in the expression itself, so that it is checked now and data cannot bring its own."""
        at = self._column(node)
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
            self._fail("the pattern of matches must be a quoted text", at)
        if len(node.value) > MAX_PATTERN:
            self._fail(f"the pattern has more than {MAX_PATTERN} characters", at)
        try:
            compile_pattern(node.value)
        except EvaluationError as error:
            self._fail(error.message, at)

    def _column(self, node: ast.expr) -> int:
        return node.col_offset + self._offset

    def _fail(self, problem: str, column: int) -> NoReturn:
        raise InvalidInput(
            f"{self._text[:MAX_LENGTH]!r}, column {column + 1}: {problem}",
            hint=f"a correct one is: {self._example}",
        )


def _says_null(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id.lower() in ("null", "none")


def _lookups(tree: ast.expr) -> list[ast.Name]:
    functions = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    return [node for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in functions]
