"""The errors of the house, and what becomes of them in groups."""

import ast
from pathlib import Path

from tawny.errors import NotFound, TawnyError, TemporaryError, first_of

SOURCE = Path(__file__).parents[1] / "src/tawny"


def test_the_first_of_a_kind_is_found_in_a_group_of_groups() -> None:
    lost, busy = NotFound("no task_1"), TemporaryError("the other side is busy")
    group = ExceptionGroup("two", [OSError("cut"), ExceptionGroup("inner", [busy, lost])])
    assert first_of(group, TawnyError) is busy
    assert first_of(group, NotFound) is lost
    assert first_of(group, (NotFound, OSError)).__class__ is OSError
    assert first_of(group, KeyError) is None
    assert first_of(lost, TawnyError) is lost
    assert first_of(lost, OSError) is None


def raising_stars(tree: ast.AST) -> list[int]:
    """The lines of `raise SOMETHING` inside `except*`: before Python 3.11.4 a group comes out of it."""
    return [
        inner.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.TryStar)
        for handler in node.handlers
        for inner in ast.walk(handler)
        if isinstance(inner, ast.Raise)
    ]


def test_no_error_is_raised_where_debians_python_wraps_it() -> None:
    assert raising_stars(ast.parse("try: go()\nexcept* OSError:\n    raise KeyError")) == [3]
    found = {
        f"{path.relative_to(SOURCE)}:{line}"
        for path in SOURCE.rglob("*.py")
        for line in raising_stars(ast.parse(path.read_text()))
    }
    assert found == set()
