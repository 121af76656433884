"""How a run leaves memory until something comes: a time, an event, a person, a budget, its children."""

from collections.abc import Callable, Sequence
from typing import NoReturn

import msgspec

from tawny.clock import Instant
from tawny.domain.approvals import Answer, Question
from tawny.domain.origin import of_child
from tawny.domain.tasks import Json, Status, Submission, Task, WaitingFor
from tawny.engine.fence import CANCELLED, Fence
from tawny.engine.journal import Journal
from tawny.engine.news import News
from tawny.engine.outcomes import Suspended
from tawny.ledger import endings, transitions
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
        if self._journal.is_settled(key):
            return self._journal.result(key)
        until = None if timeout is None else self._fence.clock.now() + timeout
        waiting = WaitingFor("event", key=key, until=until, detail={"source": source, "filter": filter})
        return await self._suspend(waiting, lambda tx, task: self._hooks.event(tx, task, key, source, filter))

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
        if not self._journal.is_settled(key):
            ids: list[str] = []

            def start(tx: Tx, task: Task) -> WaitingFor:
                for wanted in submissions:
                    filled = self._as_child(wanted, awaited=False)
                    made = accept(tx, filled, actor=f"task:{task.task_id}", is_awaited=True)
                    ids.append(made.task_id)
                return WaitingFor("child", key=key, detail={"children": ids})

            await self._suspend_with(key, start)
        ended: list[str] = self._journal.result(key)
        return await self._fence.ledger.read(lambda tx: [get(tx, task_id) for task_id in ended])

    async def submit(self, key: str, submission: Submission) -> str:
        """See `Context.submit`."""
        if self._journal.is_settled(key):
            return str(self._journal.result(key))

        def start(tx: Tx) -> str:
            filled = self._as_child(submission, awaited=submission.awaited)
            actor = f"task:{self._fence.task.task_id}"
            return accept(tx, filled, actor=actor, is_awaited=submission.awaited).task_id

        return str(await self._journal.record(key, "submit", start))

    def _as_child(self, wanted: Submission, *, awaited: bool) -> Submission:
        task = self._fence.task
        return msgspec.structs.replace(
            wanted,
            parent_id=task.task_id,
            owner=task.owner,
            awaited=awaited,
            origin=of_child(task.origin, task.params, wanted.origin),
        )

    async def _suspend(self, waiting: WaitingFor, also: Callable[[Tx, Task], None] | None = None) -> NoReturn:
        def begin(tx: Tx, task: Task) -> WaitingFor:
            if also is not None:
                also(tx, task)
            return waiting

        await self._suspend_with(waiting.key, begin)

    async def _suspend_with(self, key: str, begin: Callable[[Tx, Task], WaitingFor]) -> NoReturn:
        """Write the wait with its step and whatever `begin` writes, in one transaction, and leave memory."""
        mark = self._journal.new_wait(key)

        def write(tx: Tx) -> WaitingFor:
            self._news.write(tx)
            task = self._fence.check(tx)
            if task.intent == "cancel":
                endings.finish(tx, task, Status.CANCELLED, error=CANCELLED)
                return WaitingFor("cancelled")
            waiting = begin(tx, task)
            self._journal.open_wait(tx, mark, waiting.kind)
            after = transitions.wait(tx, task, waiting)
            if task.intent == "pause":
                transitions.advance(tx, after, Status.PAUSED, event="paused", intent=None)
            return waiting

        raise Suspended(await self._fence.write(write))


async def _nothing() -> None:
    return None
