"""The way out of a sandbox: listed places alone, exactly one request, and the reason told."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address

import pytest
from tests.sandbox.conftest import needs_bubblewrap

from tawny.domain.ipaddresses import Address
from tawny.domain.network import parse_rules
from tawny.sandbox.commands import Commands
from tawny.sandbox.egress import Gate
from tawny.sandbox.order import Order
from tawny.sandbox.proxy import Proxy
from tawny.sandbox.tls import Incomplete, server_name


class Upstream:
    """Records everything it is sent and answers once."""

    def __init__(self) -> None:
        self.port = 0
        self.received = b""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(0.3):
                while data := await reader.read(4096):
                    self.received += data
        except TimeoutError:
            pass
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")
        await writer.drain()
        writer.close()


@asynccontextmanager
async def upstream() -> AsyncIterator[Upstream]:
    server = Upstream()
    listener = await asyncio.start_server(server.handle, "127.0.0.1", 0)
    server.port = listener.sockets[0].getsockname()[1]
    async with listener:
        yield server


async def ask(
    raw: bytes, *, allow: Sequence[str] = (), private: Sequence[str] = (), answer: str = ""
) -> bytes:
    """What the proxy answers to raw bytes."""

    async def resolve(*_: object) -> Sequence[Address]:
        return [ip_address(answer)]

    proxy = Proxy(Gate(parse_rules(tuple(allow), tuple(private)), resolve=resolve))
    listener = await asyncio.start_server(proxy.handle, "127.0.0.1", 0)
    async with listener:
        reader, writer = await asyncio.open_connection(*listener.sockets[0].getsockname()[:2])
        writer.write(raw)
        await writer.drain()
        async with asyncio.timeout(5):
            said = await reader.read(-1)
        writer.close()
    return said


async def test_a_listed_place_is_reached() -> None:
    async with upstream() as server:
        said = await ask(
            b"GET http://127.0.0.1:%d/x?y HTTP/1.1\r\nhost: other.test\r\nproxy-connection: k\r\n\r\n"
            % server.port,
            private=[f"127.0.0.1:{server.port}"],
        )
        assert said.endswith(b"hello")
        assert server.received.startswith(b"GET /x?y HTTP/1.1\r\nhost: 127.0.0.1:")
        assert b"other.test" not in server.received
        assert b"proxy-connection" not in server.received


@pytest.mark.parametrize(
    "request_line",
    [
        "GET http://127.0.0.1:{port}/ HTTP/1.1",
        "GET http://localhost:{port}/ HTTP/1.1",
        "GET http://2130706433:{port}/ HTTP/1.1",
        "GET http://evil.test:{port}/ HTTP/1.1",
        "GET http://listed.test@127.0.0.1:{port}/ HTTP/1.1",
        "GET / HTTP/1.1",
        "GET file:///etc/passwd HTTP/1.1",
        "CONNECT 127.0.0.1:{port} HTTP/1.1",
        "CONNECT [::ffff:127.0.0.1]:{port} HTTP/1.1",
        "CONNECT evil.test:{port} HTTP/1.1",
        "CONNECT 169.254.169.254:80 HTTP/1.1",
        "CONNECT listed.test HTTP/1.1",
        "GET http://listed.test:{port}/ HTTP/1.1",
        "CONNECT listed.test:{port} HTTP/1.1",
        "GARBAGE",
        "GET  http://listed.test/ HTTP/1.1",
    ],
)
async def test_everything_else_is_refused_and_told(request_line: str) -> None:
    """`listed.test` is on the list, but its name server says 127.0.0.1."""
    async with upstream() as server:
        raw = request_line.replace("{port}", str(server.port)).encode() + b"\r\nhost: listed.test\r\n\r\n"
        said = await ask(raw, allow=[f"listed.test:{server.port}"], answer="127.0.0.1")
        assert said.startswith(b"HTTP/1.1 403")
        assert b"\r\n\r\nTawny: " in said
        assert server.received == b""


@pytest.mark.parametrize(
    "fields",
    [
        "content-length: 5\r\ncontent-length: 6",
        "content-length: 5\r\ntransfer-encoding: chunked",
        "transfer-encoding: xchunked",
        "content-length: +5",
        "content-length : 5",
        " folded: x",
        "no colon",
    ],
)
async def test_a_request_that_can_be_read_two_ways_is_refused(fields: str) -> None:
    async with upstream() as server:
        raw = f"POST http://127.0.0.1:{server.port}/ HTTP/1.1\r\n{fields}\r\n\r\nhello".encode()
        said = await ask(raw, private=[f"127.0.0.1:{server.port}"])
        assert said.startswith(b"HTTP/1.1 403")
        assert server.received == b""


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_second_request_behind_the_first_does_not_pass(*, chunked: bool) -> None:
    async with upstream() as server:
        body = b"5\r\nhello\r\n0\r\n\r\n" if chunked else b"hello"
        framing = b"transfer-encoding: chunked" if chunked else b"content-length: 5"
        raw = b"POST http://127.0.0.1:%d/ HTTP/1.1\r\n%s\r\n\r\n%s" % (server.port, framing, body)
        said = await ask(
            raw + b"GET /second HTTP/1.1\r\nhost: victim.test\r\n\r\n", private=[f"127.0.0.1:{server.port}"]
        )
        assert said.endswith(b"hello")
        assert b"hello" in server.received
        assert b"second" not in server.received


def greeting(name: str) -> bytes:
    """The first bytes of a real TLS client that asks for `name`."""
    context = ssl.create_default_context()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


@pytest.mark.parametrize(
    ("asked", "passes"),
    [("listed.test", True), ("LISTED.test", True), ("victim.test", False), ("x.listed.test", False)],
)
async def test_a_tunnel_must_ask_for_the_host_it_was_opened_to(asked: str, *, passes: bool) -> None:
    async with upstream() as server:
        raw = f"CONNECT listed.test:{server.port} HTTP/1.1\r\n\r\n".encode() + greeting(asked)
        await ask(raw, private=[f"listed.test:{server.port}"], answer="127.0.0.1")
        assert (server.received == greeting_part(server.received)) is True
        assert bool(server.received) is passes


def greeting_part(data: bytes) -> bytes:
    return data if not data or data.startswith(b"\x16\x03") else b""


def test_the_name_is_read_from_a_greeting_in_pieces() -> None:
    whole = greeting("www.example.com")
    assert server_name(whole) == "www.example.com"
    for cut in range(1, len(whole) - 1, 7):
        with pytest.raises(Incomplete):
            server_name(whole[:cut])
    # Cut into records of 50 bytes, as evaders do.
    message = whole[5:]
    pieces = [message[i : i + 50] for i in range(0, len(message), 50)]
    records = b"".join(b"\x16\x03\x01" + len(piece).to_bytes(2, "big") + piece for piece in pieces)
    assert server_name(records) == "www.example.com"


@needs_bubblewrap
async def test_from_inside_a_sandbox(commands: Commands, shell: Callable[..., Order]) -> None:
    fetch = (
        "/usr/bin/python3 -c \"import urllib.request as u; print(u.urlopen('http://127.0.0.1:{}/').read())\""
    )
    async with upstream() as server, upstream() as other:
        listed = (f"127.0.0.1:{server.port}",)
        _, output = await commands.run("a", shell(fetch.format(server.port), allow_private=listed))
        assert b"hello" in output["output"]
        command = await commands.start("b", shell(fetch.format(other.port), allow_private=listed))
        await command.wait()
        assert b"403" in command.read().data
        assert other.received == b""
        [refusal] = command.refusals()
        assert f"127.0.0.1:{other.port} is a loopback address" in refusal
        assert "allow_private" in refusal
