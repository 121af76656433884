"""What a person may order of a task. Each takes an id and re-reads it inside its transaction."""

from tawny.domain.origin import of_retry, with_own_keys
from tawny.domain.tasks import Failure, Json, Notify, Priority, Status, Submission, Task, queue_rank
from tawny.errors import Conflict, InvalidInput
from tawny.ledger import (
    audit,
    endings,
    events,
    outbox,
    particulars,
    pausing,
    relations,
    steps,
    succession,
    transitions,
)
from tawny.ledger.database import Tx
from tawny.ledger.submission import submit
from tawny.ledger.tasks import get


def cancel(tx: Tx, task_id: str, *, by: str = "owner", reason: str = "") -> Task:
    """Cancel a task and its children. What runs is stopped first; only then is it `cancelled`.

    Raises:
        Conflict: it has ended already.
    """
    task = get(tx, task_id)
    if task.status.is_terminal:
        raise Conflict(f"{task.task_id} has ended already: it is {task.status}", code="terminal")
    audit.append(tx, "task.cancel", actor=by, task_id=task_id, detail={"reason": reason} if reason else {})
    return _cancel(tx, task, by=by, reason=reason)


def _cancel(tx: Tx, task: Task, *, by: str, reason: str) -> Task:
    for child in relations.live_children(tx, task.task_id):
        _cancel(tx, child, by=by, reason=reason)
    task = get(tx, task.task_id)
    if task.status.is_terminal:
        return task
    if task.status is Status.RUNNING:
        particulars.set_intent(tx, task, "cancel", by=by)
        return get(tx, task.task_id)
    why = f"cancelled by {by}" + (f": {reason}" if reason else "")
    return endings.finish(tx, task, Status.CANCELLED, error=Failure("cancelled", why), actor=by)


def pause(tx: Tx, task_id: str, *, by: str = "owner") -> Task:
    """Pause a task and its children: what runs stops at its next step boundary, the rest at once.

    Pausing twice changes nothing.

    Raises:
        Conflict: it has ended already.
    """
    task = get(tx, task_id)
    if task.status is Status.PAUSED:
        return task
    if task.status.is_terminal:
        raise Conflict(f"{task.task_id} has ended already: it is {task.status}", code="terminal")
    audit.append(tx, "task.pause", actor=by, task_id=task_id)
    return pausing.pause(tx, task, by=by)


def resume(tx: Tx, task_id: str, *, by: str = "owner") -> Task:
    """Let a paused task go on where it was, and what was paused with it; a wait that is not over is waited for again.

    Raises:
        Conflict: it is not paused.
    """
    task = get(tx, task_id)
    if task.status is Status.RUNNING and task.intent == "pause":
        return pausing.resume(tx, task, by=by)
    if task.status is not Status.PAUSED:
        raise Conflict(
            f"{task.task_id} is {task.status}, not paused", hint="only a paused task can be resumed"
        )
    audit.append(tx, "task.resume", actor=by, task_id=task_id)
    return pausing.resume(tx, task, by=by)


def retry(tx: Tx, task_id: str, *, by: str = "owner", fresh: bool = False) -> Task:
    """Run an ended task's work again as a new task, since what has ended is final; a scheduled retry comes at once.

    The new task takes over the finished steps, so that only the rest runs, and asks first about an at-most-once step
    that was cut off; `fresh` starts from the beginning, whatever has happened.

    Raises:
        Conflict: it is under way, or succeeded in all its parts and is not to be done `fresh`.
    """
    task = get(tx, task_id)
    if task.status is Status.QUEUED:
        audit.append(tx, "task.retry", actor=by, task_id=task_id)
        return transitions.run_now(tx, task)
    if not task.status.is_terminal:
        raise Conflict(f"{task.task_id} is {task.status}: it is under way", hint="cancel it first")
    if task.status is Status.SUCCEEDED and not fresh and not relations.has_failed_parts(tx, task_id):
        raise Conflict(
            f"{task.task_id} has succeeded: nothing of it is left to do",
            hint="'tawny tasks retry --fresh' does all of it again",
        )
    audit.append(tx, "task.retry", actor=by, task_id=task_id)
    again = submit(
        tx,
        Submission(
            kind=task.kind,
            params=task.params,
            title=task.title,
            runtime=task.runtime,
            priority=task.priority,
            timeout=task.timeout,
            notify=task.notify,
            retry=task.retry,
            delivery=task.delivery,
            session=task.session,
            owner=task.owner,
            lane=task.lane,
            budget=task.budget,
            effect=task.effect,
            automation_id=task.automation_id,
            flow_id=task.flow_id,
            detached=task.detached,
            origin=with_own_keys(task.origin) if fresh else of_retry(task),
        ),
        actor=by,
    )
    if fresh:
        return again
    return succession.take_over(tx, task, again)


