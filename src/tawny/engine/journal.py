"""The journal of one execution: its steps by key and the hash of their input, each done once."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import NoReturn

import msgspec

from tawny.clock import Instant
from tawny.domain.retry import classify
from tawny.domain.tasks import Effect, Failure, Json, Status, Task, WaitingFor
from tawny.engine.fence import Fence
from tawny.engine.news import News
from tawny.engine.outcomes import GivenUp, Suspended
from tawny.errors import Changed, Uncertain
from tawny.ledger import endings, particulars, steps, transitions
from tawny.ledger.database import Tx
from tawny.ledger.recovery import reconcile

_TURNS = 3
NO_INPUT = steps.input_hash(None)
_UP_TO_RULES = ("wait: approval", "wait: budget")
"""Whether these are waited for is settled anew in every attempt, by rules and budgets as they are then."""


class Mark(msgspec.Struct, frozen=True):
    """What identifies a step while it runs."""

    key: str
    name: str
    ordinal: int
    hashed: str
    effect: Effect
    started: Instant


class Journal:
    """Answers from the record where there is one, else runs the step and records it.

    What is recorded has to be asked for again: a step that was renamed or taken out is never passed over. Nothing that
    acts is begun while one is missing; where parts of a run ask side by side it is known only at the end of the run.
    """

    def __init__(self, fence: Fence, news: News, known: dict[str, steps.Step]) -> None:
        self._fence = fence
        self._news = news
        self._known = known
        self._ordinal = max((step.ordinal for step in known.values()), default=0)
        self._owed = _owed(known.values())
        self._is_alone = True
        self.runner: asyncio.Task[None] | None = None
        """The run itself; what other asyncio tasks ask for comes in no settled order."""
        self.current: str | None = None

    def is_settled(self, key: str) -> bool:
        """Whether there is a finished step or wait under `key`."""
        known = self.known(key)
        return known is not None and known.status == "succeeded"

    def known(self, key: str) -> steps.Step | None:
        """What is recorded under `key`, which the run has asked for with this."""
        self._owed.pop(key, None)
        if asyncio.current_task() is not self.runner:
            self._is_alone = False
        return self._known.get(key)

    def is_same(self, key: str, hashed: str) -> bool:
        """Whether a wait stands with this input, or not at all; `False` where it was for something else.

        Raises:
            Changed: it is for something else though all that came before it is as it was.
        """
        is_owed = key in self._owed
        known = self.known(key)
        if known is None or known.input_hash in (hashed, NO_INPUT):
            return True
        if is_owed or known.status == "running":
            raise self._changed(known.key, "was recorded with another input")
        return False

    async def miss(self, key: str) -> None:
        """`key` is not recorded and is about to be begun: then nothing that is recorded may be left out.

        Raises:
            Changed: something is.
        """
        if not self._owed or not self._is_alone or asyncio.current_task() is not self.runner:
            return
        for _ in range(_TURNS):
            # What the run has begun beside itself gets its turn to ask.
            await asyncio.sleep(0)
        if self._owed and self._is_alone:
            left_out = next(iter(self._owed))
            raise self._changed(left_out, f"is recorded, and the run asks for {key!r} in its place")

    def leave(self, prefix: str) -> None:
        """The steps under `prefix` belong to items, each of which is finished or begun by itself."""
        self._owed = {key: step for key, step in self._owed.items() if not key.startswith(prefix)}

    def close(self) -> None:
        """The run has come to its end.

        Raises:
            Changed: it has never asked for something that is recorded.
        """
        for key in self._owed:
            raise self._changed(key, "is recorded, and the run no longer asks for it")

    def _changed(self, key: str, how: str) -> Changed:
        task_id = self._fence.task.task_id
        return Changed(
            f"step {key!r} of {task_id} {how}: its code or data has changed. Put that back and 'tawny tasks retry"
            f" {task_id}', or do all of it again: 'tawny tasks retry --fresh {task_id}'",
            step=key,
        )

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
        known = self.known(key)
        if known is None:
            if effect is not Effect.PURE:
                await self.miss(key)
        else:
            if known.input_hash != hashed:
                raise self._changed(key, "was recorded with another input")
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
        self.remember(mark, result)
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
        await self.miss(key)
        mark = self._mark(key, name, NO_INPUT, Effect.PURE, None)

        def whole(tx: Tx) -> Json:
            self._fence.check(tx)
            made = write(tx)
            self._end(tx, mark, "succeeded", result=made)
            return made

        result = await self._fence.write(whole)
        self.remember(mark, result)
        return result

    async def new_wait(self, key: str, hashed: str) -> Mark:
        """The mark of a wait; its record is opened by `open_wait`, and settled by whoever answers."""
        known = self.known(key)
        if known is None:
            await self.miss(key)
        return self._mark(key, "", hashed, Effect.PURE, known)

    def open_wait(self, tx: Tx, mark: Mark, kind: str, *, result: Json = None) -> None:
        """Open the record of a wait of a kind; `result` is what is known of it before it ends."""
        self._begin(tx, msgspec.structs.replace(mark, name=f"wait: {kind}"), result=result)

    def end_wait(self, tx: Tx, mark: Mark, kind: str, result: Json) -> Task:
        """Record that an open wait is over: what it was for had come before anybody had to wait."""
        return self._end(tx, msgspec.structs.replace(mark, name=f"wait: {kind}"), "succeeded", result=result)

    def remember(self, mark: Mark, result: Json) -> None:
        """What this run has recorded as finished."""
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

    def _intend(self, tx: Tx, mark: Mark) -> Task:
        task = self._fence.check(tx)
        if task.intent is None:
            self._begin(tx, mark)
        return task

    def _begin(self, tx: Tx, mark: Mark, *, result: Json = None) -> None:
        steps.begin(
            tx,
            self._fence.task.task_id,
            mark.key,
            name=mark.name,
            ordinal=mark.ordinal,
            hashed=mark.hashed,
            effect=mark.effect,
            result=result,
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


def _owed(known: Iterable[steps.Step]) -> dict[str, steps.Step]:
    """What a run of the same code asks for again, whatever else happens: all that was settled at the first try.

    Behind a step that failed, or that was made good later, the run may have taken another way than it takes now.
    """
    owed: dict[str, steps.Step] = {}
    following = 1
    for step in sorted(known, key=lambda step: step.ordinal):
        if step.ordinal > following or step.status != "succeeded":
            break
        following = step.ordinal + 1
        if step.name not in _UP_TO_RULES:
            owed[step.key] = step
        if step.attempts > 1:
            break
    return owed
