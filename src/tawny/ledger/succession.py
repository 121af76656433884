"""One task does the work of another again: what it takes over, so that only the rest is done."""

from tawny.domain.tasks import Task
from tawny.ledger import items, recovery, steps
from tawny.ledger.database import Tx
from tawny.ledger.tasks import get


def take_over(tx: Tx, before: Task, after: Task) -> Task:
    """Give a task the finished steps and items of the one that did its work before; the task as it stands then.

    Of an at-most-once step that was cut off, only a person can say what became of it: it asks first.
    """
    undone = steps.undone(tx, before.task_id)
    items.inherit(tx, before.task_id, after.task_id, without=undone)
    if doubtful := steps.inherit(tx, before.task_id, after.task_id, undone=undone):
        recovery.reconcile(tx, after, doubtful, because=f"{before.task_id} ended {before.status}")
    return get(tx, after.task_id)


def adopt(tx: Tx, child: Task, parent_id: str) -> Task:
    """A child that has outlived its parent is waited for by the task that does the parent's work again."""
    tx.execute(
        "UPDATE tasks SET parent_id = :parent_id WHERE task_id = :task_id",
        parent_id=parent_id,
        task_id=child.task_id,
    )
    return get(tx, child.task_id)
