"""What goes to PostgreSQL in batches: whose errors are whose, how often the server is waited for, and what is kept."""

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from tests.ledger.test_writer import together

import servers
from tawny.clock import MINUTE, SystemClock
from tawny.config import Config
from tawny.config import Ledger as Place
from tawny.domain.tasks import Submission
from tawny.errors import StorageError
from tawny.ledger import queue, tasks
from tawny.ledger.database import Ledger, Tx
from tawny.ledger.migrations import migrate
from tawny.ledger.pipeline import translate
from tawny.ledger.postgres import PostgresConnection, PostgresStore
from tawny.ledger.submission import Limits, submit

WORK = Submission(kind="work")


@pytest.fixture
def config(postgres: str) -> Iterator[Config]:
    """PostgreSQL alone: SQLite has no way to go."""
    with servers.database(postgres) as url:
        yield Config(ledger=Place(url=url))


@pytest.fixture
def store(config: Config) -> PostgresStore:
    store = PostgresStore(config.ledger.url)
    migrate(store, SystemClock())
    return store


@pytest.fixture
def connection(store: PostgresStore) -> Iterator[PostgresConnection]:
    connection = store.connect()
    yield connection
    connection.close()


def waited(connection: PostgresConnection, work: Callable[[], Any]) -> int:
    """How often it waits for the server."""
    before = connection.trips
    work()
    return connection.trips - before


def note(tx: Tx, name: str) -> None:
    tx.insert("meta", {"name": name, "value": "x"})


async def test_what_nobody_waited_for_fails_whoever_wrote_it_and_nobody_else(ledger: Ledger):
    def twice(tx: Tx) -> None:
        note(tx, "first")
        note(tx, "first")

    before, failed, task = await together(
        ledger, lambda tx: note(tx, "before"), twice, lambda tx: submit(tx, WORK)
    )
    assert (before, type(failed)) == (None, psycopg.errors.UniqueViolation)

    assert (await ledger.read(lambda tx: tasks.get(tx, task.task_id))).title == "work"
    assert await ledger.read(lambda tx: tx.value("SELECT COUNT(*) FROM meta WHERE name = 'before'")) == 1
    assert await ledger.read(lambda tx: tx.value("SELECT COUNT(*) FROM meta WHERE name = 'first'")) == 0
    # The numbers that the failed one had taken are not missing.
    log = await ledger.read(lambda tx: tx.all("SELECT seq FROM events ORDER BY seq"))
    assert [row["seq"] for row in log] == list(range(1, len(log) + 1))


async def test_a_lone_write_that_fails_late_fails_and_the_next_is_none_the_worse(ledger: Ledger):
    await ledger.write(lambda tx: note(tx, "one"))
    with pytest.raises(psycopg.errors.UniqueViolation):
        await ledger.write(lambda tx: note(tx, "one"))

    await ledger.write(lambda tx: note(tx, "two"))
    assert await ledger.read(lambda tx: tx.value("SELECT COUNT(*) FROM meta WHERE name = 'two'")) == 1


async def test_what_is_read_after_it_was_sent_sees_it(ledger: Ledger):
    def write(tx: Tx) -> Any:
        note(tx, "sent")
        return tx.value("SELECT value FROM meta WHERE name = :name", name="sent")

    assert await ledger.write(write) == "x"


def test_a_task_in_a_group_waits_for_the_server_a_few_times(connection):
    def accept() -> None:
        with connection.savepoint():
            submit(Tx(connection, 10, tx.numbers, tx._appended), WORK, limits=Limits(max_queued=100))

    connection.begin()
    tx = Tx(connection, 10)
    accept()
    # How many wait already, and that it is written. Its savepoint, its event and its audit row go along.
    assert waited(connection, accept) <= 2
    slots = queue.Slots(background=3, interactive=3, per_owner=3, busy=0)
    # What there is and whose, what may start, its change and how it stands then.
    assert waited(connection, lambda: queue.claim(tx, slots, worker="w", lease_until=MINUTE)) <= 4
    assert (
        waited(connection, lambda: (tx.write_out(), connection.announce({"queue"}), connection.commit())) == 1
    )


