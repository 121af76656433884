"""Figures about the work of a span of time: how much, how well, how long, at what cost."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from tawny.clock import DAY, HOUR, SECOND, Instant, iso
from tawny.domain.tasks import Usage
from tawny.ledger.database import Row, Tx

_usage = msgspec.json.Decoder(Usage).decode
_MOST = 50_000


def summary(tx: Tx, *, window: int) -> dict[str, Any]:
    """What has been made within the last `window` microseconds, as on the wire; interactive turns count too.

    Times are seconds, costs US dollars. At most the newest 50,000 tasks are looked at (`complete` tells).
    """
    since = tx.now - window
    rows = tx.all(
        "SELECT kind, automation_id, status, detached, created_at, queued_at, started_at, ended_at, ran_for, usage"
        " FROM tasks WHERE created_at >= :since ORDER BY task_id DESC LIMIT :most",
        since=since,
        most=_MOST,
    )
    names = {
        row["automation_id"]: row["name"] for row in tx.all("SELECT automation_id, name FROM automations")
    }
    work = [row for row in rows if row["detached"]]
    by_kind = [{"kind": kind, **_figures(group)} for kind, group in _groups(work, lambda row: row["kind"])]
    by_automation = [
        {"automation_id": id, "name": names.get(id, id), **_figures(group)}
        for id, group in _groups(work, lambda row: row["automation_id"])
        if id
    ]
    usage = [_usage(row["usage"]) for row in rows]
    return {
        "window_seconds": window // SECOND,
        "since": iso(since),
        "complete": len(rows) < _MOST,
        "counts": _counts(work),
        "success_rate": _success(work),
        "queue_wait": _spread([(row["started_at"] - row["created_at"]) for row in work if row["started_at"]]),
        "run_time": _spread([row["ran_for"] for row in work if row["ended_at"]]),
        "cost": _cost(usage),
        "tokens": {
            "input": sum(entry.input_tokens for entry in usage),
            "output": sum(entry.output_tokens for entry in usage),
        },
        "model_calls": sum(entry.model_calls for entry in usage),
        "tool_calls": sum(entry.tool_calls for entry in usage),
        "series": _series(work, since, tx.now),
        "by_kind": by_kind,
        "by_automation": by_automation,
    }


def _figures(rows: Sequence[Row]) -> dict[str, Any]:
    return {
        "count": len(rows),
        "success_rate": _success(rows),
        "cost": _cost([_usage(row["usage"]) for row in rows]),
        "p50": _spread([row["ran_for"] for row in rows if row["ended_at"]])["p50"],
    }


def _counts(rows: Sequence[Row]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for row in rows:
        counts[row["status"]] = counts.get(row["status"], 0) + 1
    return counts


def _success(rows: Sequence[Row]) -> float | None:
    """The share of what ended by itself that succeeded; what a person cancelled tells nothing."""
    ended = [row for row in rows if row["ended_at"] and row["status"] != "cancelled"]
    if not ended:
        return None
    return round(sum(row["status"] == "succeeded" for row in ended) / len(ended), 4)


def _cost(usage: Sequence[Usage]) -> float:
    return round(sum(entry.cost or 0 for entry in usage), 6)


def _spread(micros: Sequence[int]) -> dict[str, float | None]:
    """Median and 95th percentile, in seconds."""
    if not micros:
        return {"p50": None, "p95": None}
    ordered = sorted(micros)
    return {
        name: round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] / SECOND, 3)
        for name, share in (("p50", 0.5), ("p95", 0.95))
    }


def _series(rows: Sequence[Row], since: Instant, now: Instant) -> list[dict[str, Any]]:
    """Outcomes by hour, or by day where that would be many."""
    step = HOUR if now - since <= 2 * DAY else DAY
    buckets: dict[Instant, dict[str, Any]] = {
        start: {"time": iso(start), "succeeded": 0, "failed": 0, "cost": 0.0}
        for start in range(since - since % step, now + 1, step)
    }
    for row in rows:
        if not row["ended_at"] or row["status"] == "cancelled":
            continue
        bucket = buckets.get(row["ended_at"] - row["ended_at"] % step)
        if bucket is not None:
            bucket["succeeded" if row["status"] == "succeeded" else "failed"] += 1
            bucket["cost"] = round(bucket["cost"] + (_usage(row["usage"]).cost or 0), 6)
    return list(buckets.values())


def _groups(rows: Sequence[Row], key: Callable[[Row], Any]) -> list[tuple[Any, list[Row]]]:
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return sorted(groups.items(), key=lambda entry: -len(entry[1]))


def gauges(tx: Tx) -> dict[str, dict[str, int]]:
    """How much of everything there is now, by table and status: for the metrics."""
    found: dict[str, dict[str, int]] = {}
    for table in ("tasks", "outbox", "approvals", "automations"):
        rows = tx.all(f"SELECT status, COUNT(*) AS n FROM {table} GROUP BY status")
        found[table] = {row["status"]: int(row["n"]) for row in rows}
    counters = tx.all("SELECT name, value FROM counters")
    found["counters"] = {row["name"]: int(row["value"]) for row in counters}
    return found
