"""How fast the gateway is: requests, live events on many devices, the loop beside a tool that burns the processor.

    python bench/gateway.py [--devices 200] [--rate 500] [--seconds 6] [--save]

The gateway runs in a process of its own with the real engine and ledger; the devices are sockets of this one, so both
share the machine. Every figure is of this run on this machine; `--save` writes them to bench/results/gateway.json.
"""

import argparse
import asyncio
import json
import os
import platform
import re
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import psutil
from websockets.asyncio.client import connect

from tawny.app import open_app, open_gateway
from tawny.config import Config, Exec, Home, Limits
from tawny.gateway import server
from tawny.gateway.auth import owner_token
from tawny.ledger import events

SENT = re.compile(rb'"sent":(\d+)')


async def serve(root: Path) -> None:
    """The gateway; obeys `RATE SECONDS` (events) and `lag SECONDS` on stdin, answers in JSON lines."""
    home = Home(root)
    config = Config(limits=Limits(max_queued_per_owner=100_000), exec=Exec(mode="full"))
    async with (
        open_app(home, config) as app,
        open_gateway(app) as gateway,
        gateway.serving(server.listen("127.0.0.1", 0)) as address,
    ):
        print(json.dumps({"address": address, "token": owner_token(home.token_file)}), flush=True)
        lines = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(lines), sys.stdin
        )
        while line := (await lines.readline()).decode().split():
            if line[0] == "lag":
                print(json.dumps(await lag(float(line[1]))), flush=True)
            else:
                print(json.dumps(await emit(app.ledger, int(line[0]), float(line[1]))), flush=True)


