"""Values put into documents: `{args.city}` inside any text; a text that is one placeholder becomes the value itself."""

import re
from collections.abc import Mapping
from typing import Any

from tawny.domain.expressions import compile
from tawny.domain.tasks import Json

_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([^{}]+)\}")


def fill(template: Json, values: Mapping[str, Any], *, names: frozenset[str] | None = None) -> Json:
    """The document with its placeholders filled in; `{{` and `}}` stand for the braces themselves.

    Raises:
        InvalidInput: a placeholder is no expression.
        EvaluationError: the values do not go with it.
    """
    if isinstance(template, str):
        return _text(template, values, names)
    if isinstance(template, list):
        return [fill(entry, values, names=names) for entry in template]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(template, dict):
        return {key: fill(entry, values, names=names) for key, entry in template.items()}  # pyright: ignore[reportUnknownVariableType]
    return template


def placeholders(text: str) -> list[str]:
    """The expressions that a text is filled in with."""
    return [match.group(1) for match in _PLACEHOLDER.finditer(text) if match.group(1) is not None]


def check(template: Json, names: frozenset[str]) -> None:
    """Check every placeholder of a document against the names there are.

    Raises:
        InvalidInput: one is no expression, or uses another name.
    """
    if isinstance(template, str):
        for match in _PLACEHOLDER.finditer(template):
            if match.group(1) is not None:
                compile(match.group(1), names)
    elif isinstance(template, list):
        for entry in template:  # pyright: ignore[reportUnknownVariableType]
            check(entry, names)
    elif isinstance(template, dict):
        for entry in template.values():  # pyright: ignore[reportUnknownVariableType]
            check(entry, names)


def has_placeholders(template: Json) -> bool:
    """Whether anything is to be filled in."""
    if isinstance(template, str):
        return any(match.group(1) is not None for match in _PLACEHOLDER.finditer(template))
    if isinstance(template, list):
        return any(has_placeholders(entry) for entry in template)  # pyright: ignore[reportUnknownVariableType]
    return isinstance(template, dict) and any(has_placeholders(entry) for entry in template.values())  # pyright: ignore[reportUnknownVariableType]


def _text(template: str, values: Mapping[str, Any], names: frozenset[str] | None) -> Json:
    whole = _PLACEHOLDER.fullmatch(template)
    if whole is not None and whole.group(1) is not None:
        return compile(whole.group(1), names).evaluate(values)

    def one(match: "re.Match[str]") -> str:
        if match.group(1) is None:
            return match.group()[0]
        value = compile(match.group(1), names).evaluate(values)
        return "" if value is None else str(value)

    return _PLACEHOLDER.sub(one, template)
