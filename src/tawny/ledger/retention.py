"""What is kept how long, and letting go of the rest, a thousand rows at a time."""

from collections import Counter

import msgspec

from tawny.clock import DAY, Instant, parse_duration
from tawny.config import Config
from tawny.ledger.database import Tx
from tawny.ledger.tasks import ACTIVE, SIXTEEN, in_sixteens, tally

_BATCH = 1000
_BUDGETS = 62 * DAY
# A parent that goes on reads what its children have done each time it passes them.
_NEEDED = (
    "(t.parent_id IS NOT NULL AND EXISTS"
    f" (SELECT 1 FROM tasks p WHERE p.task_id = t.parent_id AND p.status IN {ACTIVE}))"
)
_OWED = "EXISTS (SELECT 1 FROM outbox o WHERE o.task_id = t.task_id AND o.status IN ('pending', 'sending'))"
_OLD_EVENTS = "SELECT seq FROM events WHERE time < :before ORDER BY seq LIMIT :limit"
_DETAILS = ("steps", "task_logs", "executions", "items", "dependencies")


class Keep(msgspec.Struct, frozen=True):
    """Durations in microseconds: of ended tasks' details, of their results, of events and keys."""

    details: int = 7 * DAY
    results: int = 30 * DAY
    events: int = 30 * DAY


def keep_of(config: Config) -> Keep:
    """How long the configuration keeps things."""
    wanted = config.ledger
    return Keep(details=parse_duration(wanted.retention), results=parse_duration(wanted.result_retention))


def due(tx: Tx, keep: Keep) -> int:
    """How many ended tasks are kept longer than they have to be."""
    return int(
        tx.value(
            "SELECT COUNT(*) AS n FROM tasks t WHERE (ended_at < :results OR (ended_at < :details AND result IS NULL))"
            f" AND NOT {_NEEDED} AND NOT {_OWED}",
            results=tx.now - keep.results,
            details=tx.now - keep.details,
        )
    )


def prune(tx: Tx, keep: Keep) -> dict[str, int]:
    """Let go of what is older than it has to be, at most a thousand tasks; how many rows of what.

    A task whose result is kept keeps its row; an undelivered message keeps its task, and so does a parent that goes on.
    """
    stripped = _ids(
        tx,
        "SELECT t.task_id FROM tasks t WHERE t.ended_at < :before AND EXISTS"
        " (SELECT 1 FROM executions e WHERE e.task_id = t.task_id) LIMIT :limit",
        tx.now - keep.details,
    )
    gone = _ids(
        tx,
        "SELECT t.task_id FROM tasks t WHERE t.ended_at IS NOT NULL AND (t.ended_at < :before"
        f" OR (t.ended_at < :details AND t.result IS NULL)) AND NOT {_NEEDED} AND NOT {_OWED} LIMIT :limit",
        tx.now - keep.results,
        details=tx.now - keep.details,
    )
    counts = {"tasks": len(gone)}
    for table in _DETAILS:
        counts[table] = _delete(tx, table, sorted({*stripped, *gone}))
    for task_id in gone:
        tx.execute(
            "DELETE FROM artifact_contents WHERE artifact_id IN"
            " (SELECT artifact_id FROM artifacts WHERE task_id = :task_id)",
            task_id=task_id,
        )
    for status, n in _how_they_ended(tx, gone).items():
        tally(tx, status, -n)
    for table in ("artifacts", "outbox", "tasks"):
        _delete(tx, table, gone)
    old = {"before": tx.now - keep.events, "limit": 10 * _BATCH}
    tx.execute(
        "UPDATE tasks SET last_event = (SELECT MAX(seq) FROM events e WHERE e.task_id = tasks.task_id)"
        f" WHERE task_id IN (SELECT task_id FROM events WHERE seq IN ({_OLD_EVENTS}) AND task_id IS NOT NULL)",
        **old,
    )
    counts["events"] = tx.execute(f"DELETE FROM events WHERE seq IN ({_OLD_EVENTS})", **old)
    counts["idempotency"] = tx.execute(
        "DELETE FROM idempotency WHERE created_at < :before", before=tx.now - keep.events
    )
    # A window is a month at most; the account of a task is kept as long as the task.
    counts["budget_use"] = tx.execute(
        "DELETE FROM budget_use WHERE updated_at < :before AND NOT EXISTS"
        " (SELECT 1 FROM tasks t WHERE budget_use.scope IN ('task:' || t.task_id, 'turn:' || t.task_id))",
        before=tx.now - _BUDGETS,
    )
    return counts


def artifact_folders(tx: Tx) -> set[str]:
    """The tasks that still own files."""
    return {row["task_id"] for row in tx.all("SELECT DISTINCT task_id FROM artifacts")}


def _ids(tx: Tx, sql: str, before: Instant, **more: Instant) -> list[str]:
    return [row["task_id"] for row in tx.all(sql, before=before, limit=_BATCH, **more)]


def _how_they_ended(tx: Tx, ids: list[str]) -> Counter[str]:
    """How many of these were detached tasks, by status."""
    found = Counter[str]()
    for names in in_sixteens(ids):
        found.update(
            row["status"]
            for row in tx.all(
                f"SELECT status FROM tasks WHERE detached = 1 AND task_id IN ({SIXTEEN})", **names
            )
        )
    return found


def _delete(tx: Tx, table: str, ids: list[str]) -> int:
    removed = 0
    for task_id in ids:
        removed += tx.execute(f"DELETE FROM {table} WHERE task_id = :task_id", task_id=task_id)
    return removed
