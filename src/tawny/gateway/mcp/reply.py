"""One answer over HTTP: JSON, or an event stream that ends with it, which a session's client may come back to."""

import asyncio
import contextlib
import secrets
from collections import deque
from typing import Any

import msgspec
from starlette.types import Receive, Scope, Send

from tawny.gateway.endpoint import answer, header
from tawny.gateway.mcp.session import Session

SSE = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store, no-transform"),
    (b"x-accel-buffering", b"no"),
]
RETRY = b"retry: 1000\n"
_KEPT = 1000
GRACE = 60.0
"""Seconds for which a session's call is kept up after its client was cut off, for it to come back."""
_encode = msgspec.json.Encoder().encode


class Reply:
    """The answer to one POST. From the first thing told ahead of it on, it is a stream."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, session: Session | None) -> None:
        self.hears = "text/event-stream" in (header(scope, b"accept") or "")
        self.id = secrets.token_hex(8)
        self.headers: dict[str, str] = {}
        self.ended = False
        self._receive = receive
        self._send = send
        self._session = session
        self._streams = False
        self._order = asyncio.Lock()
        self._events: deque[tuple[int, bytes]] = deque(maxlen=_KEPT)
        self._count = 0
        self._connected = True
        self._listeners = 1
        self._moved = asyncio.Condition()
        self._given_up = asyncio.Event()

    async def open(self) -> None:
        """Begin a stream now, where the client hears one: what follows may take its time."""
        async with self._order:
            if self.hears and not self._streams:
                await self._begin()

    async def tell(self, message: Any) -> None:
        async with self._order:
            if not self._streams:
                await self._begin()
            await self._add(b"event: message\n", b"data: %s\n\n" % _encode(message))

    async def _begin(self) -> None:
        self._streams = True
        await self._send({"type": "http.response.start", "status": 200, "headers": SSE})
        if self._session is not None:
            self._session.keep(self)
            if self._session.primes:
                await self._add(RETRY, b"data: \n\n")

    async def _add(self, head: bytes, data: bytes) -> None:
        if self._session is not None:
            head += b"id: %s-%d\n" % (self.id.encode(), self._count)
        event = head + data
        if self._session is not None:
            self._events.append((self._count, event))
        self._count += 1
        await self._notify()
        await self._send({"type": "http.response.body", "body": event, "more_body": True})

    async def _notify(self) -> None:
        async with self._moved:
            self._moved.notify_all()

    async def end(self, message: Any) -> None:
        if self._streams:
            if message is not None:
                await self.tell(message)
            self.ended = True
            await self._notify()
            await self._send({"type": "http.response.body", "body": b""})
        elif message is None:
            await self._send({"type": "http.response.start", "status": 202, "headers": []})
            await self._send({"type": "http.response.body", "body": b""})
        else:
            await answer(self._send, 200, message, headers=self.headers)

    def give_up(self) -> None:
        """Nobody waits for it any more."""
        self._given_up.set()

    async def gone(self) -> None:
        """Wait until nobody waits for it: the client took it back, or was cut off and does not come again."""
        async with asyncio.TaskGroup() as group:
            waits = [group.create_task(self._left()), group.create_task(self._given_up.wait())]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()

    async def _left(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if self._session is None or not self._streams:
            return
        if self._connected:
            self._connected = False
            await self._listening(-1)
        while True:
            async with self._moved:
                await self._moved.wait_for(lambda: self._listeners == 0)
            try:
                async with asyncio.timeout(GRACE), self._moved:
                    await self._moved.wait_for(lambda: self._listeners > 0)
            except TimeoutError:
                return

    async def _listening(self, more: int) -> None:
        self._listeners += more
        await self._notify()

    async def replay(self, after: int, receive: Receive, send: Send) -> None:
        """What followed event `after`, then what comes, to the end."""
        await self._listening(+1)
        try:
            await send({"type": "http.response.start", "status": 200, "headers": SSE})
            await send({"type": "http.response.body", "body": RETRY + b": again\n\n", "more_body": True})
            async with asyncio.TaskGroup() as group:
                sending = group.create_task(self._replay(after, send))
                leaving = group.create_task(_disconnected(receive))
                await asyncio.wait([sending, leaving], return_when=asyncio.FIRST_COMPLETED)
                sending.cancel()
                leaving.cancel()
            with contextlib.suppress(OSError):
                await send({"type": "http.response.body", "body": b""})
        finally:
            await self._listening(-1)

    async def _replay(self, after: int, send: Send) -> None:
        while True:
            async with self._moved:
                await self._moved.wait_for(lambda seen=after: self.ended or self._count > seen + 1)
            ended = self.ended
            fresh = [(n, event) for n, event in self._events if n > after]
            for n, event in fresh:
                await send({"type": "http.response.body", "body": event, "more_body": True})
                after = n
            if ended:
                return


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
