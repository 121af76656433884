"""Every change of a task's status: one compare-and-set with its event, audit row and outbox lines."""

from typing import Any

import msgspec

from tawny.clock import Instant, iso
from tawny.domain.documents import task_document
from tawny.domain.messages import Outgoing
from tawny.domain.tasks import (
    Failure,
    Json,
    Notify,
    Origin,
    Progress,
    Status,
    Task,
    Usage,
    WaitingFor,
    may_become,
    queue_rank,
)
from tawny.errors import Conflict, Fenced
from tawny.ids import new_id
from tawny.ledger import audit, events, outbox, steps
from tawny.ledger.database import Tx
from tawny.ledger.tasks import from_row, get, to_json
from tawny.ledger.withdrawals import withdraw

_NEEDS_A_PERSON = frozenset({Status.FAILED, Status.TIMED_OUT, Status.LOST})
_RELEASE = (
    ", ran_for = ran_for + (:now - COALESCE(run_started_at, :now)), run_started_at = NULL,"
    " lease_owner = NULL, lease_until = NULL"
)
ACTIVE = "('queued', 'running', 'waiting', 'paused')"


def advance(
    tx: Tx, task: Task, to: Status, *, event: str, data: dict[str, Any] | None = None, **columns: Any
) -> Task:
    """Move a task on: compare-and-set on (status, attempt), with its event; the task as it stands then.

    Raises:
        Conflict: the table of transitions does not allow it.
        Fenced: the task has moved on meanwhile.
    """
    if not may_become(task.status, to):
        raise Conflict(f"{task.task_id} is {task.status} and cannot become {to}")
    assignments = "".join(f", {name} = :{name}" for name in columns)
    if task.status is Status.RUNNING:
        assignments += _RELEASE
    rows = tx.all(
        f"UPDATE tasks SET status = :to, updated_at = :now{assignments}"
        " WHERE task_id = :task_id AND status = :before AND attempt = :fence RETURNING *",
        to=to,
        now=tx.now,
        task_id=task.task_id,
        before=task.status,
        fence=task.attempt,
        **columns,
    )
    if not rows:
        raise Fenced(f"{task.task_id} is no longer {task.status} in attempt {task.attempt}")
    after = from_row(rows[0])
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


def _tell(tx: Tx, task: Task) -> None:
    """Owe the news of an ended task to whom its policy names; a failure needs a person, so it is in the inbox too."""
    status = task.delivery_status
    if task.notify is not Notify.SILENT or task.automation_id is not None:
        status = outbox.announce(tx, task, f"task.{task.status}", task_document(task))
    if status != task.delivery_status:
        tx.execute(
            "UPDATE tasks SET delivery_status = :status WHERE task_id = :id", status=status, id=task.task_id
        )
    if task.status in _NEEDS_A_PERSON and task.detached and task.parent_id is None:
        reason = f": {task.error.message}" if task.error else ""
        outbox.put(
            tx,
            task_id=task.task_id,
            transition="escalated",
            target="inbox",
            message=Outgoing(key="", title=task.title, text=f"{task.title} {task.status}{reason}"),
            severity="high",
            incident=f"failing:{task.automation_id}" if task.automation_id else None,
        )


def start(tx: Tx, task_id: str, attempt: int, *, worker: str, lease_until: Instant) -> Task:
    """Claim a queued task for a worker: the attempt grows, the lease begins."""
    execution_id = new_id("exec", tx.now)
    rows = tx.all(
        "UPDATE tasks SET status = 'running', attempt = attempt + 1, execution_id = :execution_id,"
        " lease_owner = :worker, lease_until = :lease_until, run_started_at = :now, updated_at = :now,"
        " started_at = COALESCE(started_at, :now), next_attempt_at = NULL"
        " WHERE task_id = :task_id AND status = 'queued' AND attempt = :fence RETURNING *",
        execution_id=execution_id,
        worker=worker,
        lease_until=lease_until,
        now=tx.now,
        task_id=task_id,
        fence=attempt,
    )
    if not rows:
        raise Fenced(f"{task_id} is no longer queued")
    claimed = from_row(rows[0])
    tx.execute(
        "INSERT INTO executions (execution_id, task_id, attempt, worker, started_at)"
        " VALUES (:execution_id, :task_id, :attempt, :worker, :now)",
        execution_id=execution_id,
        task_id=task_id,
        attempt=claimed.attempt,
        worker=worker,
        now=tx.now,
    )
    record(tx, claimed, "started", {"execution_id": execution_id})
    audit.append(tx, "task.run", actor="engine", task_id=task_id, detail={"attempt": claimed.attempt})
    return claimed


