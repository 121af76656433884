"""Texts with `{{ expression }}` in them: how an automation's action takes in what its event or watch brought."""

import re
from collections.abc import Mapping

import msgspec

from tawny.domain import expressions
from tawny.domain.tasks import Json
from tawny.errors import InvalidInput

_HOLE = re.compile(r"\{\{\s*(.+?)\s*\}\}", re.DOTALL)


def has_holes(value: Json) -> bool:
    """Whether anything is to be filled in."""
    if isinstance(value, str):
        return _HOLE.search(value) is not None
    if isinstance(value, Mapping):
        return any(has_holes(item) for item in value.values())  # pyright: ignore[reportUnknownVariableType]
    return isinstance(value, list | tuple) and any(has_holes(item) for item in value)  # pyright: ignore[reportUnknownVariableType]


def check(value: Json, *, field: str) -> None:
    """Check the expressions in a value.

    Raises:
        InvalidInput: names the field and a correct example.
    """
    if isinstance(value, str):
        for match in _HOLE.finditer(value):
            try:
                expressions.compile(match[1])
            except InvalidInput as error:
                raise InvalidInput(f"{field}: {error.message}", hint=error.hint) from error
    elif isinstance(value, Mapping):
        for key, item in value.items():  # pyright: ignore[reportUnknownVariableType]
            check(item, field=f"{field}.{key}")
    elif isinstance(value, list | tuple):
        for item in value:  # pyright: ignore[reportUnknownVariableType]
            check(item, field=field)


def literal(value: Json) -> Json:
    """The value with every `{{` in its texts kept as it is: for words that were not written for us."""
    if isinstance(value, str):
        return re.sub(r"\{(?=\{)", '{{ "{" }}', value) if has_holes(value) else value
    if isinstance(value, Mapping):
        return {key: literal(item) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, list | tuple):
        return [literal(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    return value


def render(value: Json, names: Mapping[str, Json]) -> Json:
    """The value filled in; a text that is one hole and nothing else keeps the type of what fills it.

    Raises:
        EvaluationError: the values do not go with an expression.
    """
    if isinstance(value, str):
        if (whole := _HOLE.fullmatch(value)) and "}}" not in whole[1]:
            return expressions.compile(whole[1]).evaluate(names)
        return _HOLE.sub(lambda match: _text(expressions.compile(match[1]).evaluate(names)), value)
    if isinstance(value, Mapping):
        return {key: render(item, names) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, list | tuple):
        return [render(item, names) for item in value]  # pyright: ignore[reportUnknownVariableType]
    return value


def _text(value: Json) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return msgspec.json.encode(value).decode()
