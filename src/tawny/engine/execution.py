"""One attempt at a task: runs its kind and hands it the context; journal, waits, news and report are its parts."""

import asyncio
import hashlib
import mimetypes
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from tawny.clock import Clock, Instant
from tawny.domain import origin as origins
from tawny.domain.approvals import Answer, Question
from tawny.domain.tasks import Effect, Json, Origin, Retry, Submission, Task, Usage
from tawny.engine.fence import Fence
from tawny.engine.journal import Journal
from tawny.engine.kinds import Kind
from tawny.engine.mapping import Mapping, Work
from tawny.engine.news import News
from tawny.engine.outcomes import Interrupted
from tawny.engine.report import Report
from tawny.engine.waits import Hooks, Waits
from tawny.errors import Changed, PermanentError
from tawny.ledger import artifacts, items, particulars, steps
from tawny.ledger.database import Ledger, Tx
from tawny.ledger.items import Item


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
        self.kind = kind
        self.clock = clock
        self._root = artifacts_root
        self._fence = Fence(task, ledger, clock)
        self._news = News(self._fence)
        self._journal = Journal(self._fence, self._news, journal)
        self._waits = Waits(self._fence, self._news, self._journal, hooks)
        self._report = Report(self._fence, self._news)
        self._runner: asyncio.Task[None] | None = None

    @property
    def task(self) -> Task:
        return self._fence.task

    @task.setter
    def task(self, task: Task) -> None:
        self._fence.task = task

    @property
    def stop_reason(self) -> str | None:
        return self._fence.stop_reason

    # --- what the dispatcher does with it

    async def run(self) -> None:
        """Run to an outcome and report it; never raises but for the loop's own shutdown."""
        self._runner = self._journal.runner = asyncio.current_task()
        if self.stop_reason is not None and self._runner is not None:
            self._runner.cancel()  # stopped before it began
        try:
            await self._guarded()
        finally:
            self._news.close()

    def stop(self, reason: str) -> None:
        """Stop it from outside: `cancel`, `timeout`, `fence` or `shutdown`."""
        if self._fence.stop_reason is None:
            self._fence.stop_reason = reason
            if self._runner is not None:
                self._runner.cancel()

    async def _guarded(self) -> None:
        try:
            params = msgspec.convert(self.task.params, self.kind.params)
            result = await self.kind.run(self, params)
            self._journal.close()
        except asyncio.CancelledError:
            if self.stop_reason is None:
                raise
            await self._stopped()
        except BaseExceptionGroup as group:
            await self._broken(group)
        except Interrupted as interruption:
            await self._report.interrupted(interruption)
        except msgspec.ValidationError as error:
            await self._failed(PermanentError(f"params of {self.task.kind}: {error}"))
        except Exception as error:  # noqa: BLE001 - a kind's run is a stranger's code; its error is recorded
            await self._failed(error)
        else:
            await self._report.succeeded(result)

    async def _broken(self, group: BaseExceptionGroup[BaseException]) -> None:
        """A run's own task group came down: an interruption inside it counts before anything else."""
        interruption = _first(group, Interrupted)
        if interruption is not None:
            await self._report.interrupted(interruption)
        elif (error := _first(group, Exception)) is not None:
            await self._failed(error)
        else:
            raise group

    async def _failed(self, error: BaseException) -> None:
        step = error.step if isinstance(error, Changed) else self._journal.current
        await self._report.failed(error, step=step)

    async def _stopped(self) -> None:
        if self.stop_reason == "fence":
            return
        current = asyncio.current_task()
        if current is not None:
            current.uncancel()
        await self._report.stopped(
            timeout=self.task.timeout if self.task.timeout is not None else self.kind.timeout
        )

    # --- the context: see `engine.kinds.Context`

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
        return await self._journal.step(key, fn, input=input, effect=effect, name=name, also=also)

    def is_recorded(self, key: str) -> bool:
        return self._journal.is_settled(key)

    def idempotency_key(self, step: str) -> str:
        return f"{origins.keys_of(self.task)}:{step}"

    async def progress(
        self,
        current: float,
        total: float | None = None,
        *,
        unit: str | None = None,
        message: str | None = None,
    ) -> None:
        self._news.advance(current, total, unit=unit, message=message)

    def log(self, message: str, *, level: str = "info") -> None:
        self._news.log(message, level=level)

    def spend(self, usage: Usage) -> None:
        self._news.spend(usage)

    def add_origin(self, origin: Origin) -> None:
        self._news.add_origin(origin)

    async def artifact(
        self, name: str, data: bytes | str | Path, *, partial: bool = False, media_type: str = ""
    ) -> str:
        if isinstance(data, Path):
            data = await asyncio.to_thread(data.read_bytes)
        raw = data.encode() if isinstance(data, str) else data
        digest = hashlib.sha256(raw).hexdigest()
        path = await self._fence.outlast(
            lambda: asyncio.to_thread(artifacts.store, self._root, self.task.task_id, name, raw)
        )
        guessed = media_type or mimetypes.guess_type(name)[0] or "application/octet-stream"

        def put(tx: Tx) -> str:
            self._fence.check(tx)
            made = artifacts.put(
                tx,
                self.task.task_id,
                name,
                media_type=guessed,
                size=len(raw),
                sha256=digest,
                path=path,
                partial=partial,
            )
            artifacts.share(tx, made, raw)
            return made

        return await self._fence.write(put)

    async def wait_until(self, key: str, due: Instant) -> None:
        await self._waits.until(key, due)

    async def wait_event(
        self, key: str, source: str, *, filter: str = "", timeout: int | None = None
    ) -> Json:
        return await self._waits.event(key, source, filter=filter, timeout=timeout)

    async def ask(self, key: str, question: Question) -> Answer:
        return await self._waits.answer(key, question)

    async def wait_budget(self, key: str, *, scope: str, reason: str, until: Instant | None = None) -> None:
        await self._waits.budget(key, scope=scope, reason=reason, until=until)

    async def child(self, key: str, submission: Submission) -> Task:
        return (await self._waits.children(key, [submission]))[0]

    async def children(self, key: str, submissions: Sequence[Submission]) -> list[Task]:
        return await self._waits.children(key, submissions)

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
        return await self._waits.each(
            key, items, make, input=input, concurrency=concurrency, max_failures=max_failures
        )

    async def submit(self, key: str, submission: Submission) -> str:
        return await self._waits.submit(key, submission)

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
        self._journal.leave(f"{key}[")
        mapping = Mapping(
            self,
            self._fence.ledger,
            self._commit,
            key,
            work,
            total=len(items),
            max_failures=max_failures,
            retry=retry or Retry(max=0),
        )
        return await mapping.run(items, concurrency=concurrency)

    async def items(self, key: str, *, status: str, limit: int = 500) -> list[Item]:
        return await self._fence.ledger.read(
            lambda tx: items.page(tx, self.task.task_id, key, status=status, limit=limit)
        )

    async def _commit(self, fn: Callable[[Tx], None]) -> None:
        """Write something of this task's own, through the fence; afterwards is a step boundary."""

        def fenced(tx: Tx) -> Task:
            task = self._fence.check(tx)
            fn(tx)
            if task.crashes:
                task = particulars.set_crashes(tx, task, 0)
            return task

        self._fence.boundary(await self._fence.write(fenced))


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
