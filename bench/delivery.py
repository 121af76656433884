"""How fast results leave: commit → send, 1,000 deliveries in order, inbound → handed over; on SQLite, synchronous=FULL.

    python bench/delivery.py [--deliveries 1000] [--save]

The sink is a real HTTP server on loopback that gets signed webhooks. Every figure is of this run on this machine;
`--save` writes them to bench/results/delivery.json.
"""

import argparse
import asyncio
import json
import platform
import statistics
import tempfile
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx

from tawny.channels.webhook import WebhookChannel
from tawny.clock import SystemClock
from tawny.delivery.channel import ChatSettings
from tawny.delivery.dispatcher import Dispatcher
from tawny.delivery.door import Door
from tawny.delivery.host import Host
from tawny.delivery.roster import Roster
from tawny.domain.messages import Inbound, Outgoing
from tawny.ledger import outbox
from tawny.ledger.database import Ledger
from tawny.ledger.migrations import migrate
from tawny.ledger.sqlite import SqliteStore
from tawny.testing import MemoryChannel


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deliveries", type=int, default=1000)
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
        figures["inbound_to_session"] = asyncio.run(inbound(root / "inbound", 300))
    print(json.dumps(figures, indent=1))
    if args.save:
        results = Path(__file__).parent / "results"
        results.mkdir(exist_ok=True)
        (results / "delivery.json").write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
