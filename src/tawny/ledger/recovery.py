"""After a restart: what the old process held is released at once, and goes on where it was."""

from collections.abc import Callable

import msgspec

from tawny.clock import MINUTE, Instant
from tawny.domain.messages import Outgoing
from tawny.domain.tasks import Failure, Status, Task, WaitingFor
from tawny.ledger import outbox, steps
from tawny.ledger.database import Tx
from tawny.ledger.endings import finish
from tawny.ledger.particulars import set_crashes
from tawny.ledger.tasks import from_row, to_json
from tawny.ledger.transitions import advance, end_execution, requeue

QUARANTINE_AFTER = 3
LOST_GRACE = 5 * MINUTE


class Recovered(msgspec.Struct, frozen=True):
    """What became of the work that was running: task ids."""

    resumed: list[str]
    reconcile: list[str]
    quarantined: list[str]
    cancelled: list[str]
    backing_gone: list[str]


Gone = Callable[[str], bool]
"""Whether the worker of this name is gone for good: its leases count no more."""


def owners(tx: Tx) -> set[str]:
    """The workers who hold leases now."""
    return {
        row["lease_owner"]
        for row in tx.all("SELECT DISTINCT lease_owner FROM tasks WHERE status = 'running'")
        if row["lease_owner"] is not None
    }


def recover(tx: Tx, *, gone: Gone, known: set[str], resumable: set[str]) -> Recovered:
    """Release every running task whose worker is gone.

    Args:
        tx: the transaction.
        gone: tells of a worker whether it is.
        known: kinds that can be run here.
        resumable: kinds whose work can be taken up again.
    """
    outcome = Recovered([], [], [], [], [])
    for row in tx.all("SELECT * FROM tasks WHERE status = 'running' ORDER BY task_id"):
        owner: str | None = row["lease_owner"]
        if owner is None or gone(owner):
            release(tx, from_row(row), outcome, known=known, resumable=resumable)
    return outcome


def release(tx: Tx, task: Task, outcome: Recovered, *, known: set[str], resumable: set[str]) -> None:
    """Release one task whose worker is gone."""
    if task.kind not in known or task.kind not in resumable:
        # Its backing may come back within the grace: a plugin installed again, a machine that has it, a harness.
        tx.execute(
            "UPDATE tasks SET lease_owner = NULL, lease_until = :until"
            " WHERE task_id = :task_id AND status = 'running' AND lease_owner IS NOT NULL",
            until=tx.now + LOST_GRACE,
            task_id=task.task_id,
        )
        tx.wake("timers")
        outcome.backing_gone.append(task.task_id)
        return
    crashes = task.crashes + 1
    task = set_crashes(tx, task, crashes)
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


def disown(tx: Tx, *, worker: str, holding: set[tuple[str, int]]) -> list[str]:
    """Release what `worker` leased and does not run: a claim was committed and its answer lost on the way.

    `holding` are the tasks it runs, with their attempts.
    """
    rows = tx.all("SELECT * FROM tasks WHERE status = 'running' AND lease_owner = :worker", worker=worker)
    released: list[str] = []
    for task in map(from_row, rows):
        if (task.task_id, task.attempt) not in holding:
            end_execution(tx, task, "released")
            requeue(tx, task, event="released", data={"reason": "the answer to its claim was lost"})
            released.append(task.task_id)
    return released


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


def adoptable(tx: Tx, *, resumable: set[str]) -> bool:
    """Whether a running task without a worker is of a kind that can be taken up here."""
    rows = tx.all("SELECT DISTINCT kind FROM tasks WHERE status = 'running' AND lease_owner IS NULL")
    return any(row["kind"] in resumable for row in rows)


def next_lost(tx: Tx) -> Instant | None:
    """When the grace of the next task without a backing ends."""
    due: Instant | None = tx.value(
        "SELECT MIN(lease_until) AS due FROM tasks WHERE status = 'running' AND lease_owner IS NULL"
    )
    return due


def expire_lost(tx: Tx) -> list[str]:
    """Call `lost` what still has no backing when its grace has passed."""
    rows = tx.all(
        "SELECT * FROM tasks WHERE status = 'running' AND lease_owner IS NULL AND lease_until <= :now",
        now=tx.now,
    )
    lost: list[str] = []
    for row in rows:
        task = from_row(row)
        end_execution(tx, task, "lost")
        reason = f"its backing is gone: no kind {task.kind!r} that could take it up is installed any more"
        finish(tx, task, Status.LOST, error=Failure("lost", reason))
        lost.append(task.task_id)
    return lost
