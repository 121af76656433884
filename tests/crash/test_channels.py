"""kill -9 at each point of a send, on every channel: the world gets it once at most, and what is not known is said."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from discord_api import FakeDiscord
from fake_http import FakeHttp, Request, Response
from owing import SENDER, owe, status
from post_office import Post
from slack_api import FakeSlack
from telegram_api import FakeTelegram

pytestmark = pytest.mark.crash


@dataclass
class World:
    """One service and what stands there; `on_send` is called at the moment of a send, before and after it is done."""

    tables: dict[str, Any]
    copies: Callable[[], int]
    knows: bool
    """Whether the service can tell afterwards, or drops a copy: then nothing stays unknown."""
    on_send: dict[str, Callable[[], None]] = field(default_factory=dict)

    def watch(self, http: FakeHttp, sends: Callable[[Request], bool]) -> None:
        forward = http.handler

        async def handle(request: Request) -> Response:
            if not sends(request):
                return await _answer(forward, request)
            self.happens("asked")
            answer = await _answer(forward, request)
            self.happens("done")
            return answer

        http.handler = handle

    def happens(self, point: str) -> None:
        if kill := self.on_send.pop(point, None):
            kill()
            raise ConnectionError("nobody is there any more")


async def _answer(handler: Any, request: Request) -> Response:
    answer = handler(request)
    return answer if isinstance(answer, Response) else await answer


@asynccontextmanager
async def telegram(_: Path) -> AsyncIterator[World]:
    fake = FakeTelegram()
    await fake.http.start()
    table = {"token": fake.token, "api_base": fake.http.url, "allow": [7]}
    world = World({"telegram": [table]}, lambda: len(fake.arrived), knows=False)
    world.watch(fake.http, lambda request: request.path.endswith("/sendMessage"))
    yield world
    await fake.http.stop()


@asynccontextmanager
async def slack(_: Path) -> AsyncIterator[World]:
    fake = FakeSlack()
    await fake.http.start()
    table = {"token": "xoxb-1", "to": "D1", "api_base": fake.http.url}
    world = World({"slack": [table]}, lambda: len(fake.messages), knows=True)
    world.watch(fake.http, lambda request: request.path.endswith("/chat.postMessage"))
    yield world
    await fake.http.stop()


@asynccontextmanager
async def discord(_: Path) -> AsyncIterator[World]:
    fake = FakeDiscord()
    await fake.http.start()
    table = {"token": "t0k3n", "to": "5", "api_base": fake.http.url}
    # Its memory of nonces is a minute, and ours of when we asked went with the process.
    world = World({"discord": [table]}, lambda: len(fake.messages), knows=False)
    world.watch(fake.http, lambda request: request.path.endswith("/messages"))
    yield world
    await fake.http.stop()


@asynccontextmanager
async def webhook(_: Path) -> AsyncIterator[World]:
    keys: set[str] = set()

    def handle(request: Request) -> Response:
        keys.add(request.headers["idempotency-key"])
        return Response(204)

    http = FakeHttp(handle)
    await http.start()
    world = World({"webhook": [{"url": http.url, "secret": "s"}]}, lambda: len(keys), knows=True)
    world.watch(http, lambda request: request.method == "POST")
    yield world
    await http.stop()


@asynccontextmanager
async def ntfy(_: Path) -> AsyncIterator[World]:
    kept: list[dict[str, Any]] = []

    def handle(request: Request) -> Response:
        if request.method == "GET":
            return Response(200, "\n".join(json.dumps(each) for each in kept).encode())
        kept.append({"id": str(len(kept)), "event": "message", **request.json()})
        return Response(200, kept[-1])

    http = FakeHttp(handle)
    await http.start()
    world = World({"ntfy": [{"topic": "t", "server": http.url}]}, lambda: len(kept), knows=True)
    world.watch(http, lambda request: request.method == "POST")
    yield world
    await http.stop()


@asynccontextmanager
async def email(_: Path) -> AsyncIterator[World]:
    post = Post()
    await post.start()
    table = {"from": "a@example.org", "to": "b@example.org", "smtp": f"smtp://127.0.0.1:{post.port}"}
    world = World({"email": [table]}, lambda: len(post.mails), knows=False)
    take = post.handle_DATA

    async def handle_data(server: Any, session: Any, envelope: Any) -> str:
        try:
            world.happens("asked")
            answer = await take(server, session, envelope)
            world.happens("done")
        except ConnectionError:
            server.transport.abort()
            return "451 gone"
        return answer

    post.handle_DATA = handle_data  # type: ignore[method-assign]
    yield world
    await post.stop()


WORLDS = {
    "telegram": telegram,
    "slack": slack,
    "discord": discord,
    "webhook": webhook,
    "ntfy": ntfy,
    "email": email,
}


async def deliver(home: Path, world: World, *, fuse: int = 0, kill_when: str = "") -> bool:
    """Run the sender; whether it came to rest by itself."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        str(SENDER),
        str(home),
        str(fuse),
        json.dumps(world.tables),
        stdout=asyncio.subprocess.PIPE,
    )
    if kill_when:
        world.on_send[kill_when] = lambda: os.kill(child.pid, signal.SIGKILL)
    async with asyncio.timeout(110):
        out, _ = await child.communicate()
    return out == b"idle\n"


# What lies in the ledger alone is the same for every channel: tried with one that can be asked and one that cannot.
_POINTS = [(channel, point) for channel in WORLDS for point in ("asked", "done", "answered")] + [
    (channel, point)
    for channel in ("telegram", "webhook")
    for point in ("before the intent", "claimed", "settled")
]


@pytest.mark.parametrize(("channel", "point"), _POINTS)
async def test_a_send_cut_off_by_a_kill_is_there_once_at_most_and_never_lost_in_silence(
    tmp_path: Path, channel: str, point: str
):
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(WORLDS[channel](tmp_path))
        delivery_id = owe(tmp_path, channel)
        # The commits of one send: the intent (1 before, 2 after), the receipt (3 before, 4 after).
        fuses = {"before the intent": 1, "claimed": 2, "answered": 3, "settled": 4}
        if point in fuses:
            assert not await deliver(tmp_path, world, fuse=fuses[point]), "the kill must have come"
        else:
            assert not await deliver(tmp_path, world, kill_when=point), "the kill must have come"
        had_arrived = world.copies()
        assert had_arrived == (point in ("done", "answered", "settled"))
        assert await deliver(tmp_path, world)
        state = status(tmp_path, delivery_id)
        if world.knows or point in ("before the intent", "settled"):
            assert (state, world.copies()) == ("delivered", 1)
        else:
            # Shown as unknown, and left as it is.
            assert (state, world.copies()) == ("unknown", had_arrived)
