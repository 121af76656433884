"""How fast results leave: commit → send, 1,000 deliveries in order; how fast words come in (SQLite, synchronous=FULL).

    python bench/delivery.py [--deliveries 1000] [--inbound 50] [--save]

The sink is a real HTTP server on loopback that gets signed webhooks. Every figure is of this run on this machine;
`--save` writes them to bench/results/delivery.json. Words come in over the whole application: from the moment a
service (the tests' own Telegram, Slack, Discord; a real Dovecot if installed, a real Synapse; the gateway's own HTTP
for the web chat) has them until they stand in the session.
"""

import argparse
import asyncio
import contextlib
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from websockets.asyncio.server import serve

import homeserver
import servers
from discord_api import FakeDiscord
from fake_http import Request, Response
from slack_api import FakeSlack
from tawny.app import App, open_app, open_gateway
from tawny.channels.webhook import WebhookChannel
from tawny.clock import SystemClock
from tawny.config import Config, Home
from tawny.delivery.channel import ChatSettings
from tawny.delivery.dispatcher import Dispatcher
from tawny.delivery.door import Door
from tawny.delivery.host import Host
from tawny.delivery.roster import Roster
from tawny.domain.messages import Inbound, Outgoing
from tawny.gateway import server
from tawny.gateway.auth import owner_token
from tawny.ledger import channels, events, outbox
from tawny.ledger.database import Ledger
from tawny.ledger.migrations import migrate
from tawny.ledger.sqlite import SqliteStore
from tawny.testing import MemoryChannel
from telegram_api import FakeTelegram


class Sink:
    """Answers 204 and notes when what arrived."""

    def __init__(self) -> None:
        self.arrived: list[tuple[float, dict]] = []
        self.more = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                length = int(head.partition("content-length:")[2].split("\r\n")[0])
                body = json.loads(await reader.readexactly(length))
                self.arrived.append((time.perf_counter(), body))
                self.more.set()
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def until(self, count: int) -> None:
        while len(self.arrived) < count:
            await self.more.wait()
            self.more.clear()


