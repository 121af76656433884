"""A life of the engine in which nothing is left to luck: clock, storage, people and deaths come from one seed.

The real dispatcher, timers, scheduler and execution run on the real ledger's commits in one thread; only the threads
are gone. A process may die before or after any commit, be frozen while its successor works (and then speak again), meet
a disk that refuses, and have its clock moved. What happened in the world is remembered here, never asked of the tables.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from tawny import ids
from tawny.clock import HOUR, SECOND, Instant
from tawny.domain.tasks import Delivery, Effect, Notify, Retry, Status, Submission, Task
from tawny.engine import automations as orders
from tawny.engine import commands
from tawny.engine.dispatcher import Capacity, LocalDispatcher
from tawny.engine.kinds import Context, Kind
from tawny.engine.matcher import wait_for_event
from tawny.engine.scheduler import Scheduler
from tawny.engine.stability import Stability
from tawny.engine.timers import Timers
from tawny.engine.waits import Hooks
from tawny.errors import Conflict, InvalidInput, NotFound, StorageError, TawnyError, TemporaryError
from tawny.ledger import audit, automations, events, occurrences, outbox, steps, tasks
from tawny.ledger.database import Ledger, Tx, _Job, read_now, write_now
from tawny.ledger.migrations import migrate
from tawny.ledger.sqlite import SqliteConnection, SqliteStore
from tawny.ledger.submission import submit
from tawny.testing import FakeClock

EVERY = {"name": "Tick", "schedule": {"type": "every", "interval": "20s"}}
RETRY = Retry(max=2, base="1s", cap="5s")


class Died(BaseException):
    """The process is gone, in the middle of a commit."""


class Wrong(Exception):
    """A promise was broken."""


class Disk(SqliteStore):
    """A database whose next commits may be refused. Nothing here needs to outlive the machine's power."""

    refusals = 0

    def connect(self, *, read_only: bool = False) -> SqliteConnection:
        connection = super().connect(read_only=read_only)
        connection.execute("PRAGMA synchronous = OFF")
        if not read_only:
            commit = connection.commit

            def refused() -> None:
                if self.refusals > 0:
                    self.refusals -= 1
                    raise StorageError("state.db: disk I/O error (simulated)", hint="check the disk")
                commit()

            connection.commit = refused  # type: ignore[method-assign]
        return connection


class InlineLedger(Ledger):
    """The real ledger, its writer and readers in the loop's own thread, at moments and in groups that chance gives."""

    def __init__(self, store: Disk, clock: FakeClock, chance: random.Random) -> None:
        super().__init__(store, clock, probe=self._maybe_die)
        self._loop = asyncio.get_running_loop()
        self._chance = chance
        self._writer = store.connect()
        self._reader = store.connect(read_only=True)
        self._waiting: list[_Job] = []
        self.death: tuple[str, int] | None = None
        self.is_dead = False
        self.is_frozen = False

    def post(self, fn: Any, *, urgent: bool = False) -> Any:
        job = _Job(fn, self._loop.create_future())
        self._waiting.insert(0, job) if urgent else self._waiting.append(job)
        self._soon()
        return job.future

    async def read(self, fn: Any) -> Any:
        for _ in range(self._chance.randrange(3)):
            await asyncio.sleep(0)
        while self.is_frozen and not self.is_dead:
            await asyncio.sleep(0)
        if self.is_dead:
            await self._loop.create_future()
        self._reader.begin()
        try:
            return fn(Tx(self._reader, self.clock.now()))
        finally:
            self._reader.rollback()

    def _soon(self, hops: int | None = None) -> None:
        left = self._chance.randrange(4) if hops is None else hops
        self._loop.call_soon(self._flush if left == 0 else lambda: self._soon(left - 1))

    def _flush(self) -> None:
        if not self._waiting or self.is_dead or self.is_frozen:
            return
        count = self._chance.randint(1, len(self._waiting))
        group, self._waiting = self._waiting[:count], self._waiting[count:]
        try:
            topics = self._commit(self._writer, group)
        except Died:
            self.die()
            return
        self._settle(group, topics)
        if self._waiting:
            self._soon()

    def _maybe_die(self, where: str) -> None:
        if self.death is not None and self.death[0] == where:
            self.death = (where, self.death[1] - 1)
            if self.death[1] < 0:
                raise Died

    def die(self) -> None:
        if not self.is_dead:
            self.is_dead = True
            self._writer.rollback()
            self._writer.close()
            self._reader.close()

    def thaw(self) -> None:
        self.is_frozen = False
        self._soon(0)


