"""`GET /v1/stream`: the feed as server-sent events."""

import asyncio
import contextlib

import msgspec
from starlette.types import Receive, Scope, Send

from tawny.errors import InvalidInput
from tawny.gateway.endpoint import header, query_of
from tawny.gateway.feed import STALL, Device, as_sse, filter_of
from tawny.gateway.operation import Call, Nothing, Operation, Seq
from tawny.gateway.principal import READ
from tawny.gateway.site import Site

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store, no-transform"),
    (b"x-accel-buffering", b"no"),
]


class Stream(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where to go on, and what is wanted."""

    after: Seq | None = None
    topics: str = ""
    task: str = ""


async def _never(_: Call[Stream, Nothing]) -> None:
    raise AssertionError("the stream is served by its own endpoint")


OPERATION = Operation(
    name="stream",
    method="GET",
    path="/v1/stream",
    scope=READ,
    summary="Events as they happen (text/event-stream); resumes by Last-Event-ID, or after=SEQ",
    query=Stream,
    media=("text/event-stream",),
    act=_never,
)


class StreamEndpoint:
    """One device listening."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        principal = scope["tawny.principal"]
        query: Stream = query_of(scope, Stream)
        after = query.after
        if (last := header(scope, b"last-event-id")) and last.strip():
            if not last.strip().isdecimal() or len(last) > 18:
                raise InvalidInput("Last-Event-ID: a sequence number is expected")
            after = int(last)
        if scope["method"] == "HEAD":
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            await send({"type": "http.response.body", "body": b""})
            return
        filter = filter_of(query.topics, query.task)
        async with self._site.feed.device(after=after, filter=filter) as device:
            detach = self._site.keyring.attach(principal, device.close)
            try:
                await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
                await self._serve(device, receive, send)
            finally:
                detach()

    async def _serve(self, device: Device, receive: Receive, send: Send) -> None:
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(_watch(receive, device))
            await send(_body(b"retry: 1000\n: connected\n\n"))
            while not device.closed:
                lump = await device.lump(as_sse)
                if device.closed:
                    break
                try:
                    async with asyncio.timeout(STALL):
                        await send(_body(lump or b": still here\n\n"))
                except TimeoutError:
                    device.close()  # it reads nothing at all; it may come back and go on where it was
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
            watching.cancel()


async def _watch(receive: Receive, device: Device) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    device.close()


def _body(lump: bytes) -> dict[str, object]:
    return {"type": "http.response.body", "body": lump, "more_body": True}
