"""Looking after the ledger: what is stale, stuck or inconsistent, and the mend where there is one."""

from collections.abc import Callable
from typing import Any

import msgspec

from tawny.clock import DAY, HOUR, MINUTE, iso
from tawny.domain.tasks import Failure, Status
from tawny.errors import NotFound
from tawny.ledger import queue, retention
from tawny.ledger.database import Row, Tx
from tawny.ledger.endings import finish
from tawny.ledger.relations import living_children
from tawny.ledger.tasks import get
from tawny.ledger.transitions import wake

_PAGE = 500


class Finding(msgspec.Struct, frozen=True):
    """Something the audit found; `severity` is warn or error."""

    code: str
    severity: str
    task_id: str | None
    message: str
    fixable: bool

    def document(self) -> dict[str, Any]:
        """The finding as on the wire."""
        return msgspec.to_builtins(self)


class _Check(msgspec.Struct, frozen=True):
    """A code, the rows it is about (`task_id`, `title`, `at`), and its mend."""

    code: str
    severity: str
    sql: str
    says: str
    mend: Callable[[Tx, str], None] | None = None


def audit(tx: Tx, *, keep: retention.Keep, severity: str | None = None, limit: int = 500) -> list[Finding]:
    """Everything that is not as it should be."""
    findings: list[Finding] = []
    for check in _CHECKS:
        if severity is not None and check.severity != severity:
            continue
        findings += [_finding(check, row) for row in _rows(tx, check, limit)]
    stale = retention.due(tx, keep)
    if stale and severity in (None, "warn"):
        findings.append(
            Finding(
                "missing_cleanup", "warn", None, f"{stale} ended tasks are past their retention", fixable=True
            )
        )
    return findings[:limit]


def mend(tx: Tx, *, keep: retention.Keep) -> list[Finding]:
    """Mend what can be mended; what was found and mended."""
    mended: list[Finding] = []
    seen: set[tuple[str, str]] = set()
    # One mend may open the way for another that was looked at before.
    while found := [each for check in _CHECKS for each in _mend(tx, check, seen)]:
        mended += found
    while (stale := retention.due(tx, keep)) and retention.prune(tx, keep)["tasks"]:
        mended.append(Finding("missing_cleanup", "warn", None, f"{stale} ended tasks let go", fixable=True))
    return mended


def _mend(tx: Tx, check: _Check, seen: set[tuple[str, str]]) -> list[Finding]:
    """Mend what one check finds. What a mend has not taken out comes back: then there is no more that it could do."""
    mended: list[Finding] = []
    if check.mend is None:
        return mended
    while rows := [row for row in _rows(tx, check, _PAGE) if (check.code, row["task_id"]) not in seen]:
        for row in rows:
            seen.add((check.code, row["task_id"]))
            check.mend(tx, row["task_id"])
            mended.append(_finding(check, row))
    return mended


def _rows(tx: Tx, check: _Check, limit: int) -> list[Row]:
    marks = {
        "now": tx.now,
        "minutes2": tx.now - 2 * MINUTE,
        "minutes10": tx.now - 10 * MINUTE,
        "minutes30": tx.now - 30 * MINUTE,
        "hour": tx.now - HOUR,
        "week": tx.now - 7 * DAY,
        "limit": limit,
    }
    used = {name: value for name, value in marks.items() if f":{name}" in check.sql + ":limit"}
    return list(tx.all(check.sql + " LIMIT :limit", **used))


def _finding(check: _Check, row: Row) -> Finding:
    since = iso(row["at"]) if row["at"] is not None else "?"
    return Finding(
        check.code,
        check.severity,
        row["task_id"],
        f"{row['title']}: {check.says.format(since=since)}",
        check.mend is not None,
    )


def _acknowledge(tx: Tx, task_id: str) -> None:
    tx.execute("UPDATE tasks SET verdict = 'acknowledged' WHERE task_id = :id", id=task_id)


def _clamp(tx: Tx, task_id: str) -> None:
    tx.execute(
        "UPDATE tasks SET started_at = created_at WHERE task_id = :id AND started_at < created_at", id=task_id
    )
    tx.execute(
        "UPDATE tasks SET ended_at = COALESCE(started_at, created_at) WHERE task_id = :id"
        " AND ended_at < COALESCE(started_at, created_at)",
        id=task_id,
    )


def _release(tx: Tx, task_id: str) -> None:
    del task_id
    queue.release_due(tx)


def _settle_cancel(tx: Tx, task_id: str) -> None:
    if not living_children(tx, task_id):
        finish(tx, get(tx, task_id), Status.CANCELLED, error=Failure("cancelled", "cancelled on request"))


def _expire_line(tx: Tx, task_id: str) -> None:
    tx.execute(
        "UPDATE outbox SET status = 'expired', updated_at = :now WHERE task_id = :id AND status = 'pending'"
        " AND expires_at < :now",
        now=tx.now,
        id=task_id,
    )


