"""The HTTP server: uvicorn's protocol on a socket of our own, with limits for headers, their pace, and connections."""

import asyncio
import logging
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any, cast

import msgspec
from starlette.types import ASGIApp

from tawny.errors import PermanentError
from tawny.gateway.errors import HttpError, document_of
from tawny.gateway.uvicorn import Config, HttpToolsProtocol, ServerState
from tawny.log import Log

_HEADER_BYTES = 64 * 1024
_HEADER_SECONDS = 10.0
_CONNECTIONS = 1000
_DRAIN_SECONDS = 5.0
_SOCKET_BYTES = 1024 * 1024
_UNSENT_BYTES = 128 * 1024
"""What the system may keep unsent for one connection; else a reader that has stopped holds four megabytes there."""
_NOT_SENT: int | None = getattr(socket, "TCP_NOTSENT_LOWAT", None)
_log = Log("gateway.server")
logging.getLogger("uvicorn").addHandler(
    logging.NullHandler()
)  # its words go nowhere but to who asks for them


class Protocol(HttpToolsProtocol):
    """One connection. A request's head has ten seconds and 64 KB; what is malformed gets the contract's error."""

    _size = 0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        if len(self.connections) > _CONNECTIONS:
            self._refuse(HttpError(503, "too_many_connections", "too many connections"))
            return
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._size = 0
        self._expect_head()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        # The parser also takes `,chunked`, which a proxy in front may read as something else than chunked.
        if name.lower() == b"transfer-encoding" and value.lower() != b"chunked":
            raise ValueError("no encoding of ours")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._stop_timer()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        del msg
        if self._size > _HEADER_BYTES:
            self._refuse(HttpError(431, "head_too_large", "the request's head is over 64 KB"))
        else:
            self._refuse(HttpError(400, "malformed", "this is no HTTP request"))

    def _count(self, more: int) -> None:
        self._size += more
        if self._size > _HEADER_BYTES:
            raise ValueError("head too large")  # the parser stops and send_400_response is called

    def _expect_head(self) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(_HEADER_SECONDS, self._too_slow)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._refuse(HttpError(408, "too_slow", "the request's head came too slowly"))

    def _refuse(self, error: HttpError) -> None:
        if self.transport.is_closing():
            return
        body = msgspec.json.encode(document_of(error))
        head = f"HTTP/1.1 {error.status} Refused\r\ncontent-type: application/json\r\nconnection: close\r\n"
        self.transport.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        self.transport.close()


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one.

    Raises:
        PermanentError: the address is taken, or not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # with its protocol named, asyncio sends small pieces at once; without, each answer may wait 40 ms for the other end
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if _NOT_SENT is not None:
            listener.setsockopt(socket.IPPROTO_TCP, _NOT_SENT, _UNSENT_BYTES)
        listener.bind((host, port))
        listener.listen(512)
    except OSError as error:
        listener.close()
        raise PermanentError(
            f"cannot listen on {host}:{port}: {error.strerror}",
            hint="choose another with --port, or stop what listens there",
        ) from error
    listener.settimeout(0)
    return listener


def _web_socket(**parts: Any) -> asyncio.Protocol:
    """Uvicorn's WebSocket protocol, loaded with the first one that is opened."""
    return import_module("tawny.gateway.websocket").WebSocketProtocol(**parts)


@asynccontextmanager
async def serving(app: ASGIApp, listener: socket.socket) -> AsyncGenerator[None]:
    """Serve `app` on the socket. On leaving, requests in flight get five seconds to end."""
    config = Config(
        app,
        http=Protocol,
        ws=cast("type[asyncio.Protocol]", _web_socket),
        ws_max_size=_SOCKET_BYTES,
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        interface="asgi3",
        timeout_keep_alive=30,
    )
    config.load()
    state = ServerState()
    loop = asyncio.get_running_loop()

    def connection() -> Protocol:
        return Protocol(config=config, server_state=state, app_state={}, _loop=loop)

    server = await loop.create_server(connection, sock=listener)
    try:
        yield
    finally:
        server.close()
        for open_connection in list(state.connections):
            open_connection.shutdown()
        await _drain(state)


async def _drain(state: ServerState) -> None:
    tasks: set[asyncio.Task[Any]] = set(state.tasks)
    if not tasks:
        return
    _, late = await asyncio.wait(tasks, timeout=_DRAIN_SECONDS)
    for task in late:
        task.cancel()
    if late:
        _log.warning("requests cut off at the end", count=len(late))
        await asyncio.wait(late, timeout=1)
