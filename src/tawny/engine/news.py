"""What a run has to say between its steps: log lines, progress, usage, what it has read; gathered, written together."""

import asyncio
from collections.abc import Callable

import msgspec

from tawny.clock import SECOND, Instant
from tawny.domain.origin import absorb
from tawny.domain.progress import Pace, advance, estimate
from tawny.domain.tasks import Origin, Progress, Usage
from tawny.engine.fence import Fence
from tawny.engine.outcomes import GivenUp
from tawny.ledger import particulars, tasklog
from tawny.ledger.database import Tx
from tawny.log import Log

_log = Log("engine.news")
_FLUSH_EVERY = SECOND // 4
_MAX_LOG_LINES = 1000


class News:
    """Gathers, and writes at most four times a second, or with whatever else the execution writes."""

    def __init__(self, fence: Fence) -> None:
        self._fence = fence
        self.progress = fence.task.progress
        self._pace = Pace()
        self._eta: Instant | None = None
        self._flushed_at = -_FLUSH_EVERY
        self._progress_dirty = False
        self._usage: Usage | None = None
        self._origin_dirty = False
        self._lines: list[tuple[Instant, str, str]] = []
        self._flush_handle: Callable[[], None] | None = None

    def close(self) -> None:
        """Write nothing more by itself."""
        if self._flush_handle is not None:
            self._flush_handle()

    def advance(self, current: float, total: float | None, *, unit: str | None, message: str | None) -> None:
        """Keep how far the work is; the percentage never falls."""
        before = self.progress
        total = total if total is not None else before.total
        self.progress = advance(before, current=current, total=total, unit=unit, message=message)
        clock = self._fence.clock
        self._pace, self._eta = estimate(self._pace, self.progress, steady=clock.steady(), now=clock.now())
        self._progress_dirty = self._progress_dirty or self.progress != before
        self._flush_soon()

    def completed(self) -> Progress:
        """The progress of a run that has succeeded."""
        if not self.progress.total:
            return self.progress
        return msgspec.structs.replace(self.progress, current=self.progress.total, percentage=100)

    def log(self, message: str, *, level: str) -> None:
        """Keep a line for the task's own log."""
        self._lines.append((self._fence.clock.now(), level, message))
        del self._lines[:-_MAX_LOG_LINES]
        self._flush_soon()

    def spend(self, usage: Usage) -> None:
        """Add to what the task has used; an unknown cost stays unknown."""
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
        """Keep that the run has read content of this origin."""
        task = self._fence.task
        merged = absorb(task.origin, task.params, origin)
        if merged != task.origin:
            self._fence.task = msgspec.structs.replace(task, origin=merged)
            self._origin_dirty = True

    def _flush_soon(self) -> None:
        """At most four writes a second: the first at once, the next when its time has come."""
        if self._flush_handle is not None:
            return
        due = self._flushed_at + _FLUSH_EVERY
        self._flush_handle = self._fence.clock.call_steady(due, self._flush)

    def _flush(self) -> None:
        self._flush_handle = None
        if not self._progress_dirty and not self._lines:
            return
        self._flushed_at = self._fence.clock.steady()

        handed: list[_Handed] = []

        def write(tx: Tx) -> None:
            try:
                self._fence.check(tx)
            except GivenUp:
                return
            handed.append(self._hand_over(tx))

        def done(future: "asyncio.Future[None]") -> None:
            # Progress is worth no retry of its own: what the disk refused goes with the next write that matters.
            if not future.cancelled() and (error := future.exception()) is not None:
                _log.warning("progress not written", error=str(error))
                for part in handed:
                    self._take_back(part)

        self._fence.ledger.post(write).add_done_callback(done)

    def write(self, tx: Tx) -> None:
        """Write what has gathered; the caller has been through the fence, and through it learns of a refusal."""
        handed = self._hand_over(tx)
        self._fence.undo = lambda: self._take_back(handed)

    def _hand_over(self, tx: Tx) -> "_Handed":
        task = self._fence.task
        handed = _Handed(self._lines, self._progress_dirty, self._usage, self._origin_dirty)
        self._lines, self._progress_dirty, self._usage, self._origin_dirty = [], False, None, False
        if handed.lines:
            tasklog.append(tx, task.task_id, handed.lines, keep=_MAX_LOG_LINES)
        if handed.progress:
            particulars.set_progress(tx, task, self.progress, self._eta)
        if handed.usage is not None:
            particulars.add_usage(tx, task, handed.usage)
        if handed.origin:
            particulars.set_origin(tx, task.task_id, task.origin)
        return handed

    def _take_back(self, handed: "_Handed") -> None:
        """The disk has refused it: it is still to be written."""
        self._lines[:0] = handed.lines
        self._progress_dirty = self._progress_dirty or handed.progress
        self._origin_dirty = self._origin_dirty or handed.origin
        if handed.usage is not None:
            self.spend(handed.usage)


class _Handed(msgspec.Struct, frozen=True):
    """What was handed to the ledger and may come back."""

    lines: list[tuple[Instant, str, str]]
    progress: bool
    usage: Usage | None
    origin: bool
