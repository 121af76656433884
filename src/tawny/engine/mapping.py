"""Working through many items inside one task: each finished once, however often the process dies."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import NoReturn

import msgspec

from tawny.clock import Instant
from tawny.domain.approvals import Answer, Question
from tawny.domain.origin import absorb
from tawny.domain.retry import classify, next_attempt, retry_after
from tawny.domain.tasks import Effect, Failure, Json, Origin, Retry, Submission, Task, Usage
from tawny.engine.kinds import Context
from tawny.engine.outcomes import Paused
from tawny.errors import PermanentError
from tawny.ledger import items
from tawny.ledger.database import Ledger, Tx

_SEED = 1000
_PAGE = 200
_RESTING = 200
"""How many items may wait for their next try beside those that are done; beyond that they take the places of others."""

Work = Callable[[Context, Json], Awaitable[Json]]
Commit = Callable[[Callable[[Tx], None]], Awaitable[None]]
"""Writes something of the task's own, through the fence."""


class ItemContext:
    """The context of one item: the task's own, its steps and files under the item's name."""

    def __init__(self, context: Context, key: str, n: int) -> None:
        self._context = context
        self._prefix = f"{key}[{n}]"
        self._own: Task | None = None
        self.clock = context.clock

    @property
    def task(self) -> Task:
        """The task as it is now: what another item has read meanwhile counts for this one too, unless it was set."""
        return self._own or self._context.task

    @task.setter
    def task(self, task: Task) -> None:
        """An item whose work is settled beforehand stands for itself: nothing another item read can flow into it."""
        self._own = task

    @property
    def stop_reason(self) -> str | None:
        return self._context.stop_reason

    async def step(
        self,
        key: str,
        fn: Callable[[], Awaitable[Json]],
        *,
        input: Json = None,
        effect: Effect = Effect.PURE,
        name: str = "",
        also: Callable[[Tx], None] | None = None,
    ) -> Json:
        return await self._context.step(
            f"{self._prefix}.{key}", fn, input=input, effect=effect, name=name, also=also
        )

    def is_recorded(self, key: str) -> bool:
        return self._context.is_recorded(f"{self._prefix}.{key}")

    def idempotency_key(self, step: str) -> str:
        return self._context.idempotency_key(f"{self._prefix}.{step}")

    async def progress(
        self,
        current: float,
        total: float | None = None,
        *,
        unit: str | None = None,
        message: str | None = None,
    ) -> None:
        """An item's own progress is not the task's: how many items are done is."""

    def log(self, message: str, *, level: str = "info") -> None:
        self._context.log(f"{self._prefix}: {message}", level=level)

    async def artifact(
        self, name: str, data: bytes | str | Path, *, partial: bool = False, media_type: str = ""
    ) -> str:
        return await self._context.artifact(name, data, partial=partial, media_type=media_type)

    async def each(
        self,
        key: str,
        items: Sequence[Json],
        make: Callable[[Json, int], Submission],
        *,
        input: Json = None,
        concurrency: int = 1,
        max_failures: int | None = None,
    ) -> list[Task | None]:
        self._cannot_wait()

    async def submit(self, key: str, submission: Submission) -> str:
        return await self._context.submit(f"{self._prefix}.{key}", submission)

    def spend(self, usage: Usage) -> None:
        self._context.spend(usage)

    def add_origin(self, origin: Origin) -> None:
        if self._own is not None:
            merged = absorb(self._own.origin, self._own.params, origin)
            self._own = msgspec.structs.replace(self._own, origin=merged)
        self._context.add_origin(origin)

    def _cannot_wait(self) -> NoReturn:
        raise PermanentError(
            "an item of a batch cannot wait", hint="use a flow's 'map', which makes a task of each item"
        )

    async def wait_until(self, key: str, due: Instant) -> None:
        self._cannot_wait()

    async def wait_event(
        self, key: str, source: str, *, filter: str = "", timeout: int | None = None
    ) -> Json:
        self._cannot_wait()

    async def ask(self, key: str, question: Question) -> Answer:
        self._cannot_wait()

    async def wait_budget(self, key: str, *, scope: str, reason: str, until: Instant | None = None) -> None:
        self._cannot_wait()

    async def child(self, key: str, submission: Submission) -> Task:
        self._cannot_wait()

    async def children(self, key: str, submissions: Sequence[Submission]) -> list[Task]:
        self._cannot_wait()

    async def map(
        self,
        key: str,
        items: Sequence[Json],
        work: Work,
        *,
        concurrency: int = 1,
        max_failures: int | None = None,
        retry: Retry | None = None,
    ) -> dict[str, int]:
        self._cannot_wait()

    async def items(self, key: str, *, status: str, limit: int = 500) -> list[items.Item]:
        self._cannot_wait()


class Again(msgspec.Struct, frozen=True):
    """When an item is tried again, and how often it has failed by then."""

    due: Instant
    failures: int


