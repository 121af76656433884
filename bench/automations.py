"""Figures of the scheduler: lateness, adding, idling, 200 agent turns at once, and a simulated year.

Writes bench/results/automations.json; what `--only` leaves out stays as it was. Besides the turns, the work is a task
that does nothing. The audit trail is a chain that is kept whole: of all tables it alone grows over the year.

Run: python bench/automations.py [--days 365] [--only lateness,add,idle,crowd,year] [--save]
"""

import argparse
import asyncio
import contextlib
import json
import platform
import resource
import statistics
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from tawny.app import App, open_app
from tawny.clock import DAY, HOUR, MINUTE, SECOND
from tawny.config import Config, Home, Limits, Model
from tawny.domain.tasks import Submission
from tawny.engine import automations as orders
from tawny.engine.kinds import Context, Kind
from tawny.ledger import automations, tasks
from tawny.ledger.submission import submit
from tawny.testing import FakeClock, ScriptedModel


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


async def fill(app: App, count: int) -> None:
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

    await app.ledger.write(many)


async def adding(stored: int) -> dict[str, float]:
    async with open_app(home(), CONFIG, kinds=KINDS) as app:
        await fill(app, stored)
        took, inside = [], []
        for n in range(200):
            given = document(
                f"new {n}", {"type": "cron", "expression": "0 8 * * 1-5", "timezone": "Europe/Berlin"}
            )
            began = time.perf_counter()
            await add(app, given)
            took.append((time.perf_counter() - began) * 1000)
            inside.append(await app.ledger.write(lambda tx, g=given: _adding_cpu(tx, g, app)))
    took.sort()
    return {
        "stored": stored, "p50_ms": statistics.median(took), "p95_ms": took[189],
        "cpu_in_transaction_ms": statistics.median(inside),
    }  # fmt: skip


def _adding_cpu(tx: Any, given: dict[str, Any], app: App) -> float:
    began = time.thread_time()
    orders.add(tx, given, kinds=app.kinds, timezone="UTC")
    return (time.thread_time() - began) * 1000


async def idle(stored: int, seconds: float) -> dict[str, float]:
    async with open_app(home(), CONFIG, kinds=KINDS) as app:
        await fill(app, stored)
        await asyncio.sleep(3)
        commits, began = app.ledger.commits, time.process_time()
        await asyncio.sleep(seconds)
        spent = time.process_time() - began
        commits = app.ledger.commits - commits
    return {"stored": stored, "cpu_seconds_a_minute": spent / seconds * 60, "commits": commits}


async def crowd(turns: int = 200) -> dict[str, Any]:
    """All due at the same second: agent turns through the whole agent, with a model that answers at once."""
    model = ScriptedModel([f"done {n}" for n in range(turns + 1)])
    config = msgspec.structs.replace(CONFIG, model=Model(name="scripted"))
    async with open_app(home(), config, kinds=KINDS, model=model) as app:
        # the agent is loaded when the first turn comes; a gateway has had that behind it for long
        first = Submission(kind="agent_turn", params={"message": "Hello"})
        await app.ledger.write(lambda tx: submit(tx, first))
        await ended(app, 1)
        at = datetime.fromtimestamp(app.clock.now() // SECOND + 6, UTC)
        for n in range(turns):
            action = {"type": "agent_turn", "parameters": {"message": f"Say done, {n}"}}
            given = {**document(f"c {n}", {"type": "at", "time": at.isoformat()}), "action": action}
            await add(app, given)
        await app.clock.sleep_until(int(at.timestamp()) * SECOND)
        began, cpu = time.perf_counter(), time.process_time()
        await ended(app, turns + 1)
        took, spent = time.perf_counter() - began, time.process_time() - cpu
        assert len(model.asked) == turns + 1
    return {
        "kind": "agent_turn", "n": turns, "seconds": took, "a_second": turns / took,
        "cpu_ms_a_turn": spent / turns * 1000,
    }  # fmt: skip


def _is_busy(tx: Any) -> bool:
    """Whether anything that is due now, or was started, is not through."""
    due = automations.next_due(tx)
    return bool(due is not None and due <= tx.now) or bool(
        tx.value("SELECT COUNT(*) AS n FROM occurrences WHERE task_id IS NOT NULL AND outcome IS NULL")
    )


async def through(app: App, changed: asyncio.Event) -> None:
    while await app.ledger.read(_is_busy):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.01):
                await changed.wait()
        changed.clear()


async def year(days: int) -> dict[str, Any]:
    """From slot to slot; what ran is counted by the work itself, and compared with an arithmetic of its own."""
    clock, ran = FakeClock("2026-01-01T00:00:00Z"), Counter[tuple[str, int]]()

    async def note(context: Context, _: Nothing) -> str:
        assert context.task.automation_id is not None
        ran[context.task.automation_id, clock.now()] += 1
        return "done"

    kinds = {"nothing": Kind(name="nothing", params=Nothing, run=note)}
    began, wanted = time.perf_counter(), set[tuple[str, int]]()
    async with open_app(home(), CONFIG, clock=clock, kinds=kinds) as app:
        start, changed = clock.now(), app.ledger.bell.subscribe("ended")
        for n in range(50):
            cron = f"{n} {n % 24} * * *"
            made = await add(app, document(f"y {n}", {"type": "cron", "expression": cron, "timezone": "UTC"}))
            first = start + (n % 24) * HOUR + n * MINUTE
            first += DAY if first <= start else 0
            wanted |= {(made.automation_id, first + day * DAY) for day in range(days)}
        months: list[dict[str, Any]] = []
        for slot in sorted({at for _, at in wanted}):
            clock.pass_to(slot)
            await through(app, changed)
            if slot - start >= (len(months) + 1) * 30 * DAY:
                await app.housekeeping.round()
                months.append({**await app.ledger.read(_rows), "rss_mb": _rss_mb()})
        states = await app.ledger.read(
            lambda tx: tx.all(
                "SELECT status, outcome, COUNT(*) AS n FROM occurrences GROUP BY status, outcome"
            )
        )
    return {
        "simulated_days": days, "automations": 50, "wanted": len(wanted), "ran": sum(ran.values()),
        "missed": len(wanted - ran.keys()), "doubled": sum(n - 1 for n in ran.values()),
        "unwanted": len(ran.keys() - wanted), "occurrences_kept": [dict(row) for row in states],
        "by_month": months, "growth": _growth(months), "wall_seconds": time.perf_counter() - began,
    }  # fmt: skip


def _growth(months: list[dict[str, Any]]) -> dict[str, float] | None:
    """What the last month has more of than the third: by then each table holds what is kept of a month (30 days)."""
    if len(months) < 4:
        return None
    settled, last = months[2], months[-1]
    rows = {name: last[name] / settled[name] for name in ("tasks", "occurrences", "events")}
    return {
        "months": len(months) - 3,
        "most_rows_ratio": max(rows.values()),
        "rss_mb": last["rss_mb"] - settled["rss_mb"],
        "audit_rows_a_slot": (last["audit"] - settled["audit"]) / (50 * 30 * (len(months) - 3)),
    }


def _rss_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * resource.getpagesize() / 1e6, 1)


def _rows(tx: Any) -> dict[str, int]:
    return {
        t: tx.value(f"SELECT COUNT(*) AS n FROM {t}") for t in ("tasks", "occurrences", "events", "audit")
    }


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--idle-seconds", type=float, default=30)
    parser.add_argument("--only", default="lateness,add,idle,crowd,year")
    parser.add_argument("--save", action="store_true", help="write bench/results/automations.json")
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
    if args.save:
        out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    asyncio.run(main())
