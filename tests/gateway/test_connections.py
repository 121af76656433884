"""One connection from its first byte to its last: what is offered beside HTTP, what trails behind a body, and that
nobody holds one for nothing.
"""

import asyncio
import contextlib
import socket

import pytest

from .conftest import Door, House

KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
OPENING = f"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n{KEY}"
H2C = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"
JSON = "Content-Type: application/json\r\n"


class Line:
    """A connection written to by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, address: str) -> None:
        self._reader = reader
        self._writer = writer
        self._host = address.removeprefix("http://")
        self.fields: dict[bytes, bytes] = {}
        """The headers of the last answer."""

    @classmethod
    async def to(cls, address: str) -> "Line":
        host, _, port = address.removeprefix("http://").partition(":")
        return cls(*await asyncio.open_connection(host, int(port)), address)

    def send(self, text: str) -> None:
        self._writer.write(text.replace("HOST", f"Host: {self._host}").encode("latin-1"))

    async def answer(self) -> tuple[int, bytes]:
        """The next answer: its status and body."""
        async with asyncio.timeout(20):
            head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
            self.fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
            size = int(self.fields.get(b"content-length", b"0"))
            return int(head.split(b" ")[1]), await self._reader.readexactly(size)

    async def ended(self) -> bytes:
        """What comes until the other end closes."""
        async with asyncio.timeout(20):
            return await self._reader.read()

    def close(self) -> None:
        self._writer.close()


async def test_offered_http2_is_declined_and_the_connection_goes_on(house: House) -> None:
    """As curl --http2 and Java's client do with every first request, bodies included."""
    body = '{"kind":"remind","params":{"text":"x"},"title":"by Java"}'
    auth = f"Authorization: Bearer {house.door.token}\r\n"
    async with house.door.listening() as address:
        line = await Line.to(address)
        line.send(
            f"POST /v1/tasks HTTP/1.1\r\nHOST\r\n{auth}{JSON}{H2C}Content-Length: {len(body)}\r\n\r\n{body[:9]}"
        )
        line.send(body[9:])
        status, document = await line.answer()
        assert status == 202
        assert b"by Java" in document
        chunked = f"{len(body):x}\r\n{body}\r\n0\r\n\r\n"
        again = (
            f"POST /v1/tasks HTTP/1.1\r\nHOST\r\n{auth}{JSON}{H2C}Transfer-Encoding: chunked\r\n\r\n{chunked}"
        )
        line.send(again + f"GET /v1/tasks HTTP/1.1\r\nHOST\r\n{auth}{H2C}\r\n")
        assert (await line.answer())[0] == 202
        status, listing = await line.answer()
        assert (status, listing.count(b"by Java")) == (200, 2)
        line.close()


async def test_thousands_of_offers_at_once_are_declined_one_by_one(door: Door) -> None:
    async with door.listening() as address:
        line = await Line.to(address)
        line.send(f"GET /healthz HTTP/1.1\r\nHOST\r\n{H2C}\r\n" * 2000)
        statuses = [(await line.answer())[0] for _ in range(2000)]
        assert set(statuses) == {200}
        line.close()


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (f"POST /ws HTTP/1.1\r\nHOST\r\n{OPENING}Content-Length: 2\r\n\r\n", 400, "no_websocket"),
        (f"POST /v1/wake HTTP/1.1\r\nHOST\r\n{OPENING}\r\n", 400, "no_websocket"),
        (f"GET /ws HTTP/1.1\r\nHOST\r\n{OPENING}Content-Length: 2\r\n\r\n", 400, "no_websocket"),
        (f"GET /ws HTTP/1.1\r\nHOST\r\n{OPENING}Transfer-Encoding: chunked\r\n\r\n", 400, "no_websocket"),
        (f"GET /ws HTTP/1.0\r\nHOST\r\n{OPENING}\r\n", 400, "no_websocket"),
        (f"GET /ws HTTP/1.1\r\nHOST\r\n{OPENING.replace(KEY, '')}\r\n", 400, "no_websocket"),
        (f"GET /ws HTTP/1.1\r\nHOST\r\n{OPENING.replace('dGhl', '')}\r\n", 400, "no_websocket"),
        (f"GET /ws HTTP/1.1\r\nHOST\r\n{OPENING.replace('13', '12')}\r\n", 426, "no_websocket"),
        (f"GET /ws HTTP/1.1\r\nHOST\r\n{OPENING}Authorization: Bearer wrong\r\n\r\n", 401, "unauthenticated"),
        (f"GET /v1/tasks HTTP/1.1\r\nHOST\r\n{OPENING}\r\n", 404, "not_found"),
        (f"GET /ws HTTP/1.1\r\nHost: evil.test\r\n{OPENING}\r\n", 421, "wrong_host"),
        (f"GET /ws HTTP/1.1\r\nHOST\r\n{OPENING}Origin: http://evil.test\r\n\r\n", 403, "foreign_origin"),
    ],
    ids=[
        "a POST with a body", "a POST", "a length", "chunked", "HTTP/1.0", "no key", "a short key", "version 12",
        "a wrong token", "another path", "a foreign host", "a foreign origin",
    ],
)  # fmt: skip
async def test_what_opens_no_websocket_gets_the_error_document(
    door: Door, request_: str, status: int, code: str
) -> None:
    async with door.listening() as address:
        line = await Line.to(address)
        line.send(request_)
        answer = await line.answer()
        assert answer[0] == status
        assert answer[1].startswith(f'{{"error":{{"code":"{code}"'.encode())
        assert line.fields.get(b"sec-websocket-version") == (b"13" if status == 426 else None)
        if code != "no_websocket":
            assert line.fields[b"x-content-type-options"] == b"nosniff"
        assert await line.ended() == b""
        line.close()


