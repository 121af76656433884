"""How the engine stands up to size: restart with a full queue, cancel under a burst, a million finished rows; on both.

    python bench/scale.py [--rows 1000000] [--save]

Every figure is of this run on this machine; `--save` writes them to bench/results/scale.json.
"""

import argparse
import asyncio
import compileall
import http.client
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from databases import SQLITE, Fresh, databases

import tawny
from tawny.clock import SystemClock
from tawny.config import Config, Home, Ledger, Limits
from tawny.domain.tasks import Submission
from tawny.engine import commands
from tawny.ledger import queue, tasks
from tawny.ledger.database import Store, Tx, read_now, write_now
from tawny.ledger.migrations import migrate
from tawny.ledger.stores import open_store
from tawny.ledger.submission import submit


def start(home: Path) -> tuple[subprocess.Popen[str], str, float]:
    begun = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "tawny", "--home", str(home), "gateway", "run", "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    address = process.stdout.readline().split()[1]
    return process, address, time.perf_counter() - begun


def fresh(root: Path, url: str, config: str = "") -> tuple[Home, Store]:
    home = Home(root)
    home.prepare()
    home.config_file.write_text(config + (f'[ledger]\nurl = "{url}"\n' if url else ""))
    store = open_store(home, Config(ledger=Ledger(url=url)))
    migrate(store, SystemClock())
    return home, store


def restart(folder: Path, url: str) -> dict[str, float]:
    """10,000 queued and 50 running, killed: how long until it is ready, and until the first step after it."""
    limits = "[limits]\nconcurrency = 50\nmax_running_per_owner = 50\nmax_queued_per_owner = 1000000\nbusy_load = 0\n"
    home, store = fresh(folder / "restart", url, limits)

    def fill(tx: Tx) -> None:
        for _ in range(50):
            submit(tx, Submission(kind="simulate", params={"steps": 1000, "step_seconds": 0.5}, timeout=None))
        for _ in range(10_000):
            submit(tx, Submission(kind="simulate", params={"steps": 1, "step_seconds": 0}))

    write_now(store, SystemClock(), fill)
    process, _, _ = start(home.root)
    deadline = time.monotonic() + 30
    while read_now(store, SystemClock(), tasks.counts).get("running", 0) < 50 and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1.5)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = read_now(store, SystemClock(), lambda tx: tx.value("SELECT MAX(seq) FROM events"))
    begun = time.perf_counter()
    process, _, ready = start(home.root)
    resumed = None
    while resumed is None and time.perf_counter() - begun < 30:
        found = read_now(
            store,
            SystemClock(),
            lambda tx: tx.value(
                "SELECT COUNT(*) FROM events WHERE seq > :seq AND type = 'task.step_finished'", seq=before
            ),
        )
        if found:
            resumed = time.perf_counter() - begun
        time.sleep(0.01)
    process.kill()
    process.wait()
    return {"ready_s": ready, "first_step_after_s": resumed or -1}


async def cancels(folder: Path, url: str) -> dict[str, float]:
    """Cancel → cancelled, while a burst of 10,000 submissions comes in."""
    from tawny.app import open_app

    home = Home(folder / "cancel")
    config = Config(
        limits=Limits(concurrency=20, max_running_per_owner=20, max_queued_per_owner=10**9, busy_load=0),
        ledger=Ledger(url=url),
    )
    waits: list[float] = []
    async with open_app(home, config) as app:
        victims = [
            await app.ledger.write(
                lambda tx: (
                    submit(
                        tx,
                        Submission(kind="simulate", params={"steps": 10, "step_seconds": 60}, owner="victim"),
                    ).task_id
                )
            )
            for _ in range(20)
        ]
        while (await app.ledger.read(tasks.counts)).get("running", 0) < 20:
            await asyncio.sleep(0.01)
        burst = [
            app.ledger.post(
                lambda tx: submit(tx, Submission(kind="simulate", params={"steps": 0}, owner="flood")).task_id
            )
            for _ in range(10_000)
        ]
        for task_id in victims:
            changed = app.ledger.bell.subscribe("ended")
            begun = time.perf_counter()
            await app.ledger.write(lambda tx, i=task_id: commands.cancel(tx, i), urgent=True)
            while not (await app.ledger.read(lambda tx, i=task_id: tasks.get(tx, i))).status.is_terminal:
                await changed.wait()
                changed.clear()
            waits.append((time.perf_counter() - begun) * 1000)
            app.ledger.bell.unsubscribe(changed)
        await asyncio.gather(*burst)
    return {"cancel_p50_ms": statistics.median(waits), "cancel_p99_ms": max(waits)}


