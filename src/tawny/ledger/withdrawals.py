"""A task has ended: nobody needs to answer its questions any more."""

from tawny.ledger import events, outbox
from tawny.ledger.database import Tx


def withdraw(tx: Tx, task_id: str) -> None:
    """Settle the open questions of a task that has ended; its messages about them stay in."""
    rows = tx.all(
        "UPDATE approvals SET status = 'expired', answered_at = :now, note = 'the task has ended'"
        " WHERE task_id = :task_id AND status = 'pending' RETURNING approval_id",
        task_id=task_id,
        now=tx.now,
    )
    for row in rows:
        hold_back(tx, row["approval_id"])
        events.append(
            tx,
            "approval.expired",
            {"approval_id": row["approval_id"], "note": "the task has ended"},
            task_id=task_id,
        )


def hold_back(tx: Tx, approval_id: str) -> None:
    """The question is settled: what has not gone out about it stays in."""
    tx.execute(
        f"UPDATE outbox SET status = {outbox.KEPT_IN}, error = 'the question is settled', next_at = NULL,"
        " updated_at = :now WHERE transition IN (:asked, :first, :second) AND status = 'pending' AND bundle IS NULL",
        asked=f"approval:{approval_id}",
        first=f"approval_reminder_1:{approval_id}",
        second=f"approval_reminder_2:{approval_id}",
        now=tx.now,
    )