async def emit(ledger, rate: int, seconds: float) -> dict[str, float]:
    """Append progress events at a steady rate, each in a transaction of its own."""
    count = int(rate * seconds)
    started = time.perf_counter()
    futures = []
    for n in range(count):
        due = started + n / rate
        if (wait := due - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        data = {"progress": {"current": n, "total": count}, "sent": time.time_ns()}
        futures.append(
            ledger.post(lambda tx, data=data: events.append(tx, "task.progress", data, task_id="task_x"))
        )
    await asyncio.gather(*futures)
    return {"events": count, "seconds": time.perf_counter() - started}


async def lag(seconds: float) -> dict[str, float]:
    """How late the loop is, asked every 5 ms."""
    late = []
    until = time.perf_counter() + seconds
    while (now := time.perf_counter()) < until:
        await asyncio.sleep(0.005)
        late.append((time.perf_counter() - now - 0.005) * 1000)
    return spread(late)


def spread(values: list[float]) -> dict[str, float]:
    """Milliseconds."""
    values = sorted(values)
    at = lambda share: round(values[min(len(values) - 1, int(len(values) * share))], 3)  # noqa: E731
    return {"p50": at(0.5), "p95": at(0.95), "p99": at(0.99), "max": at(1), "count": len(values)}


class Client:
    """One keep-alive connection, as thin as can be."""

    def __init__(self, address: str, token: str) -> None:
        self.host, self.port = address.removeprefix("http://").split(":")
        self.token = token

    async def open(self) -> "Client":
        self.reader, self.writer = await asyncio.open_connection(self.host, int(self.port), limit=2**22)
        return self

    def send(self, method: str, path: str, body: bytes = b"") -> None:
        self.writer.write(
            f"{method} {path} HTTP/1.1\r\nhost: {self.host}:{self.port}\r\nauthorization: Bearer {self.token}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode()
            + body
        )

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        self.send(method, path, body)
        head = await self.reader.readuntil(b"\r\n\r\n")
        size = int(re.search(rb"content-length: (\d+)", head)[1])
        return int(head[9:12]), await self.reader.readexactly(size)


async def device(client: Client, latencies: list[float], done: int) -> None:
    """Listen until `done` events have come."""
    client.send("GET", "/v1/stream")
    await client.reader.readuntil(b"connected")
    seen = 0
    tail = b""
    while seen < done:
        chunk = tail + await client.reader.read(2**20)
        now = time.time_ns()
        cut = chunk.rfind(b"\n\n")
        whole, tail = chunk[:cut], chunk[cut:]
        found = SENT.findall(whole)
        seen += len(found)
        latencies += [(now - int(sent)) / 1e6 for sent in found]


async def requests(client: Client, count: int, method: str, path: str, body: bytes = b"") -> dict[str, float]:
    times = []
    for _ in range(count):
        started = time.perf_counter()
        status, _ = await client.ask(method, path, body)
        times.append((time.perf_counter() - started) * 1000)
        assert status in (200, 202), status
    return spread(times)


async def calls(address: str, token: str, count: int, id: str) -> dict[str, float]:
    """One method of the WebSocket, again and again, each waiting for its answer."""
    times = []
    async with connect(address.replace("http", "ws", 1) + "/ws", compression=None) as socket:

        async def ask(method: str, **params: object) -> None:
            await socket.send(json.dumps({"type": "req", "id": "1", "method": method, "params": params}))
            while (answer := json.loads(await socket.recv()))["type"] != "res":
                pass
            assert answer["ok"], answer

        await socket.recv()
        await ask("connect", auth={"token": token})
        for n in range(100 + count):
            started = time.perf_counter()
            await ask("tasks.get", id=id)
            if n >= 100:
                times.append((time.perf_counter() - started) * 1000)
    return spread(times)


async def measure(args: argparse.Namespace) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        child = await asyncio.create_subprocess_exec(
            sys.executable, __file__, "--serve", folder,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        told = json.loads(await child.stdout.readline())

        async def order(text: str) -> dict[str, float]:
            child.stdin.write(text.encode() + b"\n")
            return json.loads(await child.stdout.readline())

        client = await Client(told["address"], told["token"]).open()
        later = json.dumps({"kind": "remind", "params": {"text": "x"}, "not_before": "1h"}).encode()
        _, made = await client.ask("POST", "/v1/tasks", later)
        id = json.loads(made)["task_id"]
        found: dict[str, object] = {}
        await requests(client, 100, "GET", f"/v1/tasks/{id}")
        found["GET /v1/tasks/{id}, ms"] = await requests(client, args.requests, "GET", f"/v1/tasks/{id}")
        found["POST /v1/tasks → 202, ms"] = await requests(client, args.requests, "POST", "/v1/tasks", later)
        found["GET /v1/tasks?limit=50, ms"] = await requests(client, 200, "GET", "/v1/tasks?limit=50")

        found["WebSocket tasks.get, ms"] = await calls(told["address"], told["token"], args.requests, id)

        wanted = int(args.rate * args.seconds)

        async def fan_out(devices: int) -> tuple[dict[str, float], float, float, float]:
            """Latencies, processor seconds of the gateway and of the devices, events a second."""
            latencies: list[float] = []
            before, own = psutil.Process(child.pid).cpu_times(), time.process_time()
            async with asyncio.TaskGroup() as group:
                for _ in range(devices):
                    one = await Client(told["address"], told["token"]).open()
                    group.create_task(device(one, latencies, wanted))
                await asyncio.sleep(0.5)
                emitted = await order(f"{args.rate} {args.seconds}")
            after = psutil.Process(child.pid).cpu_times()
            spent = after.user + after.system - before.user - before.system
            return spread(latencies), spent, time.process_time() - own, emitted["events"] / emitted["seconds"]

        _, alone, _, _ = await fan_out(1)
        told_late, spent, own, rate = await fan_out(args.devices)
        found[f"event → {args.devices} devices at {args.rate}/s, ms"] = told_late
        found["processor seconds of the gateway, of the devices"] = [round(spent, 2), round(own, 2)]
        found["processor seconds of the gateway with one device"] = round(alone, 2)
        found["processor µs an event and device"] = round(
            (spent - alone) / (wanted * max(1, args.devices - 1)) * 1e6, 2
        )
        found["events a second, as emitted"] = round(rate)

        found["loop lag at rest, ms"] = await order("lag 2")
        burn = "x = 0\nwhile True: x += 1"
        body = json.dumps(
            {"kind": "command", "params": {"argv": ["python3", "-c", burn]}, "timeout": "6s"}
        ).encode()
        for _ in range(2):
            await client.ask("POST", "/v1/tasks", body)
        await asyncio.sleep(1.5)
        _, listed = await client.ask("GET", "/v1/tasks?status=running")
        found["tools that burn the processor"] = len(json.loads(listed)["items"])
        found["loop lag beside them, ms"] = await order("lag 3")
        # Commands outlive a gateway that ends, and would burn on beside whatever is measured next.
        while json.loads((await client.ask("GET", "/v1/tasks?status=running"))[1])["items"]:
            await asyncio.sleep(0.2)
        child.stdin.close()
        await child.wait()
        return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--devices", type=int, default=200)
    parser.add_argument("--rate", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--save", action="store_true")
    parser.add_argument("--serve", type=Path)
    args = parser.parse_args()
    if args.serve:
        asyncio.run(serve(args.serve))
        return
    results = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "load_before": round(os.getloadavg()[0], 2),
        "niceness": os.nice(0),
        **asyncio.run(measure(args)),
    }
    print(json.dumps(results, indent=2, ensure_ascii=False))
    if args.save:
        folder = Path(__file__).parent / "results"
        folder.mkdir(exist_ok=True)
        (folder / "gateway.json").write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
