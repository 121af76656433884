"""A gateway on a real ledger, spoken to in memory or over a real socket."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tawny.app import App, open_app, open_gateway
from tawny.config import Config, Home, Limits
from tawny.gateway import server
from tawny.gateway.auth import owner_token
from tawny.gateway.feed import Feed
from tawny.gateway.gateway import Gateway
from tawny.ledger import credentials, events
from tawny.ledger.database import Ledger
from tawny.ledger.submission import Limits as QueueLimits
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
        home=home, config=Config(), ledger=ledger, clock=clock, kinds={}, limits=QueueLimits(), feed=feed
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
async def door(home: Home, ledger: Ledger, clock: FakeClock) -> AsyncGenerator[Door]:
    async with open_door(home, ledger, clock) as door:
        yield door


@dataclass(frozen=True)
class House:
    """The whole: engine and gateway on the machine's clock."""

    app: App
    door: Door

    @property
    def client(self) -> httpx.AsyncClient:
        return self.door.client

    async def run(self, kind: str = "simulate", **body: Any) -> dict[str, Any]:
        """Hand in work over HTTP; the task document."""
        body.setdefault("params", {"steps": 2, "step_seconds": 0} if kind == "simulate" else {})
        answer = await self.client.post("/v1/tasks", json={"kind": kind, **body})
        assert answer.status_code == 202, answer.text
        return answer.json()

    async def until(self, task_id: str, *statuses: str) -> dict[str, Any]:
        """Wait until the task has one of the statuses."""
        bell = self.app.ledger.bell.subscribe("events")
        async with asyncio.timeout(60):
            while (task := (await self.client.get(f"/v1/tasks/{task_id}")).json())["status"] not in statuses:
                await bell.wait()
                bell.clear()
        return task

    async def events(self, type: str, *, count: int = 1) -> None:
        """Wait until that many events of the type stand in the log."""
        bell = self.app.ledger.bell.subscribe("events")
        async with asyncio.timeout(60):
            while True:
                seen = await self.app.ledger.read(lambda tx: events.after(tx, 0, limit=10_000))
                if sum(event.type == type for event in seen) >= count:
                    return
                await bell.wait()
                bell.clear()


@asynccontextmanager
async def open_house(home: Home, config: Config | None = None, **parts: Any) -> AsyncGenerator[House]:
    config = config or Config(limits=Limits(concurrency=8, max_running_per_owner=8))
    async with open_app(home, config, **parts) as app, open_gateway(app) as gateway:
        gateway.site.ready = True
        door = Door(gateway, home)
        async with door.client:
            yield House(app, door)


@pytest.fixture
async def house(home: Home) -> AsyncGenerator[House]:
    async with open_house(home) as house:
        yield house
