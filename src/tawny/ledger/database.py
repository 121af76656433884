"""One database, one writer, readers apart. Functions of the ledger take a `Tx` and are plain and synchronous.

`Ledger.write(fn)` runs `fn(tx)` on the writer's thread. What waits there is committed in one group (each `fn` in
its own savepoint), and the caller goes on only when the commit is on the disk. `Ledger.read(fn)` runs on a reader's
own connection. The `…_now` forms do the same in the calling thread, for the command line.
"""

import asyncio
import contextlib
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, NoReturn, TypeVar

from tawny.clock import Clock, Instant
from tawny.errors import StorageError, TawnyError
from tawny.ledger.additions import Appended, Numbers
from tawny.ledger.connection import Connection as Connection
from tawny.ledger.connection import Row as Row
from tawny.ledger.connection import Store as Store
from tawny.log import Log, redact

T = TypeVar("T")
_GROUP = 200
_PATIENCE = 1000
"""How long an answer waits for those that follow, in microseconds."""
EVERYTHING = "*"
"""Rings every topic: nobody knows what was missed."""
_log = Log("ledger")


class Tx:
    """One transaction: SQL with `:name` parameters, the time it happens at, and wake-ups for after the commit.

    No known secret gets into the ledger: every value passes the redactor. So do those that are asked for, as what is
    looked up was stored clean.
    """

    __slots__ = ("_appended", "_connection", "changed", "dialect", "now", "numbers", "ran", "topics")

    def __init__(
        self,
        connection: Connection,
        now: Instant,
        numbers: Numbers | None = None,
        appended: Appended | None = None,
    ) -> None:
        self._connection = connection
        self._appended = appended or Appended(connection)
        self.numbers = numbers or Numbers(connection)
        self.now = now
        self.dialect = connection.dialect
        self.topics: set[str] = set()
        self.changed = False
        self.ran: tuple[str, int] | None = None
        """The task whose own run writes this, and how long it has run by the steady clock."""

    def execute(self, sql: str, **params: Any) -> int:
        """Run a statement; the number of rows it changed."""
        self.changed = True
        self._appended.write_before(sql)
        return self._connection.execute(sql, redact.values(params))

    def execute_many(self, sql: str, params: Iterable[dict[str, Any]]) -> None:
        self.changed = True
        self._appended.write_before(sql)
        self._connection.execute_many(sql, [redact.values(row) for row in params])

    def insert(self, table: str, row: dict[str, Any]) -> dict[str, Any]:
        """Insert a row, given by its columns; the row as it is stored. `None` is left to the table."""
        self.changed = True
        clean = redact.values(row)
        given = {name: value for name, value in clean.items() if value is not None}
        self._connection.execute(_insertion(table, tuple(given)), given)
        return clean

    def later(self, table: str, sql: str, row: dict[str, Any]) -> dict[str, Any]:
        """Run a statement on `table`, at the latest before the commit; the values as they will be stored."""
        self.changed = True
        clean = redact.values(row)
        self._appended.add(table, sql, clean)
        return clean

    def all(self, sql: str, **params: Any) -> Sequence[Row]:
        self.changed = self.changed or not sql.startswith("SELECT")
        self._appended.write_before(sql)
        return self._connection.fetch(sql, redact.values(params))

    def one(self, sql: str, **params: Any) -> Row | None:
        rows = self.all(sql, **params)
        return rows[0] if rows else None

    def value(self, sql: str, **params: Any) -> Any:
        """The first column of the first row, `None` where there is none."""
        rows = self.all(sql, **params)
        return next(iter(rows[0].values())) if rows else None

    def wake(self, topic: str) -> None:
        """Ring `topic` once this transaction is committed. Ring only for what changed."""
        self.topics.add(topic)

    def write_out(self) -> None:
        """Write what has gathered; the commit comes next."""
        self._appended.write()
        self.numbers.write_back()


@lru_cache(64)
def _insertion(table: str, columns: tuple[str, ...]) -> str:
    values = ", ".join(f":{name}" for name in columns)
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({values})"


