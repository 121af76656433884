"""How fast the engine is: no-op tasks a second, enqueue → start, how long the loop is held; on both databases.

    python bench/engine.py [--tasks 5000] [--save]

Every figure is of this run on this machine; `--save` writes them to bench/results/engine.json.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from databases import SQLITE, Fresh, databases

from tawny.app import open_app
from tawny.config import Config, Home, Ledger, Limits
from tawny.domain.tasks import Submission
from tawny.ledger import tasks
from tawny.ledger.submission import submit


async def throughput(home: Home, count: int, steps: int, config: Config) -> dict[str, float]:
    async with open_app(home, config) as app:
        params = {"steps": steps, "step_seconds": 0}
        lags: list[float] = []
        watching = asyncio.create_task(watch_loop(lags))
        started, spent = time.perf_counter(), time.process_time()
        ids = await asyncio.gather(
            *(
                app.ledger.write(lambda tx: submit(tx, Submission(kind="simulate", params=params)).task_id)
                for _ in range(count)
            )
        )
        enqueued = time.perf_counter()
        await all_done(app, count)
        ended, spent = time.perf_counter(), time.process_time() - spent
        watching.cancel()
        lags.sort()
        first, last = await asyncio.gather(
            *(app.ledger.read(lambda tx, i=i: tasks.get(tx, i)) for i in (ids[0], ids[-1]))
        )
        assert first.status == last.status == "succeeded"
        return {
            "tasks_per_second": count / (ended - started),
            "enqueued_per_second": count / (enqueued - started),
            "commits": app.ledger.commits,
            "cpu_us_per_task": spent / count * 1e6,
            "loop_lag_p50_ms": statistics.median(lags),
            "loop_lag_p99_ms": lags[int(len(lags) * 0.99)],
            "loop_lag_max_ms": lags[-1],
        }


async def watch_loop(lags: list[float]) -> None:
    """How much later than asked the loop comes back, every 5 ms: what anything else on it has to wait."""
    while True:
        asked = time.perf_counter()
        await asyncio.sleep(0.005)
        lags.append((time.perf_counter() - asked - 0.005) * 1000)


async def all_done(app, count: int) -> None:
    """Wait without weighing upon what is measured: to count all tasks every time would be a twentieth of the work."""
    changed = app.ledger.bell.subscribe("ended")
    active = f"SELECT 1 AS one FROM tasks WHERE status IN {tasks.ACTIVE} LIMIT 1"
    while await app.ledger.read(lambda tx: tx.one(active)) is not None:
        await changed.wait()
        changed.clear()
        await asyncio.sleep(0.01)
    assert (await app.ledger.read(tasks.counts))["succeeded"] == count


async def latency(home: Home, count: int, config: Config) -> dict[str, float]:
    """Enqueue → start, one at a time, as the ledger's own times tell."""
    waits = []
    async with open_app(home, config) as app:
        for _ in range(count):
            task = await app.ledger.write(
                lambda tx: submit(tx, Submission(kind="simulate", params={"steps": 0, "step_seconds": 0}))
            )
            changed = app.ledger.bell.subscribe("ended")
            while not (
                now := await app.ledger.read(lambda tx, i=task.task_id: tasks.get(tx, i))
            ).status.is_terminal:
                await changed.wait()
                changed.clear()
            app.ledger.bell.unsubscribe(changed)
            waits.append((now.started_at - now.created_at) / 1000)
    return {
        "enqueue_to_start_p50_ms": statistics.median(waits),
        "enqueue_to_start_p95_ms": sorted(waits)[int(count * 0.95)],
    }


def on(fresh: Fresh, config: Config, count: int) -> dict[str, object]:
    """All figures on one database, each on fresh tables."""
    parts = {
        "no-op": lambda home, config: throughput(home, count, 0, config),
        "one step each": lambda home, config: throughput(home, count, 1, config),
        "latency": lambda home, config: latency(home, 300, config),
    }
    figures: dict[str, object] = {}
    for name, part in parts.items():
        with tempfile.TemporaryDirectory() as folder, fresh() as url:
            placed = msgspec.structs.replace(config, ledger=Ledger(url=url))
            figures[name] = asyncio.run(part(Home(Path(folder) / "home"), placed))
    return figures


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tasks", type=int, default=5000)
    parser.add_argument("--save", action="store_true")
    args = parser.parse_args()
    config = Config(limits=Limits(concurrency=64, max_running_per_owner=64, max_queued_per_owner=10**9))
    figures: dict[str, object] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "date": datetime.now(UTC).date().isoformat(),
        "load_at_start": os.getloadavg()[0],
        "database": SQLITE,
    }
    with databases() as both:
        for name, fresh in both.items():
            found = on(fresh, config, args.tasks)
            # SQLite's stand at the top, as they do since there was no other; the other's under its name.
            figures |= found if name == SQLITE else {name: found}
    print(json.dumps(figures, indent=2))
    if args.save:
        Path("bench/results/engine.json").write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
