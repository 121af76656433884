"""What a task carries beside its status: progress, usage, origin, crashes, and what is wanted of it."""

import msgspec

from tawny.clock import Instant, iso
from tawny.domain.tasks import Origin, Progress, Task, Usage
from tawny.ledger import audit, events
from tawny.ledger.database import Tx
from tawny.ledger.tasks import get, to_json
from tawny.ledger.transitions import record


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


def set_crashes(tx: Tx, task: Task, crashes: int) -> Task:
    """How many processes in a row have died in this task with no step finished in between; the task with that."""
    tx.execute("UPDATE tasks SET crashes = :crashes WHERE task_id = :id", crashes=crashes, id=task.task_id)
    return msgspec.structs.replace(task, crashes=crashes)


def audit_effect(tx: Tx, task: Task, key: str, effect: str, status: str) -> None:
    """The audit row of a step that touched the world outside."""
    audit.append(
        tx,
        "task.effect",
        actor=f"task:{task.task_id}",
        task_id=task.task_id,
        detail={"step": key, "effect": effect, "status": status, "kind": task.kind},
    )


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
