"""How people name a task."""

import pytest

from tawny.domain.tasks import Status, Submission
from tawny.errors import Conflict, NotFound
from tawny.ledger import endings, tasks, transitions
from tawny.ledger.database import Tx
from tawny.ledger.submission import submit


async def test_a_task_is_found_by_its_run_and_by_its_session(ledger):
    """What the specification lets people name: a task's id, a run's id, a session's key."""

    def make(tx: Tx) -> list[str]:
        return [
            submit(tx, Submission(kind="remind", params={"text": "x"}, session="family")).task_id
            for _ in range(2)
        ]

    first, second = await ledger.write(make)
    [started] = await ledger.write(
        lambda tx: transitions.start(tx, [(first, 0)], worker="w", lease_until=tx.now + 1)
    )
    assert (await ledger.read(lambda tx: tasks.find(tx, started.execution_id))).task_id == first
    with pytest.raises(Conflict, match="could be several"):
        await ledger.read(lambda tx: tasks.find(tx, "family"))
    await ledger.write(lambda tx: endings.finish(tx, tasks.get(tx, second), Status.CANCELLED))
    assert (await ledger.read(lambda tx: tasks.find(tx, "family"))).task_id == first, "the one under way"
    await ledger.write(lambda tx: endings.finish(tx, tasks.get(tx, first), Status.SUCCEEDED))
    assert (await ledger.read(lambda tx: tasks.find(tx, "family"))).task_id == second, "the newest"
    with pytest.raises(NotFound):
        await ledger.read(lambda tx: tasks.find(tx, "nobody"))