def test_a_question_waits_for_the_server_once(store, connection):
    reader = store.connect(read_only=True)

    def ask() -> None:
        reader.begin()
        reader.fetch("SELECT value FROM counters WHERE name = :name", {"name": "event"})
        reader.rollback()

    ask()
    assert waited(reader, ask) == 1
    # Each has a picture of its own, and it ends with it.
    connection.begin()
    connection.execute("UPDATE counters SET value = 7 WHERE name = 'event'")
    connection.commit()
    reader.begin()
    assert reader.fetch("SELECT value FROM counters WHERE name = :name", {"name": "event"})[0]["value"] == 7
    reader.rollback()
    reader.close()


def test_many_rows_go_in_a_few_ways(connection):
    connection.begin()
    rows = [{"name": f"row {n}", "value": str(n)} for n in range(1_700)]
    insert = "INSERT INTO meta (name, value) VALUES (:name, :value)"
    assert waited(connection, lambda: connection.execute_many(insert, rows)) == 3
    connection.commit()

    assert connection.fetch("SELECT COUNT(*) AS n FROM meta WHERE name LIKE 'row %'")[0]["n"] == 1_700


def test_nothing_stays_in_a_transaction_whose_late_answer_is_an_error(connection):
    connection.begin()
    connection.send("INSERT INTO meta (name, value) VALUES ('kept', 'x')")
    connection.send("INSERT INTO meta (name, value) VALUES ('kept', 'y')")
    with pytest.raises(psycopg.errors.UniqueViolation):
        connection.commit()
    connection.rollback()

    assert connection.fetch("SELECT * FROM meta WHERE name = 'kept'") == []


def test_a_table_that_is_changed_under_what_was_prepared_costs_one_refusal(store, connection):
    def look() -> list[dict[str, Any]]:
        connection.begin()
        try:
            return list(connection.fetch("SELECT * FROM counters WHERE name = :name", {"name": "event"}))
        finally:
            connection.rollback()

    for _ in range(3):
        look()
    other = store.connect()
    other.execute("ALTER TABLE counters ADD COLUMN more TEXT")
    other.close()
    with pytest.raises(psycopg.errors.FeatureNotSupported):
        look()

    assert "more" in look()[0]


def test_more_statements_than_are_kept_prepared_all_work(connection):
    for round in range(3):
        for n in range(500):
            connection.begin()
            found = connection.fetch(f"SELECT CAST(:n AS BIGINT) AS n{n}", {"n": round})
            connection.rollback()
            assert found == [{f"n{n}": round}]

    assert connection.fetch("SELECT COUNT(*) AS n FROM pg_prepared_statements")[0]["n"] < 500


def test_a_plan_made_for_an_empty_table_does_not_read_all_of_a_full_one(store, connection):
    def scans() -> int:
        connection.execute("SELECT pg_stat_force_next_flush()")
        other = store.connect()
        try:
            rows = other.fetch("SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'tasks'")
            return int(rows[0]["seq_scan"])
        finally:
            other.close()

    connection.begin()
    tx = Tx(connection, 10)
    for _ in range(10):
        tasks.several(tx, ["task_1"])
    made = [submit(tx, WORK).task_id for _ in range(300)]
    tx.write_out()
    connection.commit()
    before = scans()
    connection.begin()
    assert len(tasks.several(Tx(connection, 10), made[:20])) == 20
    connection.rollback()

    assert scans() == before


def test_a_connection_that_the_server_ends_is_made_anew(store, connection):
    connection.begin()
    connection.rollback()
    other = store.connect()
    other.execute("SELECT pg_terminate_backend(:pid)", {"pid": connection.pid})
    other.close()

    connection.begin()
    connection.send("INSERT INTO meta (name, value) VALUES ('after', 'x')")
    connection.commit()
    other = store.connect()
    other.execute("SELECT pg_terminate_backend(:pid)", {"pid": connection.pid})
    other.close()
    with pytest.raises(StorageError, match="the database has gone"):
        connection.fetch("SELECT 1 AS one")
    connection.begin()
    assert connection.fetch("SELECT value FROM meta WHERE name = 'after'")[0]["value"] == "x"
    connection.rollback()


def test_parameters_are_numbered_and_casts_left_alone():
    assert translate("a = :one AND b = :two OR c = :one") == (b"a = $1 AND b = $2 OR c = $1", ("one", "two"))
    assert translate("a::text LIKE '%' || :x") == (b"a::text LIKE '%' || $1", ("x",))
