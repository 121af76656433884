"""Claims what may start and runs it. Waits for a commit that changed the queue, or a free place; never polls."""

import asyncio
import heapq
import itertools
from collections.abc import Callable
from pathlib import Path

import msgspec

from tawny.clock import SECOND, Clock, Instant, wait_for
from tawny.domain.tasks import Task
from tawny.engine.execution import Execution
from tawny.engine.kinds import Kinds
from tawny.engine.waits import Hooks
from tawny.errors import StorageError
from tawny.ledger import queue, recovery, steps
from tawny.ledger.database import Ledger, Tx
from tawny.log import Log

_log = Log("engine.dispatcher")
LEASE = 60 * SECOND
_LOOK_AGAIN_WHEN_BUSY = 30 * SECOND


class Capacity(msgspec.Struct, frozen=True):
    """How much may run at once; `zone` is the owner's, for windows of the day."""

    background: int = 3
    interactive: int = 32
    per_owner: int = 3
    zone: str = "UTC"


class Dispatcher:
    """One process's share of the work."""

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        kinds: Kinds,
        *,
        worker: str,
        artifacts_root: Path,
        hooks: Hooks,
        capacity: Capacity,
        machine_is_idle: Callable[[], bool] = lambda: True,
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._kinds = kinds
        self._worker = worker
        self._root = artifacts_root
        self._hooks = hooks
        self.capacity = capacity
        self._machine_is_idle = machine_is_idle
        self._running: dict[str, Execution] = {}
        self._detached = 0
        self._deadlines: list[tuple[Instant, int, Execution]] = []
        self._order = itertools.count()
        self._alarm = asyncio.Event()
        self._queue = ledger.bell.subscribe("queue")
        self._intents = ledger.bell.subscribe("intents")
        self._ended = asyncio.Event()
        self._draining = False
        self.open = asyncio.Event()
        self.open.set()
        self.idle = asyncio.Event()

    async def run(self) -> None:
        """Run until cancelled; what runs then is released, to go on at the next start."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._watch_intents())
                group.create_task(self._watch_deadlines())
                await self._claim_loop(group)
        finally:
            self._running.clear()

    async def drain(self) -> None:
        """Release what runs, at once: no work depends on a slow goodbye."""
        self._draining = True
        for execution in list(self._running.values()):
            execution.stop("shutdown")
        while self._running:
            self._ended.clear()
            await self._ended.wait()

    async def recover(self) -> recovery.Recovered:
        """At start: release what a process that is gone had claimed."""
        kinds = set(self._kinds)
        resumable = {name for name, kind in self._kinds.items() if kind.resumable}

        def release(tx: Tx) -> recovery.Recovered:
            return recovery.recover(tx, worker=self._worker, known=kinds, resumable=resumable)

        return await self._ledger.write(release)

    async def _claim_loop(self, group: asyncio.TaskGroup) -> None:
        # A gateway opens its doors first: a full queue must not keep people out.
        await self.open.wait()
        while True:
            self._queue.clear()
            held_low = False
            try:
                claimed, held_low = await self._claim()
            except StorageError as error:
                if error.code == "damaged":
                    raise
                _log.warning("claiming waits for the disk", error=error.message)
                await wait_for(self._queue, self._clock, self._clock.now() + SECOND)
                continue
            for task, journal in claimed:
                self._start(group, task, journal)
            if not claimed:
                if not self._running:
                    self.idle.set()
                # Low work waits for a quiet machine; only while some waits do we look at the machine again.
                due = self._clock.now() + _LOOK_AGAIN_WHEN_BUSY if held_low else None
                await wait_for(self._queue, self._clock, due)

    async def _claim(self) -> tuple[list[tuple[Task, dict[str, steps.Step]]], bool]:
        background = self.capacity.background - self._detached
        interactive = self.capacity.interactive - (len(self._running) - self._detached)
        if self._draining or (background <= 0 and interactive <= 0):
            return [], False
        low = self._machine_is_idle()
        slots = queue.Slots(
            background=background,
            interactive=interactive,
            per_owner=self.capacity.per_owner,
            low=low,
            zone=self.capacity.zone,
            only=tuple(self._kinds),
        )

        def claim(tx: Tx) -> tuple[list[tuple[Task, dict[str, steps.Step]]], bool]:
            if not queue.has_runnable(tx):
                return [], False
            claimed = queue.claim(tx, slots, worker=self._worker, lease_until=tx.now + LEASE)
            known = steps.of_tasks(tx, [task.task_id for task in claimed])
            return [(task, {step.key: step for step in known[task.task_id]}) for task in claimed], not low

        self.idle.clear()
        return await self._ledger.write(claim, urgent=True)

    def _start(self, group: asyncio.TaskGroup, task: Task, journal: dict[str, steps.Step]) -> None:
        kind = self._kinds[task.kind]
        execution = Execution(
            task,
            kind,
            self._ledger,
            self._clock,
            artifacts_root=self._root,
            hooks=self._hooks,
            journal=journal,
        )
        self._running[task.task_id] = execution
        self._detached += task.detached
        timeout = task.timeout if task.timeout is not None else kind.timeout
        if timeout is not None:
            entry = (self._clock.now() + timeout, next(self._order), execution)
            heapq.heappush(self._deadlines, entry)
            if self._deadlines[0] is entry:
                self._alarm.set()
        group.create_task(self._supervise(execution), name=f"execution {task.task_id}")

    async def _supervise(self, execution: Execution) -> None:
        task = execution.task
        try:
            await execution.run()
        except Exception as error:  # noqa: BLE001 - one broken execution must not stop the others
            _log.error("execution could not report", exc=error, task_id=task.task_id, attempt=task.attempt)
        finally:
            if self._running.pop(task.task_id, None) is not None:
                self._detached -= task.detached
            self._ended.set()
            self._queue.set()

    async def _watch_intents(self) -> None:
        while True:
            await self._intents.wait()
            self._intents.clear()
            wanted = await self._ledger.read(lambda tx: queue.intents(tx, self._worker))
            for task_id, (attempt, intent) in wanted.items():
                execution = self._running.get(task_id)
                if execution is not None and execution.task.attempt == attempt and intent == "cancel":
                    execution.stop("cancel")

    async def _watch_deadlines(self) -> None:
        while True:
            now = self._clock.now()
            while self._deadlines and (
                self._deadlines[0][0] <= now or not self._is_running(self._deadlines[0][2])
            ):
                _, _, execution = heapq.heappop(self._deadlines)
                if self._is_running(execution):
                    execution.stop("timeout")
            due = self._deadlines[0][0] if self._deadlines else None
            await wait_for(self._alarm, self._clock, due)

    def _is_running(self, execution: Execution) -> bool:
        return self._running.get(execution.task.task_id) is execution