class Work(msgspec.Struct, frozen=True):
    """Steps by their effect; after the steps a nap, and children."""

    steps: tuple[str, ...]
    nap: int = 0
    children: int = 0
    clumsy: float = 0.0


class World:
    """What happened outside, and what was promised to whom."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.paid: Counter[tuple[str, str]] = Counter()
        self.allowed: Counter[tuple[str, str]] = Counter()
        self.keys: dict[tuple[str, str], set[str]] = {}
        self.recorded: set[tuple[str, str]] = set()
        self.broken: list[str] = []
        """Noted where it happens: what a run raises is the engine's to record."""
        self.accepted: dict[str, Submission] = {}
        self.ended: dict[str, Status] = {}

    def kinds(self) -> dict[str, Kind]:
        async def work(ctx: Context, params: Work) -> str:
            for n, effect in enumerate(params.steps):
                await self._step(ctx, f"{n}", effect, params.clumsy)
                await ctx.progress(n + 1, len(params.steps))
                if n == 0 and params.nap:
                    await ctx.wait_until("nap", (ctx.task.started_at or 0) + params.nap)
            if params.children:
                await ctx.children(
                    "children",
                    [
                        Submission(kind="work", params={"steps": ["idempotent"]})
                        for _ in range(params.children)
                    ],
                )
            return "done"

        return {"work": Kind(name="work", params=Work, run=work, timeout=None)}

    async def _step(self, ctx: Context, key: str, effect: str, clumsy: float) -> None:
        mark = (ctx.task.task_id, key)

        async def happen() -> str:
            for _ in range(self._chance.randrange(3)):
                await asyncio.sleep(0)
            if mark in self.recorded:
                self.broken.append(f"step {mark} was recorded and ran again")
            if self._chance.random() < clumsy:
                raise TemporaryError("clumsy")
            if effect == "at_most_once":
                self.paid[mark] += 1
                if self.paid[mark] > 1 + self.allowed[mark]:
                    self.broken.append(f"{mark} was paid {self.paid[mark]} times")
            else:
                self.keys.setdefault(mark, set()).add(ctx.idempotency_key(key))
            for _ in range(self._chance.randrange(3)):
                await asyncio.sleep(0)
            return effect

        await ctx.step(key, happen, effect=Effect(effect))
        self.recorded.add(mark)


class Life:
    """One process: its ledger and the engine's parts."""

    def __init__(self, simulation: "Simulation", n: int) -> None:
        self.ledger = InlineLedger(simulation.disk, simulation.clock, simulation.chance)
        kinds = simulation.world.kinds()
        self._stability = Stability(self.ledger, simulation.clock)
        self.dispatcher = LocalDispatcher(
            self.ledger,
            simulation.clock,
            kinds,
            worker=f"worker-{n}",
            artifacts_root=simulation.folder,
            hooks=Hooks(ask=lambda *_: None, event=wait_for_event),
            capacity=Capacity(background=3, interactive=2, per_owner=2),
            is_held=lambda: self._stability.is_held,
        )
        self._timers = Timers(self.ledger, simulation.clock)
        self._scheduler = Scheduler(
            self.ledger,
            simulation.clock,
            workspace=simulation.folder,
            look=_look,
            stability=self._stability,
        )
        self.has_started = False
        self.main = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        await self._stability.begin()
        await self.dispatcher.recover()
        self.has_started = True
        async with asyncio.TaskGroup() as group:
            for part in (self.dispatcher, self._stability, self._timers, self._scheduler):
                group.create_task(part.run())

    def kill(self) -> None:
        self.ledger.die()
        self.main.cancel()


