"""Whom a task has to do with: its children, what it follows, and what hangs on it."""

import msgspec

from tawny.domain.tasks import Task
from tawny.ledger.database import Row, Tx
from tawny.ledger.tasks import ACTIVE, COLUMNS, from_row

_TIES = (
    f"EXISTS (SELECT 1 FROM tasks WHERE parent_id = :id AND awaited = 1 AND status IN {ACTIVE}) AS children,"
    " EXISTS (SELECT 1 FROM dependencies WHERE after_id = :id) AS followers,"
    f" EXISTS (SELECT 1 FROM tasks WHERE merged_into = :id AND status IN {ACTIVE}) AS merged,"
    " EXISTS (SELECT 1 FROM approvals WHERE task_id = :id AND status = 'pending') AS questions"
)
_BOTH = f"SELECT {COLUMNS}, {_TIES} FROM tasks WHERE task_id = :id"


class Ties(msgspec.Struct, frozen=True):
    """What hangs on a task: active children it waits for, tasks that follow it or were merged into it, questions."""

    children: bool
    followers: bool
    merged: bool
    questions: bool


def ties(tx: Tx, task_id: str) -> Ties:
    """What hangs on a task, in one look: most tasks have none of it."""
    row = tx.one(f"SELECT {_TIES}", id=task_id)
    assert row is not None
    return _ties(row)


def with_ties(tx: Tx, task_id: str) -> tuple[Task, Ties] | None:
    """A task and what hangs on it, in one look; `None` where there is no such task."""
    row = tx.one(_BOTH, id=task_id)
    return None if row is None else (from_row(row), _ties(row))


def _ties(row: Row) -> Ties:
    return Ties(bool(row["children"]), bool(row["followers"]), bool(row["merged"]), bool(row["questions"]))


def active_children(tx: Tx, task_id: str) -> list[str]:
    """The ids of children that have not ended and that the task has to wait for."""
    rows = tx.all(
        f"SELECT task_id FROM tasks WHERE parent_id = :task_id AND awaited = 1 AND status IN {ACTIVE}",
        task_id=task_id,
    )
    return [row["task_id"] for row in rows]


def living_children(tx: Tx, task_id: str) -> list[str]:
    """The ids of children that have not ended, awaited or not."""
    rows = tx.all(
        f"SELECT task_id FROM tasks WHERE parent_id = :task_id AND status IN {ACTIVE}", task_id=task_id
    )
    return [row["task_id"] for row in rows]


def live_children(tx: Tx, task_id: str) -> list[Task]:
    """The children that have not ended, awaited or not."""
    rows = tx.all(
        f"SELECT * FROM tasks WHERE parent_id = :task_id AND status IN {ACTIVE} ORDER BY task_id",
        task_id=task_id,
    )
    return [from_row(row) for row in rows]


def paused_with(tx: Tx, task_id: str, by: str) -> list[Task]:
    """The children that are paused, or about to be, by the hand that paused their parent."""
    rows = tx.all(
        "SELECT * FROM tasks WHERE parent_id = :task_id AND intent_by = :by"
        " AND (status = 'paused' OR (status = 'running' AND intent = 'pause')) ORDER BY task_id",
        task_id=task_id,
        by=by,
    )
    return [from_row(row) for row in rows]


def paused_by(tx: Tx, task_id: str) -> str:
    """Who wanted a task paused: a person or `task:` and its parent; empty where nobody is known."""
    return str(tx.value("SELECT intent_by FROM tasks WHERE task_id = :id", id=task_id) or "")


def has_failed_parts(tx: Tx, task_id: str) -> bool:
    """Whether a step, an item or a child of the task has not succeeded, whatever became of the whole."""
    return bool(
        tx.value(
            "SELECT CASE WHEN EXISTS (SELECT 1 FROM steps WHERE task_id = :id AND status <> 'succeeded')"
            " OR EXISTS (SELECT 1 FROM items WHERE task_id = :id AND status <> 'succeeded')"
            " OR EXISTS (SELECT 1 FROM tasks WHERE parent_id = :id AND status <> 'succeeded')"
            " THEN 1 ELSE 0 END AS found",
            id=task_id,
        )
    )


def unfinished_before(tx: Tx, task_id: str) -> list[tuple[str, str, str]]:
    """What a task follows and what has not ended: (id, title, status)."""
    rows = tx.all(
        "SELECT t.task_id, t.title, t.status FROM dependencies d JOIN tasks t ON t.task_id = d.after_id"
        f" WHERE d.task_id = :task_id AND t.status IN {ACTIVE} ORDER BY t.task_id",
        task_id=task_id,
    )
    return [(row["task_id"], row["title"], row["status"]) for row in rows]
