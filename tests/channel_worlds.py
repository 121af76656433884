"""One service for each kind of channel, and what stands there; a send can be cut off at each of its moments."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from discord_api import FakeDiscord
from fake_http import FakeHttp, Request, Response
from homeserver import Homeserver, counted, is_message, line_to
from post_office import Post
from slack_api import FakeSlack
from tawny.clock import SystemClock
from tawny.ledger import outbox, sessions
from tawny.ledger.database import read_now
from tawny.ledger.sqlite import SqliteStore
from telegram_api import FakeTelegram

WORDS = "the result"
"""What is sent everywhere."""


@dataclass
class World:
    """One service and what stands there.

    `knows`: it can tell afterwards, or drops a copy, so that nothing stays unknown. `on_send` is called at the moment
    of a send: in the midst of its request, when that has come, when it is done."""

    tables: dict[str, Any]
    copies: Callable[[], int]
    knows: bool
    target: str
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

        def began(request: Request) -> None:
            if sends(request):
                self.happens("begun")

        http.handler = handle
        http.began = began

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
    world = World({"telegram": [table]}, lambda: len(fake.arrived), knows=False, target="telegram")
    world.watch(fake.http, lambda request: request.path.endswith("/sendMessage"))
    yield world
    await fake.http.stop()


@asynccontextmanager
async def slack(_: Path) -> AsyncIterator[World]:
    fake = FakeSlack()
    await fake.http.start()
    table = {"token": "xoxb-1", "to": "D1", "api_base": fake.http.url}
    world = World({"slack": [table]}, lambda: len(fake.messages), knows=True, target="slack")
    world.watch(fake.http, lambda request: request.path.endswith("/chat.postMessage"))
    yield world
    await fake.http.stop()


@asynccontextmanager
async def discord(_: Path) -> AsyncIterator[World]:
    fake = FakeDiscord()
    await fake.http.start()
    table = {"token": "t0k3n", "to": "5", "api_base": fake.http.url}
    # Within the minute that it remembers nonces.
    world = World({"discord": [table]}, lambda: len(fake.messages), knows=True, target="discord")
    world.watch(fake.http, lambda request: request.path.endswith("/messages"))
    yield world
    await fake.http.stop()


@asynccontextmanager
async def _receiver(table: dict[str, Any], target: str) -> AsyncIterator[World]:
    """Somebody's webhook, which knows the keys it has seen."""
    keys: set[str] = set()

    def handle(request: Request) -> Response:
        keys.add(request.headers["idempotency-key"])
        return Response(204)

    http = FakeHttp(handle)
    await http.start()
    tables = {"webhook": [{**table, "url": http.url}]} if table else {}
    world = World(tables, lambda: len(keys), knows=True, target=target or f"webhook:{http.url}")
    world.watch(http, lambda request: request.method == "POST")
    yield world
    await http.stop()


def webhook(_: Path) -> Any:
    return _receiver({"secret": "s"}, "webhook")


def webhook_of_a_task(_: Path) -> Any:
    return _receiver({}, "")


@asynccontextmanager
async def _ntfy(*, knows: bool) -> AsyncIterator[World]:
    kept: list[dict[str, Any]] = []

    def handle(request: Request) -> Response:
        if request.method == "GET":
            return Response(200, "\n".join(json.dumps(each) for each in kept).encode())
        kept.append({"id": str(len(kept)), "event": "message", **request.json()})
        return Response(200, kept[-1])

    http = FakeHttp(handle)
    await http.start()
    world = World(
        {"ntfy": [{"topic": "t", "server": http.url}]},
        lambda: sum(each["message"] == WORDS for each in kept),
        knows=knows,
        target="ntfy",
    )
    world.watch(http, lambda request: request.method == "POST")
    yield world
    await http.stop()


def ntfy(_: Path) -> Any:
    # Nothing has arrived in the topic before: where the mark is not there, it proves nothing.
    return _ntfy(knows=False)


def ntfy_in_use(_: Path) -> Any:
    return _ntfy(knows=True)


