"""Updates made from the published schema of the Bot API: every type, with the least and with the most in it.

`telegram_schema.json` holds what is reachable from Update: the fields of each type, each with its type, whether it is
always there, and its value where that names the type.
"""

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_PATH = Path(__file__).with_name("telegram_schema.json")
_PLAIN: dict[str, Any] = {"Integer": 7, "Float": 1.5, "Boolean": True, "True": True, "String": "text"}


@functools.cache
def types() -> Mapping[str, Any]:
    return json.loads(_PATH.read_text())["types"]


def update_types() -> list[str]:
    return [name for name in types()["Update"]["fields"] if name != "update_id"]


def message_fields() -> list[str]:
    """The fields a message may have or not."""
    return [name for name, facts in types()["Message"]["fields"].items() if not facts[1]]


def content_of(field: str, *, of: str = "Update", depth: int = 0, pick: int = 0) -> Any:
    """What stands in a field; `depth` floors down optional fields are filled in too, `pick` chooses of alternatives."""
    return _value(types()[of]["fields"][field], depth, pick)


def _value(facts: list[Any], depth: int, pick: int) -> Any:
    kind = str(facts[0])
    if len(facts) > 2:
        return facts[2]
    if kind.startswith("Array of "):
        return [_value([kind.removeprefix("Array of "), True], depth, pick)]
    if kind in _PLAIN:
        return _PLAIN[kind]
    entry = types()[kind]
    if "one_of" in entry:
        # What may hold itself has a plain form too; that ends it.
        wanted = entry["one_of"][pick % len(entry["one_of"])] if depth > 0 else entry["one_of"][0]
        return _value([wanted, True], depth - 1, pick)
    return {
        name: _value(each, depth - 1, pick) for name, each in entry["fields"].items() if each[1] or depth > 0
    }
