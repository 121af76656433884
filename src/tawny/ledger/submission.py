"""Accepting work: once this has committed, the work is owed."""

from typing import Any

import msgspec

from tawny.domain.notify import default_policy
from tawny.domain.tasks import (
    After,
    Delivery,
    Json,
    Progress,
    Retry,
    Status,
    Submission,
    Task,
    Usage,
    WaitingFor,
    queue_rank,
)
from tawny.domain.windows import next_opening
from tawny.errors import InvalidInput, QueueFull
from tawny.ids import new_id
from tawny.ledger import audit, steps
from tawny.ledger.database import Tx
from tawny.ledger.tasks import ACTIVE, from_row, to_json
from tawny.ledger.transitions import record


class Limits(msgspec.Struct, frozen=True):
    """How much one owner may have in the queue; `zone` is the owner's, for windows of the day."""

    max_queued: int = 100
    zone: str = "UTC"


_NO_LIMITS = Limits(max_queued=2**31)
_RETRY = to_json(Retry())
_UNSET: dict[str, Any] = {
    "attempt": 0,
    "failures": 0,
    "crashes": 0,
    "ran_for": 0,
    "delivery_status": "not_applicable",
    "progress": to_json(Progress()),
    "usage": to_json(Usage()),
    **dict.fromkeys(
        (
            "execution_id",
            "next_attempt_at",
            "intent",
            "estimated_completion",
            "started_at",
            "ended_at",
            "result",
            "error",
            "verdict",
        )
    ),
}
"""What a task has not got yet when it is accepted."""
# Each half has an index of its own, of what is queued alone. `|| ''` keeps SQLite from the index of all that an owner
# has ever had: it would read every task there is for each that is added.
_QUEUED = (
    "SELECT (SELECT COUNT(*) FROM (SELECT 1 AS one FROM tasks WHERE status = 'queued' AND runnable = 1"
    " AND detached = 1 AND owner = :owner LIMIT :bound) AS startable)"
    " + (SELECT COUNT(*) FROM (SELECT 1 AS one FROM tasks WHERE status = 'queued' AND runnable = 0"
    " AND detached = 1 AND owner || '' = :owner LIMIT :bound) AS held) AS n"
)


def submit(
    tx: Tx,
    submission: Submission,
    *,
    actor: str = "owner",
    limits: Limits | None = None,
    is_awaited: bool = False,
) -> Task:
    """Accept work. The same `dedupe_key` returns the task that is already there.

    Of a child that `is_awaited` this holds among its parent's own children. Where somebody else's task has the key, the
    child is folded into that: it ends with it and shares its result, so that its parent is woken like any other.

    Raises:
        QueueFull: the owner has too much in the queue; nothing is written.
        InvalidInput: it is to follow, or to share the result of, a task that does not exist or waits for it.
    """
    limits = limits or _NO_LIMITS
    leader = None
    if submission.dedupe_key is not None:
        row = tx.one(
            f"SELECT * FROM tasks WHERE owner = :owner AND dedupe_key = :key AND status IN {ACTIVE}",
            owner=submission.owner,
            key=submission.dedupe_key,
        )
        if row is not None and is_awaited and row["parent_id"] != submission.parent_id:
            leader = str(row["task_id"])
            _refuse_cycle(tx, submission, [leader], field="dedupe_key")
            submission = msgspec.structs.replace(submission, dedupe_key=None, merge_key=None, after=())
        elif row is not None:
            return from_row(row)
    if limits.max_queued < _NO_LIMITS.max_queued and submission.detached:
        _check_queue(tx, submission, limits)
    blocked = _dependencies(tx, submission.after)
    if submission.after and submission.parent_id is not None:
        _refuse_cycle(tx, submission, [after.task for after in submission.after], field="after")
    task_id = new_id("task", tx.now)
    if submission.merge_key and not submission.after:
        leader = _merge_leader(tx, submission)
    task = _insert(tx, submission, task_id, blocked=blocked, leader=leader, limits=limits)
    for after in submission.after:
        tx.execute(
            "INSERT INTO dependencies (task_id, after_id, condition) VALUES (:task_id, :after_id, :condition)",
            task_id=task_id,
            after_id=after.task,
            condition=after.on,
        )
    record(tx, task, "queued", {"merged_into": leader} if leader else None)
    audit.append(
        tx,
        "task.create",
        actor=actor,
        task_id=task_id,
        detail={
            "kind": submission.kind,
            "title": task.title,
            "params_sha256": steps.input_hash(submission.params),
            "by": submission.origin.by,
            "via": submission.origin.via,
            "trusted": submission.origin.trusted,
        },
    )
    tx.wake("queue")
    if submission.not_before or submission.window or submission.merge_window:
        tx.wake("timers")
    return task


