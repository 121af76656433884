"""A gateway on a real ledger, spoken to in memory or over a real socket."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tawny.config import Config, Home
from tawny.gateway import server
from tawny.gateway.auth import owner_token
from tawny.gateway.feed import Feed
from tawny.gateway.gateway import Gateway
from tawny.ledger import credentials, events
from tawny.ledger.database import Ledger
from tawny.ledger.migrations import migrate
from tawny.ledger.sqlite import SqliteStore
from tawny.ledger.submission import Limits
from tawny.testing import FakeClock

ADDRESS = "http://127.0.0.1:8765"


class Door:
    """A gateway with its owner's token and what tests do all the time."""

    def __init__(self, gateway: Gateway, home: Home) -> None:
        self.gateway = gateway
        self.site = gateway.site
        self.home = home
        self.token = owner_token(home.token_file)
        self.client = self.browser(authorization=f"Bearer {self.token}")

    def browser(self, address: str = ADDRESS, peer: str = "127.0.0.1", **headers: str) -> httpx.AsyncClient:
        """A client without the token, as `peer`."""
        transport = httpx.ASGITransport(self.gateway.app, raise_app_exceptions=False, client=(peer, 1234))
        return httpx.AsyncClient(transport=transport, base_url=address, headers=headers)

    async def append(self, *types: str, **data: Any) -> int:
        """Append events; the last one's number."""

        def write(tx: Any) -> int:
            return [events.append(tx, type, data) for type in types][-1]

        return await self.site.ledger.write(write)

    async def token_with(self, *scopes: str, name: str = "program") -> tuple[str, str]:
        """A named token with these scopes: its id and secret."""
        made, secret = await self.site.ledger.write(
            lambda tx: credentials.create(
                tx, credentials.TOKEN, name=name, role="guest", scopes=frozenset(scopes), actor="owner"
            )
        )
        await self.site.keyring.load()
        return made.credential_id, secret

    @asynccontextmanager
    async def listening(self) -> AsyncGenerator[str]:
        """Serve on a real socket; the address."""
        async with self.gateway.serving(server.listen("127.0.0.1", 0)) as address:
            yield address


@asynccontextmanager
async def open_door(home: Home, ledger: Ledger, clock: Any) -> AsyncGenerator[Door]:
    feed = Feed(ledger, clock)
    gateway = Gateway(
        home=home, config=Config(), ledger=ledger, clock=clock, kinds={}, limits=Limits(), feed=feed
    )
    await gateway.load()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(gateway.run())
        gateway.site.ready = True
        door = Door(gateway, home)
        try:
            async with door.client:
                yield door
        finally:
            running.cancel()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.prepare()
    return home


@pytest.fixture
async def ledger(tmp_path: Path, clock: FakeClock) -> AsyncGenerator[Ledger]:
    store = SqliteStore(tmp_path / "ledger.db")
    migrate(store, clock)
    async with Ledger(store, clock) as ledger:
        yield ledger


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def door(home: Home, ledger: Ledger, clock: FakeClock) -> AsyncGenerator[Door]:
    async with open_door(home, ledger, clock) as door:
        yield door
