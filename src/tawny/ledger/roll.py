"""Who works on a shared ledger: the roll that Procrastinate keeps, and what each on it runs."""

from collections.abc import Mapping
from typing import Any

import msgspec

from tawny.clock import Instant, iso
from tawny.ledger.database import Tx

PRESENCE = "tawny.presence"
"""The job that is `doing` as long as a process lives; its arguments are the facts about the process."""
STALL = 10.0
"""Seconds of silence after which a process is taken for gone."""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What a process says of itself as it comes on the roll. No `kinds` are all; `places` is how many tasks at once."""

    worker: str
    host: str = ""
    leads: bool = False
    kinds: list[str] = []
    places: int = 0


class Running(msgspec.Struct, frozen=True):
    task_id: str
    kind: str
    title: str
    since: str


class Worker(msgspec.Struct, frozen=True, kw_only=True):
    """A process on the roll. `alive` is whether it was heard of within `STALL`, by the database's clock."""

    worker: str
    host: str
    role: str
    kinds: list[str]
    places: int
    last_heartbeat: str | None
    alive: bool
    running: list[Running]


def workers(tx: Tx) -> list[Worker] | None:
    """Everybody on the roll, the gateway first; `None` on a ledger that one process has to itself."""
    if tx.dialect != "postgresql":
        return None
    if tx.value("SELECT to_regclass('procrastinate_workers') AS made") is None:
        return []
    rows = tx.all(
        "SELECT j.args AS facts, CAST(EXTRACT(EPOCH FROM w.last_heartbeat) * 1000000 AS BIGINT) AS heard,"
        " CAST(EXTRACT(EPOCH FROM clock_timestamp() - w.last_heartbeat) AS DOUBLE PRECISION) AS silent"
        " FROM procrastinate_jobs j LEFT JOIN procrastinate_workers w ON w.id = j.worker_id"
        " WHERE j.task_name = :presence AND j.status = 'doing'",
        presence=PRESENCE,
    )
    runs = _running(tx)
    found = [_worker(row, runs) for row in rows]
    return sorted(found, key=lambda worker: (worker.role, worker.host, worker.worker))


def _worker(row: Mapping[str, Any], runs: dict[str, list[Running]]) -> Worker:
    facts = msgspec.convert(row["facts"], Facts)
    heard: Instant | None = row["heard"]
    return Worker(
        worker=facts.worker,
        host=facts.host,
        role="gateway" if facts.leads else "worker",
        kinds=facts.kinds,
        places=facts.places,
        last_heartbeat=None if heard is None else iso(heard),
        alive=row["silent"] is not None and row["silent"] < STALL,
        running=runs.get(facts.worker, []),
    )


def _running(tx: Tx) -> dict[str, list[Running]]:
    rows = tx.all(
        "SELECT task_id, kind, title, lease_owner, run_started_at FROM tasks"
        " WHERE status = 'running' AND lease_owner IS NOT NULL ORDER BY task_id"
    )
    runs: dict[str, list[Running]] = {}
    for row in rows:
        one = Running(row["task_id"], row["kind"], row["title"], iso(row["run_started_at"]))
        runs.setdefault(row["lease_owner"], []).append(one)
    return runs
