"""What a team costs and brings: no-op tasks a second with 1, 2 and 4 workers, and how fast others take over.

    python bench/workers.py [--tasks 2000] [--save]

In one run: the local engine on SQLite, the teams on a PostgreSQL of their own (fsync on), Procrastinate's queue alone
on the same server, the time from a worker's SIGKILL to its task running elsewhere, and from a gateway's to a standby
that is ready.
"""

import argparse
import asyncio
import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import procrastinate

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
import servers
from tawny.app import open_app
from tawny.clock import SystemClock
from tawny.config import Config, Home, Limits
from tawny.domain.tasks import Submission
from tawny.engine.procrastinate import BEAT, STALL
from tawny.ledger import tasks
from tawny.ledger.database import Ledger, read_now, write_now
from tawny.ledger.postgres import PostgresStore
from tawny.ledger.submission import submit

PLACES = 32
CLOCK = SystemClock()
NO_OP = Submission(kind="simulate", params={"steps": 0, "step_seconds": 0})


async def local(home: Home, count: int) -> float:
    config = Config(limits=Limits(concurrency=PLACES, max_running_per_owner=PLACES, busy_load=0))
    async with open_app(home, config) as app:
        return await through(app.ledger, count)


async def through(ledger: Ledger, count: int) -> float:
    """Tasks a second from the first submission to the last end."""
    before = (await ledger.read(tasks.counts)).get("succeeded", 0)
    started = time.perf_counter()
    await asyncio.gather(*(ledger.write(lambda tx: submit(tx, NO_OP).task_id) for _ in range(count)))
    changed = ledger.bell.subscribe("ended")
    while (await ledger.read(tasks.counts)).get("succeeded", 0) < before + count:
        await changed.wait()
        changed.clear()
        await asyncio.sleep(0.02)
    return count / (time.perf_counter() - started)


def home_of(folder: Path, name: str, url: str) -> Path:
    root = folder / name
    root.mkdir(mode=0o700, exist_ok=True)
    (root / "config.toml").write_text(
        f'[ledger]\nurl = "{url}"\n[limits]\nconcurrency = {PLACES}\nmax_running_per_owner = {PLACES}\n'
        "busy_load = 0.0\n"
    )
    return root


@contextlib.contextmanager
def process(root: Path, *argv: str, wait: bool = True) -> Iterator[subprocess.Popen[str]]:
    run = subprocess.Popen(
        [sys.executable, "-m", "tawny", "--home", str(root), *argv], stdout=subprocess.PIPE, text=True
    )
    try:
        if wait:
            ready(run)
        yield run
    finally:
        if run.poll() is None:
            run.terminate()
            run.wait(60)


def ready(run: subprocess.Popen[str]) -> None:
    assert run.stdout is not None
    while not (line := run.stdout.readline()).startswith("ready"):
        assert line, "it ended at once"


def team(folder: Path, url: str, count: int, workers: int) -> float:
    async def measure() -> float:
        async with Ledger(PostgresStore(url), CLOCK) as ledger:
            await through(ledger, 50)
            return await through(ledger, count)

    with contextlib.ExitStack() as stack:
        for n in range(workers):
            stack.enter_context(process(home_of(folder, f"worker-{n}", url), "worker"))
        return asyncio.run(measure())


def queue_alone(url: str, count: int) -> float:
    """Procrastinate's own queue and worker, doing nothing a job."""
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=url, max_size=PLACES))

    @app.task(name="no-op")
    async def no_op() -> None:
        return None

    async def measure() -> float:
        async with app.open_async():
            started = time.perf_counter()
            for _ in range(count):
                await no_op.defer_async()
            await app.run_worker_async(
                wait=False, concurrency=PLACES, install_signal_handlers=False, listen_notify=False
            )
            return count / (time.perf_counter() - started)

    return asyncio.run(measure())


def take_over(folder: Path, url: str) -> float:
    """Seconds from the SIGKILL of a worker to its task running on another."""
    store = PostgresStore(url)
    slow = Submission(kind="simulate", params={"steps": 1, "step_seconds": 3600})

    def running_on(task_id: str) -> str:
        task = read_now(
            store, CLOCK, lambda tx: tx.one("SELECT * FROM tasks WHERE task_id = :id", id=task_id)
        )
        assert task is not None
        return str(task["lease_owner"] or "")

    with process(home_of(folder, "dies", url), "worker") as first:
        task_id = write_now(store, CLOCK, lambda tx: submit(tx, slow).task_id)
        while not (holder := running_on(task_id)):
            time.sleep(0.05)
        with process(home_of(folder, "lives", url), "worker"):
            time.sleep(STALL + 2 * BEAT)  # it must have been heard for a while before it may call others gone
            first.kill()
            first.wait()
            started = time.perf_counter()
            while running_on(task_id) in ("", holder):
                time.sleep(0.02)
            return time.perf_counter() - started


def lead(folder: Path, url: str) -> float:
    """Seconds from the SIGKILL of the gateway to a standby that is ready."""
    run = ("gateway", "run", "--port", "0")
    with (
        process(home_of(folder, "gateway", url), *run) as first,
        process(home_of(folder, "standby", url), *run, "--standby", wait=False) as second,
    ):
        assert second.stdout is not None
        second.stdout.readline()
        time.sleep(3)
        first.kill()
        first.wait()
        started = time.perf_counter()
        ready(second)
        return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tasks", type=int, default=2000)
    parser.add_argument("--save", action="store_true")
    args = parser.parse_args()
    figures: dict[str, object] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "date": datetime.now(UTC).date().isoformat(),
        "places a process": PLACES,
        "documented": {"heartbeat_s": BEAT, "silent_after_s": STALL},
    }
    with tempfile.TemporaryDirectory() as name, servers.postgres_server(durable=True) as server:
        folder = Path(name)
        rates = {"local engine, SQLite": asyncio.run(local(Home(folder / "local"), args.tasks))}
        for workers in (1, 2, 4):
            with servers.database(server.url) as url:
                with process(home_of(folder, "gateway", url), "gateway", "run", "--port", "0"):
                    pass  # makes the tables
                rates[f"{workers} workers, PostgreSQL"] = team(folder, url, args.tasks, workers)
        with servers.database(server.url) as url:
            with process(home_of(folder, "gateway", url), "gateway", "run", "--port", "0"):
                pass
            rates["Procrastinate's queue alone"] = queue_alone(url, args.tasks)
            figures["no-op tasks a second"] = rates
            figures["worker killed, its task runs elsewhere, s"] = take_over(folder, url)
            figures["gateway killed, standby ready, s"] = lead(folder, url)
    print(json.dumps(figures, indent=2))
    if args.save:
        Path("bench/results/workers.json").write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
