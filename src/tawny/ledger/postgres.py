"""Beyond one machine: the same ledger on PostgreSQL. Needs the extra `tawny[postgres]` (psycopg 3)."""

import contextlib
import threading
import time
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg

from tawny.errors import Conflict, StorageError
from tawny.ledger.database import EVERYTHING, Row
from tawny.ledger.pipeline import Pipeline, changed

_ONE_WRITER = 7_266_963
"""The advisory lock that makes writers take turns, as SQLite's do: functions of the ledger rely on it."""
_ONE_GATEWAY = 7_266_964
_CHANNEL = "tawny"
_LEADER = "tawny gateway"
_MANY = 500
"""How many orders go before their answers are read."""
_PAUSE = threading.Event()
"""Never set: a pause for a thread of the ledger."""
_SEEK = "SET enable_seqscan = off; SET jit = off"
"""A plan that was made while a table was small, and is kept, must not read all of it when it has grown: each of the
writer's statements has an index."""
PATIENCE = 10
"""Seconds of silence, of a machine or in the middle of a transaction, after which a connection is cut."""
TIMEOUTS: dict[str, Any] = {
    "connect_timeout": PATIENCE,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": PATIENCE * 1000,
    # The server's own, so that a machine that has gone, or a process that has stopped, keeps no lock from the others.
    "options": (
        f"-c idle_in_transaction_session_timeout={PATIENCE}s -c tcp_keepalives_idle=5"
        f" -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3 -c tcp_user_timeout={PATIENCE * 1000}"
    ),
}


