"""A small JSON Schema: the keywords that success criteria are written in, checked without a library."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from tawny.errors import InvalidInput

Schema = Mapping[str, Any]
KEYWORDS = (
    "type", "required", "properties", "additionalProperties", "items", "enum", "const", "minLength", "maxLength",
    "minimum", "maximum", "minItems", "maxItems", "pattern", "title", "description", "$schema",
)  # fmt: skip
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (Mapping,),
    "array": (list, tuple),
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "null": (type(None),),
}


def check(schema: Schema, *, field: str = "success.schema") -> None:
    """Refuse what this checker does not know, rather than let it pass unseen.

    Raises:
        InvalidInput: names the keyword.
    """
    if unknown := set(schema) - set(KEYWORDS):
        raise InvalidInput(
            f"{field}: {min(unknown)!r} is no keyword here", hint=f"known: {', '.join(KEYWORDS)}"
        )
    names = schema.get("type", [])
    for name in [names] if isinstance(names, str) else names:
        if name not in _TYPES:
            raise InvalidInput(f"{field}.type: {name!r} is none", hint=f"one of {', '.join(_TYPES)}")
    for key, inner in cast("Schema", schema.get("properties", {})).items():
        check(inner, field=f"{field}.properties.{key}")
    if isinstance(schema.get("items"), Mapping):
        check(schema["items"], field=f"{field}.items")


def problems(schema: Schema, value: Any, *, at: str = "$") -> list[str]:
    """What is wrong with the value, one line each; empty where it fits."""
    names = schema.get("type")
    if names is not None:
        wanted = [names] if isinstance(names, str) else list(names)
        if not any(_is(name, value) for name in wanted):
            return [f"{at} is no {' or '.join(wanted)}"]
    found = _plain(schema, value, at)
    if isinstance(value, Mapping):
        found += _object(schema, cast("Schema", value), at)
    elif isinstance(value, list | tuple):
        found += _array(schema, cast("Sequence[Any]", value), at)
    return found


def _is(name: str, value: Any) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    if name == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES[name])


def _plain(schema: Schema, value: Any, at: str) -> list[str]:
    found: list[str] = []
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{at} is none of {schema['enum']}")
    if "const" in schema and value != schema["const"]:
        found.append(f"{at} is not {schema['const']!r}")
    if isinstance(value, str):
        if len(value) < schema.get("minLength", 0) or len(value) > schema.get("maxLength", 2**62):
            found.append(f"{at} has {len(value)} characters")
        if "pattern" in schema and re.search(schema["pattern"], value[:10_000]) is None:
            found.append(f"{at} does not match {schema['pattern']!r}")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        low, high = schema.get("minimum"), schema.get("maximum")
        if (low is not None and value < low) or (high is not None and value > high):
            found.append(f"{at} is {value}")
    return found


def _object(schema: Schema, value: Schema, at: str) -> list[str]:
    found = [f"{at}.{key} is missing" for key in schema.get("required", ()) if key not in value]
    known = cast("Schema", schema.get("properties", {}))
    for key, inner in known.items():
        if key in value:
            found += problems(inner, value[key], at=f"{at}.{key}")
    if schema.get("additionalProperties") is False:
        found += [f"{at}.{key} is not expected" for key in value if key not in known]
    return found


def _array(schema: Schema, value: Sequence[Any], at: str) -> list[str]:
    found: list[str] = []
    if len(value) < schema.get("minItems", 0) or len(value) > schema.get("maxItems", 2**62):
        found.append(f"{at} has {len(value)} items")
    if isinstance(schema.get("items"), Mapping):
        for number, item in enumerate(value):
            found += problems(schema["items"], item, at=f"{at}[{number}]")
    return found