def _insert(
    tx: Tx, submission: Submission, task_id: str, *, blocked: int, leader: str | None, limits: Limits
) -> Task:
    notify = submission.notify
    delivery = submission.delivery or Delivery()
    if notify is None:
        notify = default_policy(submission.runtime, delivery)
    ready_at = submission.not_before or tx.now
    if submission.merge_window:
        ready_at = max(ready_at, tx.now + submission.merge_window)
    if submission.window is not None:
        opening = next_opening(submission.window, zone=limits.zone, now=ready_at)
        ready_at = opening if submission.deadline is None else min(opening, max(submission.deadline, tx.now))
    held = blocked > 0 or leader is not None or ready_at > tx.now
    waiting = None
    if leader is not None:
        # What shares its key with another's wants that very task; what was merged is work of its own.
        detail: dict[str, Json] = {"merged_into": leader, "is_own": bool(submission.merge_key)}
        waiting = WaitingFor("child", key="…", detail=detail)
    stored = tx.insert(
        "tasks",
        {
            **_UNSET,
            "task_id": task_id,
            "kind": submission.kind,
            "params": to_json(submission.params),
            "title": submission.title or submission.kind,
            "runtime": submission.runtime,
            "owner": submission.owner,
            "session": submission.session,
            "status": Status.WAITING if leader else Status.QUEUED,
            "automation_id": submission.automation_id,
            "parent_id": submission.parent_id,
            "flow_id": submission.flow_id,
            "awaited": int(submission.awaited),
            "priority": submission.priority,
            "notify": notify,
            "detached": int(submission.detached),
            "lane": submission.lane,
            "timeout": submission.timeout,
            "retry": _RETRY if submission.retry is None else to_json(submission.retry),
            "dedupe_key": submission.dedupe_key,
            "merge_key": submission.merge_key if leader is None else None,
            "merged_into": leader,
            "not_before": submission.not_before,
            "time_window": submission.window,
            "deadline": submission.deadline,
            "effect": submission.effect,
            "runnable": 0 if held else 1,
            "ready_at": ready_at if not blocked and leader is None else None,
            "queue_rank": queue_rank(submission.priority, tx.now, submission.deadline),
            "blocked_by": blocked,
            "waiting_for": None if waiting is None else to_json(waiting),
            "created_at": tx.now,
            "queued_at": tx.now,
            "updated_at": tx.now,
            "delivery": to_json(delivery),
            "budget": None if submission.budget is None else to_json(submission.budget),
            "origin": to_json(submission.origin),
        },
    )
    return from_row(stored)


def _check_queue(tx: Tx, submission: Submission, limits: Limits) -> None:
    queued = int(
        tx.value(
            _QUEUED,
            owner=submission.owner,
            bound=limits.max_queued + 1,
        )
    )
    if queued >= limits.max_queued:
        raise QueueFull(
            f"the queue of {submission.owner!r} is full: {queued} tasks wait and {limits.max_queued} may;"
            f" this one would be number {queued + 1}",
            hint="wait for current tasks to finish, cancel some, or raise [limits] max_queued_per_owner",
        )


def _dependencies(tx: Tx, wanted: tuple[After, ...]) -> int:
    """How many of the tasks to follow have not ended.

    A task can only follow tasks that exist already, so no chain of these alone can come back to itself.

    Raises:
        InvalidInput: one does not exist, or has ended otherwise than asked, so this could never start.
    """
    blocked = 0
    for after in wanted:
        row = tx.one("SELECT status, title FROM tasks WHERE task_id = :id", id=after.task)
        if row is None:
            raise InvalidInput(f"after: there is no task {after.task!r}", hint="name a task that exists")
        status = Status(row["status"])
        if not status.is_terminal:
            blocked += 1
        elif (after.on == "success") != (status is Status.SUCCEEDED) and after.on != "any":
            raise InvalidInput(
                f"after: {row['title']!r} ({after.task}) has ended {status}, not as asked ({after.on})",
                hint="name a task that has not ended, or ask for 'any'",
            )
    return blocked


def _refuse_cycle(tx: Tx, submission: Submission, waits_for: list[str], *, field: str) -> None:
    """A child must not wait, over however many others, for one of those that wait for it.

    Raises:
        InvalidInput: it would.
    """
    ancestors: set[str] = set()
    above = submission.parent_id
    while above is not None and above not in ancestors:
        ancestors.add(above)
        above = tx.value("SELECT parent_id FROM tasks WHERE task_id = :id", id=above)
    seen: set[str] = set()
    while waits_for:
        task_id = waits_for.pop()
        if task_id in ancestors:
            raise InvalidInput(
                f"{field}: {task_id} waits for this child, so it cannot wait for that",
                hint="let it follow another task" if field == "after" else "give the child a key of its own",
            )
        if task_id in seen:
            continue
        seen.add(task_id)
        rows = tx.all(
            "SELECT d.after_id AS id FROM dependencies d JOIN tasks t ON t.task_id = d.after_id"
            f" WHERE d.task_id = :id AND t.status IN {ACTIVE}"
            f" UNION SELECT task_id AS id FROM tasks WHERE parent_id = :id AND status IN {ACTIVE}"
            " UNION SELECT merged_into AS id FROM tasks WHERE task_id = :id AND merged_into IS NOT NULL"
            f" AND status IN {ACTIVE}",
            id=task_id,
        )
        waits_for += [row["id"] for row in rows]


def _merge_leader(tx: Tx, submission: Submission) -> str | None:
    """The queued task that this one folds into: the very same work, so that its result is this one's too.

    Never one that still follows others: they could be waiting for this one, for ever.
    """
    row = tx.one(
        "SELECT task_id FROM tasks WHERE owner = :owner AND merge_key = :key AND status = 'queued' AND kind = :kind"
        " AND params = :params AND attempt = 0 AND blocked_by = 0 ORDER BY task_id LIMIT 1",
        owner=submission.owner,
        key=submission.merge_key,
        kind=submission.kind,
        params=to_json(submission.params),
    )
    return None if row is None else str(row["task_id"])