class Mapping:
    """One run through the items of one `map` of one execution."""

    def __init__(
        self,
        context: Context,
        ledger: Ledger,
        commit: Commit,
        key: str,
        work: Work,
        *,
        total: int,
        max_failures: int | None,
        retry: Retry,
    ) -> None:
        self._context = context
        self._ledger = ledger
        self._commit = commit
        self._key = key
        self._work = work
        self._total = total
        self._max_failures = max_failures
        self._retry = retry
        self._succeeded = 0
        self._failed = 0
        self._last = -1
        self._page: list[items.Item] = []
        self._reading = asyncio.Lock()
        self._paused: Paused | None = None
        self._asleep: set[asyncio.Task[None] | None] = set()

    async def run(self, wanted: Sequence[Json], *, concurrency: int) -> dict[str, int]:
        """Work through what is unfinished; how many succeeded and failed in all.

        As many items as may are under way all the time; one that waits for its next try takes no place. Once no more
        may be begun (a pause, too many failures) those under way come to their next step boundary, or their end.

        Raises:
            PermanentError: more items failed than may.
        """
        task_id = self._context.task.task_id
        await self._seed(wanted)
        known = await self._ledger.read(lambda tx: items.counts(tx, task_id, self._key))
        self._succeeded, self._failed = known.get("succeeded", 0), known.get("failed", 0)
        await self._tell()
        self._places = asyncio.Semaphore(concurrency)
        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(self._worker(group))
        if self._paused is not None:
            raise self._paused
        self._check()
        return {"total": self._total, "succeeded": self._succeeded, "failed": self._failed}

    async def _seed(self, wanted: Sequence[Json]) -> None:
        """Write the items, a thousand a commit; those that an earlier attempt wrote stay."""
        task_id = self._context.task.task_id
        have = await self._ledger.read(lambda tx: sum(items.counts(tx, task_id, self._key).values()))
        if have >= len(wanted):
            return
        for start in range(0, len(wanted), _SEED):
            part = wanted[start : start + _SEED]
            await self._commit(
                lambda tx, start=start, part=part: items.seed(tx, task_id, self._key, start, part)
            )

    async def _next(self) -> items.Item | None:
        """The next unfinished item, `None` where there is none or none may be begun."""
        task_id = self._context.task.task_id
        async with self._reading:
            if not self._page:
                self._page = await self._ledger.read(
                    lambda tx: items.pending(tx, task_id, self._key, after=self._last, limit=_PAGE)
                )
            if not self._page or not self._goes_on():
                return None
            item = self._page.pop(0)
            self._last = item.n
            return item

    def _goes_on(self) -> bool:
        return self._paused is None and (self._max_failures is None or self._failed <= self._max_failures)

    async def _worker(self, group: asyncio.TaskGroup) -> None:
        while (item := await self._next()) is not None:
            async with self._places:
                again = await self._try(item, item.attempts)
            if again is None:
                continue
            if len(self._asleep) < _RESTING:
                group.create_task(self._rest(item, again))
            else:
                await self._rest(item, again)

    async def _rest(self, item: items.Item, again: Again) -> None:
        """Try a failed item again and again, at its times, in a place of its own while it is under way."""
        following: Again | None = again
        while following is not None:
            me = asyncio.current_task()
            self._asleep.add(me)
            try:
                await self._context.clock.sleep_until(following.due)
            finally:
                self._asleep.discard(me)
            async with self._places:
                following = await self._try(item, following.failures)

    async def _try(self, item: items.Item, failures: int) -> Again | None:
        """Do an item once; when to do it again, where it has failed and is to be."""
        if not self._goes_on():
            return None
        context = ItemContext(self._context, self._key, item.n)
        task_id, key, n = self._context.task.task_id, self._key, item.n
        try:
            try:
                result = await self._work(context, item.item)
            except Exception as error:  # noqa: BLE001 - an item's work is a stranger's code; its error is recorded
                failure = classify(error)
                again = next_attempt(
                    self._retry,
                    failure,
                    failures=failures + 1,
                    now=self._context.clock.now(),
                    chance=random.random(),
                    asked=retry_after(error),
                )
                if again is not None:
                    await self._commit(lambda tx: items.tried(tx, task_id, key, n))
                    return Again(again, failures + 1)
                self._failed += 1
                await self._settle(n, "failed", error=failure)
            else:
                self._succeeded += 1
                await self._settle(n, "succeeded", result=result)
            await self._tell()
        except Paused as paused:
            self._paused = paused
        if not self._goes_on():
            # What rests until its next try is left for later.
            for task in self._asleep:
                if task is not None:
                    task.cancel()
        return None

    async def _settle(
        self, n: int, status: str, *, result: Json = None, error: Failure | None = None
    ) -> None:
        task_id, key = self._context.task.task_id, self._key
        await self._commit(
            lambda tx: items.settle(tx, task_id, key, n, status=status, result=result, error=error)
        )

    async def _tell(self) -> None:
        done = self._succeeded + self._failed
        failed = f", {self._failed} failed" if self._failed else ""
        await self._context.progress(
            done, self._total, unit="items", message=f"{done} of {self._total} done{failed}"
        )

    def _check(self) -> None:
        if self._max_failures is not None and self._failed > self._max_failures:
            raise PermanentError(
                f"{self._failed} items failed and {self._max_failures} may",
                hint="mend what is wrong and 'tawny tasks retry': finished items are kept",
            )


def as_result(value: Json) -> Json:
    """What an item's run returned, as a JSON value."""
    return {"text": value} if isinstance(value, str) else msgspec.to_builtins(value)
