"""A live engine that a test opens when it wants, on a home that something else has used before."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
from tests.conftest import CONFIG, Engine

from tawny.app import open_app
from tawny.clock import SystemClock
from tawny.config import Home

Opened = Callable[[], Awaitable[Engine]]


@pytest.fixture
async def opened(home: Home) -> AsyncGenerator[Opened]:
    async with AsyncExitStack() as stack:

        async def opening() -> Engine:
            app = await stack.enter_async_context(open_app(home, CONFIG))
            return Engine(app, SystemClock())

        yield opening
