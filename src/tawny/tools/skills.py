"""The tool `skills`: finds skills by words; the prompt lists only as many as there is room for."""

import asyncio
from typing import Annotated

import msgspec

from tawny.domain.skills import search
from tawny.domain.tasks import Json
from tawny.skills.library import Library
from tawny.tools.registry import READ, Operation, Tool, ToolContext


class Skills(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Find skills by words of their names and descriptions; without a `query`, all in turn."""

    query: Annotated[str, msgspec.Meta(max_length=500)] = ""
    offset: Annotated[int, msgspec.Meta(ge=0)] = 0
    limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 20


def skills_tool(library: Library) -> Tool:
    """The tool, on the skills of one workspace."""

    async def run(scope: ToolContext, params: Skills) -> Json:
        del scope
        found = search(await asyncio.to_thread(library.told), params.query)
        shown = found[params.offset : params.offset + params.limit]
        items = [
            {"name": one.name, "description": one.description, "read": f"skills/{one.folder}/SKILL.md"}
            for one in shown
        ]
        return {"items": items, "more": max(0, len(found) - params.offset - len(shown))}

    return Tool(
        name="skills",
        description="Find skills by words (instructions for certain work); read the SKILL.md before using one.",
        params=Skills,
        rows=("skills.read",),
        operation=lambda _params: Operation(name="skills.read", operation="read", level=READ),
        run=run,
    )
