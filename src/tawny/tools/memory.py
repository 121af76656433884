"""The tools `memory_search` and `memory_save`."""

import asyncio
from typing import Annotated
from zoneinfo import ZoneInfo

import msgspec

from tawny.clock import Clock, to_datetime
from tawny.domain.tasks import Effect, Json
from tawny.memory.notes import Notes
from tawny.tools.registry import CHANGE, READ, Operation, Tool, ToolContext


class MemorySearch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Words to look for in what was kept."""

    query: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


class MemorySave(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something worth keeping, in one or a few sentences."""

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=4000)]


def memory_tools(notes: Notes, clock: Clock, timezone: str) -> list[Tool]:
    """Both tools, on the notes of one workspace."""
    zone = ZoneInfo(timezone)

    async def search(scope: ToolContext, params: MemorySearch) -> Json:
        del scope
        found = await asyncio.to_thread(notes.search, params.query)
        return {"items": [{"file": one.file, "line": one.line, "text": one.text} for one in found]}

    async def save(scope: ToolContext, params: MemorySave) -> Json:
        del scope
        now = to_datetime(clock.now(), zone)
        path = await asyncio.to_thread(
            notes.save, params.text, day=now.strftime("%Y-%m-%d"), time=now.strftime("%H:%M")
        )
        return {"saved": path}

    return [
        Tool(
            name="memory_search",
            description="Search what was kept in memory.",
            params=MemorySearch,
            rows=("memory.search",),
            operation=lambda _params: Operation(name="memory.search", operation="read", level=READ),
            run=search,
        ),
        Tool(
            name="memory_save",
            description="Keep something in memory for later.",
            params=MemorySave,
            rows=("memory.save",),
            operation=lambda params: Operation(
                name="memory.save", operation="create", level=CHANGE, text=(params.text,)
            ),
            run=save,
            effect=Effect.IDEMPOTENT,
        ),
    ]
