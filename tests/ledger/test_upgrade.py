"""A home made by an older version opens under this one and keeps all; one of a newer version is refused."""

import hashlib
import re
import sqlite3
from contextlib import closing
from importlib import resources

import pytest
from tests.conftest import CONFIG

from tawny.app import open_app
from tawny.cli.main import main
from tawny.clock import SystemClock
from tawny.config import Home
from tawny.domain.tasks import Submission
from tawny.ledger import backup, tasks
from tawny.ledger.database import Tx
from tawny.ledger.homelock import HomeLock
from tawny.ledger.migrations import migrations, statements
from tawny.ledger.sqlite import SqliteStore
from tawny.ledger.submission import submit

LANDED = {
    "0001_foundation.sql": "31a887370f256100",
    "0002_automations.sql": "6e39e1af55762c55",
    "0003_approvals.sql": "f7040afd2da10959",
    "0004_sessions.sql": "2d8a94f08eeef145",
    "0005_delivery.sql": "052589b484e818a9",
    "0006_inbox.sql": "5d9c190e8803275a",
    "0007_gateway.sql": "4f6f927534b38d05",
    "0010_items.sql": "6840ca6048c688b5",
    "0013_shared_artifacts.sql": "8a9c521fdfe9e4a8",
    "0014_push_language.sql": "b2b992e62b965ea4",
    "0015_ended_counts.sql": "a1396f2007a05aff",
    "0016_revisions.sql": "475f6ced524ee9a2",
}
"""What homes out there have had. Whoever must change a table adds a migration."""
OLDER = 10


def test_migration_that_homes_have_had_is_never_edited():
    found = {
        entry.name: hashlib.sha256(entry.read_bytes()).hexdigest()[:16]
        for entry in resources.files("tawny.ledger").joinpath("schema").iterdir()
        if entry.name.endswith(".sql")
    }
    assert {name: found.get(name) for name in LANDED} == LANDED
    numbers = [number for number, _, _ in migrations()]
    assert len(set(numbers)) == len(numbers)
    assert set(found) == set(LANDED), "a new migration is written down here once it has landed"


def make_older(home: Home) -> list[str]:
    """A database as a version made it that knew the first migrations alone, with work in it; the tasks' ids."""
    store = SqliteStore(home.database)
    clock = SystemClock()

    def fill(fresh: SqliteStore) -> None:
        connection = fresh.connect()
        connection.execute(
            "CREATE TABLE migrations (number INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at BIGINT NOT NULL)"
        )
        for number, name, sql in migrations():
            if number <= OLDER:
                for statement in statements(sql):
                    connection.execute(statement)
                connection.execute(f"INSERT INTO migrations VALUES ({number}, '{name}', 0)")
        connection.close()

    store.create(fill)
    connection = store.connect()
    made: list[str] = []
    for n in range(20):
        connection.begin()
        tx = Tx(connection, clock.now())
        made.append(submit(tx, Submission(kind="simulate", params={"steps": 0}, title=f"t{n}")).task_id)
        connection.commit()
    connection.close()
    return made


async def test_home_of_an_older_version_keeps_all_and_goes_on(home: Home):
    made = make_older(home)
    assert "artifact_contents" not in _tables(home.database)
    async with open_app(home, CONFIG) as app:
        kept = [await app.ledger.read(lambda tx, task_id=task_id: tasks.get(tx, task_id)) for task_id in made]
        assert [task.title for task in kept] == [f"t{n}" for n in range(20)]
        changed = app.ledger.bell.subscribe("ended")
        while any(not task.status.is_terminal for task in kept):
            await changed.wait()
            changed.clear()
            kept = [
                await app.ledger.read(lambda tx, task_id=task_id: tasks.get(tx, task_id)) for task_id in made
            ]
        assert {task.status for task in kept} == {"succeeded"}
    backup.check(home.database, whole=True)


async def test_copy_of_the_older_database_is_one_whole_file(home: Home):
    make_older(home)
    async with open_app(home, CONFIG):
        pass
    copies = [path for path in home.root.iterdir() if ".before-" in path.name]
    assert len(copies) == 1, copies
    assert re.fullmatch(r"state\.db\.before-\d{4}_\w+\.[\dTZ:.-]+", copies[0].name)
    with closing(sqlite3.connect(f"file:{copies[0]}?mode=ro", uri=True)) as connection:
        assert connection.execute("SELECT COUNT(*) FROM tasks").fetchone() == (20,)
        assert connection.execute("SELECT MAX(number) FROM migrations").fetchone() == (OLDER,)


def test_first_command_after_an_update_brings_the_database_up_to_date(
    home: Home, capsys: pytest.CaptureFixture[str]
):
    made = make_older(home)
    assert main(["--home", str(home.root), "tasks", "show", made[0]]) == 0
    assert "t0" in capsys.readouterr().out
    assert "artifact_contents" in _tables(home.database)
    assert len([path for path in home.root.iterdir() if ".before-" in path.name]) == 1


def test_command_leaves_the_database_of_a_running_older_gateway_alone(
    home: Home, capsys: pytest.CaptureFixture[str]
):
    made = make_older(home)
    lock = HomeLock(home)
    lock.acquire()
    try:
        assert main(["--home", str(home.root), "tasks", "show", made[0]]) == 1
    finally:
        lock.release()
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "is of an older version" in line
    assert line.endswith("(tawny gateway restart)")
    assert "artifact_contents" not in _tables(home.database)


def test_home_of_a_newer_version_is_refused_and_left_as_it_is(home: Home, capsys: pytest.CaptureFixture[str]):
    made = make_older(home)
    with closing(sqlite3.connect(home.database)) as connection:
        connection.execute("INSERT INTO migrations VALUES (9999, 'from_the_future', 0)")
        connection.commit()
    tables = _tables(home.database)
    assert main(["--home", str(home.root), "tasks", "show", made[0]]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "has migration 9999" in line
    assert "run the newer version" in line
    assert _tables(home.database) == tables


def _tables(database: object) -> set[str]:
    with closing(sqlite3.connect(str(database))) as connection:
        return {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