@asynccontextmanager
async def email(_: Path) -> AsyncIterator[World]:
    post = Post()
    await post.start()
    table = {"from": "a@example.org", "to": "b@example.org", "smtp": f"smtp://127.0.0.1:{post.port}"}
    world = World({"email": [table]}, lambda: len(post.mails), knows=False, target="email")
    take, take_name = post.handle_DATA, post.handle_RCPT

    async def handle_rcpt(server: Any, *more: Any) -> str:
        try:
            world.happens("begun")
        except ConnectionError:
            server.transport.abort()
        return await take_name(server, *more)

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
    post.handle_RCPT = handle_rcpt  # type: ignore[method-assign]
    yield world
    await post.stop()


@asynccontextmanager
async def matrix(homeserver: Homeserver) -> AsyncIterator[World]:
    ann = homeserver.register(f"ann{next(counted)}")
    tawny = homeserver.register(f"tawny{next(counted)}")
    room = await ann.room(tawny)
    async with line_to(homeserver) as line:

        def copies() -> int:
            with httpx.Client(base_url=homeserver.url, trust_env=False, timeout=20) as client:
                answer = client.get(
                    f"/_matrix/client/v3/rooms/{room}/messages",
                    params={"dir": "b", "limit": "100"},
                    headers={"authorization": f"Bearer {ann.token}"},
                ).json()
            return sum(event["content"].get("body") == WORDS for event in answer["chunk"])

        table = {"homeserver": line.url, "token": tawny.token, "to": room}
        world = World({"matrix": [table]}, copies, knows=True, target="matrix")
        world.watch(line, is_message)
        yield world


@asynccontextmanager
async def apprise(_: Path) -> AsyncIterator[World]:
    got: list[Any] = []

    def handle(request: Request) -> Response:
        got.append(request.json())
        return Response(200)

    http = FakeHttp(handle)
    await http.start()
    table = {"urls": [f"json://127.0.0.1:{http.port}/"]}
    world = World({"apprise": [table]}, lambda: len(got), knows=False, target="apprise")
    world.watch(http, lambda request: request.method == "POST")
    yield world
    await http.stop()


@asynccontextmanager
async def _at_home(copies: Callable[[], int], target: str) -> AsyncIterator[World]:
    """A place in the house itself: what happens to a send, happens between two commits."""
    yield World({}, copies, knows=True, target=target)


def _in_files(folder: Path) -> int:
    return sum(path.read_text().count(WORDS) for path in folder.glob("*.md"))


def file(home: Path) -> Any:
    return _at_home(lambda: _in_files(home / "workspace"), "file:results.md")


def memory(home: Path) -> Any:
    return _at_home(lambda: _in_files(home / "workspace" / "memory"), "memory")


def inbox(home: Path) -> Any:
    def copies() -> int:
        lines = read_now(SqliteStore(home / "state.db"), SystemClock(), outbox.inbox)
        return sum(line.message.text == WORDS for line in lines)

    return _at_home(copies, "inbox")


def chat(home: Path) -> Any:
    def copies() -> int:
        store = SqliteStore(home / "state.db")
        said = read_now(store, SystemClock(), lambda tx: sessions.entries(tx, "main"))
        return sum(entry.text == WORDS for entry in said)

    return _at_home(copies, "chat")


@asynccontextmanager
async def terminal(home: Path) -> AsyncIterator[World]:
    prints = home / "prints.txt"
    yield World(
        {"terminal": [{"listen": False}]},
        lambda: prints.read_text().count(WORDS),
        knows=False,
        target="terminal",
    )


WORLDS: dict[str, Callable[[Path], Any]] = {
    each.__name__: each
    for each in (
        telegram, slack, discord, webhook, webhook_of_a_task, ntfy, ntfy_in_use, email, apprise,
        file, memory, inbox, chat, terminal,
    )
}  # fmt: skip
"""By name, all that need no server of their own."""

COMMITS = {"webhook_of_a_task": 3, "ntfy": 3, "ntfy_in_use": 3, "chat": 3}
"""How many a send makes where these are more than its intent and its receipt: a secret made, a witness, the words."""
