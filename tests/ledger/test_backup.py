"""A copy is whole and can be put back; a damaged record is never read as an empty one."""

import os
import random
import sqlite3
from contextlib import closing

import pytest
from tests.conftest import CONFIG

from tawny.app import open_app
from tawny.config import Home
from tawny.domain.tasks import Submission
from tawny.errors import InvalidInput, StorageError
from tawny.ledger import backup, tasks
from tawny.ledger.submission import submit


@pytest.fixture
async def filled(home: Home) -> Home:
    async with open_app(home, CONFIG) as app:
        for n in range(50):
            await app.ledger.write(
                lambda tx, n=n: submit(
                    tx, Submission(kind="simulate", params={"steps": 0}, title=f"t{n}", lane=f"l{n}")
                )
            )
    return home


async def count(home: Home) -> int:
    async with open_app(home, CONFIG) as app:
        return sum((await app.ledger.read(tasks.counts)).values())


async def test_a_backup_taken_while_the_engine_runs_is_whole(filled, tmp_path):
    async with open_app(filled, CONFIG):
        written = backup.take(filled, tmp_path / "copy.tar.gz")

    assert backup.describe(written)["tasks"] == 50


async def test_a_restore_brings_everything_back_and_sets_the_old_aside(filled, tmp_path):
    written = backup.take(filled, tmp_path / "copy.tar.gz")
    filled.database.write_bytes(b"broken" * 1000)
    for suffix in ("-wal", "-shm"):
        filled.database.with_name(f"state.db{suffix}").unlink(missing_ok=True)

    backup.restore(filled, written)

    assert await count(filled) == 50
    assert (filled.root / "before-restore" / "state.db").read_bytes().startswith(b"broken")


async def test_what_a_command_left_in_the_workspace_does_not_spoil_the_restore(filled, tmp_path):
    venv = filled.workspace / "project" / ".venv" / "bin"
    venv.mkdir(parents=True)
    (venv / "python").symlink_to("/usr/bin/python3")
    (venv / "python3").symlink_to("python")
    (filled.workspace / "up").symlink_to("../..")
    (filled.workspace / "note.md").write_text("kept")
    os.mkfifo(filled.workspace / "pipe")
    written = backup.take(filled, tmp_path / "copy.tar.gz")

    done = backup.restore(filled, written)

    assert sorted(done.left_out) == ["workspace/pipe", "workspace/project/.venv/bin/python", "workspace/up"]
    assert (filled.workspace / "note.md").read_text() == "kept"
    assert not (filled.workspace / "up").is_symlink()
    assert await count(filled) == 50


@pytest.mark.parametrize("size", [0, 100, 5000])
async def test_a_truncated_record_is_refused_with_its_mend(filled, size):
    filled.database.write_bytes(filled.database.read_bytes()[:size])
    for suffix in ("-wal", "-shm"):
        filled.database.with_name(f"state.db{suffix}").unlink(missing_ok=True)

    with pytest.raises(StorageError, match=r"damaged|empty") as caught:
        await count(filled)
    assert "restore" in caught.value.hint


async def test_a_flipped_bit_is_found_or_harmless_and_never_an_empty_ledger(filled, tmp_path):
    backup.copy_database(filled.database, tmp_path / "whole.db")
    whole = (tmp_path / "whole.db").read_bytes()
    chance = random.Random(7)
    for _ in range(40):
        damaged = bytearray(whole)
        place = chance.randrange(len(whole))
        damaged[place] ^= 1 << chance.randrange(8)
        filled.database.write_bytes(damaged)
        for suffix in ("-wal", "-shm"):
            filled.database.with_name(f"state.db{suffix}").unlink(missing_ok=True)
        try:
            backup.check(filled.database)
        except StorageError:
            continue
        copy = tmp_path / "probe.db"
        copy.write_bytes(damaged)
        try:
            backup.copy_database(copy, tmp_path / f"out{place}.db")
        except StorageError:
            continue
        with closing(sqlite3.connect(tmp_path / f"out{place}.db")) as copied:
            assert copied.execute("SELECT COUNT(*) FROM tasks").fetchone() == (50,)


def test_something_else_is_no_backup(home, tmp_path):
    (tmp_path / "x.tar.gz").write_bytes(b"no archive")

    with pytest.raises(InvalidInput, match="no backup"):
        backup.restore(home, tmp_path / "x.tar.gz")
