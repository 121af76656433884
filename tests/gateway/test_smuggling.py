"""Requests that two servers might read in two ways, as the usual corpora have them: none is.

The trick is always the same: one server sees one request, the next one sees two. So each request here hides a second
one that would make a task, and none may be made.
"""

import asyncio

import pytest

from tawny.ledger import events

from .conftest import House

HIDDEN = '{"kind":"remind","params":{"text":"smuggled"},"title":"smuggled"}'


def smuggled(house: House, host: str) -> str:
    return (
        f"POST /v1/tasks HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {house.door.token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(HIDDEN)}\r\n\r\n{HIDDEN}"
    )


# The framing of a POST to /v1/wake whose body is "{}" and then something hidden.
AMBIGUOUS = {
    "both, length first": "Content-Length: {all}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}",
    "both, chunked first": "Transfer-Encoding: chunked\r\nContent-Length: {all}\r\n\r\n0\r\n\r\n{hidden}",
    "two lengths": "Content-Length: 0\r\nContent-Length: {all}\r\n\r\n{hidden}",
    "two lengths, the other way": "Content-Length: {all}\r\nContent-Length: 0\r\n\r\n{hidden}",
    "a list of lengths": "Content-Length: 0, {all}\r\n\r\n{hidden}",
    "a signed length": "Content-Length: +0\r\n\r\n{hidden}",
    "a negative length": "Content-Length: -1\r\n\r\n{hidden}",
    "a length in hex": "Content-Length: 0x0\r\n\r\n{hidden}",
    "a length with an underscore": "Content-Length: 0_0\r\n\r\n{hidden}",
    "an enormous length": "Content-Length: 18446744073709551616\r\n\r\n{hidden}",
    "a space before the colon": "Content-Length : 0\r\n\r\n{hidden}",
    "a folded length": "Content-Length:\r\n 0\r\n\r\n{hidden}",
    "a vertical tab": "Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n{hidden}",
    "an unknown encoding": "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{hidden}",
    "chunked, then identity": "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{hidden}",
    "two encodings": "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n{hidden}",
    "identity": "Transfer-Encoding: identity\r\n\r\n{hidden}",
    "a quoted encoding": 'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n{hidden}',
    "a name with a space": "Transfer Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}",
    "an encoding under a bare return": "X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}",
    "a bare return at the end": "Content-Length: 0\r\r\n\r\n{hidden}",
    "a NUL in a value": "X: a\x00b\r\nContent-Length: 0\r\n\r\n{hidden}",
    "a chunk's size with 0x": "Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n{hidden}",
    "a chunk's size with a sign": "Transfer-Encoding: chunked\r\n\r\n-0\r\n\r\n{hidden}",
    "an overflowing chunk": "Transfer-Encoding: chunked\r\n\r\n10000000000000000\r\n{hidden}",
    "a chunk longer than it says": "Transfer-Encoding: chunked\r\n\r\n1\r\n{{}}\r\n0\r\n\r\n{hidden}",
    "a chunk that ends in a bare line feed": "Transfer-Encoding: chunked\r\n\r\n2\r\n{{}}\n0\r\n\r\n{hidden}",
    "no colon": "Content-Length 0\r\n\r\n{hidden}",
    "an empty length": "Content-Length:\r\n\r\n{hidden}",
    "an empty length before another": "Content-Length:\r\nContent-Length: {all}\r\n\r\n{hidden}",
    "a length with more behind it": "Content-Length: 0z\r\n\r\n{hidden}",
    "a length in other digits": "Content-Length: \xb2\r\n\r\n{hidden}",
    "a length between high bytes": "Content-Length: \xa00\x85\r\n\r\n{hidden}",
    "a comma before the encoding": "Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n{hidden}",
    "chunked twice": "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}",
    "an encoding in high bytes": "Transfer-Encoding: \xa0chunked\r\n\r\n0\r\n\r\n{hidden}",
    "an empty name": ": x\r\nContent-Length: 0\r\n\r\n{hidden}",
    "a high byte in a name": "Content-Length\xa0: 0\r\n\r\n{hidden}",
    "a return in a name": "\rContent-Length: 0\r\n\r\n{hidden}",
    "a return in a value": "X: a\rb\r\nContent-Length: 0\r\n\r\n{hidden}",
    "an empty chunk's size": "Transfer-Encoding: chunked\r\n\r\n\r\n\r\n{hidden}",
    "a chunk's size with an underscore": "Transfer-Encoding: chunked\r\n\r\n0_0\r\n\r\n{hidden}",
    "a chunk's size with more behind it": "Transfer-Encoding: chunked\r\n\r\n0z\r\n\r\n{hidden}",
    "a chunk's size after a space": "Transfer-Encoding: chunked\r\n\r\n 0\r\n\r\n{hidden}",
    "a return in a chunk's extension": "Transfer-Encoding: chunked\r\n\r\n0 \r;a=b\r\n\r\n{hidden}",
    "a line feed in a chunk's extension": "Transfer-Encoding: chunked\r\n\r\n2;\n{{}}\r\n0\r\n\r\n{hidden}",
    "empty lines between chunks": "Transfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n\r\n0\r\n\r\n{hidden}",
}


