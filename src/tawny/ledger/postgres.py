"""Beyond one machine: the same ledger on PostgreSQL. Needs the extra `tawny[postgres]` (psycopg 3)."""

import re
import threading
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, cast

import psycopg
from psycopg.rows import dict_row

from tawny.errors import Conflict, StorageError
from tawny.ledger.database import Row

_PARAMETER = re.compile(r"(?<![:\w]):([a-z_][a-z0-9_]*)")
_ONE_WRITER = 7_266_963
"""The advisory lock that makes writers take turns, as SQLite's do: functions of the ledger rely on it."""
_ONE_GATEWAY = 7_266_964
_CHANNEL = "tawny"


@lru_cache(maxsize=2048)
def translate(sql: str) -> str:
    """Our `:name` parameters as psycopg's, with the per cents that are meant literally doubled."""
    return _PARAMETER.sub(r"%(\1)s", sql.replace("%", "%%"))


class PostgresConnection:
    dialect = "postgresql"

    def __init__(self, url: str, *, read_only: bool) -> None:
        self._url = url
        self._read_only = read_only
        self._raw = self._open()

    def _open(self) -> "psycopg.Connection[dict[str, Any]]":
        try:
            connection = psycopg.Connection[dict[str, Any]].connect(
                self._url, autocommit=True, row_factory=dict_row, connect_timeout=10
            )
        except psycopg.Error as error:
            raise StorageError(
                f"the database does not answer: {error}".strip(), hint="check [ledger] url, and that it runs"
            ) from error
        return connection

    def _run(self, sql: str, params: Mapping[str, Any] | None) -> "psycopg.Cursor[dict[str, Any]]":
        try:
            return self._raw.execute(cast("Any", translate(sql)), params or {})
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            raise StorageError(f"the database has gone: {error}".strip(), hint="it is tried again") from error

    def execute(self, sql: str, params: Mapping[str, Any] | None = None) -> int:
        return self._run(sql, params).rowcount

    def fetch(self, sql: str, params: Mapping[str, Any] | None = None) -> Sequence[Row]:
        return self._run(sql, params).fetchall()

    def execute_many(self, sql: str, params: Iterable[Mapping[str, Any]]) -> None:
        try:
            with self._raw.cursor() as cursor:
                cursor.executemany(cast("Any", translate(sql)), list(params))
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            raise StorageError(f"the database has gone: {error}".strip(), hint="it is tried again") from error

    def begin(self) -> None:
        if self._raw.closed or self._raw.broken:
            self._raw = self._open()
        if self._read_only:
            self.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        else:
            self.execute("BEGIN")
            self.execute(f"SELECT pg_advisory_xact_lock({_ONE_WRITER})")

    def commit(self) -> None:
        self.execute("COMMIT")

    def rollback(self) -> None:
        if not (self._raw.closed or self._raw.broken):
            self.execute("ROLLBACK")

    @contextmanager
    def savepoint(self) -> Generator[None]:
        self.execute("SAVEPOINT one")
        try:
            yield
        except BaseException:
            if not (self._raw.closed or self._raw.broken):
                self.execute("ROLLBACK TO SAVEPOINT one")
                self.execute("RELEASE SAVEPOINT one")
            raise
        self.execute("RELEASE SAVEPOINT one")

    def close(self) -> None:
        self._raw.close()


class PostgresStore:
    """One PostgreSQL database: one gateway works on it, and any number of command lines beside it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._lock = threading.Lock()
        self._teller: psycopg.Connection[Any] | None = None
        self._holder: psycopg.Connection[Any] | None = None

    def hold(self) -> None:
        """Take the database for this gateway, until `let_go` or the end of the process.

        Raises:
            Conflict: another gateway has it. At its start a gateway releases what a dead one held, so there is one.
        """
        try:
            holder = psycopg.connect(self.url, autocommit=True, connect_timeout=10)
            row = holder.execute("SELECT pg_try_advisory_lock(%s)", (_ONE_GATEWAY,)).fetchone()
        except psycopg.Error as error:
            raise StorageError(
                f"the database does not answer: {error}".strip(), hint="check [ledger] url, and that it runs"
            ) from error
        if row is None or not row[0]:
            holder.close()
            raise Conflict(
                "another gateway works on this database",
                hint="stop it; one gateway serves one database for now",
            )
        self._holder = holder

    def let_go(self) -> None:
        """Give the database to another gateway."""
        if self._holder is not None:
            self._holder.close()
            self._holder = None

    def connect(self, *, read_only: bool = False) -> PostgresConnection:
        return PostgresConnection(self.url, read_only=read_only)

    def notify(self, topics: set[str]) -> None:
        """Ring the bells of the other processes on this database."""
        with self._lock:
            try:
                if self._teller is None or self._teller.closed or self._teller.broken:
                    self._teller = psycopg.connect(self.url, autocommit=True, connect_timeout=10)
                self._teller.execute("SELECT pg_notify(%s, %s)", (_CHANNEL, ",".join(sorted(topics))))
            except psycopg.Error:
                # A bell that does not ring costs the others a moment, never a row: they look when they reconnect.
                self._teller = None

    def listen(self, ring: Callable[[set[str]], None]) -> Callable[[], None]:
        """Call `ring`, from a thread of its own, with what other processes committed; the result ends it."""
        stop = threading.Event()
        thread = threading.Thread(target=self._listen, args=(ring, stop), name="ledger-listener", daemon=True)
        thread.start()

        def end() -> None:
            stop.set()
            thread.join()
            with self._lock:
                if self._teller is not None:
                    self._teller.close()
                    self._teller = None

        return end

    def _listen(self, ring: Callable[[set[str]], None], stop: threading.Event) -> None:
        everything = {"queue", "timers", "intents", "events", "outbox", "ended"}
        while not stop.is_set():
            try:
                with psycopg.connect(self.url, autocommit=True, connect_timeout=10) as connection:
                    connection.execute(f"LISTEN {_CHANNEL}")
                    ring(everything)
                    while not stop.is_set():
                        for note in connection.notifies(timeout=0.5):
                            if self._teller is None or note.pid != self._teller.info.backend_pid:
                                ring(set(note.payload.split(",")))
            except psycopg.Error:
                stop.wait(1.0)