def million(folder: Path, url: str, rows: int) -> dict[str, float]:
    """Many finished rows: the newest fifty, the pending list, and a claim."""
    home, store = fresh(folder / "million", url)

    def seed(tx: Tx) -> None:
        task = submit(tx, Submission(kind="simulate", title="seed"))
        names = [
            name
            for name in tx.one("SELECT * FROM tasks LIMIT 1") or {}
            if name not in ("task_id", "status", "ended_at")
        ]
        columns = ", ".join(names)
        tx.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :rows)"
            f" INSERT INTO tasks (task_id, status, ended_at, {columns})"
            " SELECT 'task_0' || substr('0000000000000000000000000', 1, 25 - length(CAST(i AS TEXT)))"
            f" || CAST(i AS TEXT), 'succeeded', :now, {columns} FROM n, tasks"
            " WHERE tasks.task_id = :id",
            rows=rows,
            now=tx.now,
            id=task.task_id,
        )
        for _ in range(100):
            submit(tx, Submission(kind="simulate", params={"steps": 0}))

    write_now(store, SystemClock(), seed)
    clock = SystemClock()
    connection = store.connect()

    def timed(fn) -> float:
        times = []
        for _ in range(20):
            connection.begin()
            begun = time.perf_counter()
            fn(Tx(connection, clock.now()))
            times.append((time.perf_counter() - begun) * 1000)
            connection.rollback()
        return statistics.median(times)

    slots = queue.Slots(background=3, interactive=3, per_owner=3)
    figures = {
        "rows": rows,
        "newest_50_ms": timed(lambda tx: tasks.page(tx, limit=50)),
        "queued_list_ms": timed(lambda tx: tasks.page(tx, status="queued", limit=50)),
        "counts_ms": timed(tasks.counts),
        "claim_3_ms": timed(lambda tx: queue.claim(tx, slots, worker="w", lease_until=0)),
    }
    if not url:
        figures["megabytes"] = home.database.stat().st_size / 1e6
    connection.close()
    return figures


