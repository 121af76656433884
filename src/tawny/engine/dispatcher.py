"""Claims what may start and runs it. Waits for a commit that changed the queue, or a free place; never polls."""

import asyncio
import heapq
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec

from tawny.clock import SECOND, Clock, wait_steady
from tawny.domain.tasks import Task
from tawny.engine.execution import Execution
from tawny.engine.kinds import Kinds
from tawny.engine.waits import Hooks
from tawny.errors import StorageError
from tawny.ledger import queue, recovery, steps
from tawny.ledger.database import Ledger, Tx
from tawny.ledger.outages import rounds
from tawny.log import Log

_log = Log("engine.dispatcher")
LEASE = 60 * SECOND
_LOOK_AGAIN_WHEN_BUSY = 30 * SECOND


class Capacity(msgspec.Struct, frozen=True):
    """How much may run at once; `zone` is the owner's, for windows of the day."""

    background: int = 3
    interactive: int = 32
    per_owner: int = 3
    per_class: dict[str, int] = {}
    zone: str = "UTC"


class Dispatcher(Protocol):
    """One process's share of the work: claims what may start, runs it, and takes up what others left behind."""

    open: asyncio.Event
    idle: asyncio.Event

    @property
    def capacity(self) -> Capacity: ...

    @capacity.setter
    def capacity(self, capacity: Capacity) -> None: ...

    async def recover(self) -> recovery.Recovered:
        """At the start: release what certainly nobody works on any more."""
        ...

    async def run(self) -> None:
        """Run until cancelled; what runs then is released, to go on at the next start."""
        ...

    async def drain(self) -> None:
        """Release what runs, at once: no work depends on a slow goodbye."""
        ...


