"""After a restart: what the old process held is released at once, and goes on where it was."""

import msgspec

from tawny.clock import Instant
from tawny.domain.messages import Outgoing
from tawny.domain.tasks import Failure, Status, Task, WaitingFor
from tawny.ledger import outbox, steps
from tawny.ledger.database import Tx
from tawny.ledger.endings import finish
from tawny.ledger.particulars import set_crashes
from tawny.ledger.tasks import from_row, to_json
from tawny.ledger.transitions import advance, end_execution, requeue

QUARANTINE_AFTER = 3


class Recovered(msgspec.Struct, frozen=True):
    """What became of the work that was running: task ids."""

    resumed: list[str]
    reconcile: list[str]
    quarantined: list[str]
    cancelled: list[str]
    backing_gone: list[str]


def recover(tx: Tx, *, worker: str, known: set[str], resumable: set[str]) -> Recovered:
    """Release every running task of workers other than `worker`, who are gone.

    Args:
        tx: the transaction.
        worker: this process.
        known: kinds that can be run here.
        resumable: kinds whose work can be taken up again.
    """
    rows = tx.all(
        "SELECT * FROM tasks WHERE status = 'running' AND (lease_owner IS NULL OR lease_owner <> :worker)",
        worker=worker,
    )
    outcome = Recovered([], [], [], [], [])
    for row in rows:
        release(tx, from_row(row), outcome, known=known, resumable=resumable)
    return outcome


def release(tx: Tx, task: Task, outcome: Recovered, *, known: set[str], resumable: set[str]) -> None:
    """Release one task whose worker is gone."""
    if task.kind not in known or task.kind not in resumable:
        # Its backing may come back within the grace (a plugin installed again, a harness reconnected).
        outcome.backing_gone.append(task.task_id)
        return
    crashes = task.crashes + 1
    set_crashes(tx, task.task_id, crashes)
    end_execution(tx, task, "crashed")
    if task.intent == "cancel":
        finish(tx, task, Status.CANCELLED, error=Failure("cancelled", "cancelled on request"))
        outcome.cancelled.append(task.task_id)
    elif crashes >= QUARANTINE_AFTER:
        quarantine(tx, task, crashes)
        outcome.quarantined.append(task.task_id)
    elif doubtful := steps.uncertain(tx, task.task_id):
        reconcile(tx, task, [step.key for step in doubtful])
        outcome.reconcile.append(task.task_id)
    elif task.intent == "pause":
        advance(tx, task, Status.PAUSED, event="paused", intent=None)
        outcome.resumed.append(task.task_id)
    else:
        requeue(tx, task, event="resumed", data={"reason": "the process that ran it is gone"})
        outcome.resumed.append(task.task_id)


def quarantine(tx: Tx, task: Task, crashes: int) -> None:
    """Set apart a task that kills its worker; everything else goes on."""
    reason = f"quarantined: {crashes} processes in a row died in it with no step finished in between"
    finish(tx, task, Status.FAILED, error=Failure("permanent", reason))
    outbox.put(
        tx,
        task_id=task.task_id,
        transition="quarantined",
        target="inbox",
        message=Outgoing(
            key="", text=f"{task.title}: {reason}. 'tawny tasks retry {task.task_id}' runs it again."
        ),
        severity="high",
        incident=f"quarantine:{task.task_id}",
    )


def reconcile(tx: Tx, task: Task, keys: list[str], *, because: str = "the process died") -> None:
    """An effect may or may not have happened: only a person can say. The task waits for that."""
    for key in keys:
        tx.execute(
            "UPDATE steps SET status = 'uncertain' WHERE task_id = :task_id AND step_key = :key",
            task_id=task.task_id,
            key=key,
        )
    waiting = WaitingFor("reconcile", key=keys[0], detail={"steps": keys})
    advance(
        tx,
        task,
        Status.WAITING,
        event="waiting",
        data={"waiting_for": {"kind": "reconcile", "steps": keys}},
        waiting_for=to_json(waiting),
    )
    outbox.put(
        tx,
        task_id=task.task_id,
        transition=f"reconcile.{task.attempt}",
        target="inbox",
        message=Outgoing(
            key="",
            text=(
                f"{task.title}: {because} while {', '.join(keys)} was under way, and nobody can know whether"
                f" it happened. Say done, redo or give up: 'tawny tasks why {task.task_id}'."
            ),
        ),
        severity="high",
        incident=f"reconcile:{task.task_id}",
    )


def expire_lost(tx: Tx, *, before: Instant, known: set[str]) -> list[str]:
    """Call `lost` what still has no backing after the grace; `before` is now less the grace."""
    rows = tx.all(
        "SELECT * FROM tasks WHERE status = 'running' AND lease_until IS NOT NULL AND lease_until < :before",
        before=before,
    )
    lost: list[str] = []
    for row in rows:
        task = from_row(row)
        if task.kind in known:
            continue
        end_execution(tx, task, "lost")
        reason = f"its backing is gone: no kind {task.kind!r} is installed any more"
        finish(tx, task, Status.LOST, error=Failure("lost", reason))
        lost.append(task.task_id)
    return lost
