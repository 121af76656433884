"""Chat turns among the tasks: folding one into another, and where a session's turns stand."""

from tawny.domain.tasks import Status, Task, WaitingFor
from tawny.ledger import transitions
from tawny.ledger.database import Tx
from tawny.ledger.tasks import ACTIVE, from_row, get, to_json


def fold(tx: Tx, task_id: str, *, into: str) -> bool:
    """A turn that has not begun ends with another one, which answers for it; whether it had not begun."""
    task = get(tx, task_id)
    if task.status is not Status.QUEUED or task.attempt:
        return False
    waiting = WaitingFor("child", key="…", detail={"merged_into": into})
    transitions.advance(
        tx,
        task,
        Status.WAITING,
        event="waiting",
        data={"merged_into": into},
        merged_into=into,
        waiting_for=to_json(waiting),
        runnable=0,
    )
    return True


def of_lane(tx: Tx, session: str) -> list[Task]:
    """The session's chat turns that are queued or running, oldest first."""
    rows = tx.all(
        "SELECT * FROM tasks WHERE lane = :lane AND status IN ('queued', 'running') ORDER BY task_id",
        lane=session,
    )
    return [from_row(row) for row in rows]


def begun(tx: Tx, session: str) -> list[Task]:
    """The session's chat turns that run, then those that wait for something, newest first."""
    rows = tx.all(
        "SELECT * FROM tasks WHERE lane = :lane AND detached = 0 AND merged_into IS NULL"
        " AND status IN ('running', 'waiting') ORDER BY status, task_id DESC",
        lane=session,
    )
    return [from_row(row) for row in rows]


def background(tx: Tx, session: str, *, limit: int = 20) -> list[Task]:
    """The session's background tasks that have not ended, newest first."""
    rows = tx.all(
        f"SELECT * FROM tasks WHERE session = :session AND detached = 1 AND status IN {ACTIVE}"
        " ORDER BY task_id DESC LIMIT :limit",
        session=session,
        limit=limit,
    )
    return [from_row(row) for row in rows]


def recent(tx: Tx, session: str, *, limit: int = 5) -> list[Task]:
    """The session's background tasks that have ended, newest first."""
    rows = tx.all(
        f"SELECT * FROM tasks WHERE session = :session AND detached = 1 AND status NOT IN {ACTIVE}"
        " ORDER BY task_id DESC LIMIT :limit",
        session=session,
        limit=limit,
    )
    return [from_row(row) for row in rows]


def folded(tx: Tx, run_id: str) -> list[str]:
    """The turns that end with this one."""
    rows = tx.all("SELECT task_id FROM tasks WHERE merged_into = :run_id", run_id=run_id)
    return [row["task_id"] for row in rows]


def add_words(tx: Tx, task: Task, text: str) -> None:
    """One more message for a turn that has not begun."""
    params = {**task.params, "message": f"{task.params.get('message', '')}\n\n{text}"}
    tx.execute(
        "UPDATE tasks SET params = :params WHERE task_id = :id", params=to_json(params), id=task.task_id
    )


def active(tx: Tx, *, limit: int = 100) -> list[Task]:
    """All background tasks that have not ended, newest first."""
    rows = tx.all(
        f"SELECT * FROM tasks WHERE detached = 1 AND status IN {ACTIVE} ORDER BY task_id DESC LIMIT :limit",
        limit=limit,
    )
    return [from_row(row) for row in rows]
