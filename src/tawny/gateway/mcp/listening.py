"""`GET /mcp`: a session's client listens for changes of what it watches, or comes back for an answer."""

import asyncio
import re

import msgspec
from starlette.types import Receive, Scope, Send

from tawny.gateway.endpoint import header, principal_of
from tawny.gateway.errors import HttpError
from tawny.gateway.feed import HEARTBEAT, Device, filter_of
from tawny.gateway.mcp.caller import Json, note
from tawny.gateway.mcp.reply import RETRY, SSE
from tawny.gateway.mcp.resources import Resources
from tawny.gateway.mcp.session import Session
from tawny.gateway.principal import READ
from tawny.gateway.site import Site

_PLACE = re.compile(r"([0-9a-f]{16})-(\d{1,15})")
_encode = msgspec.json.Encoder().encode


async def listen(
    session: Session, scope: Scope, receive: Receive, send: Send, *, site: Site, resources: Resources
) -> None:
    """Serve one stream until the client leaves, its grant ends, or a newer stream takes its place.

    Raises:
        HttpError: 404, the answer it comes back for is not here.
    """
    if place := header(scope, b"last-event-id"):
        match = _PLACE.fullmatch(place)
        reply = session.reply(match[1]) if match else None
        if reply is None or match is None:
            raise HttpError(404, "not_found", "Last-Event-ID: there is no such stream; ask again")
        await reply.replay(int(match[2]), receive, send)
        return
    principal = principal_of(scope)
    session.close_listener()
    async with site.feed.device(after=site.feed.last_seq, filter=filter_of("task")) as device:
        session.close_listener = device.close
        detach = site.keyring.attach(principal, device.close)
        try:
            async with asyncio.TaskGroup() as group:
                leaving = group.create_task(_leave(receive, device))
                await send({"type": "http.response.start", "status": 200, "headers": SSE})
                await send(_part(RETRY + b": connected\n\n"))
                # What changed while nobody listened is not known: look again.
                await _tell(send, session.watched if READ in principal.scopes else ())
                while not device.closed:
                    await _next(device, session, resources, send)
                leaving.cancel()
            await send({"type": "http.response.body", "body": b""})
        finally:
            detach()


async def _next(device: Device, session: Session, resources: Resources, send: Send) -> None:
    try:
        async with asyncio.timeout(HEARTBEAT):
            changed: set[str] = set()
            while not changed and not device.closed:
                for frame in await device.frames():
                    changed |= session.watched.intersection(resources.touched(frame))
    except TimeoutError:
        await send(_part(b": still here\n\n"))
        return
    if not device.closed:
        await _tell(send, changed)


async def _tell(send: Send, uris: "set[str] | tuple[()]") -> None:
    for uri in sorted(uris):
        message: Json = note("notifications/resources/updated", {"uri": uri})
        await send(_part(b"event: message\ndata: %s\n\n" % _encode(message)))


async def _leave(receive: Receive, device: Device) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    device.close()


def _part(body: bytes) -> Json:
    return {"type": "http.response.body", "body": body, "more_body": True}
