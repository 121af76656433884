"""The power goes at a sync: the real ledger opens what the disk may hold then, and every promise is looked for."""

import random
import shutil
import sqlite3
import sys
from contextlib import closing

import pytest
from msgspec import structs

from tawny.cli.proof.disk import SECTOR, Disk
from tawny.cli.proof.kills import temporary_folder
from tawny.cli.proof.power import PowerProof
from tawny.cli.proof.recording import Op, record

pytestmark = [
    pytest.mark.crash,
    pytest.mark.timeout(600),
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace records the writes"),
]


@pytest.fixture
def folder():
    with temporary_folder() as folder:
        yield folder


def test_what_was_promised_is_there_after_a_power_cut_at_any_sync(folder):
    losses = PowerProof(folder, every=5).run()

    assert losses.broken == []
    assert losses.images > 100
    assert losses.promises >= 40


@pytest.mark.parametrize(
    ("synchronous", "sign"), [("OFF", "does not start"), ("OFF", "is gone"), ("NORMAL", "is gone")]
)
def test_the_proof_finds_a_database_with_too_few_syncs(folder, synchronous, sign):
    losses = PowerProof(folder, every=12).run(synchronous)

    assert any(sign in problem for problem in losses.broken)


# --- the disk that is cut off is strict


def after(*ops: Op) -> Disk:
    disk = Disk("/d")
    for at, op in enumerate(ops):
        disk.apply(at, op)
    return disk


CREATE, NAMED = Op("create", "/d/f"), Op("sync", "/d", upto=9)


def test_bytes_without_a_sync_may_be_missing_and_a_name_without_its_folders_sync_too():
    written = Op("write", "/d/f", data=b"old")

    assert after(CREATE, written, NAMED).dropped() == {"f": b""}
    assert after(CREATE, written, NAMED).kept() == {"f": b"old"}
    assert after(CREATE, written, Op("sync", "/d/f", upto=2)).dropped() == {}
    assert after(CREATE, written, Op("sync", "/d/f", upto=2), NAMED).dropped() == {"f": b"old"}


def test_a_rename_without_a_sync_of_the_file_may_leave_an_empty_file():
    moved = Op("rename", "/d/f", to="/d/g")

    assert after(CREATE, Op("write", "/d/f", data=b"new"), moved, NAMED).dropped() == {"g": b""}


def test_unsynced_sectors_come_in_any_mixture_and_synced_ones_stay():
    old, new = b"a" * 4 * SECTOR, b"b" * 4 * SECTOR
    disk = after(
        CREATE,
        NAMED,
        Op("write", "/d/f", data=old),
        Op("sync", "/d/f", upto=3),
        Op("write", "/d/f", data=new[: 2 * SECTOR]),
    )
    seen = {disk.torn(random.Random(seed))["f"] for seed in range(200)}

    assert {b"a" * SECTOR + new[:SECTOR] + old[: 2 * SECTOR], old} <= seen
    assert all(content[2 * SECTOR :] == old[: 2 * SECTOR] for content in seen)


def test_the_recording_sees_what_a_program_did_in_its_order(folder):
    stage = folder / "stage"
    stage.mkdir()
    diary = folder / "diary"
    program = (
        "import os, sys\n"
        "os.chdir(sys.argv[1]); diary = os.open(sys.argv[2], os.O_CREAT | os.O_WRONLY)\n"
        "file = os.open('a', os.O_CREAT | os.O_WRONLY); os.write(file, b'one'); os.write(file, b'two')\n"
        "os.pwrite(file, b'X', 1); os.fsync(file); os.write(diary, b'said')\n"
        "os.rename(sys.argv[1] + '/a', sys.argv[1] + '/b'); os.unlink(sys.argv[1] + '/b')\n"
    )
    ops, code = record(["python3", "-c", program, str(stage), str(diary)], stage, diary=diary)

    assert code == 0
    assert [(op.kind, op.offset, op.data) for op in ops if op.kind in ("write", "say")] == [
        ("write", 0, b"one"),
        ("write", 3, b"two"),
        ("write", 1, b"X"),
        ("say", 0, b"said"),
    ]
    assert [op.kind for op in ops] == ["create", "write", "write", "write", "sync", "say", "rename", "unlink"]
    assert (ops[6].path, ops[6].to) == (str(stage / "a"), str(stage / "b"))


# --- a sync that failed

PRELUDE = """
import os, sys
from pathlib import Path
from tawny.errors import StorageError
from tawny.ledger.sqlite import SqliteStore
store = SqliteStore(Path(sys.argv[1]))
connection = store.connect()
"""
FILL = """
connection.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, value INTEGER, filling TEXT)")
connection.begin()
connection.execute_many("INSERT INTO t VALUES (:n, 0, :f)", [{"n": n, "f": "x" * 3000} for n in range(40)])
connection.commit()
connection.close()
"""
CHANGE_AND_DIE = """
connection.begin()
connection.execute("UPDATE t SET value = 1")
try:
    connection.commit()
except StorageError:
    os._exit(7)
"""
GO_ON = "connection.close()"


def life(folder, program: str, *, inject: str = "") -> tuple[list[Op], int]:
    """One process on the database of the stage, recorded."""
    stage = folder / "stage"
    stage.mkdir(exist_ok=True)
    argv = [sys.executable, "-c", program, str(stage / "state.db")]
    return record(argv, stage, diary=folder / "diary", inject=inject)


def is_mixed(folder, image: dict[str, bytes]) -> bool:
    """Whether a database is damaged, or holds a part of the change."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in image.items():
        (folder / name).write_bytes(content)
    try:
        with closing(sqlite3.connect(folder / "state.db")) as connection:
            whole = connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
            values = {row[0] for row in connection.execute("SELECT value FROM t")}
    except sqlite3.DatabaseError:
        return True
    return not whole or len(values) != 1


@pytest.mark.parametrize("rewritten", [True, False])
def test_what_a_failed_sync_left_in_memory_is_not_taken_for_written(folder, rewritten):
    filled, code = life(folder, PRELUDE + FILL)
    assert code == 0
    # A fresh log has its head and its folder synced; the third sync is the commit's.
    failed, code = life(folder, PRELUDE + CHANGE_AND_DIE, inject="fdatasync:error=EIO:when=3+")
    assert (code, [op.kind for op in failed if op.path.endswith("-wal")][-1]) == (7, "fail")
    start = PRELUDE.replace("connection =", "store.rewrite_log()\nconnection =") if rewritten else PRELUDE
    went_on, code = life(folder, start + "connection.fetch('SELECT COUNT(*) FROM t')\n" + GO_ON)
    assert code == 0

    disk, at, mixed, images = Disk(str(folder / "stage")), 0, 0, 0
    for ops in (filled, failed, went_on):
        base = at
        for op in ops:
            if ops is went_on and op.kind == "sync":
                for seed in range(10):
                    images += 1
                    mixed += is_mixed(folder / "image", disk.torn(random.Random(seed)))
            disk.apply(at, structs.replace(op, upto=base + op.upto))
            at += 1

    assert images >= 20
    # Without the rewriting the proof must find what it is there for.
    assert (mixed == 0) if rewritten else (mixed > 0)
