"""The tools as a model is told of them: names, descriptions, schemas; made once for each set of tools."""

from collections.abc import Mapping
from typing import Any

import msgspec
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.tools import ToolDefinition

from tawny.domain.tasks import Effect
from tawny.models.schemas import FixedSchema
from tawny.tools.registry import Tool


class Toolset:
    """What one set of tools means to a model."""

    def __init__(self, tools: Mapping[str, Tool], names: frozenset[str]) -> None:
        self._tools = {name: tool for name, tool in tools.items() if name in names}
        self.parameters = ModelRequestParameters(
            function_tools=[
                ToolDefinition(
                    name=tool.name, description=tool.description, parameters_json_schema=schema_of(tool)
                )
                for tool in self._tools.values()
            ],
            allow_text_output=True,
        )

    @property
    def names(self) -> list[str]:
        return list(self._tools)

    def overlaps(self, name: str) -> bool:
        """Whether calls of the tool may run beside each other: reads may; what has an effect runs alone, in order."""
        return self._tools[name].effect is Effect.PURE


class Toolbox:
    """Every tool; the toolsets made of it are kept."""

    def __init__(self, tools: Mapping[str, Tool]) -> None:
        self._tools = tools
        self._made: dict[frozenset[str], Toolset] = {}

    def only(self, names: frozenset[str]) -> Toolset:
        made = self._made.get(names)
        if made is None:
            made = self._made[names] = Toolset(self._tools, names)
        return made


def schema_of(tool: Tool) -> dict[str, Any]:
    """The JSON schema of a tool's parameters, as models want it: an object at the top."""
    (top,), parts = msgspec.json.schema_components([tool.params], ref_template="#/$defs/{name}")
    name = str(top["$ref"]).rpartition("/")[2]
    schema = dict(parts.pop(name))
    schema.setdefault("properties", {})
    if parts:
        schema["$defs"] = parts
    return FixedSchema(schema)
