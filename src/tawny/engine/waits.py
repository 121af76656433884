"""How a run leaves memory until something comes: a time, an event, a person, a budget, its children."""

from collections.abc import Callable, Sequence
from typing import NoReturn, cast

import msgspec

from tawny.clock import Instant
from tawny.domain.approvals import Answer, Question
from tawny.domain.tasks import Json, Status, Submission, Task, WaitingFor
from tawny.engine.fence import CANCELLED, Fence
from tawny.engine.journal import NO_INPUT, Journal, Mark
from tawny.engine.news import News
from tawny.engine.offspring import Make, as_child, hash_of, spread, start
from tawny.engine.outcomes import Suspended
from tawny.ledger import endings, items, pausing, steps, transitions
from tawny.ledger.database import Tx
from tawny.ledger.submission import submit as accept
from tawny.ledger.tasks import get

AskHook = Callable[[Tx, Task, str, Question], None]
"""Writes an approval for a task's question under a wait's key, in the transaction of the wait."""
EventHook = Callable[[Tx, Task, str, str, str], None]
"""Registers a wait for an outside event: task, key, source, filter."""


class Hooks(msgspec.Struct, frozen=True):
    """What waits need from other parts; handed in at construction."""

    ask: AskHook
    event: EventHook


class Over(msgspec.Struct, frozen=True):
    """What would have been waited for has come already; the record of it."""

    result: Json


