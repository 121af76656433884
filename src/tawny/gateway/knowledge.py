"""What the assistant remembers, and what it has learnt to do."""

import asyncio
from typing import Annotated, Any

import msgspec

from tawny.gateway.documents import Page
from tawny.gateway.operation import Call, Nothing, Operation
from tawny.gateway.principal import READ
from tawny.skills.library import Library
from tawny.tools.catalog import notes_of


class Note(msgspec.Struct):
    file: str
    line: int
    text: str
    score: float


class Skill(msgspec.Struct):
    name: str
    description: str
    path: str
    status: str
    reason: str
    enabled: bool


class Search(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    q: Annotated[str, msgspec.Meta(max_length=500)] = ""
    limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 20


async def memory(call: Call[Search, Nothing]) -> dict[str, Any]:
    query = call.query

    def search() -> list[dict[str, Any]]:
        notes = notes_of(call.site.home)
        found = notes.search(query.q, limit=query.limit) if query.q else notes.all(limit=query.limit)
        return [{"file": one.file, "line": one.line, "text": one.text, "score": one.score} for one in found]

    return {"items": await asyncio.to_thread(search), "next_cursor": None}


async def skills(call: Call[Nothing, Nothing]) -> dict[str, Any]:
    home = call.site.home

    def look() -> list[dict[str, Any]]:
        return [
            {
                "name": one.name,
                "description": one.description,
                "path": one.folder,
                "status": one.status,
                "reason": one.reason,
                "enabled": one.skill is not None,
            }
            for one in Library(home.root, home.workspace).all()
        ]

    return {"items": await asyncio.to_thread(look), "next_cursor": None}


OPERATIONS = (
    Operation(
        name="memory.search",
        method="GET",
        path="/v1/memory",
        scope=READ,
        summary="What is remembered: all of it, or by its words",
        query=Search,
        answer=Page[Note],
        act=memory,
    ),
    Operation(
        name="skills.list",
        method="GET",
        path="/v1/skills",
        scope=READ,
        summary="What the assistant has learnt to do, the refused with the reason",
        answer=Page[Skill],
        act=skills,
    ),
)
