"""A small HTTP server under the test's hand: it can refuse, drop, hang, stall, and it remembers every request."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any, Protocol, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit


@dataclass
class Request:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return unquote(urlsplit(self.target).path)

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query))

    def json(self) -> Any:
        return json.loads(self.body)

    def form(self) -> dict[str, Any]:
        """The fields of a form; a file is (name, media type, bytes)."""
        kind = self.headers.get("content-type", "")
        if kind.startswith("application/json"):
            return self.json()
        if not kind.startswith("multipart/"):
            return dict(parse_qsl(self.body.decode(), keep_blank_values=True))
        message = BytesParser(policy=HTTP).parsebytes(
            b"content-type: " + kind.encode() + b"\r\n\r\n" + self.body
        )
        found: dict[str, Any] = {}
        for part in message.iter_parts():
            name = str(part.get_param("name", header="content-disposition"))
            data = part.get_payload(decode=True)
            filename = part.get_filename()
            found[name] = (
                (filename, part.get_content_type(), data) if filename else bytes(data or b"").decode()
            )
        return found


@dataclass
class Response:
    status: int = 200
    body: Any = b""
    headers: dict[str, str] = field(default_factory=dict)

    def encoded(self) -> bytes:
        raw = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        head = {
            "content-length": str(len(raw)),
            "content-type": "application/octet-stream"
            if isinstance(self.body, bytes)
            else "application/json",
            **self.headers,
        }
        lines = [f"HTTP/1.1 {self.status} x", *(f"{name}: {value}" for name, value in head.items())]
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + raw


DROP = "drop"
"""Do what was asked, then close the connection without a word."""
DROP_BEFORE = "drop-before"
"""Close the connection without doing anything; the client cannot tell it from DROP."""
HANG = "hang"

Handler = Callable[[Request], Awaitable[Response] | Response]


class FakeHttp:
    """Serves `handler` on loopback. `behave` makes the next requests that `applies` go wrong."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.requests: list[Request] = []
        self.applies: Callable[[Request], bool] = lambda request: request.method == "POST"
        self.began: Callable[[Request], None] = lambda request: None
        """Called when the head of a request has come, and before its body is read."""
        self._behaviours: deque[str | Response] = deque()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def behave(self, *behaviours: str | Response) -> None:
        self._behaviours.extend(behaviours)

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=2**20)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Refuse connections; those open are cut."""
        if self._server is not None:
            self._server.close()
            self._server = None
        # Also those that were accepted and whose handler has not begun yet.
        for _ in range(5):
            self.cut()
            await asyncio.sleep(0)

    def cut(self) -> None:
        """Cut every open connection."""
        for task in list(self._tasks):
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while (request := await _read(reader, self.began)) is not None:
                self.requests.append(request)
                if not await self._answer(request, writer):
                    break
        except (asyncio.CancelledError, ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> bool:
        behaviour = self._behaviours.popleft() if self._behaviours and self.applies(request) else None
        if behaviour == DROP_BEFORE:
            return False
        if behaviour == HANG:
            await asyncio.sleep(3600)
        if isinstance(behaviour, Response):
            response = behaviour
        else:
            answer = self.handler(request)
            response = answer if isinstance(answer, Response) else await answer
        if behaviour == DROP:
            return False
        writer.write(response.encoded())
        await writer.drain()
        return True


async def _read(reader: asyncio.StreamReader, began: Callable[[Request], None]) -> Request | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(":") for line in lines if line)
    }
    began(Request(method, target, headers, b""))
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while size := int((await reader.readline()).split(b";")[0], 16):
            body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
    else:
        body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Request(method, target, headers, body)


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[FakeHttp]:
    server = FakeHttp(handler)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


class Fake(Protocol):
    """Another service, played behind its HTTP interface; what broke that interface's published rules is kept."""

    http: FakeHttp
    violations: list[str]


F = TypeVar("F", bound=Fake)


@asynccontextmanager
async def started(fake: F) -> AsyncIterator[F]:
    """The fake while it answers. In the end nothing that it was sent may have broken its rules."""
    await fake.http.start()
    yield fake
    await fake.http.stop()
    assert fake.violations == []
