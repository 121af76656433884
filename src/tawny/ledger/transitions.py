"""Every change of a task's status: one compare-and-set with its event, audit row and outbox lines.

The end of a task is in `endings.py`, what does not touch its status in `particulars.py`.
"""

from collections.abc import Sequence
from typing import Any

from tawny.clock import Instant
from tawny.domain.documents import task_document
from tawny.domain.tasks import Failure, Json, Notify, Status, Task, WaitingFor, may_become, queue_rank
from tawny.errors import Conflict, Fenced
from tawny.ids import new_id
from tawny.ledger import audit, events, outbox, steps
from tawny.ledger.database import Tx
from tawny.ledger.tasks import ACTIVE, changed, from_row, get, several, tally, to_json

# How long it ran is told by the run itself; of a run whose process is gone only the wall clock is left.
_RELEASE = (
    ", ran_for = ran_for + COALESCE(:ran, CASE WHEN run_started_at < :now THEN :now - run_started_at ELSE 0 END),"
    " run_started_at = NULL, lease_owner = NULL, lease_until = NULL"
)

_START = (
    "UPDATE tasks SET status = 'running', attempt = attempt + 1, execution_id = :execution_id,"
    " lease_owner = :worker, lease_until = :lease_until, run_started_at = :now, updated_at = :now,"
    " started_at = COALESCE(started_at, :now), next_attempt_at = NULL"
    " WHERE task_id = :task_id AND status = 'queued' AND attempt = :fence"
)
_BEGIN_EXECUTION = (
    "INSERT INTO executions (execution_id, task_id, attempt, worker, started_at)"
    " VALUES (:execution_id, :task_id, :attempt, :worker, :now)"
)
_END_EXECUTION = (
    "UPDATE executions SET ended_at = :now, outcome = :outcome, error = :error"
    " WHERE execution_id = :execution_id AND ended_at IS NULL"
)


def advance(
    tx: Tx, task: Task, to: Status, *, event: str, data: dict[str, Any] | None = None, **columns: Any
) -> Task:
    """Move a task on: compare-and-set on (status, attempt), with its event; the task as it stands then.

    `task` is as this transaction has read it, and nothing of it was changed since: to have the UPDATE return the
    row would cost more than the UPDATE.

    Raises:
        Conflict: the table of transitions does not allow it.
        Fenced: the task has moved on meanwhile.
    """
    if not may_become(task.status, to):
        raise Conflict(f"{task.task_id} is {task.status} and cannot become {to}")
    assignments = "".join(f", {name} = :{name}" for name in columns)
    ran: int | None = 0
    if task.status is Status.RUNNING:
        assignments += _RELEASE
        columns["ran"] = ran = tx.ran[1] if tx.ran is not None and tx.ran[0] == task.task_id else None
    moved = tx.execute(
        f"UPDATE tasks SET status = :to, updated_at = :now{assignments}"
        " WHERE task_id = :task_id AND status = :before AND attempt = :fence",
        to=to,
        now=tx.now,
        task_id=task.task_id,
        before=task.status,
        fence=task.attempt,
        **columns,
    )
    if not moved:
        raise Fenced(f"{task.task_id} is no longer {task.status} in attempt {task.attempt}")
    if to.is_terminal and task.detached:
        tally(tx, to, 1)
    # How long a run was whose process is gone, the row alone says.
    after = get(tx, task.task_id) if ran is None else changed(task, to, ran=ran, columns=columns)
    record(tx, after, event, data)
    return after


def record(tx: Tx, task: Task, event: str, data: dict[str, Any] | None = None) -> None:
    """Append a task's event, and what its policy owes to people for it."""
    events.append(
        tx,
        f"task.{event}",
        {
            "status": task.status,
            "attempt": task.attempt,
            "kind": task.kind,
            "title": task.title,
            **(data or {}),
        },
        task_id=task.task_id,
        session=task.session,
    )
    if not task.status.is_terminal and task.notify is Notify.STATE_CHANGES:
        outbox.announce(tx, task, f"task.{event}", task_document(task))


def start(tx: Tx, chosen: Sequence[tuple[str, int]], *, worker: str, lease_until: Instant) -> list[Task]:
    """Claim queued tasks, by id and attempt, for a worker: their attempts grow, the lease begins.

    Raises:
        Fenced: one of them has moved on meanwhile.
    """
    executions = {task_id: new_id("exec", tx.now) for task_id, _ in chosen}
    tx.execute_many(
        _START,
        [
            {
                "execution_id": executions[task_id],
                "worker": worker,
                "lease_until": lease_until,
                "now": tx.now,
                "task_id": task_id,
                "fence": attempt,
            }
            for task_id, attempt in chosen
        ],
    )
    found = several(tx, list(executions))
    return [_started(tx, task_id, found, executions[task_id], worker) for task_id, _ in chosen]


