"""JSON schemas of tools that stay as they are: copied by nobody, and put into JSON once."""

import copy
from collections.abc import Mapping
from typing import Any

import msgspec


class FixedSchema(dict[str, Any]):
    """A schema that nobody edits: the library copies every tool's for every request, and may have this one itself."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        super().__init__(schema)
        self.encoded = msgspec.Raw(msgspec.json.encode(schema))

    def __copy__(self) -> "FixedSchema":
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        # A provider that rewrites schemas gets one of its own.
        return copy.deepcopy(dict(self), memo)
