"""The end of a task, and what follows from it in the same commit for whoever waits for it, follows it or was merged."""

from typing import Any

import msgspec

from tawny.domain.documents import task_document
from tawny.domain.messages import Attachment, Outgoing
from tawny.domain.tasks import Failure, Json, Notify, Progress, Status, Task, WaitingFor
from tawny.ledger import audit, outbox
from tawny.ledger.database import Tx
from tawny.ledger.relations import Ties, active_children, living_children, ties
from tawny.ledger.tasks import ACTIVE, from_row, get, to_json
from tawny.ledger.transitions import advance, end_execution, requeue, wake
from tawny.ledger.withdrawals import withdraw

_NEEDS_A_PERSON = frozenset({Status.FAILED, Status.TIMED_OUT, Status.LOST})

SETTLE_TOPIC = "settle"
"""Rings when a run of an automation has ended, or its verifier."""


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
    tied: Ties | None = None,
) -> Task:
    """Bring a task to its end: result, event, audit row and outbox lines in one commit; whoever waits is woken.

    `task`, and `tied` where it is known, are as this transaction has read them.
    A task that succeeds while children it has to wait for are active stays `waiting` for them, and one that is
    cancelled while anything that it has started is alive.
    """
    if task.status is Status.RUNNING:
        end_execution(tx, task, to, error)
    tied = tied or ties(tx, task.task_id)
    if to is Status.SUCCEEDED and tied.children:
        return _drain(tx, task, result, progress)
    if to is Status.CANCELLED and (alive := living_children(tx, task.task_id)):
        return _await_cancelled(tx, task, alive)
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
    _tell_tied(tx, after, tied)
    if task.automation_id is not None or task.parent_id is not None:
        tx.wake(SETTLE_TOPIC)
    tx.wake("ended")
    return after


def _tell_tied(tx: Tx, ended: Task, tied: Ties) -> None:
    if tied.questions:
        withdraw(tx, ended.task_id)
    if tied.followers:
        _release_dependents(tx, ended)
    if tied.merged:
        _tell_merged(tx, ended)
    if ended.parent_id is not None:
        _tell_parent(tx, ended.parent_id)


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
        if not living_children(tx, parent_id):
            finish(tx, parent, Status.CANCELLED, error=Failure("cancelled", "cancelled with its children"))
        return
    if waiting.detail.get("draining"):
        if parent.status is not Status.PAUSED:
            _finish_drained(tx, parent)
        return
    wanted = [str(child) for child in waiting.detail.get("children", [])]
    enough = any if waiting.detail.get("any") else all
    if enough(_has_ended(tx, child) for child in wanted):
        wake(tx, parent_id, waiting.key, wanted)


def _has_ended(tx: Tx, task_id: str) -> bool:
    """Whether a task has; not where its record is gone, of which the audit of the ledger tells."""
    status = tx.value("SELECT status FROM tasks WHERE task_id = :id", id=task_id)
    return status is not None and Status(status).is_terminal


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
    for folded in map(from_row, rows):
        if folded.status is not Status.PAUSED:
            _share(tx, ended, folded)


def _share(tx: Tx, ended: Task, folded: Task) -> None:
    waiting = folded.waiting_for
    if ended.status is Status.CANCELLED and waiting is not None and waiting.detail.get("is_own"):
        # Who called the other off did not call this one off.
        reason = f"{ended.task_id}, into which it was folded, was cancelled"
        requeue(
            tx, folded, event="resumed", ready_at=folded.not_before, data={"reason": reason}, merged_into=None
        )
        return
    finish(tx, folded, ended.status, result=ended.result, error=ended.error)


def catch_up(tx: Tx, task: Task) -> Task:
    """End a task that was resumed, if what would have ended it came while it was paused; the task as it stands then."""
    waiting = task.waiting_for
    if task.merged_into is not None:
        leader = get(tx, task.merged_into)
        if leader.status.is_terminal:
            _share(tx, leader, task)
    elif waiting is not None and waiting.detail.get("draining"):
        _finish_drained(tx, task)
    return get(tx, task.task_id)


def _tell(tx: Tx, task: Task) -> None:
    """Owe the news of an ended task to whom its policy names; a failure needs a person, so it is in the inbox too."""
    status = task.delivery_status
    if task.notify is not Notify.SILENT or task.automation_id is not None:
        status = outbox.announce(tx, task, f"task.{task.status}", task_document(task), kept=_kept(tx, task))
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


def _kept(tx: Tx, task: Task) -> list[Attachment]:
    """The files that a run which did not come to its end has marked as partial, where they are wanted."""
    if task.status is Status.SUCCEEDED or not task.delivery.partial:
        return []
    rows = tx.all(
        "SELECT artifact_id, name, media_type FROM artifacts WHERE task_id = :task_id AND partial = 1"
        " ORDER BY artifact_id",
        task_id=task.task_id,
    )
    return [
        Attachment(name=row["name"], media_type=row["media_type"], artifact_id=row["artifact_id"])
        for row in rows
    ]
