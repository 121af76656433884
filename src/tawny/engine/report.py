"""How an execution ends: its outcome, told to the ledger through the fence."""

import random
from collections.abc import Callable

import msgspec

from tawny.clock import SECOND, iso
from tawny.domain.retry import classify, next_attempt, retry_after
from tawny.domain.tasks import Failure, Status, Task
from tawny.engine.fence import CANCELLED, Fence
from tawny.engine.kinds import Result
from tawny.engine.news import News
from tawny.engine.outcomes import GivenUp, Interrupted, Paused
from tawny.errors import Fenced, PermanentError, TawnyError
from tawny.ledger import endings, pausing, steps, transitions
from tawny.ledger.database import Tx
from tawny.ledger.recovery import reconcile
from tawny.ledger.tasks import to_json
from tawny.log import Log

_log = Log("engine.report")


class Report:
    """The one report of one execution; what the ledger refuses is logged and otherwise let go."""

    def __init__(self, fence: Fence, news: News) -> None:
        self._fence = fence
        self._news = news

    async def succeeded(self, result: Result) -> None:
        """The run has returned."""
        document = {"text": result} if isinstance(result, str) else (result or {})
        progress = self._news.completed()

        def settle(tx: Tx) -> None:
            task, tied = self._fence.check_tied(tx)
            if task.intent == "cancel":
                endings.finish(tx, task, Status.CANCELLED, result=document, error=CANCELLED, tied=tied)
            else:
                endings.finish(tx, task, Status.SUCCEEDED, result=document, progress=progress, tied=tied)

        await self._write(settle)

    async def failed(self, error: BaseException, *, step: str | None) -> None:
        """The run has raised, in `step` if in one: another attempt, or the end."""
        failure = classify(error)
        task_id, kind = self._fence.task.task_id, self._fence.task.kind
        if failure.kind == "permanent" and not isinstance(error, PermanentError):
            _log.error("run failed", exc=error, task_id=task_id, kind=kind)
        if step is not None:
            failure = msgspec.structs.replace(failure, step=step)
        chance = random.random()
        shown = error.result if isinstance(error, TawnyError) else None

        def settle(tx: Tx) -> None:
            task = self._fence.check(tx)
            if task.intent == "cancel":
                endings.finish(tx, task, Status.CANCELLED, error=CANCELLED)
                return
            failures = task.failures + 1
            again = next_attempt(
                task.retry, failure, failures=failures, now=tx.now, chance=chance, asked=retry_after(error)
            )
            if again is None:
                last = failure
                if failure.kind == "temporary":
                    spent = f"{failure.message} (gave up after {failures} attempts)"
                    last = msgspec.structs.replace(failure, message=spent)
                endings.finish(tx, task, Status.FAILED, error=last, result=shown)
                return
            transitions.end_execution(tx, task, "retry", failure)
            if self._in_doubt(tx, task, f"another part failed ({failure.message})"):
                return
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

        await self._write(settle)

    async def stopped(self, *, timeout: int | None) -> None:
        """It was stopped from outside: by a cancel, its timeout, or the goodbye of this process."""
        reason = self._fence.stop_reason

        def settle(tx: Tx) -> None:
            task = self._fence.check(tx)
            if reason == "timeout" and task.intent != "cancel":
                seconds = (timeout or 0) / SECOND
                failure = Failure(
                    "timeout",
                    f"it ran longer than the {seconds:g} s it may; give it more with a longer timeout",
                )
                endings.finish(tx, task, Status.TIMED_OUT, error=failure)
            elif reason == "cancel" or task.intent == "cancel":
                endings.finish(tx, task, Status.CANCELLED, error=CANCELLED)
            else:
                transitions.end_execution(tx, task, "released")
                if not self._in_doubt(tx, task, "the process was stopped"):
                    transitions.requeue(tx, task, event="released", data={"reason": reason})

        await self._write(settle)

    async def interrupted(self, interruption: Interrupted) -> None:
        """The run was interrupted from inside: a pause is written here, a wait is written already."""
        if isinstance(interruption, Paused):

            def pause(tx: Tx) -> None:
                task = self._fence.check(tx)
                transitions.end_execution(tx, task, "paused")
                transitions.advance(tx, task, Status.PAUSED, event="paused", intent=None)
                pausing.pause_children(tx, task.task_id)
                tx.wake("queue")

            await self._write(pause)

    def _in_doubt(self, tx: Tx, task: Task, because: str) -> bool:
        """Ask a person where an at-most-once effect was cut off: to run again would be to repeat it blindly."""
        doubtful = steps.uncertain(tx, task.task_id)
        if doubtful:
            reconcile(tx, task, [step.key for step in doubtful], because=because)
        return bool(doubtful)

    async def _write(self, settle: Callable[[Tx], None]) -> None:
        def whole(tx: Tx) -> None:
            self._news.write(tx)
            settle(tx)

        try:
            await self._fence.write(whole)
        except (Fenced, GivenUp):
            _log.info("report refused", task_id=self._fence.task.task_id, attempt=self._fence.task.attempt)