def over_http(folder: Path, url: str, connections: int = 1, count: int = 1500) -> dict[str, float]:
    """POST /v1/tasks, each connection one after the other: durable acknowledgements, and the work done."""
    limits = "[limits]\nconcurrency = 64\nmax_running_per_owner = 64\nmax_queued_per_owner = 1000000\nbusy_load = 0\n"
    home, _ = fresh(folder / "http", url, limits)
    process, address, ready = start(home.root)
    token = home.token_file.read_text().strip()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    begun, spent = time.perf_counter(), _cpu(process.pid)
    with ThreadPoolExecutor(connections) as pool:
        shares = [
            pool.submit(_posts, address.removeprefix("http://"), headers, count // connections)
            for _ in range(connections)
        ]
        times = sorted(one for share in shares for one in share.result())
    elapsed = time.perf_counter() - begun
    request = urllib.request.Request(f"{address}/v1/status", headers=headers)
    while json.load(urllib.request.urlopen(request))["counts"].get("succeeded", 0) < len(times):
        time.sleep(0.05)
    ended = time.perf_counter() - begun
    spent = _cpu(process.pid) - spent
    process.terminate()
    process.wait()
    return {
        "connections": connections,
        "gateway_ready_s": ready,
        "post_p50_ms": statistics.median(times),
        "post_p99_ms": times[int(len(times) * 0.99)],
        "posts_per_second": len(times) / elapsed,
        "done_per_second": len(times) / ended,
        "gateway_cpu_us_per_task": spent / len(times) * 1e6,
    }


def _posts(address: str, headers: dict[str, str], count: int) -> list[float]:
    """How long each took, in milliseconds."""
    connection = http.client.HTTPConnection(address)
    body = json.dumps({"kind": "simulate", "params": {"steps": 0}})
    times: list[float] = []
    for _ in range(count):
        begun = time.perf_counter()
        connection.request("POST", "/v1/tasks", body, headers)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 202, answer.status
        times.append((time.perf_counter() - begun) * 1000)
    return times


def idle(folder: Path, url: str, seconds: int = 30) -> dict[str, float]:
    """A resting gateway: memory, processor time and commits."""
    home, store = fresh(folder / "idle", url)
    process, _, ready = start(home.root)
    time.sleep(3)
    before = _cpu(process.pid)
    seq = read_now(
        store, SystemClock(), lambda tx: tx.value("SELECT value FROM counters WHERE name = 'event'")
    )
    wal = home.database.with_name("state.db-wal")
    written = wal.stat().st_size if wal.exists() else 0
    time.sleep(seconds)
    figures = {
        "ready_s": ready,
        "rss_mb": _rss(process.pid),
        "cpu_s_per_minute": (_cpu(process.pid) - before) * 60 / seconds,
        "events_written": read_now(
            store, SystemClock(), lambda tx: tx.value("SELECT value FROM counters WHERE name = 'event'")
        )
        - seq,
    }
    if not url:
        figures["wal_bytes_written"] = wal.stat().st_size - written
    process.terminate()
    process.wait()
    return figures


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _rss(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return -1


def command_line(folder: Path) -> dict[str, float]:
    """Wall seconds of whole commands, gateway stopped, median of seven."""
    home, _ = fresh(folder / "cli", "")
    figures = {}
    for name, argv in {"version": ["version"], "tasks list": ["tasks", "list"], "status": ["status"]}.items():
        times = []
        for _ in range(7):
            begun = time.perf_counter()
            subprocess.run(
                [sys.executable, "-m", "tawny", "--home", str(home.root), *argv],
                check=True,
                capture_output=True,
            )
            times.append(time.perf_counter() - begun)
        figures[name] = statistics.median(times)
    return figures


def on(made: Fresh, rows: int) -> dict[str, object]:
    """All figures on one database, each on fresh tables."""
    parts = {
        "idle": idle,
        "over HTTP": over_http,
        "over HTTP, 8 connections": lambda folder, url: over_http(folder, url, 8, 4000),
        "over HTTP, 32 connections": lambda folder, url: over_http(folder, url, 32, 6400),
        "restart with 10,000 queued and 50 running": restart,
        "cancel under a burst of 10,000": lambda folder, url: asyncio.run(cancels(folder, url)),
        "many finished rows": lambda folder, url: million(folder, url, rows),
    }
    figures: dict[str, object] = {}
    for name, part in parts.items():
        with tempfile.TemporaryDirectory() as folder, made() as url:
            figures[name] = part(Path(folder), url)
    return figures


def main() -> None:
    # As on a user's machine: compiled once, not at every start.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    compileall.compile_dir(Path(tawny.__file__).parent, quiet=1)
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--save", action="store_true")
    args = parser.parse_args()
    figures: dict[str, object] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "date": datetime.now(UTC).date().isoformat(),
        "load_at_start": os.getloadavg()[0],
        "database": SQLITE,
    }
    with tempfile.TemporaryDirectory() as name:
        figures["command line, seconds"] = command_line(Path(name))
    with databases() as both:
        for database, made in both.items():
            found = on(made, args.rows)
            # SQLite's stand at the top, as they do since there was no other; the other's under its name.
            figures |= found if database == SQLITE else {database: found}
    print(json.dumps(figures, indent=2))
    if args.save:
        Path("bench/results/scale.json").write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
