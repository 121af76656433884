"""Figures of the scheduler: lateness, adding, idling, many at once, and a simulated year.

Writes bench/results/automations.json; what `--only` leaves out stays as it was. The work is a task that does nothing.

Run: python bench/automations.py [--days 365] [--only lateness,add,idle,crowd,year]
"""

import argparse
import asyncio
import json
import platform
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from tawny.app import App, open_app
from tawny.clock import DAY, SECOND
from tawny.config import Config, Home, Limits
from tawny.engine import automations as orders
from tawny.engine.kinds import Context, Kind
from tawny.ledger import automations, occurrences, tasks
from tawny.testing import FakeClock


class Nothing(msgspec.Struct, frozen=True):
    n: int = 0


async def _nothing(_: Context, __: Nothing) -> str:
    return "done"


KINDS = {"nothing": Kind(name="nothing", params=Nothing, run=_nothing)}
CONFIG = Config(limits=Limits(concurrency=64, max_running_per_owner=64))


def home() -> Home:
    made = Home(Path(tempfile.mkdtemp(prefix="tawny-bench-")))
    made.prepare()
    return made


def document(name: str, schedule: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "schedule": schedule, "action": {"type": "nothing"}, "policy": {"notify": "silent"}}


async def add(app: App, given: dict[str, Any]) -> automations.Automation:
    return await app.ledger.write(lambda tx: orders.add(tx, given, kinds=app.kinds, timezone="UTC"))


async def ended(app: App, count: int) -> None:
    changed = app.ledger.bell.subscribe("ended")
    while await app.ledger.read(lambda tx: tasks.counts(tx).get("succeeded", 0)) < count:
        await changed.wait()
        changed.clear()


async def lateness() -> dict[str, float]:
    async with open_app(home(), CONFIG, kinds=KINDS) as app:
        now = app.clock.now()
        due = {}
        for n in range(20):
            at = now + 2 * SECOND + n * 150_000
            text = datetime.fromtimestamp(at / SECOND, UTC).isoformat()
            made = await add(app, document(f"one {n}", {"type": "at", "time": text}))
            assert made.due_at is not None
            due[made.automation_id] = made.due_at
        await ended(app, 20)
        page = await app.ledger.read(lambda tx: tasks.page(tx, limit=50))
        late = sorted((task.started_at - due[task.automation_id]) / 1000 for task in page.items)
    return {
        "n": 20,
        "least_ms": late[0],
        "p50_ms": statistics.median(late),
        "p95_ms": late[18],
        "most_ms": late[-1],
    }


def fill(app: App, count: int) -> None:
    """Store many that are not due for a year, without going through the door each time."""
    far = app.clock.now() + 365 * DAY

    def many(tx: Any) -> None:
        made = orders.add(
            tx, document("seed", {"type": "every", "interval": "400d"}), kinds=app.kinds, timezone="UTC"
        )
        row = dict(tx.one("SELECT * FROM automations WHERE automation_id = :id", id=made.automation_id))
        names = list(row)
        sql = f"INSERT INTO automations ({', '.join(names)}) VALUES ({', '.join(':' + n for n in names)})"
        tx.execute_many(
            sql,
            (
                {**row, "automation_id": f"auto_{n:026d}", "name": f"S{n}", "due_at": far + n}
                for n in range(count)
            ),
        )

    return app.ledger.post(many)


async def adding(stored: int) -> dict[str, float]:
    async with open_app(home(), CONFIG, kinds=KINDS) as app:
        await fill(app, stored)
        took = []
        for n in range(200):
            given = document(
                f"new {n}", {"type": "cron", "expression": "0 8 * * 1-5", "timezone": "Europe/Berlin"}
            )
            began = time.perf_counter()
            await add(app, given)
            took.append((time.perf_counter() - began) * 1000)
    took.sort()
    return {"stored": stored, "p50_ms": statistics.median(took), "p95_ms": took[189]}


async def idle(stored: int, seconds: float) -> dict[str, float]:
    async with open_app(home(), CONFIG, kinds=KINDS) as app:
        await fill(app, stored)
        await asyncio.sleep(3)
        commits, began = app.ledger.commits, time.process_time()
        await asyncio.sleep(seconds)
        spent = time.process_time() - began
        commits = app.ledger.commits - commits
    return {"stored": stored, "cpu_seconds_a_minute": spent / seconds * 60, "commits": commits}