class Waits:
    """The waits of one execution; each is a row, and its answer stands in the journal when the run passes it again."""

    def __init__(self, fence: Fence, news: News, journal: Journal, hooks: Hooks) -> None:
        self._fence = fence
        self._news = news
        self._journal = journal
        self._hooks = hooks

    async def until(self, key: str, due: Instant) -> None:
        """See `Context.wait_until`."""
        if self._journal.is_settled(key):
            return
        if due <= self._fence.clock.now():
            await self._journal.step(key, _nothing, name="wait: timer")
            return
        await self._suspend(WaitingFor("timer", key=key, until=due))

    async def event(self, key: str, source: str, *, filter: str, timeout: int | None) -> Json:
        """See `Context.wait_event`."""
        hashed = steps.input_hash(["event", source, filter])
        if self._journal.is_same(key, hashed) and self._journal.is_settled(key):
            return self._journal.result(key)
        until = None if timeout is None else self._fence.clock.now() + timeout
        waiting = WaitingFor("event", key=key, until=until, detail={"source": source, "filter": filter})
        return await self._suspend(
            waiting, lambda tx, task: self._hooks.event(tx, task, key, source, filter), hashed=hashed
        )

    async def answer(self, key: str, question: Question) -> Answer:
        """See `Context.ask`."""
        if self._journal.is_settled(key):
            return msgspec.convert(self._journal.result(key), Answer)
        waiting = WaitingFor("approval", key=key, detail={"tool": question.tool, "reason": question.reason})
        return await self._suspend(waiting, lambda tx, task: self._hooks.ask(tx, task, key, question))

    async def budget(self, key: str, *, scope: str, reason: str, until: Instant | None) -> None:
        """See `Context.wait_budget`."""
        if not self._journal.is_settled(key):
            await self._suspend(
                WaitingFor("budget", key=key, until=until, detail={"scope": scope, "reason": reason})
            )

    async def children(self, key: str, submissions: Sequence[Submission]) -> list[Task]:
        """See `Context.children`."""
        if not submissions:
            return []
        hashed = hash_of(submissions)
        is_same, known = self._journal.is_same(key, hashed), self._journal.known(key)
        if not (is_same and self._journal.is_settled(key)):
            # The children of a task whose work this one does again stand in the record that was taken over.
            taken_over = known.result if known is not None else None
            before = cast("list[str]", taken_over) if isinstance(taken_over, list) else []
            former = before if len(before) == len(submissions) else [None] * len(submissions)

            def begin(tx: Tx, task: Task) -> WaitingFor | Over:
                made = [
                    start(tx, task, wanted, former=other)
                    for wanted, other in zip(submissions, former, strict=True)
                ]
                ids: list[Json] = [child.task_id for child in made]
                if all(child.status.is_terminal for child in made):
                    return Over(ids)
                return WaitingFor("child", key=key, detail={"children": ids})

            await self._suspend_with(await self._journal.new_wait(key, hashed), begin)
        ended: list[str] = self._journal.result(key)
        return await self._fence.ledger.read(lambda tx: [get(tx, task_id) for task_id in ended])

    async def each(
        self,
        key: str,
        wanted: Sequence[Json],
        make: Make,
        *,
        input: Json,
        concurrency: int,
        max_failures: int | None,
    ) -> list[Task | None]:
        """See `Context.each`."""
        if not wanted:
            return []
        journal, task_id = self._journal, self._fence.task.task_id
        hashed = steps.input_hash([list(wanted), input])
        is_same = journal.is_same(key, hashed)
        if not (is_same and journal.is_settled(key)):
            known = journal.known(key)
            is_open = known is not None and known.status == "running"

            def begin(tx: Tx, task: Task) -> WaitingFor | Over:
                if not is_same:
                    items.forget(tx, task_id, key)
                if not is_open:
                    items.seed(tx, task_id, key, 0, wanted)
                waiting = spread(tx, task, key, make, concurrency=concurrency, max_failures=max_failures)
                return waiting or Over(dict(items.counts(tx, task_id, key)))

            await self._suspend_with(await journal.new_wait(key, hashed), begin, is_open=is_open)

        def read(tx: Tx) -> list[Task | None]:
            children = items.children(tx, task_id, key)
            return [None if child is None else get(tx, child) for child in children]

        return await self._fence.ledger.read(read)

    async def submit(self, key: str, submission: Submission) -> str:
        """See `Context.submit`."""
        if self._journal.is_settled(key):
            return str(self._journal.result(key))

        def begin(tx: Tx) -> str:
            task = self._fence.task
            filled = as_child(task, submission, awaited=submission.awaited)
            return accept(tx, filled, actor=f"task:{task.task_id}", is_awaited=submission.awaited).task_id

        return str(await self._journal.record(key, "submit", begin))

    async def _suspend(
        self,
        waiting: WaitingFor,
        also: Callable[[Tx, Task], None] | None = None,
        *,
        hashed: str = NO_INPUT,
    ) -> NoReturn:
        def begin(tx: Tx, task: Task) -> WaitingFor:
            if also is not None:
                also(tx, task)
            return waiting

        await self._suspend_with(await self._journal.new_wait(waiting.key, hashed), begin)
        raise AssertionError("a wait that has begun is not over")

    async def _suspend_with(
        self, mark: Mark, begin: Callable[[Tx, Task], WaitingFor | Over], *, is_open: bool = False
    ) -> None:
        """Write the wait with its step and whatever `begin` writes, in one transaction, and leave memory.

        Where `begin` finds it over already that is recorded, and the run goes on.
        """

        def write(tx: Tx) -> tuple[WaitingFor | Over, Task]:
            self._news.write(tx)
            task = self._fence.check(tx)
            if task.intent == "cancel":
                return WaitingFor("cancelled"), endings.finish(tx, task, Status.CANCELLED, error=CANCELLED)
            found = begin(tx, task)
            if not is_open:
                kind, known = ("child", None) if isinstance(found, Over) else _known(found)
                self._journal.open_wait(tx, mark, kind, result=known)
            if isinstance(found, Over):
                return found, self._journal.end_wait(tx, mark, "child", found.result)
            after = transitions.wait(tx, task, found)
            return found, _paused(tx, after) if task.intent == "pause" else after

        found, task = await self._fence.write(write)
        if isinstance(found, WaitingFor):
            raise Suspended(found)
        self._journal.remember(mark, found.result)
        self._fence.boundary(task)


def _paused(tx: Tx, waiting: Task) -> Task:
    """A wait that begins when a pause is wanted: that takes effect here, also for what was started just now."""
    return pausing.pause(tx, waiting, by=None)


def _known(waiting: WaitingFor) -> tuple[str, Json]:
    """The kind of a wait, and what is known of it before it ends."""
    return waiting.kind, waiting.detail.get("children")


async def _nothing() -> None:
    return None
