"""The WebSocket's frames, cut as the Autobahn suite cuts them (its groups 2 to 7 and 9): wrong ones end the connection
with the code the standard gives them, odd ones are read.
"""

import asyncio
import base64
import os
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import msgspec
import pytest

from .conftest import Door

FIN, TEXT, BINARY, CLOSE, PING, PONG, CONTINUATION = 0x80, 1, 2, 8, 9, 10, 0


def frame(head: int, payload: bytes = b"", *, masked: bool = True) -> bytes:
    """One frame as its bytes; `head` is the first byte."""
    size = len(payload)
    mask = 0x80 if masked else 0
    if size < 126:
        length = bytes([mask | size])
    elif size < 65536:
        length = bytes([mask | 126]) + struct.pack("!H", size)
    else:
        length = bytes([mask | 127]) + struct.pack("!Q", size)
    if not masked:
        return bytes([head]) + length + payload
    key = os.urandom(4)
    return bytes([head]) + length + key + bytes(byte ^ key[n % 4] for n, byte in enumerate(payload))


class Wire:
    """A WebSocket whose frames are made by hand."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.send = writer.write

    async def frame(self) -> tuple[int, bytes]:
        """The next frame's operation and payload."""
        async with asyncio.timeout(10):
            first, second = await self._reader.readexactly(2)
            assert first & 0x70 == 0
            assert second & 0x80 == 0, "a server masks nothing"
            size = second
            if size == 126:
                (size,) = struct.unpack("!H", await self._reader.readexactly(2))
            elif size == 127:
                (size,) = struct.unpack("!Q", await self._reader.readexactly(8))
            return first & 0x0F, await self._reader.readexactly(size)

    async def close_code(self) -> int:
        """What the server closes with; answers and events before it are passed over."""
        while True:
            operation, payload = await self.frame()
            if operation == CLOSE:
                return struct.unpack("!H", payload[:2])[0] if payload else 1005

    async def answer(self, id: str) -> bool:
        """Whether the request went well."""
        while True:
            operation, payload = await self.frame()
            if operation == TEXT and (document := msgspec.json.decode(payload)).get("id") == id:
                return document["ok"]


@asynccontextmanager
async def wire(door: Door) -> AsyncGenerator[Wire]:
    """A connection that has said who it is."""
    async with door.listening() as address:
        host, port = address.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        key = base64.b64encode(os.urandom(16)).decode()
        writer.write(
            f"GET /ws HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
            f"Authorization: Bearer {door.token}\r\n\r\n".encode()
        )
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
        made = Wire(reader, writer)
        made.send(frame(FIN | TEXT, b'{"type":"req","id":"c","method":"connect","params":{}}'))
        assert await made.answer("c")
        yield made
        writer.close()


STATUS = b'{"type":"req","id":"s","method":"readyz","params":{}}'
WRONG = {
    "unmasked": (frame(FIN | TEXT, STATUS, masked=False), 1002),
    "reserved bit 1": (frame(FIN | 0x40 | TEXT, STATUS), 1002),
    "reserved bit 3": (frame(FIN | 0x10 | PING), 1002),
    "reserved operation 3": (frame(FIN | 3, b"x"), 1002),
    "reserved operation 11": (frame(FIN | 11), 1002),
    "long ping": (frame(FIN | PING, b"x" * 126), 1002),
    "fragmented ping": (frame(PING, b"x"), 1002),
    "continuation of nothing": (frame(FIN | CONTINUATION, b"x"), 1002),
    "text within a fragmented text": (frame(TEXT, b"x") + frame(FIN | TEXT, b"y"), 1002),
    "not UTF-8": (frame(FIN | TEXT, b"\xce\xba\xe1\xbd\xb9\xcf\x83\xed\xa0\x80"), 1007),
    "half a character at the end": (frame(FIN | TEXT, b"\xf0\x9f"), 1007),
    "not UTF-8 over fragments": (frame(TEXT, b"\xf4") + frame(FIN | CONTINUATION, b"\x90\x80\x80"), 1007),
    "close of one byte": (frame(FIN | CLOSE, b"\x03"), 1002),
    "close with a reserved code": (frame(FIN | CLOSE, struct.pack("!H", 1005)), 1002),
    "close with code 0": (frame(FIN | CLOSE, struct.pack("!H", 0)), 1002),
    "close whose reason is not UTF-8": (frame(FIN | CLOSE, struct.pack("!H", 1000) + b"\xff\xfe"), 1007),
    "too large": (frame(FIN | TEXT, b"x" * (1024 * 1024 + 1)), 1009),
    "too large in pieces": (
        frame(TEXT, b"x" * 600_000) + frame(FIN | CONTINUATION, b"x" * 600_000),
        1009,
    ),
}


@pytest.mark.parametrize(("bytes_", "code"), WRONG.values(), ids=WRONG.keys())
async def test_wrong_frames_end_the_connection_with_their_code(door: Door, bytes_: bytes, code: int) -> None:
    async with wire(door) as other:
        other.send(bytes_)
        assert await other.close_code() == code


async def test_odd_but_right_frames_are_read(door: Door) -> None:
    async with wire(door) as other:
        for size in (0, 125):
            other.send(frame(FIN | PING, b"p" * size))
            while (got := await other.frame())[0] != PONG:
                pass
            assert got[1] == b"p" * size
        other.send(frame(FIN | PONG, b"nobody asked"))
        # byte by byte, a ping in the middle, an empty piece at the end
        other.send(frame(TEXT, STATUS[:1]))
        for n in range(1, len(STATUS)):
            other.send(frame(CONTINUATION, STATUS[n : n + 1]))
            if n == 10:
                other.send(frame(FIN | PING, b"between"))
        other.send(frame(FIN | CONTINUATION))
        assert await other.answer("s")
        for byte in frame(FIN | TEXT, STATUS):
            other.send(bytes([byte]))
            await asyncio.sleep(0)
        assert await other.answer("s")
        other.send(frame(FIN | BINARY, STATUS))
        assert await other.answer("s")
        other.send(frame(FIN | CLOSE, struct.pack("!H", 1000) + b"bye"))
        assert await other.close_code() == 1000