def set_notify(tx: Tx, task_id: str, notify: str) -> Task:
    """Change what a task tells: `silent done_only state_changes on_failure`; what is owed and no longer wanted too.

    A task that has ended stays as it is, but what it still owes (held by quiet hours, waiting for a retry) is kept in.

    Raises:
        InvalidInput: it is none of them.
        Conflict: it has ended, and owes nothing that the policy would keep in.
    """
    if notify not in {*Notify}:
        raise InvalidInput(f"notify: {notify!r} is no policy", hint=f"one of {', '.join(Notify)}")
    task = get(tx, task_id)
    hushed = outbox.hush(tx, task_id, Notify(notify))
    if hushed and task.status.is_terminal:
        events.append(tx, "task.notify_changed", {"notify": notify, "suppressed": hushed}, task_id=task_id)
        return get(tx, task_id)
    return transitions.set_columns(tx, task, "notify_changed", notify=notify)


def set_priority(tx: Tx, task_id: str, priority: str) -> Task:
    """Change a task's class: `interactive high normal low idle`.

    Raises:
        InvalidInput: it is none of them.
    """
    if priority not in {*Priority}:
        raise InvalidInput(f"priority: {priority!r} is no class", hint=f"one of {', '.join(Priority)}")
    task = get(tx, task_id)
    rank = queue_rank(Priority(priority), task.created_at, task.deadline)
    after = transitions.set_columns(tx, task, "priority_changed", priority=priority, queue_rank=rank)
    tx.wake("queue")
    return after


def reconcile(tx: Tx, task_id: str, answer: str, *, by: str = "owner", result: Json = None) -> Task:
    """Say what became of an uncertain effect: `done` (with its result), `redo`, or `give_up`.

    Raises:
        Conflict: the task does not wait for that.
        InvalidInput: the answer is none of the three.
    """
    task = get(tx, task_id)
    waiting = task.waiting_for
    if waiting is None or waiting.kind != "reconcile":
        raise Conflict(
            f"{task.task_id} does not wait to be reconciled", hint="'tawny tasks why' tells what it waits for"
        )
    if answer not in ("done", "redo", "give_up"):
        raise InvalidInput(f"answer: {answer!r} is none", hint="one of done, redo, give_up")
    audit.append(tx, "task.reconcile", actor=by, task_id=task_id, decision=answer, detail=waiting.detail)
    keys = [str(key) for key in waiting.detail.get("steps", [waiting.key])]
    if answer == "give_up":
        failure = Failure("permanent", f"given up by {by}: the outcome of {', '.join(keys)} is unknown")
        return endings.finish(tx, task, Status.FAILED, error=failure, actor=by)
    for key in keys:
        if answer == "done":
            steps.settle(tx, task_id, key, status="succeeded", result=result)
        else:
            steps.forget(tx, task_id, key)
    task = particulars.set_crashes(tx, task, 0)
    if task.status is Status.PAUSED:
        transitions.end_wait(tx, task_id)
        return get(tx, task_id)
    return transitions.requeue(tx, task, event="resumed", data={"after": "reconcile", "answer": answer})
