"""Copies of a home's record: taken while it is in use, checked, and put back."""

import io
import shutil
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from tawny.config import Home
from tawny.errors import Conflict, InvalidInput, PermanentError, StorageError
from tawny.ledger.sqlite import translate

if TYPE_CHECKING or sys.version_info >= (3, 12):
    import tarfile
else:  # 3.11.2 of Debian 12 has no filters yet
    from backports import tarfile

_MEND = "give a file that 'tawny backup' wrote"
_PARTS = ("config.toml", "policy.yaml", "workspace", "artifacts")
_MEGABYTE = 1024 * 1024
_WHOLE, _PAGES = 8 * _MEGABYTE, 32 * _MEGABYTE


def check(path: Path, *, whole: bool = False) -> None:
    """Refuse a damaged database rather than read it as an empty one.

    Up to 8 MB everything is checked, up to 32 MB every page, beyond that header and schema, since a start must not
    take long; `whole` checks everything at any size.

    Raises:
        StorageError: it is damaged; names the mend.
    """
    if not path.exists():
        return
    size = path.stat().st_size
    mend = "restore a copy with 'tawny backup restore FILE'"
    if size == 0 and not path.with_name(path.name + "-wal").exists():
        raise StorageError(f"{path} is empty: its record is gone", hint=mend, code="damaged")
    pragma = "integrity_check(1)" if whole or size <= _WHOLE else "quick_check(1)" if size <= _PAGES else ""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
            found = str(connection.execute(f"PRAGMA {pragma}").fetchone()[0]) if pragma else "ok"
    except sqlite3.OperationalError as error:
        refused = translate(error, path)
        if isinstance(refused, StorageError):
            raise refused from error  # by a full or read-only disk: nothing is known against the file
        raise StorageError(f"{path} is damaged: {error}", hint=mend, code="damaged") from error
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        # A damaged schema may hold bytes that are no text.
        raise StorageError(f"{path} is damaged: {error}", hint=mend, code="damaged") from error
    if found != "ok":
        raise StorageError(f"{path} is damaged: {found}", hint=mend, code="damaged")


def copy_database(source: Path, target: Path) -> None:
    """A consistent copy of a database that may be in use, checked.

    Raises:
        StorageError: the source is damaged, or the disk refuses.
    """
    try:
        with (
            closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as reading,
            closing(sqlite3.connect(target)) as writing,
        ):
            reading.backup(writing)
            writing.execute("PRAGMA journal_mode=DELETE")  # one file, which reading adds no others to
    except sqlite3.Error as error:
        raise StorageError(
            f"{source} could not be copied to {target.parent}: {error}",
            hint="both folders must have room and be writable",
        ) from error
    check(target, whole=True)


def take(home: Home, target: Path) -> Path:
    """Write the home's record (database, configuration, workspace, artifacts; no token) to a `.tar.gz`.

    Raises:
        InvalidInput: there is nothing to copy, or the file exists.
    """
    if not home.database.exists():
        raise InvalidInput(f"{home.root} has no record yet", hint="nothing has to be copied")
    if target.exists():
        raise InvalidInput(f"{target} exists", hint="give another name")
    if not target.parent.is_dir():
        raise InvalidInput(f"{target.parent} is no folder", hint="make it first")
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".tawny-backup") as folder:
        copy = Path(folder) / "state.db"
        copy_database(home.database, copy)
        partial = Path(folder) / "backup.tar.gz"
        with tarfile.open(partial, "w:gz") as archive:
            archive.add(copy, "state.db")
            for name in _PARTS:
                if (home.root / name).exists():
                    archive.add(home.root / name, name)
        partial.chmod(0o600)
        partial.replace(target)
    return target


class Restored(msgspec.Struct, frozen=True):
    """What was put back, and what was left out: links that lead out of the home, pipes, devices."""

    put: list[str]
    left_out: list[str]


def restore(home: Home, source: Path) -> Restored:
    """Put a backup in the place of a home's record; what was there is set aside beside it.

    Raises:
        InvalidInput: the file is no backup of ours.
        Conflict: the home holds something of that name that cannot be set aside.
    """
    with tempfile.TemporaryDirectory(dir=home.root, prefix=".restore") as folder:
        fresh = Path(folder)
        left_out = _unpack(source, fresh)
        check(fresh / "state.db", whole=True)
        aside = home.root / "before-restore"
        if aside.exists():
            raise Conflict(f"{aside} is still there from the last time", hint="move it away first")
        aside.mkdir(mode=0o700)
        put: list[str] = []
        for name in ("state.db", "state.db-wal", "state.db-shm", *_PARTS):
            if (home.root / name).exists():
                shutil.move(home.root / name, aside / name)
            if (fresh / name).exists():
                shutil.move(fresh / name, home.root / name)
                put.append(name)
    return Restored(put, left_out)


def _unpack(source: Path, folder: Path) -> list[str]:
    left_out: list[str] = []

    def fit(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo | None:
        try:
            return tarfile.data_filter(member, path)
        except (tarfile.AbsoluteLinkError, tarfile.LinkOutsideDestinationError, tarfile.SpecialFileError):
            # Commands leave such things in the workspace, if only the link to the python of a virtual environment.
            left_out.append(member.name)
            return None

    try:
        with tarfile.open(source, "r:gz") as archive:
            archive.extractall(folder, filter=fit)
    except (OSError, EOFError, tarfile.TarError) as error:
        raise InvalidInput(
            f"{source} is no backup: {getattr(error, 'strerror', None) or error}", hint=_MEND
        ) from error
    if not (folder / "state.db").exists():
        raise InvalidInput(f"{source} is no backup: it has no state.db", hint=_MEND)
    return left_out


def describe(source: Path) -> dict[str, int]:
    """How many rows of what a backup holds.

    Raises:
        InvalidInput: it is no backup.
        PermanentError: its database cannot be read.
    """
    try:
        with tarfile.open(source, "r:gz") as archive, tempfile.TemporaryDirectory() as folder:
            member = archive.extractfile("state.db")
            path = Path(folder) / "state.db"
            path.write_bytes((member or io.BytesIO()).read())
            with closing(sqlite3.connect(path)) as connection:
                return {
                    name: int(connection.execute(f"SELECT COUNT(*) FROM {name}").fetchone()[0])
                    for name in ("tasks", "events", "audit")
                }
    except (OSError, tarfile.TarError, KeyError) as error:
        why = getattr(error, "strerror", None) or error
        raise InvalidInput(f"{source} is no backup: {why}", hint=_MEND) from error
    except sqlite3.Error as error:
        raise PermanentError(f"{source}: its database cannot be read: {error}") from error
