"""Pausing a task and all that it has started, and letting go on what was paused with it."""

from typing import Any

import msgspec

from tawny.clock import Instant
from tawny.domain.tasks import Status, Task, WaitingFor
from tawny.ledger import relations
from tawny.ledger.database import Tx
from tawny.ledger.endings import catch_up
from tawny.ledger.particulars import set_intent
from tawny.ledger.tasks import get, to_json
from tawny.ledger.transitions import advance, resume_queued

_LEFT = "left"


def pause(tx: Tx, task: Task, *, by: str | None) -> Task:
    """Pause a task and its children: what runs stops at its next step boundary, the rest at once.

    What is paused already, has ended or is being cancelled stays as it is. `by` is `None` where it was written before.
    """
    if task.status.is_terminal or task.status is Status.PAUSED or task.intent == "cancel":
        return task
    if task.status is not Status.RUNNING:
        noted: dict[str, Any] = {} if by is None else {"intent_by": by}
        noted |= _stopped(task.waiting_for, tx.now)
        task = advance(tx, task, Status.PAUSED, event="paused", runnable=0, intent=None, **noted)
    elif task.intent is None:
        set_intent(tx, task, "pause", by=by or "owner")
        task = get(tx, task.task_id)
    pause_children(tx, task.task_id)
    return task


def pause_children(tx: Tx, task_id: str) -> None:
    """Pause all that a paused task has started and that goes on."""
    for child in relations.live_children(tx, task_id):
        pause(tx, child, by=_with(task_id))


def resume(tx: Tx, task: Task, *, by: str) -> Task:
    """Let a paused task go on where it was, and the children that were paused with it.

    A wait that is not over is waited for again; what was paused by itself stays so.
    """
    if task.status is Status.RUNNING:
        set_intent(tx, task, None, by=by)
    elif task.waiting_for is not None:
        waiting = _started(task.waiting_for, tx.now)
        task = advance(
            tx,
            task,
            Status.WAITING,
            event="resumed",
            wake_at=waiting.until,
            waiting_for=to_json(waiting),
        )
        tx.wake("timers")
        task = catch_up(tx, task)
    else:
        task = resume_queued(tx, task)
    for child in relations.paused_with(tx, task.task_id, _with(task.task_id)):
        resume(tx, child, by=_with(task.task_id))
    return get(tx, task.task_id)


def _stopped(waiting: WaitingFor | None, now: Instant) -> dict[str, Any]:
    """What is written of a wait for an event that stands still: how much time it has left. A timer has its time."""
    if waiting is None or waiting.kind != "event" or waiting.until is None:
        return {}
    left = max(waiting.until - now, 0)
    return {"waiting_for": to_json(msgspec.structs.replace(waiting, detail={**waiting.detail, _LEFT: left}))}


def _started(waiting: WaitingFor, now: Instant) -> WaitingFor:
    left = waiting.detail.get(_LEFT)
    if not isinstance(left, int):
        return waiting
    detail = {name: value for name, value in waiting.detail.items() if name != _LEFT}
    return msgspec.structs.replace(waiting, until=now + left, detail=detail)


def _with(parent_id: str) -> str:
    return f"task:{parent_id}"
