"""A map over many items: what a look at it costs does not grow with how many there are."""

import pytest
from tests.ledger.conftest import Meter

from tawny.domain.tasks import Submission, Task
from tawny.engine.offspring import spread
from tawny.ledger import items
from tawny.ledger.database import Tx
from tawny.ledger.submission import submit


def begun(tx: Tx, count: int) -> Task:
    """A task in the middle of a map: half of its items have succeeded, two have failed, four are under way."""
    task = submit(tx, Submission(kind="flow"))
    items.seed(tx, task.task_id, "each", 0, list(range(count)))
    done = (
        "UPDATE items SET status = :status, result = '\"task_gone\"', ended_at = :now"
        " WHERE task_id = :id AND n >= :low AND n < :high"
    )
    half = count // 2
    tx.execute(done, status="succeeded", low=0, high=half, now=tx.now, id=task.task_id)
    tx.execute(done, status="failed", low=half, high=half + 2, now=tx.now, id=task.task_id)
    assert wake(tx, task, 10) is not None
    return task


def wake(tx: Tx, task: Task, max_failures: int | None):
    def make(item: object, n: int) -> Submission:
        return Submission(kind="work", params={"item": item})

    return spread(tx, task, "each", make, concurrency=4, max_failures=max_failures)


@pytest.mark.parametrize("max_failures", [None, 10])
def test_a_child_that_ends_costs_its_parent_as_much_among_many_as_among_few(
    meter: Meter, max_failures: int | None
) -> None:
    def cost(count: int) -> int:
        task = begun(meter.tx, count)
        (first, *_) = items.under_way(meter.tx, task.task_id, "each")
        meter.tx.execute("UPDATE tasks SET status = 'succeeded' WHERE task_id = :id", id=first[1])
        return meter.hundreds_of_instructions(lambda: wake(meter.tx, task, max_failures))

    cost(200)
    assert cost(2_000) <= cost(200) + 4


def test_failures_are_counted_no_further_than_it_matters(meter: Meter) -> None:
    task = begun(meter.tx, 20)
    assert items.failures(meter.tx, task.task_id, "each", most=10) == 2
    assert items.failures(meter.tx, task.task_id, "each", most=1) == 1
    waiting = wake(meter.tx, task, 1)
    assert waiting is not None
    assert len(waiting.detail["children"]) == 4, "what is under way comes to its end"
    assert not waiting.detail["any"], "and no further one is begun"
