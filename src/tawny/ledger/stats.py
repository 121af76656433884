"""Figures about ended work: success rate, run time and queue wait, by kind."""

from collections import defaultdict
from typing import Any

import msgspec

from tawny.clock import DAY, SECOND, Instant
from tawny.ledger.database import Row, Tx

_ROWS = 50_000


def by_kind(tx: Tx, *, days: int = 7) -> dict[str, Any]:
    """`{"days", "kinds": [{kind, ended, success_rate, run_p50, run_p95, wait_p50, wait_p95, cost}]}`, in seconds.

    Over the tasks that ended in the last `days`, the newest 50,000 of them.
    """
    rows = tx.all(
        "SELECT kind, status, created_at, started_at, not_before, ran_for, usage FROM tasks"
        " WHERE ended_at >= :since AND detached = 1 ORDER BY ended_at DESC LIMIT :limit",
        since=tx.now - days * DAY,
        limit=_ROWS,
    )
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row["kind"]].append(row)
    return {"days": days, "kinds": [_figures(kind, groups[kind]) for kind in sorted(groups)]}


def _figures(kind: str, rows: list[Row]) -> dict[str, Any]:
    statuses: dict[str, int] = defaultdict(int)
    for row in rows:
        statuses[row["status"]] += 1
    settled = sum(count for status, count in statuses.items() if status != "cancelled")
    runs = sorted(row["ran_for"] / SECOND for row in rows if row["started_at"] is not None)
    waits = sorted(_waited(row) for row in rows if row["started_at"] is not None)
    return {
        "kind": kind,
        "ended": len(rows),
        "statuses": dict(statuses),
        "success_rate": round(statuses["succeeded"] / settled, 4) if settled else None,
        "run_p50": percentile(runs, 50),
        "run_p95": percentile(runs, 95),
        "wait_p50": percentile(waits, 50),
        "wait_p95": percentile(waits, 95),
    }


def _waited(row: Row) -> float:
    """The seconds that a task waited which was free to start."""
    return max(0, row["started_at"] - max(row["created_at"], row["not_before"] or 0)) / SECOND


class Ended(msgspec.Struct, frozen=True):
    """A task that has ended; times in seconds, `waited` is `None` where it never started."""

    task_id: str
    kind: str
    ended_at: Instant
    ran: float
    waited: float | None


def endings_since(tx: Tx, since: Instant) -> list[Ended]:
    """The tasks that have ended from `since` on, the newest 50,000 of them."""
    rows = tx.all(
        "SELECT task_id, kind, created_at, started_at, ended_at, not_before, ran_for FROM tasks"
        " WHERE ended_at >= :since ORDER BY ended_at DESC LIMIT :limit",
        since=since,
        limit=_ROWS,
    )
    return [
        Ended(
            task_id=row["task_id"],
            kind=row["kind"],
            ended_at=row["ended_at"],
            ran=row["ran_for"] / SECOND,
            waited=None if row["started_at"] is None else _waited(row),
        )
        for row in rows
    ]


def percentile(values: list[float], percent: int) -> float | None:
    """The nearest-rank percentile of sorted values, `None` of none."""
    if not values:
        return None
    rank = max(1, -(-len(values) * percent // 100))
    return round(values[rank - 1], 6)