def end_execution(tx: Tx, task: Task, outcome: str, error: Failure | None = None) -> None:
    """Close the running execution's record."""
    tx.execute(
        "UPDATE executions SET ended_at = :now, outcome = :outcome, error = :error"
        " WHERE execution_id = :execution_id AND ended_at IS NULL",
        now=tx.now,
        outcome=outcome,
        error=None if error is None else to_json(error),
        execution_id=task.execution_id,
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

    A paused task keeps the answer and goes on when it is resumed.
    """
    task = get(tx, task_id)
    waiting = task.waiting_for
    if waiting is None or waiting.key != key or task.status not in (Status.WAITING, Status.PAUSED):
        return False
    steps.settle(tx, task_id, key, status="succeeded", result=value)
    if task.status is Status.PAUSED:
        tx.execute(
            "UPDATE tasks SET waiting_for = NULL, wake_at = NULL WHERE task_id = :task_id", task_id=task_id
        )
        return True
    requeue(tx, task, event="resumed", data={"after": waiting.kind})
    return True


def finish(
    tx: Tx,
    task: Task,
    to: Status,
    *,
    result: dict[str, Json] | None = None,
    error: Failure | None = None,
    verdict: str | None = None,
    actor: str = "engine",
    progress: Progress | None = None,
) -> Task:
    """Bring a task to its end: result, event, audit row and outbox lines in one commit; whoever waits is woken.

    A task that succeeds while children it has to wait for are active stays `waiting` for them.
    """
    if task.status is Status.RUNNING:
        end_execution(tx, task, to, error)
    active = active_children(tx, task.task_id)
    if to is Status.SUCCEEDED and active:
        return _drain(tx, task, result, progress)
    if to is Status.CANCELLED and active:
        return _await_cancelled(tx, task, active)
    columns: dict[str, Any] = {
        "ended_at": tx.now,
        "intent": None,
        "waiting_for": None,
        "wake_at": None,
        "estimated_completion": None,
        "runnable": 0,
        "next_attempt_at": None,
    }
    if result is not None:
        columns["result"] = to_json(result)
    if error is not None:
        columns["error"] = to_json(error)
    if verdict is not None:
        columns["verdict"] = verdict
    if progress is not None:
        columns["progress"] = to_json(progress)
    data: dict[str, Any] = {}
    if error is not None:
        data["error"] = {"kind": error.kind, "message": error.message, "step": error.step}
    after = advance(tx, task, to, event=to.value, data=data, **columns)
    audit.append(
        tx,
        "task.result",
        actor=actor,
        task_id=task.task_id,
        detail={"status": to.value, **data},
        usage=msgspec.to_builtins(after.usage),
    )
    _tell(tx, after)
    withdraw(tx, task.task_id)
    _release_dependents(tx, after)
    _tell_merged(tx, after)
    if after.parent_id is not None:
        _tell_parent(tx, after.parent_id)
    tx.wake("queue")
    tx.wake("ended")
    return after


def active_children(tx: Tx, task_id: str) -> list[str]:
    """The ids of children that have not ended and that the task has to wait for."""
    rows = tx.all(
        f"SELECT task_id FROM tasks WHERE parent_id = :task_id AND awaited = 1 AND status IN {ACTIVE}",
        task_id=task_id,
    )
    return [row["task_id"] for row in rows]


def _drain(tx: Tx, task: Task, result: dict[str, Json] | None, progress: Progress | None) -> Task:
    waiting = WaitingFor("child", key="…", detail={"draining": True})
    return advance(
        tx,
        task,
        Status.WAITING,
        event="waiting",
        data={"waiting_for": {"kind": "child", "children": active_children(tx, task.task_id)}},
        waiting_for=to_json(waiting),
        result=None if result is None else to_json(result),
        progress=to_json(progress or task.progress),
    )


def _await_cancelled(tx: Tx, task: Task, active: list[str]) -> Task:
    """Cancel waits for the children: only then is the task `cancelled`."""
    columns: dict[str, Any] = {"intent": "cancel", "wake_at": None, "runnable": 0, "ready_at": None}
    waiting = WaitingFor("child", key="…", detail={"cancelling": active})
    if task.status in (Status.WAITING, Status.PAUSED):
        tx.execute(
            "UPDATE tasks SET intent = 'cancel', waiting_for = :waiting, wake_at = NULL WHERE task_id = :task_id",
            waiting=to_json(waiting),
            task_id=task.task_id,
        )
        return get(tx, task.task_id)
    return advance(tx, task, Status.WAITING, event="waiting", waiting_for=to_json(waiting), **columns)


def _tell_parent(tx: Tx, parent_id: str) -> None:
    """A child has ended: wake, finish or cancel the parent that waits for it."""
    row = tx.one("SELECT * FROM tasks WHERE task_id = :parent_id", parent_id=parent_id)
    if row is None:
        return
    parent = from_row(row)
    waiting = parent.waiting_for
    if parent.status.is_terminal or waiting is None or waiting.kind != "child":
        return
    if parent.intent == "cancel":
        if not active_children(tx, parent_id):
            finish(tx, parent, Status.CANCELLED, error=Failure("cancelled", "cancelled with its children"))
        return
    if waiting.detail.get("draining"):
        _finish_drained(tx, parent)
        return
    wanted = [str(child) for child in waiting.detail.get("children", [])]
    if all(get(tx, child).status.is_terminal for child in wanted):
        wake(tx, parent_id, waiting.key, wanted)


def _finish_drained(tx: Tx, parent: Task) -> None:
    if active_children(tx, parent.task_id):
        return
    rows = tx.all(
        "SELECT * FROM tasks WHERE parent_id = :task_id AND awaited = 1 ORDER BY ended_at, task_id",
        task_id=parent.task_id,
    )
    ended = [from_row(row) for row in rows]
    broken = next((child for child in ended if child.status is not Status.SUCCEEDED), None)
    if broken is not None:
        failure = Failure("permanent", f"its child {broken.title!r} ({broken.task_id}) ended {broken.status}")
        finish(tx, parent, Status.FAILED, result=parent.result, error=failure)
        return
    result = dict(parent.result or {})
    final = ended[-1].result if ended else None
    if final and final.get("text"):
        # The last descendant speaks for the whole: what the parent said before is interim.
        result = {**result, "text": final["text"], "from_task": ended[-1].task_id}
    finish(tx, parent, Status.SUCCEEDED, result=result)


def _release_dependents(tx: Tx, ended: Task) -> None:
    rows = tx.all(
        "SELECT d.task_id, d.condition FROM dependencies d JOIN tasks t ON t.task_id = d.task_id"
        " WHERE d.after_id = :ended AND t.status IN ('queued', 'paused')",
        ended=ended.task_id,
    )
    for row in rows:
        met = {
            "any": True,
            "success": ended.status is Status.SUCCEEDED,
            "failure": ended.status in (Status.FAILED, Status.TIMED_OUT, Status.LOST),
        }[row["condition"]]
        if met:
            tx.execute(
                "UPDATE tasks SET blocked_by = blocked_by - 1,"
                " ready_at = CASE WHEN blocked_by = 1 THEN COALESCE(not_before, :now) ELSE ready_at END,"
                " runnable = CASE WHEN blocked_by = 1 AND COALESCE(not_before, 0) <= :now THEN 1 ELSE 0 END"
                " WHERE task_id = :task_id",
                now=tx.now,
                task_id=row["task_id"],
            )
            tx.wake("queue")
            tx.wake("timers")
        else:
            followed = f"{ended.title!r} ({ended.task_id})"
            reason = f"it was to follow {followed} on {row['condition']}, which ended {ended.status}"
            finish(tx, get(tx, row["task_id"]), Status.CANCELLED, error=Failure("cancelled", reason))


def _tell_merged(tx: Tx, ended: Task) -> None:
    """Fan a merged run's outcome out to the submissions that were folded into it."""
    rows = tx.all(
        f"SELECT * FROM tasks WHERE merged_into = :ended AND status IN {ACTIVE} ORDER BY task_id",
        ended=ended.task_id,
    )
    for row in rows:
        folded = from_row(row)
        share = dict(ended.result or {})
        answers = share.pop("merged", None)
        if isinstance(answers, dict) and folded.task_id in answers:
            share = answers[folded.task_id]  # pyright: ignore[reportUnknownVariableType]
        finish(tx, folded, ended.status, result=share, error=ended.error)  # pyright: ignore[reportUnknownArgumentType]


def add_usage(tx: Tx, task: Task, more: Usage) -> None:
    """Add to what a task has used; an unknown cost stays unknown."""
    now = get(tx, task.task_id).usage
    cost = None if now.cost is None or more.cost is None else now.cost + more.cost
    total = Usage(
        input_tokens=now.input_tokens + more.input_tokens,
        output_tokens=now.output_tokens + more.output_tokens,
        cost=cost,
        wall_seconds=now.wall_seconds + more.wall_seconds,
        cpu_seconds=now.cpu_seconds + more.cpu_seconds,
        model_calls=now.model_calls + more.model_calls,
        tool_calls=now.tool_calls + more.tool_calls,
    )
    tx.execute("UPDATE tasks SET usage = :usage WHERE task_id = :id", usage=to_json(total), id=task.task_id)


def set_origin(tx: Tx, task_id: str, origin: Origin) -> None:
    """Keep what the run has read by now."""
    tx.execute("UPDATE tasks SET origin = :origin WHERE task_id = :id", origin=to_json(origin), id=task_id)


def set_progress(tx: Tx, task: Task, progress: Progress, eta: Instant | None) -> None:
    """Keep how far a task is, and tell every device."""
    tx.execute(
        "UPDATE tasks SET progress = :progress, estimated_completion = :eta, updated_at = :now WHERE task_id = :id",
        progress=to_json(progress),
        eta=eta,
        now=tx.now,
        id=task.task_id,
    )
    record(
        tx,
        task,
        "progress",
        {
            "progress": msgspec.to_builtins(progress),
            "estimated_completion": None if eta is None else iso(eta),
        },
    )


def set_crashes(tx: Tx, task_id: str, crashes: int) -> None:
    """How many processes in a row have died in this task with no step finished in between."""
    tx.execute("UPDATE tasks SET crashes = :crashes WHERE task_id = :id", crashes=crashes, id=task_id)


def audit_effect(tx: Tx, task: Task, key: str, effect: str, status: str) -> None:
    """The audit row of a step that touched the world outside."""
    audit.append(
        tx,
        "task.effect",
        actor=f"task:{task.task_id}",
        task_id=task.task_id,
        detail={"step": key, "effect": effect, "status": status, "kind": task.kind},
    )


def live_children(tx: Tx, task_id: str) -> list[Task]:
    """The children that have not ended, awaited or not."""
    rows = tx.all(
        f"SELECT * FROM tasks WHERE parent_id = :task_id AND status IN {ACTIVE} ORDER BY task_id",
        task_id=task_id,
    )
    return [from_row(row) for row in rows]


def set_intent(tx: Tx, task: Task, intent: str | None, *, by: str) -> None:
    """Write what is wanted of a running task; a cancel sticks."""
    tx.execute(
        "UPDATE tasks SET intent = :intent, intent_by = :by, updated_at = :now"
        " WHERE task_id = :task_id AND status = 'running' AND (intent IS NULL OR intent <> 'cancel')",
        intent=intent,
        by=by,
        now=tx.now,
        task_id=task.task_id,
    )
    events.append(
        tx,
        "task.intent",
        {"intent": intent, "by": by, "status": task.status},
        task_id=task.task_id,
        session=task.session,
    )
    tx.wake("intents")


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


def unfinished_before(tx: Tx, task_id: str) -> list[tuple[str, str, str]]:
    """What a task follows and what has not ended: (id, title, status)."""
    rows = tx.all(
        "SELECT t.task_id, t.title, t.status FROM dependencies d JOIN tasks t ON t.task_id = d.after_id"
        f" WHERE d.task_id = :task_id AND t.status IN {ACTIVE} ORDER BY t.task_id",
        task_id=task_id,
    )
    return [(row["task_id"], row["title"], row["status"]) for row in rows]