@pytest.mark.parametrize(
    ("trailer", "status"),
    [
        ("Authorization: Bearer TOKEN", 401),
        ("Host: evil.test", 204),
        ("Origin: http://evil.test", 204),
        ("Content-Type: text/plain", 204),
        ("X-Sum: 1", 204),
    ],
)
async def test_trailers_are_no_headers(door: Door, trailer: str, status: int) -> None:
    auth = "" if status == 401 else f"Authorization: Bearer {door.token}\r\n"
    async with door.listening() as address:
        line = await Line.to(address)
        body = f"2\r\n{{}}\r\n0\r\n{trailer.replace('TOKEN', door.token)}\r\n\r\n"
        line.send(f"POST /v1/wake HTTP/1.1\r\nHOST\r\n{JSON}{auth}Transfer-Encoding: chunked\r\n\r\n{body}")
        assert (await line.answer())[0] == status
        line.close()


async def test_many_small_fields_are_a_large_head_too(door: Door) -> None:
    async with door.listening() as address:
        for many in ("", "Transfer-Encoding: chunked\r\n\r\n0\r\n"):
            line = await Line.to(address)
            line.send(f"POST /v1/wake HTTP/1.1\r\nHOST\r\n{many}" + "X: y\r\n" * 12_000)
            seen = [await line.answer()]
            while seen[-1][0] != 431:
                seen.append(
                    await line.answer()
                )  # who has no token is told so before the trailers are all there
            line.close()


async def test_a_target_that_names_another_host_is_refused(door: Door) -> None:
    async with door.listening() as address:
        line = await Line.to(address)
        line.send("GET http://evil.test/healthz HTTP/1.1\r\nHOST\r\n\r\n")
        assert (await line.answer())[0] == 421
        line.close()
        line = await Line.to(address)
        line.send(f"GET {address.upper()}/healthz HTTP/1.1\r\nHOST\r\n\r\n".replace("HTTP://", "http://"))
        assert (await line.answer())[0] == 200
        line.close()


@pytest.mark.parametrize(
    ("request_", "more"),
    [
        ("GET /healthz HTTP/1.1\r\nHOST\r\n\r\n", ""),
        ("GET /healthz HTTP/1.1\r\nHOST\r\n\r\n", "\r\n"),
        ("GET /healthz HTTP/1.1\r\nHOST\r\nContent-Length: 9\r\n\r\n", "x"),
        ("POST /v1/wake HTTP/1.1\r\nHOST\r\nContent-Length: 9\r\n\r\n", "x"),
        ("POST /v1/wake HTTP/1.1\r\nHOST\r\nTransfer-Encoding: chunked\r\n\r\n", "2\r\n"),
        (f"GET /healthz HTTP/1.1\r\nHOST\r\n{H2C}Content-Length: 9\r\n\r\n", "x"),
    ],
    ids=["nothing", "empty lines", "a needless body", "a refused body", "chunks", "an offer"],
)
async def test_nobody_holds_a_connection_with_bytes_that_begin_nothing(
    door: Door, monkeypatch: pytest.MonkeyPatch, request_: str, more: str
) -> None:
    monkeypatch.setattr("tawny.gateway.server._KEEP_ALIVE_SECONDS", 1)
    monkeypatch.setattr("tawny.gateway.server._REST_SECONDS", 1.0)
    async with door.listening() as address:
        line = await Line.to(address)
        line.send(request_)
        assert (await line.answer())[0] in (200, 401)
        line.send(more)
        assert await line.ended() == b""
        line.close()


@pytest.mark.parametrize("last", ["", "Connection: close\r\n"], ids=["kept alive", "closed"])
async def test_nobody_holds_a_connection_by_leaving_answers_unread(
    door: Door, monkeypatch: pytest.MonkeyPatch, last: str
) -> None:
    """While it is held there is no place for another; then there is one again."""
    for name, value in {"_CONNECTIONS": 1, "_UNREAD_SECONDS": 1.0, "_REST_SECONDS": 1.0}.items():
        monkeypatch.setattr(f"tawny.gateway.server.{name}", value)
    async with door.listening() as address:
        host, _, port = address.removeprefix("http://").partition(":")
        greedy = socket.socket()
        greedy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        greedy.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(greedy, (host, int(port)))
        request = f"GET /healthz HTTP/1.1\r\nHost: {host}:{port}\r\n"
        await loop.sock_sendall(greedy, f"{request}\r\n".encode() * 1500 + f"{request}{last}\r\n".encode())
        statuses: list[int] = []
        async with asyncio.timeout(60):
            while 200 not in statuses:
                line = await Line.to(address)
                line.send("GET /healthz HTTP/1.1\r\nHOST\r\n\r\n")
                with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                    statuses.append((await line.answer())[0])
                line.close()
        assert statuses[0] == 503
        greedy.close()


async def test_a_body_may_go_on_arriving_after_its_answer(door: Door) -> None:
    """It is read and thrown away; the next request on the connection is served."""
    async with door.listening() as address:
        line = await Line.to(address)
        line.send("POST /v1/wake HTTP/1.1\r\nHOST\r\nContent-Length: 9\r\n\r\n")
        assert (await line.answer())[0] == 401
        line.send("123")
        line.send("456789GET /healthz HTTP/1.1\r\nHOST\r\n\r\n")
        assert (await line.answer())[0] == 200
        line.close()