async def spoken(address: str, request: bytes) -> bytes:
    """All that comes back until the other end closes, or has nothing more to say."""
    host, port = address.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    got = b""
    try:
        async with asyncio.timeout(5):
            while chunk := await reader.read(65536):
                got += chunk
                if got.count(b"HTTP/1.1 ") >= 2:
                    break
    except (TimeoutError, ConnectionResetError):
        pass
    writer.close()
    return got


async def made(house: House) -> int:
    """How many tasks there are."""
    seen = await house.app.ledger.read(lambda tx: events.after(tx, 0, limit=1000))
    return sum(event.type == "task.queued" for event in seen)


@pytest.mark.parametrize("framing", AMBIGUOUS.values(), ids=AMBIGUOUS.keys())
async def test_ambiguous_framing_hides_no_second_request(house: House, framing: str) -> None:
    async with house.door.listening() as address:
        host = address.removeprefix("http://")
        hidden = smuggled(house, host)
        head = (
            f"POST /v1/wake HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {house.door.token}\r\n"
            "Content-Type: application/json\r\n"
        )
        got = await spoken(address, (head + framing.format(all=len(hidden), hidden=hidden)).encode("latin-1"))
    assert got.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 413 ", b"HTTP/1.1 431 ")), got[:200]
    assert got.count(b"HTTP/1.1 ") == 1, "nothing after it was read"
    assert await made(house) == 0


async def test_a_second_request_that_hides_nothing_is_served(house: House) -> None:
    """The trial could fail: two plain requests in a row are two, and the second makes its task."""
    async with house.door.listening() as address:
        host = address.removeprefix("http://")
        first = f"GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n"
        got = await spoken(address, (first + smuggled(house, host)).encode())
    assert got.count(b"HTTP/1.1 ") == 2
    assert await made(house) == 1


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("GET http://evil.test/v1/tasks HTTP/1.1\r\nHost: {host}", (b"200", b"400", b"404", b"421")),
        ("GET /v1/tasks HTTP/1.1", (b"421",)),
        ("GET /v1/tasks HTTP/1.1\r\nHost: {host}\r\nHost: evil.test", (b"400", b"421")),
        ("GET /v1/tasks HTTP/1.1\r\nHost: {host}@evil.test", (b"421",)),
        ("GET /v1/tasks HTTP/9.9\r\nHost: {host}", (b"400", b"505")),
        ("GET /v1/tasks\x00 HTTP/1.1\r\nHost: {host}", (b"400",)),
        ("PRI * HTTP/2.0", (b"400", b"505")),
        ("CONNECT evil.test:443 HTTP/1.1\r\nHost: evil.test:443", (b"400", b"404", b"405", b"421")),
        ("TRACE /v1/tasks HTTP/1.1\r\nHost: {host}", (b"401", b"404", b"405")),
        ("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", (b"400",)),
    ],
    ids=[
        "absolute",
        "no host",
        "two hosts",
        "host with a user",
        "version",
        "nul",
        "http2",
        "connect",
        "trace",
        "tls",
    ],
)
async def test_odd_request_lines_get_an_answer_and_nothing_more(
    house: House, line: str, status: tuple[bytes, ...]
) -> None:
    async with house.door.listening() as address:
        host = address.removeprefix("http://")
        request = line.format(host=host) + "\r\nConnection: close\r\n\r\n"
        got = await spoken(address, request.encode("latin-1"))
    assert got.split(b" ")[1] in (*status, b"401"), got[:200]
    assert b"evil.test" not in got.partition(b"\r\n\r\n")[0]
