"""Verdicts: whether an ended task did what was asked, beside its status."""

from tawny.domain.tasks import Task
from tawny.ledger import audit, events
from tawny.ledger.database import Tx


def record(tx: Tx, task: Task, verdict: str, reason: str) -> bool:
    """Write the verdict once; `False` where there was one."""
    changed = tx.execute(
        "UPDATE tasks SET verdict = :verdict WHERE task_id = :id AND verdict IS NULL",
        verdict=verdict,
        id=task.task_id,
    )
    if not changed:
        return False
    events.append(
        tx,
        "task.judged",
        {"verdict": verdict, "reason": reason, "status": task.status, "title": task.title},
        task_id=task.task_id,
        session=task.session,
    )
    audit.append(
        tx,
        "task.judge",
        actor="engine",
        task_id=task.task_id,
        detail={"reason": reason},
        decision=verdict,
    )
    return True
