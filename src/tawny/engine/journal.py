"""The journal of one execution: its steps by key and the hash of their input, each done once."""

from collections.abc import Awaitable, Callable
from typing import NoReturn

import msgspec

from tawny.clock import Instant
from tawny.domain.retry import classify
from tawny.domain.tasks import Effect, Failure, Json, Status, Task, WaitingFor
from tawny.engine.fence import Fence
from tawny.engine.news import News
from tawny.engine.outcomes import GivenUp, Suspended
from tawny.errors import Conflict, Uncertain
from tawny.ledger import endings, particulars, steps, transitions
from tawny.ledger.database import Tx
from tawny.ledger.recovery import reconcile


class Mark(msgspec.Struct, frozen=True):
    """What identifies a step while it runs."""

    key: str
    name: str
    ordinal: int
    hashed: str
    effect: Effect
    started: Instant


class Journal:
    """Answers from the record where there is one, else runs the step and records it."""

    def __init__(self, fence: Fence, news: News, known: dict[str, steps.Step]) -> None:
        self._fence = fence
        self._news = news
        self._known = known
        self._ordinal = len(known)
        self.current: str | None = None

    def is_settled(self, key: str) -> bool:
        """Whether there is a finished step or wait under `key`."""
        known = self._known.get(key)
        return known is not None and known.status == "succeeded"

    def result(self, key: str) -> Json:
        """The record of a settled step."""
        return self._known[key].result

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
        """See `Context.step`."""
        hashed = steps.input_hash(input)
        known = self._known.get(key)
        if known is not None:
            self._same_input(known, hashed)
            if known.status == "succeeded":
                return known.result
        mark = self._mark(key, name or key, hashed, effect, known)
        if known is not None and known.effect == Effect.AT_MOST_ONCE and known.status != "failed":
            # Its intent stands without an outcome: an earlier attempt left it, by whatever way.
            await self._in_doubt(mark, Uncertain("an earlier attempt ended"))
        if effect is Effect.AT_MOST_ONCE:
            self._fence.boundary(await self._fence.write(lambda tx: self._intend(tx, mark)))
        self.current = key
        try:
            result = await fn()
        except Uncertain as doubt:
            await self._in_doubt(mark, doubt)
        except Exception as error:
            failure = msgspec.to_builtins(classify(error))
            await self._record(also, lambda tx: self._end(tx, mark, "failed", error=failure))
            raise
        task = await self._record(also, lambda tx: self._end(tx, mark, "succeeded", result=result))
        self.current = None
        self._remember(mark, result)
        self._fence.boundary(task)
        return result

    async def _record(self, also: Callable[[Tx], None] | None, end: Callable[[Tx], Task]) -> Task:
        """Write how a step ended, and what belongs to it, in one transaction."""
        if also is None:
            return await self._fence.write(end)

        def whole(tx: Tx) -> Task:
            also(tx)
            return end(tx)

        try:
            return await self._fence.write(whole)
        except GivenUp:
            # Another attempt has the task, and this step is none of its record; but what was done was done.
            await self._fence.write(also)
            raise

    async def record(self, key: str, name: str, write: Callable[[Tx], Json]) -> Json:
        """Write something of the ledger's own and its record as a step, in one transaction."""
        mark = self._mark(key, name, steps.input_hash(None), Effect.PURE, None)

        def whole(tx: Tx) -> Json:
            self._fence.check(tx)
            made = write(tx)
            self._end(tx, mark, "succeeded", result=made)
            return made

        result = await self._fence.write(whole)
        self._remember(mark, result)
        return result

    def new_wait(self, key: str) -> Mark:
        """The mark of a wait; its record is opened by `open_wait`, and settled by whoever answers."""
        return self._mark(key, "", steps.input_hash(None), Effect.PURE, None)

    def open_wait(self, tx: Tx, mark: Mark, kind: str) -> None:
        """Open the record of a wait of a kind."""
        self._begin(tx, msgspec.structs.replace(mark, name=f"wait: {kind}"))

    def _mark(self, key: str, name: str, hashed: str, effect: Effect, known: steps.Step | None) -> Mark:
        if known is None:
            self._ordinal += 1
        ordinal = self._ordinal if known is None else known.ordinal
        return Mark(key, name, ordinal, hashed, effect, self._fence.clock.now())

    async def _in_doubt(self, mark: Mark, doubt: Uncertain) -> NoReturn:
        """Leave memory until a person has said whether the step's effect happened."""

        def write(tx: Tx) -> None:
            self._news.write(tx)
            task = self._fence.check(tx)
            if task.intent == "cancel":
                error = Failure("cancelled", f"cancelled on request; {doubt.message}", mark.key)
                endings.finish(tx, task, Status.CANCELLED, error=error)
                return
            self._begin(tx, mark)
            transitions.end_execution(tx, task, "uncertain", classify(doubt))
            reconcile(tx, task, [mark.key], because=doubt.message)

        await self._fence.write(write)
        raise Suspended(WaitingFor("reconcile", key=mark.key))

    def _remember(self, mark: Mark, result: Json) -> None:
        self._known[mark.key] = steps.Step(
            key=mark.key,
            name=mark.name,
            ordinal=mark.ordinal,
            input_hash=mark.hashed,
            effect=mark.effect,
            status="succeeded",
            attempts=1,
            started_at=mark.started,
            ended_at=mark.started,
            result=result,
            error=None,
        )

    def _intend(self, tx: Tx, mark: Mark) -> Task:
        task = self._fence.check(tx)
        if task.intent is None:
            self._begin(tx, mark)
        return task

    def _begin(self, tx: Tx, mark: Mark) -> None:
        steps.begin(
            tx,
            self._fence.task.task_id,
            mark.key,
            name=mark.name,
            ordinal=mark.ordinal,
            hashed=mark.hashed,
            effect=mark.effect,
        )

    def _end(self, tx: Tx, mark: Mark, status: str, *, result: Json = None, error: Json = None) -> Task:
        task = self._fence.check(tx)
        steps.end(
            tx,
            task.task_id,
            mark.key,
            name=mark.name,
            ordinal=mark.ordinal,
            hashed=mark.hashed,
            effect=mark.effect,
            status=status,
            started_at=mark.started,
            result=result,
            error=error,
        )
        if task.crashes:
            task = particulars.set_crashes(tx, task, 0)
        transitions.record(
            tx, task, "step_finished", {"key": mark.key, "name": mark.name, "step_status": status}
        )
        if mark.effect is not Effect.PURE:
            particulars.audit_effect(tx, task, mark.key, mark.effect, status)
        self._news.write(tx)
        return task

    def _same_input(self, known: steps.Step, hashed: str) -> None:
        if known.input_hash != hashed:
            raise Conflict(
                f"step {known.key!r} of {self._fence.task.task_id} was journaled with another input:"
                " its code or data changed",
                hint="start a new task, or 'tawny tasks retry' to run it from the beginning",
            )