def _wake_orphan(tx: Tx, task_id: str) -> None:
    """The children a task waits for are gone from the ledger: it fails and says so."""
    task = get(tx, task_id)
    waiting = task.waiting_for
    children: list[Any] = waiting.detail.get("children", []) if waiting else []
    wanted = [str(child) for child in children]
    if waiting is not None and all(_is_over(tx, child) for child in wanted):
        present = [child for child in wanted if _exists(tx, child)]
        if len(present) == len(wanted):
            wake(tx, task_id, waiting.key, wanted)
        else:
            finish(tx, task, Status.FAILED, error=Failure("lost", "the records of its children are gone"))


def _exists(tx: Tx, task_id: str) -> bool:
    try:
        get(tx, task_id)
    except NotFound:
        return False
    return True


def _is_over(tx: Tx, task_id: str) -> bool:
    return not _exists(tx, task_id) or get(tx, task_id).status.is_terminal


_SELECT = "SELECT task_id, title, updated_at AS at FROM tasks WHERE "
_CHECKS = (
    _Check(
        "stale_queued",
        "warn",
        _SELECT + "status = 'queued' AND runnable = 1 AND detached = 1 AND updated_at < :minutes10",
        "ready since {since} and not started; does a gateway run?",
    ),
    _Check(
        "stale_running",
        "error",
        _SELECT
        + "status = 'running' AND updated_at < :minutes30 AND (timeout IS NULL OR run_started_at + timeout < :now)",
        "running without a sign of life since {since}",
    ),
    _Check("lost", "error", _SELECT + "status = 'lost' AND verdict IS NULL", "lost at {since}", _acknowledge),
    _Check(
        "poison",
        "error",
        _SELECT + "status = 'failed' AND verdict IS NULL AND error LIKE '%quarantined: %'",
        "quarantined at {since}: it killed its process three times",
        _acknowledge,
    ),
    _Check(
        "overdue",
        "error",
        _SELECT + "status = 'queued' AND runnable = 0 AND blocked_by = 0 AND ready_at < :minutes2",
        "overdue; last touched {since}",
        _release,
    ),
    _Check(
        "stale_waiting",
        "error",
        _SELECT + "status = 'waiting' AND wake_at < :minutes2",
        "its wait is over and it was not woken; last touched {since}",
        _release,
    ),
    _Check(
        "stale_blocked",
        "warn",
        _SELECT + "status = 'waiting' AND updated_at < :week AND (waiting_for LIKE '%\"kind\":\"approval\"%'"
        ' OR waiting_for LIKE \'%"kind":"reconcile"%\')',
        "waits for a person since {since}",
    ),
    _Check(
        "budget_stop",
        "warn",
        _SELECT + "status = 'waiting' AND waiting_for LIKE '%\"kind\":\"budget\"%'",
        "stopped by its budget at {since}",
    ),
    _Check(
        "cancel_stuck",
        "error",
        _SELECT + "status IN ('queued', 'waiting', 'paused') AND intent = 'cancel' AND updated_at < :minutes2"
        " AND NOT EXISTS (SELECT 1 FROM tasks c WHERE c.parent_id = tasks.task_id"
        " AND c.status IN ('queued', 'running', 'waiting', 'paused'))",
        "asked to cancel, and still there since {since}",
        _settle_cancel,
    ),
    _Check(
        "blocked_task_missing",
        "error",
        _SELECT + "status = 'waiting' AND updated_at < :minutes2 AND waiting_for LIKE '%\"children\":[%'"
        " AND NOT EXISTS (SELECT 1 FROM tasks c WHERE c.parent_id = tasks.task_id"
        " AND c.status IN ('queued', 'running', 'waiting', 'paused'))",
        "waits since {since} for children that have ended or are gone",
        _wake_orphan,
    ),
    _Check(
        "missing_linked_tasks",
        "warn",
        _SELECT + "flow_id IS NOT NULL AND status IN ('queued', 'running', 'waiting', 'paused')"
        " AND NOT EXISTS (SELECT 1 FROM tasks f WHERE f.task_id = tasks.flow_id)",
        "belongs to a flow that is gone; last touched {since}",
    ),
    _Check(
        "inconsistent_timestamps",
        "warn",
        _SELECT + "started_at < created_at OR ended_at < COALESCE(started_at, created_at)",
        "its times contradict each other (seen {since})",
        _clamp,
    ),
    _Check(
        "delivery_failed",
        "warn",
        "SELECT o.task_id, t.title, o.updated_at AS at FROM outbox o JOIN tasks t ON t.task_id = o.task_id"
        " WHERE o.status = 'failed' AND NOT EXISTS (SELECT 1 FROM outbox b WHERE b.fallback_of = o.delivery_id)",
        "its result could not be delivered at {since}; 'tawny tasks result' has it",
    ),
    _Check(
        "undelivered",
        "warn",
        "SELECT o.task_id, t.title, o.created_at AS at FROM outbox o JOIN tasks t ON t.task_id = o.task_id"
        " WHERE o.status = 'pending' AND o.expires_at < :now",
        "its message of {since} was never sent and is too old now",
        _expire_line,
    ),
    _Check(
        "approval_expired",
        "warn",
        "SELECT t.task_id, t.title, a.expires_at AS at FROM approvals a JOIN tasks t ON t.task_id = a.task_id"
        " WHERE a.status = 'pending' AND a.expires_at < :hour AND t.status = 'waiting'",
        "its question ran out at {since} and was not settled; start the gateway",
    ),
)