class Bell:
    """Wakes whoever waits for a topic. One asyncio loop; `ring` is called on it."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = {}

    def subscribe(self, *topics: str) -> asyncio.Event:
        """An event that is set whenever one of the topics rings; clear it before looking."""
        event = asyncio.Event()
        for topic in topics:
            self._waiting.setdefault(topic, set()).add(event)
        return event

    def unsubscribe(self, event: asyncio.Event) -> None:
        for waiting in self._waiting.values():
            waiting.discard(event)

    def ring(self, topics: Iterable[str]) -> None:
        for topic in topics:
            for known in list(self._waiting) if topic == EVERYTHING else [topic]:
                for event in self._waiting.get(known, ()):
                    event.set()


class _Job:
    __slots__ = ("_future", "error", "fn", "result")

    def __init__(self, fn: Callable[[Tx], Any], future: "asyncio.Future[Any] | None") -> None:
        self.fn = fn
        self._future = future
        self.result: Any = None
        self.error: BaseException | None = None

    @property
    def future(self) -> "asyncio.Future[Any]":
        assert self._future is not None
        return self._future


_BELL = _Job(lambda _: None, None)
"""Wakes the writer for what lies in the urgent lane."""


class Ledger:
    """The one door to the database."""

    def __init__(
        self, store: Store, clock: Clock, *, readers: int = 2, probe: Callable[[str], None] | None = None
    ) -> None:
        """`probe` is told "before" and "after" of every commit, on the writer's thread; the crash proof dies there."""
        self.store = store
        self.clock = clock
        self._probe = probe or _ignore
        self.bell = Bell()
        self.commits = 0
        self.reads = 0
        self.unanswered = 0
        """What was asked of it and is still under way."""
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._urgent: deque[_Job] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._asked: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._readers = [
            threading.Thread(target=self._read_loop, name=f"ledger-reader-{n}", daemon=True)
            for n in range(readers)
        ]
        self._stop_listening: Callable[[], None] = _nothing
        self._damage: StorageError | None = None
        self._damaged = asyncio.Event()

    async def __aenter__(self) -> "Ledger":
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._write_loop, name="ledger-writer", daemon=True)
        self._thread.start()
        for reader in self._readers:
            reader.start()
        self._stop_listening = self.store.listen(self._ring_from_outside)
        return self

    def _ring_from_outside(self, topics: set[str]) -> None:
        assert self._loop is not None
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.bell.ring, topics)

    async def __aexit__(self, *_: object) -> None:
        self._jobs.put(None)
        thread = self._thread
        if thread is not None:
            await asyncio.to_thread(thread.join)
        await asyncio.to_thread(self._stop_listening)
        for _reader in self._readers:
            self._asked.put(None)
        for reader in self._readers:
            await asyncio.to_thread(reader.join)

    async def until_damaged(self) -> NoReturn:
        """Wait until anybody, however patient, has met damage: waiting mends none, so whoever runs the house ends it.

        Raises:
            StorageError: the database is damaged; names the mend.
        """
        await self._damaged.wait()
        assert self._damage is not None
        raise self._damage

    async def write(self, fn: Callable[[Tx], T], *, urgent: bool = False) -> T:
        """Run `fn` in a transaction; return its result once it is durable.

        What is `urgent` (a command, a running task's report) goes before what only waits to be accepted.

        Raises:
            StorageError: the disk or database refused; nothing of `fn` has happened.
        """
        return await self.post(fn, urgent=urgent)

    def post(self, fn: Callable[[Tx], T], *, urgent: bool = False) -> "asyncio.Future[T]":
        """Like `write`, without waiting: the order of posts is the order of commits, the urgent ones apart."""
        assert self._loop is not None, "the ledger is not open"
        job = _Job(fn, self._loop.create_future())
        self.unanswered += 1
        if urgent:
            self._urgent.append(job)
            self._jobs.put(_BELL)
        else:
            self._jobs.put(job)
        return job.future

    def note(self, fn: Callable[[Tx], object]) -> None:
        """Like `post`, for what nobody waits for; a refusal is logged with its commit."""
        self.post(fn).add_done_callback(lambda done: done.cancelled() or done.exception())

    async def read(self, fn: Callable[[Tx], T]) -> T:
        """Run `fn` on a reader's connection: a consistent picture of what is committed."""
        assert self._loop is not None, "the ledger is not open"
        job = _Job(fn, self._loop.create_future())
        self.reads += 1
        self.unanswered += 1
        self._asked.put(job)
        return await job.future

    def _read_loop(self) -> None:
        """Answer what is asked, one after the other; what lies there together is handed back together.

        Each has a picture of its own: one that began before a commit would not show it to who was rung for it.
        """
        assert self._loop is not None
        connection: Connection | None = None
        while (job := self._asked.get()) is not None:
            answered: list[_Job] = []
            begun = self.clock.steady()
            while job is not None:
                try:
                    connection = connection or self.store.connect(read_only=True)
                    self._answer(connection, job)
                except BaseException as error:  # noqa: BLE001 - an interruption too is the caller's, not the reader's
                    job.error = error
                answered.append(job)
                if self.clock.steady() - begun > _PATIENCE:
                    break
                try:
                    job = self._asked.get_nowait()
                except queue.Empty:
                    break
            self._loop.call_soon_threadsafe(self._settle, answered, ())
            if job is None:
                break
        if connection is not None:
            connection.close()

    def _answer(self, connection: Connection, job: _Job) -> None:
        try:
            self._look(connection, job)
        except StorageError:
            if connection.dialect == "sqlite":
                raise
            self._look(connection, job)  # the connection was lost on the way; `begin` makes a new one

    def _look(self, connection: Connection, job: _Job) -> None:
        connection.begin()
        try:
            job.result = job.fn(Tx(connection, self.clock.now()))
        finally:
            connection.rollback()

    def _write_loop(self) -> None:
        connection: Connection | None = None
        while True:
            group, stop = self._next_group()
            if group:
                try:
                    connection = connection or self.store.connect()
                    topics = self._commit(connection, group)
                except Exception as error:  # noqa: BLE001 - a writer that died unheard would leave everybody waiting
                    connection, topics = _give_up(connection), set[str]()
                    _refuse(group, error)
                assert self._loop is not None
                self._loop.call_soon_threadsafe(self._settle, group, topics)
            if stop:
                break
        if connection is not None:
            connection.close()

    def _next_group(self) -> tuple[list[_Job], bool]:
        """What is to be committed together: the urgent first; and whether this is the end."""
        first = self._jobs.get()
        group: list[_Job] = []
        while self._urgent and len(group) < _GROUP:
            group.append(self._urgent.popleft())
        job = first
        while True:
            if job is None:
                # Whatever was posted before the end is still written.
                group.extend(self._urgent)
                return group, True
            if job is not _BELL:
                group.append(job)
            if len(group) >= _GROUP:
                return group, False
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return group, False

    def _commit(self, connection: Connection, group: list[_Job]) -> set[str]:
        topics: set[str] = set()
        changed = False
        now = self.clock.now()
        try:
            connection.begin()
            numbers, appended = Numbers(connection), Appended(connection)
            for job in group:
                tx = Tx(connection, now, numbers, appended)
                taken, added = numbers.snapshot(), appended.snapshot()
                try:
                    if len(group) == 1:
                        job.result = job.fn(tx)
                    else:
                        with connection.savepoint():
                            job.result = job.fn(tx)
                except StorageError:
                    raise
                except BaseException as error:  # noqa: BLE001 - an interruption too is the caller's, not the writer's
                    job.error = error
                    numbers.restore(taken)
                    appended.restore(added)
                    if len(group) == 1:
                        connection.rollback()
                        return topics
                else:
                    topics |= tx.topics
                    changed = changed or tx.changed
            if not changed and not numbers.are_changed:
                # A look that found nothing to do: the disk has no part in it.
                connection.rollback()
                return topics
            appended.write()
            numbers.write_back()
            connection.announce(topics)
            self._probe("before")
            connection.commit()
            self._probe("after")
            self.commits += 1
        except StorageError as error:
            connection.rollback()
            _log.error("commit failed", error=str(error), jobs=len(group))
            for job in group:
                job.error = StorageError(error.message, hint=error.hint, code=error.code)
            return set()
        except Exception as error:  # noqa: BLE001 - the writer outlives whatever the database says to the last lines
            connection.rollback()
            _log.error("commit failed", exc=error, jobs=len(group))
            for job in group:
                job.error = error
            return set()
        return topics

    def _settle(self, group: list[_Job], topics: Iterable[str]) -> None:
        self.unanswered -= len(group)
        for job in group:
            if isinstance(job.error, StorageError) and job.error.code == "damaged":
                self._damage = job.error
                self._damaged.set()
            if job.future.cancelled():
                continue
            if job.error is not None:
                job.future.set_exception(job.error)
            else:
                job.future.set_result(job.result)
        self.bell.ring(topics)