class PostgresConnection:
    dialect = "postgresql"

    def __init__(self, url: str, *, read_only: bool) -> None:
        self._url = url
        self._read_only = read_only
        self.pid = 0
        self._has_savepoint = False
        self._raw, self._orders = self._open()

    def _open(self) -> "tuple[psycopg.Connection[Any], Pipeline]":
        try:
            connection = psycopg.connect(self._url, autocommit=True, **TIMEOUTS)
            if not self._read_only:
                connection.execute(_SEEK)
        except psycopg.Error as error:
            raise StorageError(
                f"the database does not answer: {error}".strip(), hint="check [ledger] url, and that it runs"
            ) from error
        self.pid = connection.info.backend_pid
        return connection, Pipeline(connection)

    @property
    def trips(self) -> int:
        """How often the server was waited for, since the connection was made."""
        return self._orders.trips

    def execute(self, sql: str, params: Mapping[str, Any] | None = None) -> int:
        try:
            if params is None and ";" in sql:
                self._orders.script(sql)
                return -1
            self._orders.send(sql, params)
            result = self._orders.settle()
        except psycopg.Error as error:
            raise _named(error) from error
        return 0 if result is None else changed(result)

    def fetch(self, sql: str, params: Mapping[str, Any] | None = None) -> Sequence[Row]:
        try:
            self._orders.send(sql, params)
            result = self._orders.settle()
            return [] if result is None else self._orders.rows(sql, result)
        except psycopg.Error as error:
            raise _named(error) from error

    def send(self, sql: str, params: Mapping[str, Any] | None = None) -> None:
        try:
            self._orders.send(sql, params)
        except psycopg.Error as error:
            raise _named(error) from error

    def execute_many(self, sql: str, params: Iterable[Mapping[str, Any]]) -> None:
        try:
            for number, row in enumerate(params, 1):
                self._orders.send(sql, row)
                if number % _MANY == 0:
                    self._orders.settle()
        except psycopg.Error as error:
            raise _named(error) from error

    def begin(self) -> None:
        """Begin a transaction. A database that is away for a moment is waited for: nothing has happened yet."""
        deadline = time.monotonic() + PATIENCE
        self._has_savepoint = False
        while True:
            try:
                if self._raw.closed:
                    self._raw, self._orders = self._open()
                self._orders.tidy()
                if self._read_only:
                    # Goes along with the first question.
                    self.send("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                else:
                    self.send("BEGIN")
                    self.execute(f"SELECT pg_advisory_xact_lock({_ONE_WRITER})")
            except StorageError:
                if time.monotonic() > deadline:
                    raise
                _PAUSE.wait(0.2)
            else:
                return

    def announce(self, topics: set[str]) -> None:
        """Ring the bells of the other processes with this commit: both happen, or neither."""
        if not topics:
            return
        self.send(
            "SELECT pg_notify(:channel, :note)", {"channel": _CHANNEL, "note": ",".join(sorted(topics))}
        )

    def commit(self) -> None:
        try:
            self._orders.send("COMMIT")
            result = self._orders.settle()
        except psycopg.Error as error:
            raise _named(error) from error
        if result is None or result.command_status != b"COMMIT":
            raise StorageError("the database has taken back the transaction", hint="it is tried again")

    def rollback(self) -> None:
        if self._raw.closed:
            return
        with contextlib.suppress(psycopg.OperationalError, psycopg.InterfaceError):
            # A connection that is lost has taken everything back by itself; `begin` makes a new one.
            self._orders.undo("ROLLBACK")
            if self._read_only:
                self._orders.part()
            else:
                self._orders.settle()

    @contextmanager
    def savepoint(self) -> Generator[None]:
        try:
            if self._has_savepoint:
                self._orders.send("RELEASE SAVEPOINT one")
            self._orders.send("SAVEPOINT one")
            self._has_savepoint = True
            # Both go along; what they follow was waited for, so they cannot fail alone.
            self._orders.is_owing = False
            yield
            if self._orders.is_owing:
                # What went wrong here is nobody else's.
                self._orders.settle()
        except BaseException as error:
            if not self._raw.closed:
                # Where the way is lost, the next order says so.
                with contextlib.suppress(psycopg.OperationalError, psycopg.InterfaceError):
                    self._orders.undo("ROLLBACK TO SAVEPOINT one")
                    self._orders.settle()
            if isinstance(error, psycopg.Error):
                raise _named(error) from error
            raise

    @property
    def is_closed(self) -> bool:
        return self._raw.closed

    def close(self) -> None:
        self._raw.close()


def _named(error: psycopg.Error) -> Exception:
    """What people can do about an error of the server or the way to it; a mistake in our SQL stays what it is."""
    if isinstance(error, psycopg.errors.DataCorrupted | psycopg.errors.IndexCorrupted):
        return StorageError(
            f"the database is damaged: {error}".strip(),
            hint="restore a backup of PostgreSQL's own, or mend it there",
            code="damaged",
        )
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return StorageError(f"the database has gone: {error}".strip(), hint="it is tried again")
    return error


class PostgresStore:
    """One PostgreSQL database: one gateway leads on it; workers and command lines beside it, as many as wanted."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._holder: psycopg.Connection[Any] | None = None
        self._holding = threading.Lock()
        self._has_let_go = False
        self._writers: list[PostgresConnection] = []

    # --- who leads

    def hold(self, *, name: str = "") -> None:
        """Take the database for this gateway, until `let_go` or the end of the process.

        Raises:
            Conflict: another gateway has it.
        """
        try:
            holder = psycopg.connect(
                self.url, autocommit=True, application_name=f"{_LEADER} {name}"[:63], **TIMEOUTS
            )
            row = holder.execute("SELECT pg_try_advisory_lock(%s)", (_ONE_GATEWAY,)).fetchone()
        except psycopg.Error as error:
            raise StorageError(
                f"the database does not answer: {error}".strip(), hint="check [ledger] url, and that it runs"
            ) from error
        if row is None or not row[0]:
            holder.close()
            raise Conflict(
                "another gateway works on this database",
                hint="stop it, or start this one with --standby; more machines share the work with 'tawny worker'",
            )
        self._holder = holder

    def holds(self) -> bool:
        """Whether this gateway still has the database; a lost connection is made again first.

        Raises:
            StorageError: the database does not answer, so nobody can say.
        """
        with self._holding:
            if self._has_let_go:
                return False  # asked in a thread that outlived the question: not to be taken again
            name = ""
            if self._holder is not None:
                try:
                    self._holder.execute("SELECT 1")
                except psycopg.Error:
                    name = self._holder.info.parameter_status("application_name") or ""
                    self._holder.close()
                    self._holder = None
                else:
                    return True
            return self._hold_again(name)

    def _hold_again(self, name: str) -> bool:
        try:
            self.hold(name=name.removeprefix(_LEADER).strip())
        except Conflict:
            return False
        return True

    def depose(self, *, living: Collection[str], silent_for: float) -> bool:
        """Put out a leader that holds the database and is not among the living: its machine hangs or is cut off.

        `silent_for` is in seconds: a leader that came less long ago has had no time to show that it lives.
        """
        with psycopg.connect(self.url, autocommit=True, **TIMEOUTS) as connection:
            row = connection.execute(
                "SELECT a.pid, a.application_name FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid"
                " WHERE l.locktype = 'advisory' AND l.objid = %s AND l.granted AND l.objsubid = 1"
                " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
                " AND a.backend_start < clock_timestamp() - make_interval(secs => %s)"
                " AND pg_postmaster_start_time() < clock_timestamp() - make_interval(secs => %s)",
                (_ONE_GATEWAY, silent_for, silent_for),
            ).fetchone()
            if row is None or str(row[1]).removeprefix(_LEADER).strip() in living:
                return False
            connection.execute("SELECT pg_terminate_backend(%s)", (row[0],))
        return True

    def let_go(self) -> None:
        """Give the database to another gateway, which may have it as soon as this returns."""
        with self._holding:
            self._has_let_go = True
            if self._holder is None:
                return
            with contextlib.suppress(psycopg.Error):
                # Closing alone lets the server give up the lock at some moment later.
                self._holder.execute("SELECT pg_advisory_unlock(%s)", (_ONE_GATEWAY,))
            self._holder.close()
            self._holder = None

    # --- connections

    def connect(self, *, read_only: bool = False) -> PostgresConnection:
        connection = PostgresConnection(self.url, read_only=read_only)
        if not read_only:
            self._writers = [known for known in self._writers if not known.is_closed] + [connection]
        return connection

    def listen(self, ring: Callable[[set[str]], None]) -> Callable[[], None]:
        """Call `ring`, from a thread of its own, with what other processes committed; the result ends it."""
        stop = threading.Event()
        thread = threading.Thread(target=self._listen, args=(ring, stop), name="ledger-listener", daemon=True)
        thread.start()

        def end() -> None:
            stop.set()
            thread.join()

        return end

    def _listen(self, ring: Callable[[set[str]], None], stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                with psycopg.connect(self.url, autocommit=True, **TIMEOUTS) as connection:
                    connection.execute(f"LISTEN {_CHANNEL}")
                    ring({EVERYTHING})  # whatever rang while nobody listened
                    while not stop.is_set():
                        for note in connection.notifies(timeout=0.5):
                            if all(note.pid != writer.pid for writer in self._writers):
                                ring(set(note.payload.split(",")))
            except psycopg.Error:
                stop.wait(1.0)