class LocalDispatcher:
    """The only process on its ledger: whoever else holds a lease is gone."""

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
        is_held: Callable[[], bool] = lambda: False,
    ) -> None:
        """While `is_held`, nothing starts but what is interactive; the end of that rings `queue`."""
        self._ledger = ledger
        self._clock = clock
        self._kinds = kinds
        self.worker = worker
        self._root = artifacts_root
        self._hooks = hooks
        self.capacity = capacity
        self._machine_is_idle = machine_is_idle
        self._is_held = is_held
        self._running: dict[str, Execution] = {}
        self._detached = 0
        self._deadlines: list[tuple[int, int, Execution]] = []  # by the steady clock
        self._order = itertools.count()
        self._alarm = asyncio.Event()
        self._queue = ledger.bell.subscribe("queue")
        self._moved = ledger.bell.subscribe("queue", "ended")
        """Something may start, or a place has become free for what was left."""
        self._left = True
        self._claiming = False
        """Whether a claim is under way, of which nobody knows yet what it takes."""
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
                group.create_task(rounds(self._clock, self._intents, self._take_intents, name="intents"))
                group.create_task(self._watch_deadlines())
                await self._claim_loop(group)
        finally:
            self._running.clear()
            self._claimed()

    async def drain(self) -> None:
        """Release what runs, at once: no work depends on a slow goodbye."""
        self._draining = True
        for execution in list(self._running.values()):
            execution.stop("shutdown")
        while self._running or self._claiming:
            self._ended.clear()
            await self._ended.wait()

    async def start_anew(self, worker: str) -> None:
        """Go on under another name: what runs under the old one is released, and refused where others have it."""
        await self.drain()
        self.worker = worker
        self._draining = False
        self._queue.set()
        self._moved.set()

    async def recover(self, gone: recovery.Gone | None = None) -> recovery.Recovered:
        """Release what the workers that are `gone` had claimed: all but this one, unless told."""
        kinds = set(self._kinds)

        def release(tx: Tx) -> recovery.Recovered:
            return recovery.recover(
                tx,
                gone=gone or (lambda owner: owner != self.worker),
                known=kinds,
                resumable=self.resumable,
            )

        return await self._ledger.write(release)

    @property
    def resumable(self) -> set[str]:
        """The kinds whose work can be taken up again here."""
        return {name for name, kind in self._kinds.items() if kind.resumable}

    async def _claim_loop(self, group: asyncio.TaskGroup) -> None:
        # A gateway opens its doors first: a full queue must not keep people out.
        await self.open.wait()
        in_doubt = False
        while True:
            self._moved.clear()
            claimed: list[tuple[Task, dict[str, steps.Step]]] = []
            held_low = False
            try:
                if in_doubt:
                    await self._disown()
                    in_doubt = False
                # A free place is no reason to look where nothing was left at the last look and nothing came since.
                if self._left or self._queue.is_set():
                    claimed, held_low = await self._claim()
            except StorageError as error:
                self._claimed()
                in_doubt = True  # the claim may be committed all the same
                _log.warning("claiming waits for the disk", error=error.message)
                self._left = True
                await wait_steady(self._moved, self._clock, self._clock.steady() + SECOND)
                continue
            for task, journal in claimed:
                self._start(group, task, journal)
            self._claimed()
            if not claimed or not self._left:
                if not self._running:
                    self.idle.set()
                # Low work waits for a quiet machine; only while some waits do we look at the machine again.
                due = self._clock.steady() + _LOOK_AGAIN_WHEN_BUSY if held_low else None
                await wait_steady(self._moved, self._clock, due)

    async def _claim(self) -> tuple[list[tuple[Task, dict[str, steps.Step]]], bool]:
        background = self.capacity.background - self._detached
        interactive = self.capacity.interactive - (len(self._running) - self._detached)
        if self._draining or (background <= 0 and interactive <= 0):
            self._left = True
            return [], False
        self._queue.clear()
        low = self._machine_is_idle()
        slots = queue.Slots(
            background=background,
            interactive=interactive,
            per_owner=self.capacity.per_owner,
            per_class=self.capacity.per_class,
            busy=self._detached,
            low=low,
            held=self._is_held(),
            zone=self.capacity.zone,
            only=tuple(self._kinds),
        )

        def claim(tx: Tx) -> tuple[list[tuple[Task, dict[str, steps.Step]]], bool]:
            claimed, left = queue.claim(tx, slots, worker=self.worker, lease_until=tx.now + LEASE)
            known = steps.of_tasks(tx, [task.task_id for task in claimed])
            started = [(task, {step.key: step for step in known[task.task_id]}) for task in claimed]
            return started, left

        self.idle.clear()
        self._claiming = True
        claimed, self._left = await self._ledger.write(claim, urgent=True)
        return claimed, self._left and not low

    def _claimed(self) -> None:
        self._claiming = False
        self._ended.set()

    async def _disown(self) -> None:
        holding = {(task_id, execution.task.attempt) for task_id, execution in self._running.items()}
        worker = self.worker
        await self._ledger.write(lambda tx: recovery.disown(tx, worker=worker, holding=holding), urgent=True)

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
        if (stale := self._running.get(task.task_id)) is not None:
            stale.stop("fence")  # given up while this process was taken for dead, and claimed again by it
            self._detached -= stale.task.detached
        self._running[task.task_id] = execution
        self._detached += task.detached
        timeout = task.timeout if task.timeout is not None else kind.timeout
        if timeout is not None:
            entry = (self._clock.steady() + timeout, next(self._order), execution)
            heapq.heappush(self._deadlines, entry)
            if self._deadlines[0] is entry:
                self._alarm.set()
        if self._draining:
            execution.stop("shutdown")  # claimed while the goodbye began
        group.create_task(self._supervise(execution), name=f"execution {task.task_id}")

    async def _supervise(self, execution: Execution) -> None:
        task = execution.task
        try:
            await execution.run()
        except Exception as error:  # noqa: BLE001 - one broken execution must not stop the others
            _log.error("execution could not report", exc=error, task_id=task.task_id, attempt=task.attempt)
        finally:
            if self._running.get(task.task_id) is execution:
                del self._running[task.task_id]
                self._detached -= task.detached
            self._ended.set()
            self._moved.set()

    async def _take_intents(self) -> None:
        wanted = await self._ledger.read(lambda tx: queue.intents(tx, self.worker))
        for task_id, (attempt, intent) in wanted.items():
            execution = self._running.get(task_id)
            if execution is not None and execution.task.attempt == attempt and intent == "cancel":
                execution.stop("cancel")

    async def _watch_deadlines(self) -> None:
        while True:
            now = self._clock.steady()
            while self._deadlines and (
                self._deadlines[0][0] <= now or not self._is_running(self._deadlines[0][2])
            ):
                _, _, execution = heapq.heappop(self._deadlines)
                if self._is_running(execution):
                    execution.stop("timeout")
            due = self._deadlines[0][0] if self._deadlines else None
            await wait_steady(self._alarm, self._clock, due)

    def _is_running(self, execution: Execution) -> bool:
        return self._running.get(execution.task.task_id) is execution
