"""The embedded database: SQLite in WAL mode, synchronous=FULL, so an acknowledged task survives power loss."""

import os
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tawny.errors import StorageError
from tawny.files import sync_folder
from tawny.ledger.database import Row

_BUSY_MS = 10_000
_STATEMENTS = 512
_CHUNK = 1024 * 1024


class SqliteConnection:
    dialect = "sqlite"

    def __init__(self, path: Path, *, read_only: bool) -> None:
        self._read_only = read_only
        mode = "ro" if read_only else "rwc"
        try:
            self._raw = sqlite3.connect(
                f"file:{path}?mode={mode}",
                uri=True,
                isolation_level=None,
                check_same_thread=False,
                timeout=_BUSY_MS / 1000,
                cached_statements=_STATEMENTS,
            )
        except sqlite3.Error as error:
            raise translate(error, path) from error
        try:
            if read_only:
                self._raw.execute("PRAGMA query_only = ON")
            else:
                self._raw.execute("PRAGMA journal_mode = WAL")
                self._raw.execute("PRAGMA synchronous = FULL")
                self._raw.execute("PRAGMA foreign_keys = ON")
                # What a savepoint keeps for its rollback: a file of it would cost two calls a page.
                self._raw.execute("PRAGMA temp_store = MEMORY")
            # In KiB. The writer's pages are what every statement touches; readers look up a few rows.
            self._raw.execute(f"PRAGMA cache_size = {-2000 if read_only else -8000}")
        except sqlite3.Error as error:
            self._raw.close()
            raise translate(error, path) from error
        self._path = path
        self._names: dict[str, tuple[str, ...]] = {}

    def execute(self, sql: str, params: Mapping[str, Any] | None = None) -> int:
        try:
            return self._raw.execute(sql, params or {}).rowcount
        except sqlite3.DatabaseError as error:
            raise translate(error, self._path) from error

    def fetch(self, sql: str, params: Mapping[str, Any] | None = None) -> Sequence[Row]:
        try:
            cursor = self._raw.execute(sql, params or {})
            rows = cursor.fetchall()
            if not rows:
                return rows
            names = self._names.get(sql)
            if names is None or len(names) != len(rows[0]):
                names = self._names[sql] = tuple(column[0] for column in cursor.description)
                if len(self._names) > _STATEMENTS:
                    self._names.clear()
            return [dict(zip(names, row, strict=True)) for row in rows]
        except sqlite3.DatabaseError as error:
            raise translate(error, self._path) from error

    def send(self, sql: str, params: Mapping[str, Any] | None = None) -> None:
        self.execute(sql, params)

    def execute_many(self, sql: str, params: Iterable[Mapping[str, Any]]) -> None:
        try:
            self._raw.executemany(sql, params)
        except sqlite3.DatabaseError as error:
            raise translate(error, self._path) from error

    def begin(self) -> None:
        self.execute("BEGIN" if self._read_only else "BEGIN IMMEDIATE")

    def announce(self, topics: set[str]) -> None:
        """Other processes on this file are rung by the command line itself, through the gateway."""

    def commit(self) -> None:
        self.execute("COMMIT")

    def rollback(self) -> None:
        # A failing disk may have rolled back already, on its own.
        if self._raw.in_transaction:
            self.execute("ROLLBACK")

    def savepoint(self) -> "SqliteConnection":
        return self

    def __enter__(self) -> None:
        self.execute("SAVEPOINT one")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.execute("RELEASE one")
        elif self._raw.in_transaction:
            self.execute("ROLLBACK TO one")
            self.execute("RELEASE one")

    def close(self) -> None:
        self._raw.close()


class SqliteStore:
    """One SQLite file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def connect(self, *, read_only: bool = False) -> SqliteConnection:
        return SqliteConnection(self.path, read_only=read_only)

    def create(self, build: Callable[["SqliteStore"], None]) -> None:
        """Make the database: complete when its name appears, so that no kill or power cut leaves half of one.

        Where another process was faster, its database stays.
        """
        fresh = self.path.with_name(f".{self.path.name}.{os.getpid()}.fresh")
        _remove(fresh)
        try:
            # The last connection that is closed puts everything into the one file, and syncs it.
            build(SqliteStore(fresh))
            try:
                os.link(fresh, self.path)
            except FileExistsError:
                return
            except OSError:
                # A file system without hard links.
                fresh.rename(self.path)
            sync_folder(self.path.parent)
        except OSError as error:
            raise StorageError(
                f"{self.path} could not be made: {error.strerror}", hint="check the disk"
            ) from error
        finally:
            _remove(fresh)

    def rewrite_log(self) -> None:
        """Write the write-ahead log once more, and sync it, before anything is built upon it.

        After a failed sync the system keeps what it could not write and calls it written: a process that starts
        then reads a log that the disk does not have, and what it appends would hang in the air at a power cut. The
        lock of a writer keeps others from the log meanwhile.

        Raises:
            StorageError: the disk still refuses.
        """
        log = self.path.with_name(self.path.name + "-wal")
        if not log.exists() or log.stat().st_size == 0:
            return
        connection = self.connect()
        try:
            connection.begin()
            with log.open("r+b", buffering=0) as file:
                at = 0
                while chunk := file.read(_CHUNK):
                    file.seek(at)
                    at += file.write(chunk)
                    file.seek(at)
                os.fsync(file.fileno())
            connection.rollback()
        except OSError as error:
            raise StorageError(f"{log}: {error.strerror}", hint="check the disk") from error
        finally:
            connection.close()

    def hold(self, *, name: str = "") -> None:
        """The home's lock keeps others off its file."""

    def let_go(self) -> None:
        """Nothing to give back."""

    def listen(self, ring: Callable[[set[str]], None]) -> Callable[[], None]:
        """Nobody else writes while the gateway has the home; the command line rings by itself."""
        del ring
        return lambda: None


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def translate(error: sqlite3.Error, path: Path) -> Exception:
    """An error of the disk or the file becomes a StorageError; a mistake in our SQL stays what it is."""
    name = getattr(error, "sqlite_errorname", "") or ""
    if name.startswith(("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_BUSY", "SQLITE_READONLY", "SQLITE_CANTOPEN")):
        mends = {
            "SQLITE_FULL": "free some disk space; work goes on by itself then",
            "SQLITE_CANTOPEN": "the home must be there and writable, for reading too",
            "SQLITE_IOERR_SHM": "the home must have room and be writable, for reading too",
            "SQLITE_READONLY": "make the home writable",
        }
        mend = next((text for key, text in mends.items() if name.startswith(key)), "check the disk")
        return StorageError(f"{path.name}: {error} ({name})", hint=mend)
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return StorageError(
            f"{path} is damaged: {error}",
            hint="restore a backup with 'tawny backup restore'",
            code="damaged",
        )
    return error