async def crowd() -> dict[str, float]:
    async with open_app(home(), CONFIG, kinds=KINDS) as app:
        at = datetime.fromtimestamp(app.clock.now() // SECOND + 6, UTC)
        for n in range(200):
            await add(app, document(f"c {n}", {"type": "at", "time": at.isoformat()}))
        await app.clock.sleep_until(int(at.timestamp()) * SECOND)
        began = time.perf_counter()
        await ended(app, 200)
        took = time.perf_counter() - began
    return {"n": 200, "seconds": took, "a_second": 200 / took}


def _barrier(_: Any) -> None:
    """Ends when all that was written and read before it has ended."""


async def quiet(app: App) -> None:
    calm, ledger = 0, app.ledger
    while calm < 3:
        before = ledger.commits
        await ledger.write(_barrier)
        await asyncio.gather(ledger.read(_barrier), ledger.read(_barrier))
        for _ in range(12):
            await asyncio.sleep(0)
        calm = calm + 1 if ledger.commits == before + 1 else 0


async def year(days: int) -> dict[str, Any]:
    clock = FakeClock("2026-01-01T00:00:00Z")
    began = time.perf_counter()
    async with open_app(home(), CONFIG, clock=clock, kinds=KINDS) as app:
        made = [
            await add(
                app,
                document(f"y {n}", {"type": "cron", "expression": f"{n} {n % 24} * * *", "timezone": "UTC"}),
            )
            for n in range(50)
        ]
        target, sizes = clock.now() + days * DAY, []
        checkpoint = clock.now()
        missed = doubled = total = 0
        while (due := clock.next_due()) is not None and due <= target:
            clock.set(max(due, clock.now()))
            await quiet(app)
            if clock.now() >= checkpoint + 30 * DAY:
                checkpoint += 30 * DAY
                sizes.append(await app.ledger.read(_rows))
        clock.set(target)
        await quiet(app)
        for automation in made:
            page = await app.ledger.read(
                lambda tx, a=automation: occurrences.page(tx, a.automation_id, limit=500)
            )
            kept = [o for o in page.items if o.slot > target - 25 * DAY]
            total += len(page.items)
            missed += 25 - len({o.slot // DAY for o in kept}) if days >= 25 else 0
            doubled += len(kept) - len({o.slot for o in kept})
            missed += sum(o.status == "missed" or o.outcome != "succeeded" for o in page.items)
        ran = await app.ledger.read(
            lambda tx: tx.value("SELECT COUNT(*) AS n FROM events WHERE type = 'automation.ran'")
        )
    return {
        "days": days, "automations": 50, "ran_in_event_log": ran, "occurrences_kept": total, "missed": missed,
        "doubled": doubled, "rows_by_month": sizes, "wall_seconds": time.perf_counter() - began,
    }  # fmt: skip


def _rows(tx: Any) -> dict[str, int]:
    return {
        t: tx.value(f"SELECT COUNT(*) AS n FROM {t}") for t in ("tasks", "occurrences", "events", "audit")
    }


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--idle-seconds", type=float, default=30)
    parser.add_argument("--only", default="lateness,add,idle,crowd,year")
    args = parser.parse_args()
    wanted, figures = args.only.split(","), dict[str, Any]()
    if "lateness" in wanted:
        figures["one_shot_lateness"] = await lateness()
    if "add" in wanted:
        figures["add"] = [await adding(10_000), await adding(100_000)]
    if "idle" in wanted:
        figures["idle"] = await idle(10_000, args.idle_seconds)
    if "crowd" in wanted:
        figures["due_at_once"] = await crowd()
    if "year" in wanted:
        figures["year"] = await year(args.days)
    out = Path(__file__).parent / "results" / "automations.json"
    before = json.loads(out.read_text()) if out.exists() else {}
    result = {
        **before,
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"processor": platform.machine(), "cpus": 2, "python": sys.version.split()[0],
                    "system": platform.platform()},
        **figures,
    }  # fmt: skip
    out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    asyncio.run(main())
