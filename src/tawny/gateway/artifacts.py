"""`GET /v1/artifacts/{id}`: the bytes of a file a task made, never shown in the page's own name."""

import asyncio
import os
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from starlette.types import Receive, Scope, Send

from tawny.gateway.endpoint import path_of
from tawny.gateway.operation import Call, Nothing, Operation
from tawny.gateway.principal import READ
from tawny.gateway.site import Site
from tawny.ledger import artifacts

_CHUNK = 256 * 1024


async def _elsewhere(_: Call[Nothing, Nothing]) -> None:
    raise AssertionError("artifacts are served by their own endpoint")


OPERATION = Operation(
    name="artifacts.get",
    method="GET",
    path="/v1/artifacts/{id}",
    scope=READ,
    summary="The bytes of an artifact",
    media=("*/*",),
    errors=(404,),
    act=_elsewhere,
)


class ArtifactEndpoint:
    def __init__(self, site: Site) -> None:
        self._site = site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del receive
        artifact_id = path_of(scope)["id"]
        entry = await self._site.ledger.read(lambda tx: artifacts.get(tx, artifact_id))
        file = await _opened(self._site, entry)
        size = os.fstat(file.fileno()).st_size
        name = quote(Path(entry.name).name, safe="")
        headers = [
            (b"content-type", _plain(entry.media_type)),
            (b"content-length", str(size).encode()),
            (b"content-disposition", f"attachment; filename*=UTF-8''{name}".encode()),
            (b"etag", f'"{entry.sha256}"'.encode()),
        ]
        with file:
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            while size > 0 and (chunk := await asyncio.to_thread(file.read, min(_CHUNK, size))):
                size -= len(chunk)
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})


async def content_of(site: Site, entry: artifacts.Artifact) -> bytes:
    """The whole file; its size is the caller's to look at first.

    Raises:
        NotFound: it is gone.
    """
    with await _opened(site, entry) as file:
        return await asyncio.to_thread(file.read, entry.size)


async def _opened(site: Site, entry: artifacts.Artifact) -> BinaryIO:
    await site.ledger.read(lambda tx: artifacts.bring(tx, site.home.artifacts, entry))
    return await asyncio.to_thread(artifacts.open_file, site.home.artifacts, entry)


def _plain(media_type: str) -> bytes:
    """The media type, where it is one that can stand in a header."""
    if media_type.isascii() and media_type.isprintable() and "/" in media_type:
        return media_type.encode()
    return b"application/octet-stream"