@asynccontextmanager
async def desk(folder: Path):
    clock = SystemClock()
    store = SqliteStore(folder / "state.db")
    migrate(store, clock)
    sink = Sink()
    server = await asyncio.start_server(sink.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with Ledger(store, clock) as ledger:
        host = Host(
            "sink",
            ledger=ledger,
            clock=clock,
            home=folder,
            secrets=str,
            within_list=lambda timeout: httpx.AsyncClient(timeout=timeout),
            say=lambda *_: "",
        )
        channel = WebhookChannel("sink", host, url=f"http://127.0.0.1:{port}/", secret="benchmark")
        dispatcher = Dispatcher(ledger, clock, Roster([channel]))
        running = asyncio.ensure_future(dispatcher.run())
        await asyncio.sleep(0.05)
        yield ledger, sink
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await channel.close()
    server.close()


def message(number: int, conversation: str) -> Outgoing:
    return Outgoing(key="", text="x", document={"conversation": conversation, "number": number})


async def put(ledger: Ledger, number: int, conversation: str) -> None:
    await ledger.write(
        lambda tx: outbox.put(
            tx,
            task_id=None,
            transition="reply",
            target="sink",
            conversation=conversation,
            message=message(number, conversation),
        )
    )


async def latency(folder: Path, count: int) -> dict[str, float]:
    """One at a time: from the commit of the outbox line to its arrival at the sink."""
    waits = []
    async with desk(folder) as (ledger, sink):
        for number in range(count):
            await put(ledger, number, "one")
            committed = time.perf_counter()
            await sink.until(number + 1)
            waits.append((sink.arrived[-1][0] - committed) * 1000)
    waits.sort()
    return {"p50_ms": statistics.median(waits), "p95_ms": waits[int(len(waits) * 0.95)], "samples": count}


async def throughput(folder: Path, count: int, conversations: int) -> dict[str, float]:
    """All at once, over several conversations; the order within each is checked."""
    async with desk(folder) as (ledger, sink):
        started = time.perf_counter()
        await asyncio.gather(*(put(ledger, number, f"c{number % conversations}") for number in range(count)))
        await sink.until(count)
        seconds = sink.arrived[-1][0] - started
    for conversation in range(conversations):
        numbers = [body["number"] for _, body in sink.arrived if body["conversation"] == f"c{conversation}"]
        assert numbers == sorted(numbers), "order within a conversation"
    assert len({body["number"] for _, body in sink.arrived}) == count, "each once"
    return {
        "deliveries": count,
        "conversations": conversations,
        "seconds": seconds,
        "per_second": count / seconds,
    }


async def inbound(folder: Path, count: int) -> dict[str, float]:
    """A message at the door until the session has it and it is noted as taken in."""
    clock = SystemClock()
    store = SqliteStore(folder / "state.db")
    migrate(store, clock)
    waits = []
    async with Ledger(store, clock) as ledger:

        async def accept(_: Inbound) -> None:
            handed.append(time.perf_counter())

        handed: list[float] = []
        door = Door(ledger, MemoryChannel("a"), ChatSettings(allow=(1,)), accept)
        for number in range(count):
            started = time.perf_counter()
            await door(Inbound(channel="a", event_id=str(number), sender="1", text="hello", conversation="1"))
            waits.append((handed[-1] - started) * 1000)
    waits.sort()
    return {"p50_ms": statistics.median(waits), "p95_ms": waits[int(len(waits) * 0.95)], "samples": count}


Say = Callable[[int], Any]
"""Somebody says the message of that number."""


@asynccontextmanager
async def telegram(_: Path) -> AsyncIterator[tuple[dict, Say]]:
    fake = FakeTelegram()
    await fake.http.start()
    table = {"token": fake.token, "api_base": fake.http.url, "allow": [7]}
    yield {"telegram": (table,)}, lambda number: fake.say(f"hello {number}", sender=7)
    await fake.http.stop()


@asynccontextmanager
async def slack(_: Path) -> AsyncIterator[tuple[dict, Say]]:
    fake = FakeSlack()
    await fake.http.start()
    async with serve(fake.talk, "127.0.0.1", 0) as socket:
        fake.socket_url = f"ws://127.0.0.1:{socket.sockets[0].getsockname()[1]}"
        table = {"token": "xoxb-1", "app_token": "xapp-1", "allow": ["U012AB3CD"], "api_base": fake.http.url}

        def say(number: int) -> None:
            event = {
                "type": "message",
                "user": "U012AB3CD",
                "channel": "D1",
                "channel_type": "im",
                "text": f"hello {number}",
            }
            fake.push("events_api", {"event": {**event, "ts": f"1772438400.{number:06d}"}})

        yield {"slack": (table,)}, say
    await fake.http.stop()


@asynccontextmanager
async def discord(_: Path) -> AsyncIterator[tuple[dict, Say]]:
    fake = FakeDiscord()
    await fake.http.start()
    async with serve(fake.talk, "127.0.0.1", 0) as socket:
        fake.socket_url = f"ws://127.0.0.1:{socket.sockets[0].getsockname()[1]}"
        table = {"token": "t0k3n", "allow": [77], "api_base": fake.http.url}

        def say(number: int) -> None:
            message = {"type": 0, "channel_id": "977", "author": {"id": "77"}, "content": f"hello {number}"}
            fake.push("MESSAGE_CREATE", {**message, "id": str(5000 + number)})

        yield {"discord": (table,)}, say
    await fake.http.stop()


class Told:
    """When the service last told of something new."""

    told_at = 0.0


class Wire(Told):
    """Stands between us and an IMAP server, and notes when the server last told of new mail."""

    def __init__(self, port: int) -> None:
        self.server = port
        self.port = 0

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Wire"]:
        listening = await asyncio.start_server(self._join, "127.0.0.1", 0)
        self.port = listening.sockets[0].getsockname()[1]
        yield self
        listening.close()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, out = await asyncio.open_connection("127.0.0.1", self.server)
        with contextlib.suppress(ConnectionError):
            await asyncio.gather(self._pass(reader, out), self._pass(there, writer))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(2**16):
            if b" EXISTS" in data:
                self.told_at = time.perf_counter()
            writer.write(data)
            await writer.drain()
        writer.close()


# Dovecot waits half a second, a number in its source, before it tells of new mail: what is ours begins with its word.
@asynccontextmanager
async def email(folder: Path) -> AsyncIterator[tuple[dict, Say]]:
    with servers.dovecot(folder) as box:
        async with Wire(box.port).open() as wire:
            table = {
                "from": "assistant@example.org", "smtp": "smtp://127.0.0.1:9", "to": "me@example.org",
                "imap": f"imap://ann@127.0.0.1:{wire.port}", "imap_password": "pw", "allow": ["me@example.org"],
            }  # fmt: skip

            def say(number: int) -> Wire:
                head = f"From: me@example.org\r\nMessage-ID: <{number}@example.org>\r\nSubject: hello\r\n\r\n"
                box.deliver(f"{head}hello {number}\r\n".encode(), name=f"{number}.mail")
                return wire

            yield {"email": (table,)}, say


# Synapse takes its time between an event and the answer to a sync: what is ours begins when that answer is out.
@asynccontextmanager
async def matrix(folder: Path) -> AsyncIterator[tuple[dict, Say]]:
    with homeserver.synapse(folder) as synapse:
        ann, tawny = synapse.register("ann"), synapse.register("tawny")
        room = await ann.room(tawny)
        async with homeserver.line_to(synapse) as line:
            told = Told()
            forward = line.handler

            async def noted(request: Request) -> Response:
                answer = await forward(request)
                if request.path.endswith("/sync") and b"m.room.message" in answer.body:
                    told.told_at = time.perf_counter()
                return answer

            line.handler = noted
            table = {"homeserver": line.url, "token": tawny.token, "to": room, "allow": [ann.id]}

            async def say(number: int) -> Told:
                await ann.say(room, f"hello {number}", transaction=f"bench-{number}")
                return told

            yield {"matrix": (table,)}, say


@asynccontextmanager
async def web(_: Path) -> AsyncIterator[tuple[dict, Say]]:
    """The web chat has no service of its own: `inbound_over` posts to the gateway."""
    yield {}, lambda _: None


@asynccontextmanager
async def typed(app: App) -> AsyncIterator[Say]:
    """Words typed into the web chat: a POST to the gateway, as the panel makes it."""
    async with open_gateway(app) as gateway, gateway.serving(server.listen("127.0.0.1", 0)) as address:
        headers = {"authorization": f"Bearer {owner_token(app.home.token_file)}"}
        async with httpx.AsyncClient(base_url=address, headers=headers, trust_env=False) as client:

            async def say(number: int) -> None:
                answer = await client.post("/v1/sessions/main/messages", json={"text": f"hello {number}"})
                answer.raise_for_status()

            yield say


async def inbound_over(service, folder: Path, count: int) -> dict[str, float]:
    """From the service's having the words until they stand in the session, each alone."""
    waits, ours = [], []
    async with AsyncExitStack() as stack:
        tables, say = await stack.enter_async_context(service(folder))
        for entries in tables.values():
            for table in entries:
                for name in ("token", "app_token", "imap_password"):
                    if name in table:
                        (folder / name).write_text(table[name])
                        table[name] = f"file:{folder / name}"
        home = Home(folder / "home")
        home.prepare()
        app = await stack.enter_async_context(open_app(home, Config(channels=tables)))
        if service is web:
            say = await stack.enter_async_context(typed(app))
        bell = app.ledger.bell.subscribe("events")
        seq = 0

        async def until_received() -> None:
            nonlocal seq
            while True:
                bell.clear()
                for event in await app.ledger.read(lambda tx, seq=seq: events.after(tx, seq, limit=5000)):
                    seq = event.seq
                    if event.type == "message.received":
                        return
                await bell.wait()

        if service is matrix:
            # What was said before the first sync is history.
            async with asyncio.timeout(60):
                while await app.ledger.read(lambda tx: channels.recall(tx, "matrix", "since")) is None:
                    await asyncio.sleep(0.05)
        for number in range(count + 1):
            started = time.perf_counter()
            told = say(number)
            told = await told if asyncio.iscoroutine(told) else told
            async with asyncio.timeout(60):
                await until_received()
            # The first one waits for the login.
            now = time.perf_counter()
            waits += [(now - started) * 1000] if number else []
            ours += [(now - told.told_at) * 1000] if number and isinstance(told, Told) else []
            await asyncio.sleep(0.2)
    waits.sort()
    figures = {"p50_ms": statistics.median(waits), "p95_ms": waits[int(len(waits) * 0.95)], "samples": count}
    if ours:
        figures["after_the_server_told_p50_ms"] = statistics.median(ours)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deliveries", type=int, default=1000)
    parser.add_argument("--inbound", type=int, default=50, help="messages over each service")
    parser.add_argument("--save", action="store_true")
    args = parser.parse_args()
    figures: dict[str, object] = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    with tempfile.TemporaryDirectory() as folder:
        for name in ("latency", "throughput", "one_conversation", "inbound"):
            (Path(folder) / name).mkdir()
        root = Path(folder)
        figures["commit_to_send"] = asyncio.run(latency(root / "latency", 300))
        figures["throughput"] = asyncio.run(throughput(root / "throughput", args.deliveries, 20))
        figures["one_conversation"] = asyncio.run(throughput(root / "one_conversation", args.deliveries, 1))
        figures["inbound_at_the_door"] = asyncio.run(inbound(root / "inbound", 300))
        services = [telegram, slack, discord, web, matrix] + ([email] if servers.has_dovecot() else [])
        for service in services:
            place = root / service.__name__
            place.mkdir()
            figures[f"inbound_to_session_{service.__name__}"] = asyncio.run(
                inbound_over(service, place, args.inbound)
            )
    print(json.dumps(figures, indent=1))
    if args.save:
        results = Path(__file__).parent / "results"
        results.mkdir(exist_ok=True)
        (results / "delivery.json").write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
