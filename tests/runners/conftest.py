"""Live engines: one that a test opens when it wants, and one that may reach a server of the test's own."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
from tests.conftest import CONFIG, Engine

from tawny.app import open_app
from tawny.clock import SystemClock
from tawny.config import Config, Home, Network

Opened = Callable[[], Awaitable[Engine]]


@pytest.fixture
async def opened(home: Home) -> AsyncGenerator[Opened]:
    async with AsyncExitStack() as stack:

        async def opening() -> Engine:
            app = await stack.enter_async_context(open_app(home, CONFIG))
            return Engine(app, SystemClock())

        yield opening


NEVER = 0
"""The status of an answer that does not come: what was asked is done, and the connection held until the other goes."""


class Server:
    def __init__(self) -> None:
        self.port = 0
        self.requests: list[str] = []
        self.answers: list[tuple[int, str]] = []

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next((int(x[15:]) for x in head.split("\r\n") if x.lower().startswith("content-length:")), 0)
        self.requests.append(head + (await reader.readexactly(length)).decode())
        status, body = self.answers.pop(0) if self.answers else (200, "fine")
        if status == NEVER:
            await reader.read()
            writer.close()
            return
        writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\nx-a: b\r\n\r\n{body}".encode())
        await writer.drain()
        writer.close()


@pytest.fixture
async def server() -> AsyncGenerator[Server]:
    made = Server()
    async with await asyncio.start_server(made.handle, "127.0.0.1", 0) as listener:
        made.port = listener.sockets[0].getsockname()[1]
        yield made


@pytest.fixture
async def listed(home: Home, server: Server) -> AsyncGenerator[Engine]:
    config = Config(network=Network(allow_private=(f"127.0.0.1:{server.port}",)))
    async with open_app(home, config) as app:
        yield Engine(app, SystemClock())