def _refuse(group: list[_Job], error: Exception) -> None:
    _log.error("the database could not be used", error=str(error), jobs=len(group))
    for job in group:
        job.error = error if isinstance(error, StorageError) else StorageError(f"the database: {error}")


def _give_up(connection: Connection | None) -> None:
    """Let go of a connection that nothing more can be expected of; the next group opens another."""
    if connection is not None:
        with contextlib.suppress(Exception):
            connection.close()


def _nothing() -> None:
    pass


def _ignore(_: str) -> None:
    pass


def write_now(store: Store, clock: Clock, fn: Callable[[Tx], T]) -> T:
    """Run `fn` in a transaction of its own in this thread; for the command line."""
    connection = store.connect()
    try:
        connection.begin()
        tx = Tx(connection, clock.now())
        try:
            result = fn(tx)
        except TawnyError:
            connection.rollback()
            raise
        tx.write_out()
        if tx.topics:
            connection.announce(tx.topics)
        connection.commit()
        return result
    finally:
        connection.close()


def read_now(store: Store, clock: Clock, fn: Callable[[Tx], T]) -> T:
    """Run `fn` on a read-only connection in this thread; for the command line."""
    connection = store.connect(read_only=True)
    try:
        connection.begin()
        return fn(Tx(connection, clock.now()))
    finally:
        connection.close()
