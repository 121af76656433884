"""The HTTP server: uvicorn's protocol on a socket of our own, with limits for headers, their pace, and connections.

A connection that is owed nothing and brings nothing is closed, whatever it began with: there are only so many.
"""

import asyncio
import logging
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Any, cast

import msgspec
from starlette.types import ASGIApp

from tawny.errors import PermanentError
from tawny.gateway.errors import HttpError, document_of
from tawny.gateway.uvicorn import (
    Config,
    HttpParserUpgrade,
    HttpRequestParser,
    HttpToolsProtocol,
    ServerState,
)
from tawny.log import Log

_HEADER_BYTES = 64 * 1024
_HEADER_SECONDS = 10.0
_FIELD_BYTES = 4  # of a field's line: a colon, a space, and the line's end
_REST_SECONDS = 30.0
"""How long what is left of a body may take once its request is answered."""
_KEEP_ALIVE_SECONDS = 30
_UNREAD_SECONDS = 300.0
"""How long a client may leave an answer lying, as long as a device its stream."""
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


class _Declined(Exception):
    """A request offered a protocol that we do not speak: HTTP/2, by curl or Java. It is to be read without the offer.

    The parser would take neither its body nor what follows. `offset` is where its head ended.
    """

    def __init__(self, head: bytes, offset: int) -> None:
        super().__init__(offset)
        self.head = head
        self.offset = offset


class Protocol(HttpToolsProtocol):
    """One connection. A request's head has ten seconds and 64 KB; what is malformed gets the contract's error."""

    parser: HttpRequestParser
    _size = 0
    _in_head = False
    _reading = False
    _lost = False
    _error: HttpError | None = None
    _timer: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        if len(self.connections) > _CONNECTIONS:
            self._refuse(HttpError(503, "too_many_connections", "too many connections"))
            return
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self._stop_timer()
        self._was_read()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        while True:
            try:
                super().data_received(data)
                break
            except _Declined as declined:
                data = declined.head + data[declined.offset :]
        self._expect_more()

    def _unsupported_upgrade_warning(self) -> None:
        upgrade = sys.exception()
        assert isinstance(upgrade, HttpParserUpgrade)
        version = self.parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, version)]
        lines += [b"%b: %b" % (name, value) for name, value in self.headers if name != b"upgrade"]
        self.parser = HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn sets its own
        raise _Declined(b"\r\n".join([*lines, b"", b""]), upgrade.args[0])

    def handle_websocket_upgrade(self) -> None:
        self._was_read()  # from here on the socket's own limits hold
        super().handle_websocket_upgrade()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._size = 0
        self._in_head = self._reading = True
        self._expect_head()

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value) + _FIELD_BYTES)
        if not self._in_head:
            return  # a trailer, which is no header: the request may have been let in already for what its head said
        # The parser also takes `,chunked`, which a proxy in front may read as something else than chunked.
        if name.lower() == b"transfer-encoding" and value.lower() != b"chunked":
            raise ValueError("no encoding of ours")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._stop_timer()
        self._in_head = False
        self._check_target()
        if self.parser.should_upgrade():
            if not self._should_upgrade():
                self._check_declined()
                return
            self._check_upgrade()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._reading = False
        self._stop_timer()
        if not self.parser.should_upgrade() or self._should_upgrade():
            super().on_message_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._must_read(_UNREAD_SECONDS)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._was_read()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._must_read(_REST_SECONDS)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            self._must_read(_UNREAD_SECONDS)
            return
        if self._reading and self._timer is None and not self._busy():
            self._timer = self.loop.call_later(_REST_SECONDS, self.timeout_keep_alive_handler)

    def send_400_response(self, msg: str) -> None:
        del msg
        if self._size > _HEADER_BYTES:
            self._refuse(HttpError(431, "head_too_large", "the request's head is over 64 KB"))
        else:
            self._refuse(self._error or HttpError(400, "malformed", "this is no HTTP request"))

    def _check_target(self) -> None:
        """A target that names a host speaks for the request, whatever Host says; the two have to agree."""
        scheme, found, rest = self.url.partition(b"://")
        if not found or b"/" in scheme:
            return
        named = rest.partition(b"/")[0].lower()
        if any(name == b"host" and value.lower() != named for name, value in self.headers):
            self._stop(HttpError(421, "wrong_host", "the request's target and its Host name different hosts"))

    def _check_upgrade(self) -> None:
        """Opening a WebSocket is a GET without a body: another would never be answered, only held."""
        lengths = [value for name, value in self.headers if name == b"content-length"]
        encoded = any(name == b"transfer-encoding" for name, _ in self.headers)
        bare = not encoded and all(length.strip(b"0") == b"" for length in lengths)
        if self.parser.get_method() != b"GET" or self.parser.get_http_version() != "1.1" or not bare:
            self._stop(
                HttpError(400, "no_websocket", "a WebSocket is opened by a GET of HTTP/1.1 without a body")
            )

    def _check_declined(self) -> None:
        if self.parser.get_method() == b"CONNECT":
            raise ValueError("no proxy")

    def _stop(self, error: HttpError) -> None:
        self._error = error
        raise ValueError(error.code)  # the parser stops and send_400_response is called

    def _count(self, more: int) -> None:
        self._size += more
        if self._size > _HEADER_BYTES:
            raise ValueError("head too large")  # the same

    def _busy(self) -> bool:
        """Whether a request waits for its answer."""
        cycle = cast("Any", self.cycle)  # None before the first request
        return cycle is not None and not cycle.response_complete

    def _expect_head(self) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(_HEADER_SECONDS, self._too_slow)

    def _expect_more(self) -> None:
        """Bytes that began no request must not hold the connection for longer than silence would."""
        idle = self._timer is None and self.timeout_keep_alive_task is None and not self._busy()
        if idle and self.transport.get_protocol() is self and not self.transport.is_closing():
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def _must_read(self, seconds: float) -> None:
        """What was written is to be taken within that time: closing waits for it, and who never reads would stay."""
        self._was_read()
        if not self._lost:
            self._unread = self.loop.call_later(seconds, self.transport.abort)

    def _was_read(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._refuse(HttpError(408, "too_slow", "the request's head came too slowly"))

    def _refuse(self, error: HttpError) -> None:
        if self.transport.is_closing():
            return
        self.transport.write(refusal(error))
        self.transport.close()
        self._must_read(_REST_SECONDS)


def refusal(error: HttpError) -> bytes:
    """The answer to what never becomes a request, as it goes over the wire; the connection ends after it."""
    body = msgspec.json.encode(document_of(error))
    fields = {
        "content-type": "application/json",
        "connection": "close",
        "content-length": f"{len(body)}",
        **error.headers,
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {error.status} Refused\r\n{lines}\r\n".encode() + body


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
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
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
