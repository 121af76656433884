"""A model server on loopback that speaks streaming chat completions, and misbehaves on order.

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
    """Misbehave: hang, reset (mid-stream), half (of a frame, then the end), garbage (no JSON), huge (10 MB), stall."""

    how: str


Answer = Text | Tools | Status | Broken
Plan = Callable[[dict[str, Any], int], Answer]


def echo(body: dict[str, Any], n: int) -> Answer:
    """`echo: …` of the newest user message; `use NAME {json}` in it calls that tool first."""
    del n
    messages: list[dict[str, Any]] = body.get("messages", [])
    last = max((i for i, message in enumerate(messages) if message.get("role") == "user"), default=-1)
    text = _content(messages[last]) if last >= 0 else ""
    answered = [message for message in messages[last + 1 :] if message.get("role") == "tool"]
    if text.startswith("use ") and not answered:
        name, _, arguments = text[4:].partition(" ")
        return Tools(((name, arguments or "{}"),))
    if answered:
        return Text(f"done: {_content(answered[-1])[:200]}")
    return Text(f"echo: {text[-400:]}")


def _content(message: dict[str, Any]) -> str:
    content: Any = message.get("content")
    if isinstance(content, list):
        parts: list[Any] = content  # pyright: ignore[reportUnknownVariableType]
        return "\n".join(str(part.get("text", "")) for part in parts)
    return str(content or "")


class FakeProvider:
    """The server. `requests` holds the body of every request; `plan` decides each answer and may be changed."""

    def __init__(self, plan: Plan = echo) -> None:
        self.plan = plan
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.port = 0
        self._open: set[asyncio.StreamWriter] = set()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

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
        self.keys.append(headers.get("authorization", ""))
        if not lines[0].startswith("POST ") or not lines[0].split(" ")[1].endswith("/chat/completions"):
            await _plain(writer, 200, {"object": "list", "data": [{"id": "fake", "object": "model"}]})
            return True
        body = json.loads(raw)
        self.requests.append(body)
        return await self._answer(writer, body, self.plan(body, len(self.requests)))

    async def _answer(self, writer: asyncio.StreamWriter, body: dict[str, Any], answer: Answer) -> bool:
        match answer:
            case Status():
                error = {"message": answer.message, "type": answer.code, "code": answer.code}
                await _plain(writer, answer.status, {"error": error}, answer.headers)
                return True
            case Broken():
                await _misbehave(writer, answer.how)
                return False
            case Text() | Tools():
                await _stream(writer, body, answer)
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


def _frame(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
    choices: list[dict[str, Any]] = [{"index": 0, "delta": delta, "finish_reason": finish}]
    document = {
        "id": "cmpl",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "fake",
        "choices": choices,
    }
    return b"data: " + json.dumps({**document, **more}).encode() + b"\n\n"


async def _stream(writer: asyncio.StreamWriter, body: dict[str, Any], answer: Text | Tools) -> None:
    frames = [_frame({"role": "assistant", "content": "" if isinstance(answer, Text) else None})]
    if isinstance(answer, Text):
        if answer.delay:
            await asyncio.sleep(answer.delay)
        size = max(1, -(-len(answer.text) // answer.chunks))
        frames += [
            _frame({"content": answer.text[i : i + size]}) for i in range(0, max(1, len(answer.text)), size)
        ]
    else:
        for index, (name, given) in enumerate(answer.calls):
            arguments = given if isinstance(given, str) else json.dumps(given)
            call = {"id": f"call_{len(body['messages'])}_{index}", "type": "function"}
            frames.append(
                _frame(
                    {
                        "tool_calls": [
                            {"index": index, **call, "function": {"name": name, "arguments": arguments}}
                        ]
                    }
                )
            )
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    frames.append(_frame({}, "stop" if isinstance(answer, Text) else "tool_calls"))
    frames.append(_frame({}, choices=[], usage=usage))
    writer.write(
        _STREAM_HEAD
        + b"".join(_chunk(frame) for frame in frames)
        + _chunk(b"data: [DONE]\n\n")
        + b"0\r\n\r\n"
    )
    await writer.drain()


async def _misbehave(writer: asyncio.StreamWriter, how: str) -> None:
    opening = _STREAM_HEAD + _chunk(_frame({"role": "assistant", "content": "I was just about to "}))
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
        writer.write(opening + _chunk(b'data: {"id": "cmpl", "choi'))
        await writer.drain()
    elif how == "garbage":
        writer.write(opening + _chunk(b"data: \xff\xfe<html>502</html>{{{\n\n") + b"0\r\n\r\n")
        await writer.drain()
    elif how == "huge":
        piece = _chunk(_frame({"content": "x" * 65_536}))
        writer.write(opening)
        for _ in range(160):
            writer.write(piece)
            await writer.drain()
        writer.write(_chunk(_frame({}, "stop")) + _chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")
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