async def _look(_: Any) -> None:
    return None


class Simulation:
    """One seed's life, from the first start to the last task's end."""

    def __init__(self, folder: Path, seed: int, *, table: dict[Status, set[Status]]) -> None:
        self.folder = folder
        self.chance = random.Random(seed)
        self.clock = FakeClock()
        self.disk = Disk(folder / f"{seed}.db")
        self.world = World(self.chance)
        self.table = table
        self.lives = 0
        self.frozen: list[Life] = []
        migrate(self.disk, self.clock)
        document = {**EVERY, "action": {"type": "work", "parameters": {"steps": ["idempotent"]}}}
        self.automation = self.write(
            lambda tx: orders.add(tx, document, kinds=self.world.kinds(), timezone="UTC")
        ).automation_id

    def write(self, fn: Callable[[Tx], Any]) -> Any:
        return write_now(self.disk, self.clock, fn)

    def read(self, fn: Callable[[Tx], Any]) -> Any:
        return read_now(self.disk, self.clock, fn)

    async def run(self, moves: int) -> list[tuple[int, str, str]]:
        """Live; what the log says happened, for comparing two lives of one seed."""
        self.begin()
        for _ in range(moves):
            move, weight = zip(*self.moves(), strict=True)
            self.chance.choices(move, weight)[0]()
            await self.hop(self.chance.randrange(40))
            self.look_after()
        await self.come_to_rest()
        self.check()
        log = self.read(lambda tx: events.after(tx, 0, limit=1_000_000))
        return [(event.seq, event.type, str(event.data.get("status"))) for event in log]

    def moves(self) -> list[tuple[Callable[[], None], int]]:
        return [
            (self.submit, 8),
            (self.tick, 8),
            (self.cancel, 2),
            (self.pause, 2),
            (self.resume, 3),
            (self.reconcile, 3),
            (self.die_at_a_commit, 3),
            (self.die_now, 1),
            (self.freeze, 1),
            (self.thaw, 2),
            (self.refuse, 2),
            (self.jump, 1),
        ]

    # --- lives

    def begin(self) -> None:
        self.lives += 1
        self.life = Life(self, self.lives)

    def look_after(self) -> None:
        """A process that has died, or could not start, has a successor; one that has fallen over says why."""
        if self.world.broken:
            raise Wrong("; ".join(self.world.broken))
        if self.life.main.done() and not self.life.main.cancelled():
            error = self.life.main.exception()
            if isinstance(error, StorageError) and not self.life.has_started:
                # A start that the disk refuses ends with a clear error, and is tried again from outside.
                self.life.kill()
            elif error is not None:
                raise Wrong(f"the engine fell over: {error!r}") from error
        if self.life.ledger.is_dead:
            self.life.kill()
            self.begin()

    def die_at_a_commit(self) -> None:
        self.life.ledger.death = (self.chance.choice(["before", "after"]), self.chance.randrange(6))

    def die_now(self) -> None:
        self.life.kill()

    def freeze(self) -> None:
        """The process hangs and is taken for dead: its successor starts while it may still speak."""
        self.life.ledger.is_frozen = True
        self.frozen.append(self.life)
        self.begin()

    def thaw(self) -> None:
        if self.frozen:
            self.frozen[0].ledger.thaw()
            old = self.frozen.pop(0)
            asyncio.get_running_loop().call_later(0, lambda: self._bury(old, 60))

    def _bury(self, life: Life, hops: int) -> None:
        """It speaks for a while, then it ends."""
        if hops:
            asyncio.get_running_loop().call_soon(lambda: self._bury(life, hops - 1))
        else:
            life.kill()

    def refuse(self) -> None:
        self.disk.refusals = self.chance.randrange(1, 4)

    # --- people and time

    def submit(self) -> None:
        wanted = Submission(
            kind="work",
            params={
                "steps": [
                    self.chance.choice(["at_most_once", "idempotent"])
                    for _ in range(self.chance.randint(1, 3))
                ],
                "nap": self.chance.choice([0, 0, 15 * SECOND]),
                "children": self.chance.choice([0, 0, 0, 2]),
                "clumsy": self.chance.choice([0.0, 0.0, 0.4]),
            },
            owner=self.chance.choice(["ann", "bob"]),
            lane=self.chance.choice([None, None, "lane"]),
            retry=RETRY,
            notify=Notify.DONE_ONLY,
            delivery=Delivery(channels=("inbox",)),
            not_before=self.clock.now() + self.chance.choice([0, 0, 10 * SECOND]),
        )

        def accepted(future: "asyncio.Future[Task]") -> None:
            if not future.cancelled() and future.exception() is None:
                self.world.accepted[future.result().task_id] = wanted

        self.life.ledger.post(lambda tx: submit(tx, wanted)).add_done_callback(accepted)

    def order(self, command: Callable[[Tx, str], Any]) -> None:
        if self.world.accepted:
            task_id = self.chance.choice(sorted(self.world.accepted))
            self.life.ledger.post(lambda tx: command(tx, task_id), urgent=True).add_done_callback(_ignore)

    def cancel(self) -> None:
        self.order(commands.cancel)

    def pause(self) -> None:
        self.order(commands.pause)

    def resume(self) -> None:
        self.order(commands.resume)

    def reconcile(self, answer: str | None = None) -> None:
        for task in self.uncertain():
            said = answer or self.chance.choice(["done", "redo", "give_up"])
            keys = [step.key for step in self.read(lambda tx, task=task: steps.uncertain(tx, task.task_id))]
            self.world.allowed.update((task.task_id, key) for key in keys if said == "redo")
            self.life.ledger.post(
                lambda tx, task=task, said=said: commands.reconcile(tx, task.task_id, said)
            ).add_done_callback(_ignore)

    def uncertain(self) -> list[Task]:
        waiting = self.read(lambda tx: tasks.page(tx, status=Status.WAITING, limit=500)).items
        return [task for task in waiting if task.waiting_for and task.waiting_for.kind == "reconcile"]

    def tick(self) -> None:
        due = self.clock.next_due()
        later = self.clock.now() + self.chance.choice([SECOND // 10, SECOND, 10 * SECOND])
        self.clock.pass_to(max(self.clock.now(), min(due, later) if due is not None else later))

    def jump(self) -> None:
        """Somebody sets the clock."""
        self.clock.set(self.clock.now() + self.chance.choice([-HOUR, -SECOND, HOUR]))

    async def hop(self, rounds: int) -> None:
        for _ in range(rounds):
            await asyncio.sleep(0)

    async def come_to_rest(self) -> None:
        """Nobody dies any more: everything that was accepted goes on to its end."""
        while self.frozen:
            self.thaw()
        self.disk.refusals = 0
        self.life.ledger.death = None
        await self.hop(120)
        # A process that was taken for dead may have claimed something as it spoke again: the next start releases it.
        self.life.kill()
        self.begin()
        await self.hop(120)
        self.look_after()
        self.write(lambda tx: automations.set_status(tx, self.automation, "disabled"))
        for _ in range(400):
            await self.hop(30)
            self.look_after()
            self.reconcile("done")
            for task in self.read(lambda tx: tasks.page(tx, status=Status.PAUSED, limit=500)).items:
                self.life.ledger.post(
                    lambda tx, task=task: commands.resume(tx, task.task_id)
                ).add_done_callback(_ignore)
            await self.hop(30)
            if not self.active():
                return
            self.clock.pass_to(
                max(self.clock.now() + SECOND, min(self.clock.next_due() or 0, self.clock.now() + HOUR))
            )
        stuck = [(task.task_id, task.status, task.waiting_for, task.intent) for task in self.active()]
        raise Wrong(f"stuck: {stuck}")

    def active(self) -> list[Task]:
        found: list[Task] = []
        for status in (Status.QUEUED, Status.RUNNING, Status.WAITING, Status.PAUSED):
            found += self.read(lambda tx, status=status: tasks.page(tx, status=status, limit=500)).items
        return found

    # --- what must hold

    def check(self) -> None:
        if self.world.broken:
            raise Wrong("; ".join(self.world.broken))
        log = self.read(lambda tx: events.after(tx, 0, limit=1_000_000))
        if [event.seq for event in log] != list(range(1, len(log) + 1)):
            raise Wrong("the sequence of events has gaps")
        seen: dict[str, Status] = {}
        for event in log:
            if event.task_id is None or "status" not in event.data:
                continue
            after, before = Status(event.data["status"]), seen.get(event.task_id)
            if before is not None and before is not after and after not in self.table[before]:
                raise Wrong(f"{before} became {after}")
            seen[event.task_id] = after
        verified = self.read(audit.verify)
        if not verified.ok:
            raise Wrong(f"the audit chain: {verified.problem}")
        for task_id, wanted in self.world.accepted.items():
            self.check_task(task_id, wanted)
        slots = [
            run.slot for run in self.read(lambda tx: occurrences.page(tx, self.automation, limit=500)).items
        ]
        if len(slots) != len(set(slots)):
            raise Wrong("a slot was fired twice")

    def check_task(self, task_id: str, wanted: Submission) -> None:
        try:
            task = self.read(lambda tx: tasks.get(tx, task_id))
        except NotFound as error:
            raise Wrong(f"{task_id} was accepted and is gone") from error
        if task.status is not Status.SUCCEEDED:
            return
        for n, effect in enumerate(wanted.params["steps"]):
            happened = self.world.keys if effect == "idempotent" else self.world.paid
            done_by_word = (
                effect == "at_most_once"
                and self.read(lambda tx, n=n: steps.get(tx, task_id, str(n))).result is None
            )
            if not done_by_word and (task_id, str(n)) not in happened:
                raise Wrong(f"{task_id} succeeded without step {n}")
            if effect == "idempotent" and len(happened[task_id, str(n)]) != 1:  # type: ignore[arg-type]
                raise Wrong(f"step {n} of {task_id} changed its key")
        told = [line.transition for line in self.read(lambda tx: outbox.of_task(tx, task_id))]
        if told.count("task.succeeded") != 1:
            raise Wrong(f"{task_id} succeeded and nobody was owed the news: {told}")


def _ignore(future: "asyncio.Future[Any]") -> None:
    """A person's order may come too late, or meet a failing disk; a broken promise may not pass."""
    if not future.cancelled() and isinstance(error := future.exception(), Exception):
        with suppress(Conflict, StorageError, InvalidInput):
            raise error


class SeededIds(ids._Sequence):
    """Ids that a seed decides, in the order they are asked for."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._chance = random.Random(seed)

    def next(self, now: Instant) -> int:
        self._millis = max(now // 1000, self._millis)
        self._tail += 1 + self._chance.randrange(256)
        return (self._millis << 80) | self._tail


def live(folder: Path, seed: int, *, moves: int, table: dict[Status, set[Status]], patch: Any) -> list[Any]:
    """One seed from beginning to end.

    Raises:
        AssertionError: names the seed that shows it again.
    """
    patch.setattr(ids, "_sequence", SeededIds(seed))
    random.seed(seed)
    simulation = Simulation(folder, seed, table=table)
    try:
        return asyncio.run(simulation.run(moves))
    except (Wrong, TawnyError, AssertionError) as error:
        raise AssertionError(f"seed {seed}: {error}") from error
    finally:
        for file in folder.glob(f"{seed}.db*"):
            file.unlink()
