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
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from tawny.clock import Clock
from tawny.errors import StorageError, TawnyError
from tawny.ledger.additions import Appended, Numbers
from tawny.ledger.bell import EVERYTHING as EVERYTHING
from tawny.ledger.bell import Bell as Bell
from tawny.ledger.connection import Connection as Connection
from tawny.ledger.connection import Row as Row
from tawny.ledger.connection import Store as Store
from tawny.ledger.tail import Tail
from tawny.ledger.transaction import Tx as Tx
from tawny.log import Log

T = TypeVar("T")
_GROUP = 200
_PATIENCE = 1000
"""How long an answer waits for those that follow, in microseconds."""
_log = Log("ledger")


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


class _Outcome:
    """What a group of transactions has come to: whom to wake, and the events it has added."""

    __slots__ = ("told", "topics")

    def __init__(self) -> None:
        self.topics: set[str] = set()
        self.told: list[dict[str, Any]] = []


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
        self.tail = Tail(self.read, self.bell.subscribe("events"))
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
            self._loop.call_soon_threadsafe(self._settle, answered, _Outcome())
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
                    outcome = self._commit(connection, group)
                except Exception as error:  # noqa: BLE001 - a writer that died unheard would leave everybody waiting
                    connection, outcome = _give_up(connection), _Outcome()
                    _refuse(group, error)
                assert self._loop is not None
                self._loop.call_soon_threadsafe(self._settle, group, outcome)
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

    def _commit(self, connection: Connection, group: list[_Job]) -> "_Outcome":
        outcome = _Outcome()
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
                        return outcome
                else:
                    outcome.topics |= tx.topics
                    outcome.told += tx.told
                    changed = changed or tx.changed
            if not changed and not numbers.are_changed:
                # A look that found nothing to do: the disk has no part in it.
                connection.rollback()
                return outcome
            appended.write()
            numbers.write_back()
            connection.announce(outcome.topics)
            self._probe("before")
            connection.commit()
            self._probe("after")
            self.commits += 1
        except StorageError as error:
            connection.rollback()
            _log.error("commit failed", error=str(error), jobs=len(group))
            for job in group:
                job.error = StorageError(error.message, hint=error.hint, code=error.code)
            return _Outcome()
        except Exception as error:  # noqa: BLE001 - the writer outlives whatever the database says to the last lines
            connection.rollback()
            _log.error("commit failed", exc=error, jobs=len(group))
            for job in group:
                job.error = error
            return _Outcome()
        return outcome

    def _settle(self, group: list[_Job], outcome: "_Outcome") -> None:
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
        was_sure = self.tail.is_sure
        self.bell.ring(outcome.topics)
        if outcome.told and was_sure:
            self.tail.add(outcome.told)


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
