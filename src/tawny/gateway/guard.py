"""What every request passes first: Host, Origin, size and pace of bodies, and the headers that every answer carries.

A plain ASGI middleware. It trusts no header a proxy could have set, and nothing for coming from this machine.
"""

import asyncio
import re
from collections.abc import Callable, Iterable
from email.utils import formatdate
from urllib.parse import urlsplit

import msgspec
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tawny.clock import Clock
from tawny.errors import TawnyError
from tawny.gateway.errors import HttpError, document_of, headers_of, internal, status_of
from tawny.log import Log

BODY_LIMIT = 10 * 1024 * 1024
_BODY_SECONDS = 30.0
_log = Log("gateway")
_encode = msgspec.json.Encoder().encode

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self';"
    " font-src 'self'; manifest-src 'self'; worker-src 'self'; frame-ancestors 'none'; base-uri 'none';"
    " form-action 'self'"
)
_SECURITY = [
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
]
_STATIC = frozenset(name for name, _ in _SECURITY)
_CODES = {404: "not_found", 405: "method_not_allowed", 406: "not_acceptable"}
_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[^:\[\]]*)(?::(?P<port>\d{1,5}))?", re.IGNORECASE)


class Hosts:
    """The names this gateway answers to: its own address, the loopback names, and those of the configuration."""

    def __init__(self, *, host: str, port: Callable[[], int], allowed: Iterable[str] = ()) -> None:
        own = f"[{host}]" if ":" in host else host.lower()
        self._own = {"127.0.0.1", "localhost", "[::1]", own} - {"0.0.0.0", "[::]", ""}
        self._port = port
        self._allowed: set[str] = set()
        self.allow(allowed)

    def allow(self, names: Iterable[str]) -> None:
        """Answer to these further names from now on."""
        self._allowed = {name.lower() for name in names}

    def knows(self, host: str) -> bool:
        """Whether a Host header, or an Origin's host, is ours."""
        match = _HOST.fullmatch(host.lower())
        if match is None:
            return False
        name, port = match["name"], match["port"]
        if f"{name}:{port}" in self._allowed or (name in self._allowed and port in (None, "80", "443")):
            return True
        ours = self._port()
        if name in self._allowed and port == str(ours):
            return True
        return name in self._own and (port == str(ours) or (port is None and ours in (80, 443)))


class Guard:
    """Checks each request before, and dresses each answer after, the application behind it."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Hosts,
        clock: Clock,
        body_limit: int = BODY_LIMIT,
        body_seconds: float = _BODY_SECONDS,
    ) -> None:
        self._app = app
        self._hosts = hosts
        self._clock = clock
        self._limit = body_limit
        self._seconds = body_seconds
        self._date = (0, b"")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._socket(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def dressed(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = self._dress(message.get("headers", []))
            await send(message)

        try:
            headers = Headers(scope=scope)
            self._check(scope["method"], headers)
            body = _Body(
                receive, limit=self._limit, seconds=self._seconds, announced=headers.get("content-length")
            )
            await self._app(scope, body.receive, dressed)
        except TawnyError as error:
            if started:
                raise
            await refuse(error, dressed)
        except HTTPException as error:
            if started:
                raise
            code = _CODES.get(error.status_code, "http")
            known = HttpError(error.status_code, code, error.detail, headers=dict(error.headers or {}))
            await refuse(known, dressed)
        except Exception as error:
            # The last net: a mistake of ours is answered plainly, logged, and costs this request alone.
            _log.error("request failed", exc=error, method=scope["method"], path=scope["path"])
            if started:
                raise
            await refuse(internal(), dressed)

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def dressed(message: Message) -> None:
            if message["type"] == "websocket.http.response.start":
                message["headers"] = self._dress(message.get("headers", []))
            await send(message)

        try:
            self._check("GET", Headers(scope=scope), socket=True)
        except TawnyError as error:
            await receive()
            await refuse(error, dressed, prefix="websocket.http.response")
            return
        await self._app(scope, receive, dressed)

    def _check(self, method: str, headers: Headers, *, socket: bool = False) -> None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._hosts.knows(hosts[0]):
            raise HttpError(
                421,
                "wrong_host",
                "this gateway does not answer to that Host",
                hint="use the address 'gateway run' printed, or add the name to [gateway] allowed_hosts",
            )
        origin = headers.get("origin")
        if origin is not None and not self._same_origin(origin):
            raise HttpError(403, "foreign_origin", "requests from other origins are refused")
        unsafe = socket or method not in ("GET", "HEAD")
        if headers.get("sec-fetch-site", "none") in ("cross-site", "same-site") and unsafe:
            raise HttpError(403, "foreign_origin", "requests from other sites are refused")
        if unsafe and origin is None and "cookie" in headers and "authorization" not in headers:
            raise HttpError(
                403, "no_origin", "a request with a cookie must name its Origin", hint="send a bearer token"
            )

    def _same_origin(self, origin: str) -> bool:
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        plain = parts.scheme in ("http", "https") and not (parts.path or parts.query or parts.fragment)
        return plain and "@" not in parts.netloc and self._hosts.knows(parts.netloc)

    def _dress(self, headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        given = [(name, value) for name, value in headers if name.lower() not in _STATIC]
        if not any(name == b"cache-control" for name, _ in given):
            given.append((b"cache-control", b"no-store"))
        return [*given, *_SECURITY, (b"date", self._now())]

    def _now(self) -> bytes:
        second = self._clock.now() // 1_000_000
        if self._date[0] != second:
            self._date = (second, formatdate(second, usegmt=True).encode())
        return self._date[1]


class _Body:
    """A request's body, held to its size and to a pace."""

    def __init__(self, receive: Receive, *, limit: int, seconds: float, announced: str | None) -> None:
        self._receive = receive
        self._limit = limit
        self._seconds = seconds
        self._deadline: float | None = None
        self._size = 0
        self._done = False
        if announced is not None and announced.isdecimal() and int(announced) > limit:
            raise _too_large(limit)

    async def receive(self) -> Message:
        if self._done:
            return await self._receive()
        loop = asyncio.get_running_loop()
        if self._deadline is None:
            self._deadline = loop.time() + self._seconds
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise HttpError(
                408, "too_slow", "the request's body came too slowly", headers={"connection": "close"}
            ) from None
        if message["type"] != "http.request":
            self._done = True
            return message
        self._size += len(message.get("body", b""))
        if self._size > self._limit:
            raise _too_large(self._limit)
        self._done = not message.get("more_body", False)
        return message


def _too_large(limit: int) -> HttpError:
    return HttpError(
        413,
        "too_large",
        f"the request's body is over {limit // (1024 * 1024)} MB",
        headers={"connection": "close"},
    )


async def refuse(error: TawnyError, send: Send, *, prefix: str = "http.response") -> None:
    """Answer with the contract's error document."""
    body = _encode(document_of(error))
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(name.encode(), value.encode()) for name, value in headers_of(error).items()]
    await send({"type": f"{prefix}.start", "status": status_of(error), "headers": headers})
    await send({"type": f"{prefix}.body", "body": body})
