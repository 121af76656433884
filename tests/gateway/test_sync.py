"""Devices that come and go at random, by both streams, over restarts: each has every event, once, in order."""

# pyright: reportPrivateUsage=false
import asyncio
import random
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Protocol

import httpx
import msgspec
import pytest
from websockets.asyncio.client import connect

from tawny.config import Home
from tawny.ledger.database import Ledger
from tawny.testing import FakeClock

from .conftest import Door, House, open_door


class Line(Protocol):
    """An open stream of events."""

    async def next(self) -> tuple[int, dict[str, Any]]:
        """The next event: its number (0 for none) and its document."""
        ...


class SseLine:
    def __init__(self, answer: httpx.Response) -> None:
        self._lines = answer.aiter_lines()

    async def next(self) -> tuple[int, dict[str, Any]]:
        id = 0
        async for line in self._lines:
            if line.startswith("id: "):
                id = int(line[4:])
            elif line.startswith("data: "):
                return id, msgspec.json.decode(line[6:])
        raise EOFError


class SocketLine:
    def __init__(self, raw: Any) -> None:
        self._raw = raw

    async def next(self) -> tuple[int, dict[str, Any]]:
        while True:
            frame = msgspec.json.decode(await self._raw.recv())
            if frame["type"] == "event":
                return frame["seq"] or 0, frame["payload"]


@asynccontextmanager
async def by_sse(address: str, token: str, after: int) -> AsyncGenerator[Line]:
    headers = {"authorization": f"Bearer {token}", "last-event-id": str(after)}
    async with (
        httpx.AsyncClient(base_url=address, headers=headers, timeout=30) as client,
        client.stream("GET", "/v1/stream") as answer,
    ):
        assert answer.status_code == 200
        yield SseLine(answer)


@asynccontextmanager
async def by_socket(address: str, token: str, after: int) -> AsyncGenerator[Line]:
    async with connect(address.replace("http", "ws", 1) + "/ws", compression=None) as raw:
        await raw.recv()
        params = {"auth": {"token": token}, "after": after}
        request = {"type": "req", "id": "1", "method": "connect", "params": params}
        await raw.send(msgspec.json.encode(request).decode())
        answer = msgspec.json.decode(await raw.recv())
        assert answer["ok"] is True, answer
        yield SocketLine(raw)
        raw.transport.abort()  # as a phone in a tunnel: without a word


class Phone:
    """A device: what it has seen, and its line, if it has one."""

    def __init__(self, way: Any) -> None:
        self._way = way
        self._stack = AsyncExitStack()
        self._line: Line | None = None
        self.seen: list[int] = []
        self.snapshots = 0

    async def read(self, address: str, token: str, *, upto: int) -> None:
        """Read on to that event, from a line of its own; a snapshot is answered by asking again from its place."""
        while not self.seen or self.seen[-1] < upto:
            if self._line is None:
                place = self.seen[-1] if self.seen else 0
                self._line = await self._stack.enter_async_context(self._way(address, token, place))
            seq, document = await self._line.next()
            if document["type"] == "system.snapshot":
                self.snapshots += 1
                await self.leave()
            elif seq:
                self.seen.append(seq)

    async def leave(self) -> None:
        """Hang up, whatever is under way."""
        await self._stack.aclose()
        self._stack, self._line = AsyncExitStack(), None


@pytest.mark.parametrize("seed", range(6))
async def test_whoever_comes_and_goes_has_every_event_once(
    home: Home, ledger: Ledger, clock: FakeClock, seed: int
) -> None:
    chance = random.Random(seed)
    phones = [Phone(way) for way in (by_sse, by_socket) * 2]
    made = 0

    async def happen(door: Door) -> int:
        return await door.append(
            *["task.progress"] * chance.choice((1, 1, 3, 40)), text="x" * chance.choice((1, 500))
        )

    async with asyncio.timeout(100):
        for _ in range(4):  # lives of the gateway
            async with open_door(home, ledger, clock) as door, door.listening() as address:
                door.site.feed._window = deque(maxlen=16)  # so that old places are read from the ledger
                for _ in range(12):
                    made = await happen(door)
                    for phone in chance.sample(phones, chance.randrange(len(phones) + 1)):
                        if chance.random() < 0.3:
                            await phone.leave()
                        else:
                            start = phone.seen[-1] if phone.seen else 0
                            await phone.read(address, door.token, upto=chance.randint(start, made))
                for phone in phones:
                    await phone.leave()
                made = await happen(door)  # while nobody listens
        async with open_door(home, ledger, clock) as door, door.listening() as address:
            for phone in phones:
                await phone.read(address, door.token, upto=made)
                await phone.leave()
    for phone in phones:
        assert phone.seen == list(range(1, made + 1))


@pytest.mark.parametrize("way", [by_sse, by_socket])
async def test_what_one_device_has_read_or_answered_reaches_the_others(house: House, way: Any) -> None:
    """Read state, and approvals with their outcome, come by the one stream, with who answered."""
    async with house.door.listening() as address, AsyncExitStack() as stack:
        house.client.base_url = address
        place = house.door.site.feed.last_seq
        other = await stack.enter_async_context(way(address, house.door.token, place))
        task = await house.run(notify="silent")
        assert (await house.client.post("/v1/seen", json={"items": [task["task_id"]]})).status_code == 200
        async with asyncio.timeout(20):
            while (document := (await other.next())[1])["type"] != "system.seen":
                pass
        assert document["data"]["items"] == [task["task_id"]]
