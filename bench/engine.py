"""How fast the engine is: no-op tasks a second, enqueue → start, on SQLite with synchronous=FULL.

    python bench/engine.py [--tasks 5000] [--save]

Every figure is of this run on this machine; `--save` writes them to bench/results/engine.json.
"""

import argparse
import asyncio
import json
import platform
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from tawny.app import open_app
from tawny.config import Config, Home, Limits
from tawny.domain.tasks import Submission
from tawny.ledger import tasks
from tawny.ledger.submission import submit


async def throughput(home: Home, count: int, steps: int, config: Config) -> dict[str, float]:
    async with open_app(home, config) as app:
        params = {"steps": steps, "step_seconds": 0}
        started = time.perf_counter()
        ids = await asyncio.gather(
            *(
                app.ledger.write(lambda tx: submit(tx, Submission(kind="simulate", params=params)).task_id)
                for _ in range(count)
            )
        )
        enqueued = time.perf_counter()
        await all_done(app, count)
        ended = time.perf_counter()
        first, last = await asyncio.gather(
            *(app.ledger.read(lambda tx, i=i: tasks.get(tx, i)) for i in (ids[0], ids[-1]))
        )
        assert first.status == last.status == "succeeded"
        return {
            "tasks_per_second": count / (ended - started),
            "enqueued_per_second": count / (enqueued - started),
            "commits": app.ledger.commits,
        }


async def all_done(app, count: int) -> None:
    changed = app.ledger.bell.subscribe("ended")
    while (await app.ledger.read(tasks.counts)).get("succeeded", 0) < count:
        await changed.wait()
        changed.clear()
        await asyncio.sleep(0.01)


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


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tasks", type=int, default=5000)
    parser.add_argument("--save", action="store_true")
    args = parser.parse_args()
    config = Config(limits=Limits(concurrency=64, max_running_per_owner=64, max_queued_per_owner=10**9))
    figures: dict[str, object] = {
        "machine": f"{platform.machine()}, {__import__('os').cpu_count()} cores, Python {platform.python_version()}",
        "date": datetime.now(UTC).date().isoformat(),
        "database": "SQLite WAL synchronous=FULL",
    }
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder) / "noop")
        figures["no-op"] = asyncio.run(throughput(home, args.tasks, 0, config))
        home = Home(Path(folder) / "one-step")
        figures["one step each"] = asyncio.run(throughput(home, args.tasks, 1, config))
        home = Home(Path(folder) / "latency")
        figures["latency"] = asyncio.run(latency(home, 300, config))
    print(json.dumps(figures, indent=2))
    if args.save:
        Path("bench/results/engine.json").write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