def _started(tx: Tx, task_id: str, found: dict[str, Task], execution_id: str, worker: str) -> Task:
    task = found.get(task_id)
    if task is None or task.execution_id != execution_id:
        raise Fenced(f"{task_id} is no longer queued")
    tx.later(
        "executions",
        _BEGIN_EXECUTION,
        {
            "execution_id": execution_id,
            "task_id": task_id,
            "attempt": task.attempt,
            "worker": worker,
            "now": tx.now,
        },
    )
    record(tx, task, "started", {"execution_id": execution_id})
    audit.append(tx, "task.run", actor="engine", task_id=task_id, detail={"attempt": task.attempt})
    return task


def end_execution(tx: Tx, task: Task, outcome: str, error: Failure | None = None) -> None:
    """Close the running execution's record."""
    tx.later(
        "executions",
        _END_EXECUTION,
        {
            "now": tx.now,
            "outcome": outcome,
            "error": None if error is None else to_json(error),
            "execution_id": task.execution_id,
        },
    )


def requeue(
    tx: Tx,
    task: Task,
    *,
    event: str,
    ready_at: Instant | None = None,
    data: dict[str, Any] | None = None,
    **columns: Any,
) -> Task:
    """Put a task back in the queue, at once or from `ready_at` on; it keeps its age."""
    held = ready_at is not None and ready_at > tx.now
    after = advance(
        tx,
        task,
        Status.QUEUED,
        event=event,
        data=data,
        runnable=0 if held else 1,
        ready_at=ready_at,
        queue_rank=queue_rank(task.priority, task.created_at, task.deadline),
        waiting_for=None,
        wake_at=None,
        **columns,
    )
    tx.wake("timers" if held else "queue")
    return after


def wait(tx: Tx, task: Task, waiting: WaitingFor, *, data: dict[str, Any] | None = None) -> Task:
    """Let a task leave memory until something comes."""
    end_execution(tx, task, "waiting")
    after = advance(
        tx,
        task,
        Status.WAITING,
        event="waiting",
        data={"waiting_for": {"kind": waiting.kind, "key": waiting.key, **waiting.detail}, **(data or {})},
        waiting_for=to_json(waiting),
        wake_at=waiting.until,
    )
    if waiting.until is not None:
        tx.wake("timers")
    tx.wake("queue")
    return after


def wake(tx: Tx, task_id: str, key: str, value: Json) -> bool:
    """Settle the wait `key` with `value` and queue the task again; `False` if it does not wait for that.

    A wait that is `open` is only interrupted: the run looks for itself, and goes on waiting where it has to.

    A paused task keeps the answer and goes on when it is resumed.
    """
    task = get(tx, task_id)
    waiting = task.waiting_for
    if waiting is None or waiting.key != key or task.status not in (Status.WAITING, Status.PAUSED):
        return False
    if not waiting.detail.get("open"):
        steps.settle(tx, task_id, key, status="succeeded", result=value)
    if task.status is Status.PAUSED:
        end_wait(tx, task_id)
        return True
    requeue(tx, task, event="resumed", data={"after": waiting.kind})
    return True


def end_wait(tx: Tx, task_id: str) -> None:
    """What a paused task waited for has come: it goes on from there when it is resumed."""
    tx.execute(
        "UPDATE tasks SET waiting_for = NULL, wake_at = NULL WHERE task_id = :task_id", task_id=task_id
    )


def resume_queued(tx: Tx, task: Task) -> Task:
    """A paused task goes back to the queue, still held by what held it before."""
    row = tx.one("SELECT blocked_by, ready_at FROM tasks WHERE task_id = :id", id=task.task_id)
    assert row is not None
    after = requeue(tx, task, event="resumed", ready_at=row["ready_at"], data={"after": "pause"})
    if row["blocked_by"]:
        tx.execute("UPDATE tasks SET runnable = 0 WHERE task_id = :id", id=task.task_id)
    return after


def run_now(tx: Tx, task: Task) -> Task:
    """A held task (a scheduled retry, a later start) may start at once.

    Raises:
        Conflict: it follows tasks that have not ended.
    """
    rows = tx.all(
        "UPDATE tasks SET runnable = 1, ready_at = :now, not_before = NULL, next_attempt_at = NULL"
        " WHERE task_id = :id AND status = 'queued' AND blocked_by = 0 RETURNING *",
        now=tx.now,
        id=task.task_id,
    )
    if not rows:
        raise Conflict(
            f"{task.task_id} follows tasks that have not ended", hint="'tawny tasks why' names them"
        )
    tx.wake("queue")
    return from_row(rows[0])


def set_columns(tx: Tx, task: Task, event: str, **columns: Any) -> Task:
    """Change settings of a task that has not ended, with an event.

    Raises:
        Conflict: it has ended.
    """
    assignments = ", ".join(f"{name} = :{name}" for name in columns)
    rows = tx.all(
        f"UPDATE tasks SET {assignments}, updated_at = :now"
        f" WHERE task_id = :task_id AND status IN {ACTIVE} RETURNING *",
        now=tx.now,
        task_id=task.task_id,
        **columns,
    )
    if not rows:
        raise Conflict(f"{task.task_id} has ended already: it is {task.status}", code="terminal")
    after = from_row(rows[0])
    events.append(
        tx, f"task.{event}", {name: str(value) for name, value in columns.items()}, task_id=task.task_id
    )
    return after
