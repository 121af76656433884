"""Accepting work costs the same, however much has been done before."""

from tests.ledger.conftest import Meter

from tawny.domain.tasks import Submission
from tawny.ledger import queue, tasks
from tawny.ledger.submission import Limits, submit


def test_counting_the_tasks_does_not_read_what_has_ended(meter: Meter) -> None:
    tx, work = meter.tx, Submission(kind="simulate")

    def count() -> None:
        assert tasks.counts(tx)["queued"] == 1

    submit(tx, work)
    before = meter.hundreds_of_instructions(count)
    for _ in range(2_000):
        submit(tx, work)
    tx.execute(
        "UPDATE tasks SET status = 'succeeded', runnable = 0, ended_at = :now WHERE task_id > (SELECT MIN(task_id)"
        " FROM tasks)",
        now=tx.now,
    )
    assert meter.hundreds_of_instructions(count) <= before + 2


def test_accepting_a_task_does_not_read_what_has_ended(meter: Meter) -> None:
    tx, work = meter.tx, Submission(kind="simulate")

    def accept() -> None:
        task = submit(tx, work, limits=Limits(max_queued=1_000_000))
        queue.position(tx, task)

    meter.hundreds_of_instructions(accept)
    before = meter.hundreds_of_instructions(accept)
    for _ in range(2_000):
        submit(tx, work)
    tx.execute("UPDATE tasks SET status = 'succeeded', runnable = 0, ended_at = :now", now=tx.now)
    assert meter.hundreds_of_instructions(accept) <= before + 2
