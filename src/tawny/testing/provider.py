"""A model server on loopback that streams as OpenAI's, Anthropic's and Google's do, and misbehaves on order.

It serves tests and benchmarks; `python -m tawny.testing.provider --port N` runs it on its own.
"""

import argparse
import asyncio
import json
import socket
import struct
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from tawny.testing.wires import Wire, wire_of


class Text(msgspec.Struct, frozen=True):
    """Answer with a text in `chunks` deltas, `delay` seconds before the first byte."""

    text: str
    chunks: int = 1
    delay: float = 0


class Tools(msgspec.Struct, frozen=True):
    """Answer with tool calls: (name, arguments); arguments given as a text are sent as they are."""

    calls: tuple[tuple[str, dict[str, Any] | str], ...]


class Status(msgspec.Struct, frozen=True):
    """Answer with an HTTP error."""

    status: int
    code: str = "server_error"
    message: str = "a made-up failure"
    headers: tuple[tuple[str, str], ...] = ()


class Broken(msgspec.Struct, frozen=True):
    """Misbehave: `how` is one of these.

    hang (no answer), stall (mid-stream), reset (the connection, mid-stream), half (of a frame, then the end), garbage
    (no JSON in a frame), huge (10 MB of words), html (200 with a page), nothing (200 and an empty stream).
    """

    how: str


Answer = Text | Tools | Status | Broken
Plan = Callable[[dict[str, Any], int], Answer]


def echo(body: dict[str, Any], n: int) -> Answer:
    """`echo: …` of the newest user message; `use NAME {json}` in it calls that tool first."""
    del n
    messages: list[dict[str, Any]] = body.get("messages", [])
    last = max((i for i, message in enumerate(messages) if message.get("role") == "user"), default=-1)
    text = str(messages[last]["content"]) if last >= 0 else ""
    answered = [message for message in messages[last + 1 :] if message.get("role") == "tool"]
    if text.startswith("use ") and not answered:
        name, _, arguments = text[4:].partition(" ")
        return Tools(((name, arguments or "{}"),))
    if answered:
        return Text(f"done: {str(answered[-1]['content'])[:200]}")
    return Text(f"echo: {text[-400:]}")


class FakeProvider:
    """The server; `plan` decides each answer and may be changed.

    `requests` holds the body of every request with its `messages` in one form, whatever the protocol; `keys` the keys.
    """

    def __init__(self, plan: Plan = echo) -> None:
        self.plan = plan
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.port = 0
        self._open: set[asyncio.StreamWriter] = set()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def root(self) -> str:
        """The address for clients that bring the version in the path (Anthropic's, Google's)."""
        return f"http://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def running(self, port: int = 0) -> "AsyncGenerator[FakeProvider]":
        """Serve on loopback until the block ends."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", port, limit=64 * 1024 * 1024)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for writer in self._open:
                writer.transport.abort()
            await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            while await self._exchange(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._open.discard(writer)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; whether the connection goes on."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        lines = head.split("\r\n")
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines[1:])
        }
        raw = await reader.readexactly(int(headers.get("content-length", "0")))
        self.keys.append(
            headers.get("authorization") or headers.get("x-api-key") or headers.get("x-goog-api-key") or ""
        )
        method, path = lines[0].split(" ")[:2]
        wire = wire_of(path)
        if method != "POST" or wire is None:
            await _plain(writer, 200, {"object": "list", "data": [{"id": "fake", "object": "model"}]})
            return True
        sent = json.loads(raw)
        body = {**sent, "messages": wire.messages(sent)}
        self.requests.append(body)
        answer = self.plan(body, len(self.requests))
        match answer:
            case Status():
                error = wire.error(answer.status, answer.code, answer.message)
                await _plain(writer, answer.status, error, answer.headers)
                return True
            case Broken():
                await _misbehave(writer, wire, body, answer.how)
                return False
            case Text():
                if answer.delay:
                    await asyncio.sleep(answer.delay)
                size = max(1, -(-len(answer.text) // answer.chunks))
                pieces = [answer.text[i : i + size] for i in range(0, max(1, len(answer.text)), size)]
                await _stream(writer, wire.text(body, pieces))
                return True
            case Tools():
                await _stream(writer, wire.calls(body, answer.calls))
                return True


async def _plain(
    writer: asyncio.StreamWriter, status: int, body: dict[str, Any], headers: tuple[tuple[str, str], ...] = ()
) -> None:
    raw = json.dumps(body).encode()
    extra = "".join(f"{name}: {value}\r\n" for name, value in headers)
    writer.write(
        f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(raw)}\r\n{extra}\r\n".encode()
    )
    writer.write(raw)
    await writer.drain()


_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)


def _chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


async def _stream(writer: asyncio.StreamWriter, frames: list[bytes]) -> None:
    writer.write(_STREAM_HEAD + b"".join(_chunk(frame) for frame in frames) + b"0\r\n\r\n")
    await writer.drain()


async def _misbehave(writer: asyncio.StreamWriter, wire: Wire, body: dict[str, Any], how: str) -> None:
    whole = wire.text(body, ["I was just about to ", "say it"])
    # Everything up to the first words, and what would have come after them.
    first = next(n for n, frame in enumerate(whole) if b"just about" in frame) + 1
    opening, rest = _STREAM_HEAD + b"".join(map(_chunk, whole[:first])), whole[first:]
    if how == "hang":
        await asyncio.sleep(3600)
    elif how == "stall":
        writer.write(opening)
        await writer.drain()
        await asyncio.sleep(3600)
    elif how == "reset":
        writer.write(opening)
        await writer.drain()
        await asyncio.sleep(0.02)
        raw: socket.socket = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
    elif how == "half":
        writer.write(opening + _chunk(rest[0][: len(rest[0]) // 2]))
        await writer.drain()
    elif how == "garbage":
        named = rest[0].partition(b"data:")[0]
        writer.write(opening + _chunk(named + b"data: \xff\xfe<html>502</html>{{{\n\n") + b"0\r\n\r\n")
        await writer.drain()
    elif how == "huge":
        words = wire.text(body, ["I was just about to ", *["x" * 65_536] * 160])
        writer.write(_STREAM_HEAD)
        for frame in words:
            writer.write(_chunk(frame))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()
    elif how == "html":
        page = b"<html><body>Please sign in to this network</body></html>"
        head = f"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {len(page)}\r\n\r\n"
        writer.write(head.encode() + page)
        await writer.drain()
    elif how == "nothing":
        writer.write(_STREAM_HEAD + b"0\r\n\r\n")
        await writer.drain()
    else:
        raise ValueError(f"{how!r} is no way to misbehave")


async def _main(port: int) -> None:
    async with FakeProvider().running(port) as provider:
        sys.stdout.write(f"{provider.base_url}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="a model server that echoes")
    parser.add_argument("--port", type=int, default=0)
    asyncio.run(_main(parser.parse_args().port))
