"""One attempt at a task: runs its kind, journals its steps, reports its outcome, and obeys the fence."""

import asyncio
import hashlib
import mimetypes
import random
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import NoReturn, TypeVar

import msgspec

from tawny.clock import SECOND, Clock, Instant, iso, sleep
from tawny.domain.approvals import Answer, Question
from tawny.domain.origin import absorb, of_child
from tawny.domain.progress import Pace, advance, estimate
from tawny.domain.retry import classify, next_attempt, retry_after
from tawny.domain.tasks import (
    Effect,
    Failure,
    Json,
    Origin,
    Retry,
    Status,
    Submission,
    Task,
    Usage,
    WaitingFor,
)
from tawny.engine.kinds import Kind, Result
from tawny.engine.mapping import Mapping, Work
from tawny.engine.outcomes import GivenUp, Interrupted, Paused, Suspended
from tawny.errors import Conflict, Fenced, PermanentError, StorageError, TawnyError, Uncertain
from tawny.ledger import artifacts, items, steps, tasklog, transitions
from tawny.ledger.database import Ledger, Tx
from tawny.ledger.items import Item
from tawny.ledger.recovery import reconcile
from tawny.ledger.submission import submit as accept
from tawny.ledger.tasks import get, to_json
from tawny.log import Log

T = TypeVar("T")
_log = Log("engine.execution")
_FLUSH_EVERY = SECOND // 4
_MAX_LOG_LINES = 1000
_RETRY_STORAGE = 0.5

AskHook = Callable[[Tx, Task, str, Question], None]
"""Writes an approval for a task's question under a wait's key, in the transaction of the wait."""
EventHook = Callable[[Tx, Task, str, str, str], None]
"""Registers a wait for an outside event: task, key, source, filter."""


class _Mark(msgspec.Struct, frozen=True):
    """What identifies a step while it runs."""

    key: str
    name: str
    ordinal: int
    hashed: str
    effect: Effect
    started: Instant


class Hooks(msgspec.Struct, frozen=True):
    """What waits need from other parts; handed in at construction."""

    ask: AskHook
    event: EventHook


