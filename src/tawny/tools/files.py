"""The tools `read_file`, `write_file`, `list_files`: the workspace and nothing beside it."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path, PurePosixPath
from typing import Annotated

import msgspec

from tawny.clock import SECOND, iso
from tawny.domain.origin import read_from
from tawny.domain.standing import steers
from tawny.domain.tasks import Effect, Json, Origin
from tawny.errors import Refused
from tawny.paths import Root
from tawny.tools.registry import CHANGE, READ, Operation, Tool, ToolContext

Text = Callable[[Path], Awaitable[str]]
"""The text of a document (PDF, Office, mail …), parsed outside this process."""
_READ_LIMIT = 400_000
_DOCUMENTS = frozenset({".pdf", ".docx", ".odt", ".xlsx", ".pptx", ".epub", ".eml", ".html", ".htm", ".rtf"})


class ReadFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`path` within the workspace; `offset` and `limit` count lines, from 1."""

    path: str
    offset: Annotated[int, msgspec.Meta(ge=1)] = 1
    limit: Annotated[int, msgspec.Meta(ge=1, le=20_000)] = 2000


class WriteFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Write `content` to `path` within the workspace; `append` adds to what is there."""

    path: str
    content: str
    append: bool = False


class ListFiles(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """List a folder of the workspace."""

    path: str = "."


def file_tools(
    workspace: Path, text_of: Text, *, objection: Callable[[str], str] = lambda _path: ""
) -> list[Tool]:
    """The three tools, on one workspace. `objection` tells why a path is not to be read, if it is not."""
    root = Root(workspace)

    async def read(scope: ToolContext, params: ReadFile) -> Json:
        del scope
        if reason := await asyncio.to_thread(objection, params.path):
            raise Refused(f"{params.path} is not to be read: {reason}")
        if _is_document(params.path):
            with tempfile.TemporaryDirectory(prefix="tawny-document-") as folder:
                text = await text_of(await asyncio.to_thread(root.copy, params.path, Path(folder)))
        else:
            raw = await asyncio.to_thread(root.read, params.path, limit=_READ_LIMIT)
            text = raw.decode("utf-8", errors="replace")
        lines = text.splitlines()
        shown = lines[params.offset - 1 : params.offset - 1 + params.limit]
        document: dict[str, Json] = {"path": params.path, "content": "\n".join(shown), "lines": len(lines)}
        if params.offset - 1 + len(shown) < len(lines):
            document["next_offset"] = params.offset + len(shown)
        return document

    async def write(scope: ToolContext, params: WriteFile) -> Json:
        del scope
        data = params.content.encode()
        await asyncio.to_thread(root.append if params.append else root.write, params.path, data)
        return {"path": params.path, "bytes": len(data)}

    async def entries(scope: ToolContext, params: ListFiles) -> Json:
        del scope
        found = await asyncio.to_thread(root.entries, params.path)
        return {
            "path": params.path,
            "items": [
                {
                    "name": one.name,
                    "kind": one.kind,
                    "size": one.size,
                    "modified": iso(int(one.modified * SECOND)),
                }
                for one in found[:500]
            ],
            "more": max(0, len(found) - 500),
        }

    return [
        Tool(
            name="read_file",
            description="Read a file of the workspace as text (documents such as PDF too).",
            params=ReadFile,
            rows=("file.read",),
            operation=lambda params: Operation(
                name="file.read", operation="read", level=READ, targets=(params.path,)
            ),
            run=read,
            origin=_reading,
        ),
        Tool(
            name="write_file",
            description="Write or append to a file of the workspace.",
            params=WriteFile,
            rows=("file.write", "file.write_standing"),
            operation=_writing,
            run=write,
            # Writing the same bytes twice is writing them once; appending is not.
            effect=lambda params: Effect.AT_MOST_ONCE if params.append else Effect.IDEMPOTENT,
        ),
        Tool(
            name="list_files",
            description="List a folder of the workspace.",
            params=ListFiles,
            rows=("file.list",),
            operation=lambda params: Operation(
                name="file.list", operation="read", level=READ, targets=(params.path,)
            ),
            run=entries,
        ),
    ]


def _is_document(path: str) -> bool:
    return PurePosixPath(path).suffix.lower() in _DOCUMENTS


def _reading(params: ReadFile, _: Json) -> Origin | None:
    """A document was written elsewhere, whoever has put it here; a file of plain text is what the work was told."""
    return read_from(f"the document {params.path}") if _is_document(params.path) else None


def _writing(params: WriteFile) -> Operation:
    standing = steers(params.path) or ".." in PurePosixPath(params.path).parts
    return Operation(
        name="file.write_standing" if standing else "file.write",
        operation="update",
        level=CHANGE,
        targets=(params.path,),
    )
