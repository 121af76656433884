"""Why a task stands where it stands, and what unblocks it; in words a person understands."""

from typing import Any

from tawny.clock import iso
from tawny.domain.tasks import Status, Task
from tawny.ledger import queue, relations, starts, steps
from tawny.ledger.database import Tx
from tawny.ledger.tasks import get


def why(tx: Tx, task_id: str) -> dict[str, Any]:
    """`{"task_id", "status", "summary", "waiting_for", "unblock": [commands]}`."""
    task = get(tx, task_id)
    summary, unblock = _explain(tx, task)
    return {
        "task_id": task.task_id,
        "status": task.status,
        "summary": summary,
        "waiting_for": None if task.waiting_for is None else task.waiting_for.kind,
        "next_attempt_at": None if task.next_attempt_at is None else iso(task.next_attempt_at),
        "unblock": unblock,
    }


def _explain(tx: Tx, task: Task) -> tuple[str, list[str]]:
    match task.status:
        case Status.QUEUED:
            return _queued(tx, task)
        case Status.RUNNING:
            message = f": {task.progress.message}" if task.progress.message else ""
            if task.intent == "cancel":
                return "It is being cancelled; its processes are being stopped.", []
            return f"It is running (attempt {task.attempt}){message}.", [f"tawny tasks watch {task.task_id}"]
        case Status.WAITING:
            return _waiting(tx, task)
        case Status.PAUSED:
            return _paused(tx, task)
        case Status.SUCCEEDED:
            return "It has succeeded.", [f"tawny tasks result {task.task_id}"]
        case _:
            reason = f": {task.error.message}" if task.error else ""
            step = f" (at step {task.error.step})" if task.error and task.error.step else ""
            return f"It ended {task.status}{reason}{step}.", [f"tawny tasks retry {task.task_id}"]


def _paused(tx: Tx, task: Task) -> tuple[str, list[str]]:
    by = relations.paused_by(tx, task.task_id)
    parent = by.removeprefix("task:")
    if parent == by or parent != task.parent_id:
        return "It is paused, until somebody resumes it.", [f"tawny tasks resume {task.task_id}"]
    return (
        f"It was paused with {parent}, which has started it, and goes on when that is resumed.",
        [f"tawny tasks resume {parent}", f"tawny tasks resume {task.task_id}"],
    )


def _queued(tx: Tx, task: Task) -> tuple[str, list[str]]:
    followed = relations.unfinished_before(tx, task.task_id)
    if followed:
        names = ", ".join(f"{title!r} ({task_id}, {status})" for task_id, title, status in followed)
        return f"It follows {names}.", [f"tawny tasks show {followed[0][0]}"]
    if task.next_attempt_at is not None:
        reason = task.error.message if task.error else "a temporary failure"
        when = iso(task.next_attempt_at)
        return (
            f"It failed {task.failures} time(s) ({reason}) and is tried again at {when}.",
            [f"tawny tasks retry {task.task_id}", f"tawny tasks cancel {task.task_id}"],
        )
    if task.not_before is not None and task.not_before > tx.now:
        return f"It is not to start before {iso(task.not_before)}.", [f"tawny tasks retry {task.task_id}"]
    if task.window is not None:
        return f"It waits for its window, {task.window}.", [f"tawny tasks retry {task.task_id}"]
    if (storm := starts.holding(tx, task)) is not None:
        return f"It is ready and waits: {storm.text}.", ["tawny status", "tawny logs"]
    ahead = queue.position(tx, task)
    return (
        f"It is ready and waits for a free place; {ahead} of its owner's tasks stand before it. "
        "If no gateway runs, it starts with the next one.",
        ["tawny gateway run", "tawny status"],
    )


def _waiting(tx: Tx, task: Task) -> tuple[str, list[str]]:
    waiting = task.waiting_for
    if waiting is None:
        return "It waits.", []
    detail = waiting.detail
    match waiting.kind:
        case "timer":
            return f"It waits until {iso(waiting.until or 0)}.", []
        case "event":
            return (
                f"It waits for an event from {detail.get('source')!r} {detail.get('filter', '')}".rstrip()
                + ".",
                [],
            )
        case "approval":
            return (
                f"It waits for a yes: {detail.get('reason') or detail.get('tool')}.",
                ["tawny approvals list", "tawny approvals approve LOOKUP"],
            )
        case "child":
            active = relations.live_children(tx, task.task_id)
            names = ", ".join(f"{child.title!r} ({child.status})" for child in active[:5])
            if merged := detail.get("merged_into"):
                return f"It was folded into {merged} and gets its share of that result.", [
                    f"tawny tasks show {merged}"
                ]
            return f"It waits for its children: {names or 'they have just ended'}.", []
        case "budget":
            return f"Its budget is used up: {detail.get('reason', '')}.", ["raise the budget, then resume it"]
        case _:
            doubtful = [step.name for step in steps.uncertain(tx, task.task_id)]
            return (
                f"It was cut off while {', '.join(doubtful)} was under way; nobody can know whether it happened.",
                [
                    f"tawny tasks reconcile {task.task_id} done",
                    f"tawny tasks reconcile {task.task_id} redo",
                    f"tawny tasks reconcile {task.task_id} give_up",
                ],
            )