class Execution:
    """One attempt. Implements `engine.kinds.Context`."""

    def __init__(
        self,
        task: Task,
        kind: Kind,
        ledger: Ledger,
        clock: Clock,
        *,
        artifacts_root: Path,
        hooks: Hooks,
        journal: dict[str, steps.Step],
    ) -> None:
        self.task = task
        self.kind = kind
        self.clock = clock
        self.stop_reason: str | None = None
        self._ledger = ledger
        self._root = artifacts_root
        self._hooks = hooks
        self._journal = journal
        self._ordinal = len(journal)
        self._progress = task.progress
        self._pace = Pace()
        self._eta: Instant | None = None
        self._flushed_at: Instant = 0
        self._progress_dirty = False
        self._usage: Usage | None = None
        self._origin_dirty = False
        self._lines: list[tuple[Instant, str, str]] = []
        self._runner: asyncio.Task[None] | None = None
        self._flush_handle: Callable[[], None] | None = None

    # --- what the dispatcher does with it

    async def run(self) -> None:
        """Run to an outcome and report it; never raises but for the loop's own shutdown."""
        self._runner = asyncio.current_task()
        try:
            await self._guarded()
        finally:
            if self._flush_handle is not None:
                self._flush_handle()

    def stop(self, reason: str) -> None:
        """Stop it from outside: `cancel`, `timeout`, `fence` or `shutdown`."""
        if self.stop_reason is None:
            self.stop_reason = reason
            if self._runner is not None:
                self._runner.cancel()

    async def _guarded(self) -> None:
        try:
            params = msgspec.convert(self.task.params, self.kind.params)
            result = await self.kind.run(self, params)
        except asyncio.CancelledError:
            if self.stop_reason is None:
                raise
            await self._stopped()
        except BaseExceptionGroup as group:
            await self._broken(group)
        except Interrupted as interruption:
            await self._interrupted(interruption)
        except msgspec.ValidationError as error:
            await self._failed(PermanentError(f"params of {self.task.kind}: {error}"))
        except Exception as error:  # noqa: BLE001 - a kind's run is a stranger's code; its error is recorded
            await self._failed(error)
        else:
            await self._succeeded(result)

    async def _broken(self, group: BaseExceptionGroup[BaseException]) -> None:
        """A run's own task group came down: an interruption inside it counts before anything else."""
        interruption = _first(group, Interrupted)
        if interruption is not None:
            await self._interrupted(interruption)
        elif (error := _first(group, Exception)) is not None:
            await self._failed(error)
        else:
            raise group

    # --- outcomes

    async def _succeeded(self, result: Result) -> None:
        document = {"text": result} if isinstance(result, str) else (result or {})
        progress = self._progress
        if progress.total:
            progress = msgspec.structs.replace(progress, current=progress.total, percentage=100)

        def settle(tx: Tx) -> None:
            task = self._fenced(tx)
            if task.intent == "cancel":
                transitions.finish(
                    tx,
                    task,
                    Status.CANCELLED,
                    result=document,
                    error=Failure("cancelled", "cancelled on request"),
                )
            else:
                transitions.finish(tx, task, Status.SUCCEEDED, result=document, progress=progress)

        await self._report(settle)

    async def _failed(self, error: BaseException) -> None:
        failure = classify(error)
        if failure.kind == "permanent" and not isinstance(error, PermanentError):
            _log.error("run failed", exc=error, task_id=self.task.task_id, kind=self.task.kind)
        if self._current_step is not None:
            failure = msgspec.structs.replace(failure, step=self._current_step)
        chance = random.random()
        shown = error.result if isinstance(error, TawnyError) else None

        def settle(tx: Tx) -> None:
            task = self._fenced(tx)
            if task.intent == "cancel":
                transitions.finish(
                    tx, task, Status.CANCELLED, error=Failure("cancelled", "cancelled on request")
                )
                return
            failures = task.failures + 1
            again = next_attempt(
                task.retry, failure, failures=failures, now=tx.now, chance=chance, asked=retry_after(error)
            )
            if again is None:
                if failure.kind == "temporary":
                    spent = msgspec.structs.replace(
                        failure, message=f"{failure.message} (gave up after {failures} attempts)"
                    )
                    transitions.finish(tx, task, Status.FAILED, error=spent, result=shown)
                else:
                    transitions.finish(tx, task, Status.FAILED, error=failure, result=shown)
                return
            transitions.end_execution(tx, task, "retry", failure)
            transitions.requeue(
                tx,
                task,
                event="retry_scheduled",
                ready_at=again,
                data={
                    "error": msgspec.to_builtins(failure),
                    "failures": failures,
                    "next_attempt_at": iso(again),
                },
                failures=failures,
                next_attempt_at=again,
                error=to_json(failure),
            )

        await self._report(settle)

    async def _stopped(self) -> None:
        reason = self.stop_reason
        if reason == "fence":
            return
        timeout = self.task.timeout if self.task.timeout is not None else self.kind.timeout

        def settle(tx: Tx) -> None:
            task = self._fenced(tx)
            if reason == "timeout" and task.intent != "cancel":
                seconds = (timeout or 0) / SECOND
                failure = Failure(
                    "timeout",
                    f"it ran longer than the {seconds:g} s it may; give it more with a longer timeout",
                )
                transitions.finish(tx, task, Status.TIMED_OUT, error=failure)
            elif reason == "cancel" or task.intent == "cancel":
                transitions.finish(
                    tx, task, Status.CANCELLED, error=Failure("cancelled", "cancelled on request")
                )
            else:
                transitions.end_execution(tx, task, "released")
                transitions.requeue(tx, task, event="released", data={"reason": reason})

        current = asyncio.current_task()
        if current is not None:
            current.uncancel()
        await self._report(settle)

    async def _interrupted(self, interruption: Interrupted) -> None:
        if isinstance(interruption, Paused):

            def pause(tx: Tx) -> None:
                task = self._fenced(tx)
                transitions.end_execution(tx, task, "paused")
                transitions.advance(tx, task, Status.PAUSED, event="paused", intent=None)
                tx.wake("queue")

            await self._report(pause)

    async def _report(self, settle: Callable[[Tx], None]) -> None:
        def whole(tx: Tx) -> None:
            self._write_pending(tx)
            settle(tx)

        try:
            await self._durable(whole)
        except (Fenced, GivenUp):
            _log.info("report refused", task_id=self.task.task_id, attempt=self.task.attempt)

    async def _durable(self, fn: Callable[[Tx], T]) -> T:
        """Write, waiting out a full or failing disk: running state is kept until it is back."""
        while True:
            try:
                return await self._ledger.write(fn, urgent=True)
            except StorageError as error:
                if error.code == "damaged":
                    raise
                await sleep(self.clock, _RETRY_STORAGE)

    def _fenced(self, tx: Tx) -> Task:
        """The task as stored now.

        Raises:
            GivenUp: another attempt has taken over, or it has ended.
        """
        task = get(tx, self.task.task_id)
        if task.status is not Status.RUNNING or task.attempt != self.task.attempt:
            raise GivenUp
        return task

    # --- the context

    _current_step: str | None = None

    async def step(
        self,
        key: str,
        fn: Callable[[], Awaitable[Json]],
        *,
        input: Json = None,
        effect: Effect = Effect.PURE,
        name: str = "",
    ) -> Json:
        hashed = steps.input_hash(input)
        known = self._journal.get(key)
        if known is not None and known.status == "succeeded":
            self._same_input(known, hashed)
            return known.result
        if known is not None:
            self._same_input(known, hashed)
            ordinal = known.ordinal
        else:
            self._ordinal += 1
            ordinal = self._ordinal
        mark = _Mark(key, name or key, ordinal, hashed, effect, self.clock.now())
        if effect is Effect.AT_MOST_ONCE:
            self._boundary(await self._durable(lambda tx: self._intend(tx, mark)))
        self._current_step = key
        try:
            result = await fn()
        except Uncertain as doubt:
            await self._in_doubt(mark, doubt)
        except Exception as error:
            failure = msgspec.to_builtins(classify(error))
            await self._durable(lambda tx: self._end_step(tx, mark, "failed", error=failure))
            raise
        task = await self._durable(lambda tx: self._end_step(tx, mark, "succeeded", result=result))
        self._current_step = None
        self._remember(mark, result)
        self._boundary(task)
        return result

    async def _in_doubt(self, mark: _Mark, doubt: Uncertain) -> NoReturn:
        """Leave memory until a person has said whether the step's effect happened."""

        def write(tx: Tx) -> None:
            task = self._fenced(tx)
            self._write_pending(tx)
            if task.intent == "cancel":
                error = Failure("cancelled", f"cancelled on request; {doubt.message}", mark.key)
                transitions.finish(tx, task, Status.CANCELLED, error=error)
                return
            steps.begin(
                tx,
                task.task_id,
                mark.key,
                name=mark.name,
                ordinal=mark.ordinal,
                hashed=mark.hashed,
                effect=mark.effect,
            )
            transitions.end_execution(tx, task, "uncertain", classify(doubt))
            reconcile(tx, task, [mark.key], because=doubt.message)

        await self._durable(write)
        raise Suspended(WaitingFor("reconcile", key=mark.key))

    def _remember(self, mark: _Mark, result: Json) -> None:
        self._journal[mark.key] = steps.Step(
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

    def _intend(self, tx: Tx, mark: _Mark) -> Task:
        task = self._fenced(tx)
        if task.intent is None:
            steps.begin(
                tx,
                task.task_id,
                mark.key,
                name=mark.name,
                ordinal=mark.ordinal,
                hashed=mark.hashed,
                effect=mark.effect,
            )
        return task

    def _end_step(self, tx: Tx, mark: _Mark, status: str, *, result: Json = None, error: Json = None) -> Task:
        task = self._fenced(tx)
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
            transitions.set_crashes(tx, task.task_id, 0)
        transitions.record(
            tx, task, "step_finished", {"key": mark.key, "name": mark.name, "step_status": status}
        )
        if mark.effect is not Effect.PURE:
            transitions.audit_effect(tx, task, mark.key, mark.effect, status)
        self._write_pending(tx)
        return task

    def _same_input(self, known: steps.Step, hashed: str) -> None:
        if known.input_hash != hashed:
            raise Conflict(
                f"step {known.key!r} of {self.task.task_id} was journaled with another input: its code or data changed",
                hint="start a new task, or 'tawny tasks retry' to run it from the beginning",
            )

    def _boundary(self, task: Task) -> None:
        """Between two steps a pause or a cancel takes effect."""
        if task.intent == "cancel":
            self.stop_reason = self.stop_reason or "cancel"
            raise asyncio.CancelledError
        if task.intent == "pause":
            raise Paused

    def is_recorded(self, key: str) -> bool:
        return self._settled(key)

    def idempotency_key(self, step: str) -> str:
        return f"{self.task.task_id}:{step}"

    async def progress(
        self,
        current: float,
        total: float | None = None,
        *,
        unit: str | None = None,
        message: str | None = None,
    ) -> None:
        before = self._progress
        total = total if total is not None else before.total
        self._progress = advance(before, current=current, total=total, unit=unit, message=message)
        self._pace, self._eta = estimate(self._pace, self._progress, now=self.clock.now())
        self._progress_dirty = self._progress_dirty or self._progress != before
        self._flush_soon()

    def log(self, message: str, *, level: str = "info") -> None:
        self._lines.append((self.clock.now(), level, message))
        del self._lines[:-_MAX_LOG_LINES]
        self._flush_soon()

    def _flush_soon(self) -> None:
        """At most four writes a second: the first at once, the next when its time has come."""
        if self._flush_handle is not None:
            return
        due = self._flushed_at + _FLUSH_EVERY
        self._flush_handle = self.clock.call_at(due, self._flush)

    def _flush(self) -> None:
        self._flush_handle = None
        if not self._progress_dirty and not self._lines:
            return
        self._flushed_at = self.clock.now()

        def write(tx: Tx) -> None:
            try:
                self._fenced(tx)
            except GivenUp:
                return
            self._write_pending(tx)

        future = self._ledger.post(write)
        future.add_done_callback(_swallow_storage_error)

    def _write_pending(self, tx: Tx) -> None:
        """Write what has gathered: log lines, progress, usage, origin."""
        lines, self._lines = self._lines, []
        if lines:
            tasklog.append(tx, self.task.task_id, lines, keep=_MAX_LOG_LINES)
        if self._progress_dirty:
            self._progress_dirty = False
            transitions.set_progress(tx, self.task, self._progress, self._eta)
        if self._usage is not None:
            usage, self._usage = self._usage, None
            transitions.add_usage(tx, self.task, usage)
        if self._origin_dirty:
            self._origin_dirty = False
            transitions.set_origin(tx, self.task.task_id, self.task.origin)

    async def artifact(
        self, name: str, data: bytes | str | Path, *, partial: bool = False, media_type: str = ""
    ) -> str:
        if isinstance(data, Path):
            data = await asyncio.to_thread(data.read_bytes)
        raw = data.encode() if isinstance(data, str) else data
        digest = hashlib.sha256(raw).hexdigest()
        path = await asyncio.to_thread(artifacts.store, self._root, self.task.task_id, name, raw)
        guessed = media_type or mimetypes.guess_type(name)[0] or "application/octet-stream"
        return await self._durable(
            lambda tx: artifacts.put(
                tx,
                self.task.task_id,
                name,
                media_type=guessed,
                size=len(raw),
                sha256=digest,
                path=path,
                partial=partial,
            )
        )

    # --- waits

    async def wait_until(self, key: str, due: Instant) -> None:
        if self._settled(key):
            return
        if due <= self.clock.now():
            await self.step(key, _nothing, name="wait: timer")
            return
        await self._suspend(WaitingFor("timer", key=key, until=due))

    async def wait_event(
        self, key: str, source: str, *, filter: str = "", timeout: int | None = None
    ) -> Json:
        if self._settled(key):
            return self._journal[key].result
        until = None if timeout is None else self.clock.now() + timeout
        waiting = WaitingFor("event", key=key, until=until, detail={"source": source, "filter": filter})
        return await self._suspend(waiting, lambda tx, task: self._hooks.event(tx, task, key, source, filter))

    async def ask(self, key: str, question: Question) -> Answer:
        if self._settled(key):
            return msgspec.convert(self._journal[key].result, Answer)
        waiting = WaitingFor("approval", key=key, detail={"tool": question.tool, "reason": question.reason})
        return await self._suspend(waiting, lambda tx, task: self._hooks.ask(tx, task, key, question))

    async def wait_budget(self, key: str, *, scope: str, reason: str, until: Instant | None = None) -> None:
        if not self._settled(key):
            await self._suspend(
                WaitingFor("budget", key=key, until=until, detail={"scope": scope, "reason": reason})
            )

    async def child(self, key: str, submission: Submission) -> Task:
        return (await self.children(key, [submission]))[0]

    async def children(self, key: str, submissions: Sequence[Submission]) -> list[Task]:
        if not submissions:
            return []
        if not self._settled(key):
            ids: list[str] = []

            def start(tx: Tx, task: Task) -> WaitingFor:
                for wanted in submissions:
                    filled = self._as_child(wanted, awaited=False)
                    ids.append(accept(tx, filled, actor=f"task:{task.task_id}").task_id)
                return WaitingFor("child", key=key, detail={"children": ids})

            await self._suspend_with(key, start)
        ended: list[str] = self._journal[key].result
        return await self._ledger.read(lambda tx: [get(tx, task_id) for task_id in ended])

    async def submit(self, key: str, submission: Submission) -> str:
        if self._settled(key):
            return str(self._journal[key].result)
        self._ordinal += 1
        mark = _Mark(key, "submit", self._ordinal, steps.input_hash(None), Effect.PURE, self.clock.now())

        def start(tx: Tx) -> str:
            self._fenced(tx)
            filled = self._as_child(submission, awaited=submission.awaited)
            made = accept(tx, filled, actor=f"task:{self.task.task_id}").task_id
            self._end_step(tx, mark, "succeeded", result=made)
            return made

        made = await self._durable(start)
        self._remember(mark, made)
        return made

    def _as_child(self, wanted: Submission, *, awaited: bool) -> Submission:
        return msgspec.structs.replace(
            wanted,
            parent_id=self.task.task_id,
            owner=self.task.owner,
            awaited=awaited,
            origin=of_child(self.task.origin, self.task.params, wanted.origin),
        )

    def _settled(self, key: str) -> bool:
        known = self._journal.get(key)
        return known is not None and known.status == "succeeded"

    async def _suspend(self, waiting: WaitingFor, also: Callable[[Tx, Task], None] | None = None) -> NoReturn:
        def begin(tx: Tx, task: Task) -> WaitingFor:
            if also is not None:
                also(tx, task)
            return waiting

        await self._suspend_with(waiting.key, begin)

    async def _suspend_with(self, key: str, begin: Callable[[Tx, Task], WaitingFor]) -> NoReturn:
        """Write the wait with its step and whatever `begin` writes, in one transaction, and leave memory."""
        self._ordinal += 1
        ordinal = self._ordinal

        def write(tx: Tx) -> WaitingFor:
            task = self._fenced(tx)
            self._write_pending(tx)
            if task.intent == "cancel":
                transitions.finish(
                    tx, task, Status.CANCELLED, error=Failure("cancelled", "cancelled on request")
                )
                return WaitingFor("cancelled")
            waiting = begin(tx, task)
            steps.begin(
                tx,
                task.task_id,
                key,
                name=f"wait: {waiting.kind}",
                ordinal=ordinal,
                hashed=steps.input_hash(None),
                effect=Effect.PURE,
            )
            after = transitions.wait(tx, task, waiting)
            if task.intent == "pause":
                transitions.advance(tx, after, Status.PAUSED, event="paused", intent=None)
            return waiting

        raise Suspended(await self._durable(write))

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
        mapping = Mapping(
            self,
            self._ledger,
            self._commit,
            key,
            work,
            total=len(items),
            max_failures=max_failures,
            retry=retry or Retry(max=0),
        )
        return await mapping.run(items, concurrency=concurrency)

    async def items(self, key: str, *, status: str, limit: int = 500) -> list[Item]:
        return await self._ledger.read(
            lambda tx: items.page(tx, self.task.task_id, key, status=status, limit=limit)
        )

    async def _commit(self, fn: Callable[[Tx], None]) -> None:
        """Write something of this task's own, through the fence; afterwards is a step boundary."""

        def fenced(tx: Tx) -> Task:
            task = self._fenced(tx)
            fn(tx)
            if task.crashes:
                transitions.set_crashes(tx, task.task_id, 0)
            return task

        self._boundary(await self._durable(fenced))

    def spend(self, usage: Usage) -> None:
        before = self._usage or Usage()
        cost = None if before.cost is None or usage.cost is None else before.cost + usage.cost
        self._usage = Usage(
            input_tokens=before.input_tokens + usage.input_tokens,
            output_tokens=before.output_tokens + usage.output_tokens,
            cost=cost,
            wall_seconds=before.wall_seconds + usage.wall_seconds,
            cpu_seconds=before.cpu_seconds + usage.cpu_seconds,
            model_calls=before.model_calls + usage.model_calls,
            tool_calls=before.tool_calls + usage.tool_calls,
        )

    def add_origin(self, origin: Origin) -> None:
        merged = absorb(self.task.origin, self.task.params, origin)
        if merged != self.task.origin:
            self.task = msgspec.structs.replace(self.task, origin=merged)
            self._origin_dirty = True


async def _nothing() -> None:
    return None


E = TypeVar("E", bound=BaseException)


def _first(group: BaseExceptionGroup[BaseException], wanted: type[E]) -> E | None:
    """The first exception of a type in a group, however deep."""
    for error in group.exceptions:
        if isinstance(error, wanted) and not isinstance(error, BaseExceptionGroup):
            return error
        if isinstance(error, BaseExceptionGroup):
            inner = _first(error, wanted)  # pyright: ignore[reportUnknownArgumentType]
            if inner is not None:
                return inner
    return None


def _swallow_storage_error(future: "asyncio.Future[None]") -> None:
    """Progress is worth no retry; a full disk is reported by the next write that matters."""
    if not future.cancelled() and (error := future.exception()) is not None:
        _log.warning("progress not written", error=str(error))
