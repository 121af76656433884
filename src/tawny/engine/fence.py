"""One attempt's hold on its task: what it writes goes through the fence, and waits out a failing disk."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tawny.clock import Clock
from tawny.domain.tasks import Failure, Status, Task
from tawny.engine.outcomes import GivenUp, Paused
from tawny.errors import StorageError
from tawny.ledger import outages
from tawny.ledger.database import Ledger, Tx
from tawny.ledger.relations import Ties, with_ties
from tawny.ledger.tasks import get

T = TypeVar("T")
_RETRY_STORAGE = 0.5

CANCELLED = Failure("cancelled", "cancelled on request")


class Fence:
    """Shared by the parts of one execution. `task` is as this attempt knows it."""

    def __init__(self, task: Task, ledger: Ledger, clock: Clock) -> None:
        self.task = task
        self.ledger = ledger
        self.clock = clock
        self._since = clock.steady()
        self.stop_reason: str | None = None
        self.undo: Callable[[], None] | None = None
        """Set in a write by whoever hands over what it must have back should the disk refuse the commit."""

    async def write(self, fn: Callable[[Tx], T]) -> T:
        """Write, waiting out a full or failing disk: running state is kept until it is back."""

        async def once() -> T:
            undo: list[Callable[[], None]] = []

            def noted(tx: Tx) -> T:
                self.undo = None
                try:
                    return fn(tx)
                finally:
                    if self.undo is not None:
                        undo.append(self.undo)

            try:
                return await self.ledger.write(noted, urgent=True)
            except StorageError:
                for step in undo:
                    step()
                raise

        return await self.outlast(once)

    async def outlast(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do something again until the disk lets it through."""
        return await outages.outlast(self.clock, work, name=self.task.task_id, pause=_RETRY_STORAGE)

    def check(self, tx: Tx) -> Task:
        """The task as stored now.

        Raises:
            GivenUp: another attempt has taken over, or it has ended.
        """
        return self._held(tx, get(tx, self.task.task_id))

    def check_tied(self, tx: Tx) -> tuple[Task, Ties]:
        """Like `check`, with what hangs on the task: for an end, which concerns them too."""
        found = with_ties(tx, self.task.task_id)
        if found is None:
            raise GivenUp
        return self._held(tx, found[0]), found[1]

    def _held(self, tx: Tx, task: Task) -> Task:
        if task.status is not Status.RUNNING or task.attempt != self.task.attempt:
            raise GivenUp
        tx.ran = (task.task_id, self.clock.steady() - self._since)
        return task

    def boundary(self, task: Task) -> None:
        """Between two steps a pause or a cancel takes effect."""
        if task.intent == "cancel":
            self.stop_reason = self.stop_reason or "cancel"
            raise asyncio.CancelledError
        if task.intent == "pause":
            raise Paused
