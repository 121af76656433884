"""Accepting work costs the same, however much has been done before."""

from pathlib import Path

from tawny.domain.tasks import Submission
from tawny.ledger import queue, tasks
from tawny.ledger.database import Tx
from tawny.ledger.migrations import migrate
from tawny.ledger.sqlite import SqliteStore
from tawny.ledger.submission import Limits, submit
from tawny.testing import FakeClock


def test_counting_the_tasks_does_not_read_what_has_ended(tmp_path: Path) -> None:
    clock = FakeClock()
    store = SqliteStore(tmp_path / "state.db")
    migrate(store, clock)
    connection = store.connect()
    connection.begin()
    tx = Tx(connection, clock.now())
    work = Submission(kind="simulate")

    def hundreds_of_instructions() -> int:
        ticks: list[int] = []
        connection._raw.set_progress_handler(lambda: ticks.append(1), 100)
        assert tasks.counts(tx)["queued"] == 1
        connection._raw.set_progress_handler(None, 0)
        return len(ticks)

    submit(tx, work)
    before = hundreds_of_instructions()
    for _ in range(2_000):
        submit(tx, work)
    tx.execute(
        "UPDATE tasks SET status = 'succeeded', runnable = 0, ended_at = :now WHERE task_id > (SELECT MIN(task_id)"
        " FROM tasks)",
        now=tx.now,
    )
    assert hundreds_of_instructions() <= before + 2
    connection.rollback()
    connection.close()


def test_accepting_a_task_does_not_read_what_has_ended(tmp_path: Path) -> None:
    clock = FakeClock()
    store = SqliteStore(tmp_path / "state.db")
    migrate(store, clock)
    connection = store.connect()
    connection.begin()
    tx = Tx(connection, clock.now())
    work = Submission(kind="simulate")

    def hundreds_of_instructions() -> int:
        ticks: list[int] = []
        raw = connection._raw
        raw.set_progress_handler(lambda: ticks.append(1), 100)
        task = submit(tx, work, limits=Limits(max_queued=1_000_000))
        queue.position(tx, task)
        raw.set_progress_handler(None, 0)
        return len(ticks)

    hundreds_of_instructions()
    before = hundreds_of_instructions()
    for _ in range(2_000):
        submit(tx, work)
    tx.execute("UPDATE tasks SET status = 'succeeded', runnable = 0, ended_at = :now", now=tx.now)
    assert hundreds_of_instructions() <= before + 2
    connection.rollback()
    connection.close()
