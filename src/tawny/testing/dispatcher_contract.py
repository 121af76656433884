"""The suite every dispatcher passes. A test subclasses `DispatcherContract` and gives a `rig` fixture.

    class TestLocal(DispatcherContract):
        @pytest.fixture
        def rig(self, tmp_path):
            return Rig(Home(tmp_path / "home"), Config())

The rig says which home and configuration; the configuration's ledger decides which dispatcher `open_app` builds.
"""

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from tawny.app import App, open_app
from tawny.clock import MINUTE, SECOND
from tawny.config import Config, Home, Limits
from tawny.domain.tasks import Effect, Priority, Status, Submission, Task
from tawny.engine import commands
from tawny.engine.dispatcher import Dispatcher
from tawny.engine.kinds import Context, Kind
from tawny.errors import Fenced
from tawny.ledger import endings, tasks
from tawny.ledger.submission import submit
from tawny.testing.clock import FakeClock

_PATIENCE = 60.0


class _Named(msgspec.Struct, frozen=True):
    name: str = ""


class _Died(Exception):
    """The process dies here: nothing is released, nothing is told."""


@dataclass
class Rig:
    """A home and its configuration, a clock that stands still, and a world that counts what happens to it."""

    home: Home
    config: Config
    clock: FakeClock = field(default_factory=FakeClock)
    order: list[str] = field(default_factory=list[str])
    effects: Counter[str] = field(default_factory=Counter[str])
    gates: dict[str, asyncio.Event] = field(default_factory=dict[str, asyncio.Event])
    most: int = 0
    running: int = 0

    def gate(self, name: str) -> asyncio.Event:
        """What the task or step of this name waits for."""
        return self.gates.setdefault(name, asyncio.Event())

    @asynccontextmanager
    async def opened(self, *, places: int = 4, known: bool = True) -> AsyncGenerator["Running"]:
        """An app on the home. Raising `_Died` inside leaves it as a kill would."""
        limits = Limits(concurrency=places, max_running_per_owner=places, busy_load=0)
        config = msgspec.structs.replace(self.config, limits=limits)
        try:
            kinds = self.kinds() if known else {}
            async with open_app(self.home, config, clock=self.clock, kinds=kinds, closed=True) as app:
                yield Running(app, self)
        except BaseExceptionGroup as group:
            _, rest = group.split(_Died)
            if rest is not None:
                raise
        except _Died:
            return

    def kinds(self) -> dict[str, Kind]:
        async def one(ctx: Context, params: _Named) -> str:
            del ctx
            self.order.append(params.name)
            self.running += 1
            self.most = max(self.most, self.running)
            try:
                if params.name in self.gates:
                    await self.gates[params.name].wait()
            finally:
                self.running -= 1
            return params.name

        async def steps(ctx: Context, params: _Named) -> str:
            del params
            for name in ("a", "b", "c"):
                await ctx.step(name, lambda name=name: self._touch(name), effect=Effect.IDEMPOTENT)
                if name in self.gates:
                    await self.gates[name].wait()
            return "three"

        return {
            "one": Kind(name="one", params=_Named, run=one),
            "steps": Kind(name="steps", params=_Named, run=steps),
        }

    async def _touch(self, name: str) -> str:
        self.effects[name] += 1
        return name


@dataclass
class Running:
    """An open app and its dispatcher, which starts nothing before `go`."""

    app: App
    rig: Rig

    @property
    def dispatcher(self) -> Dispatcher:
        return self.app.dispatcher

    def go(self) -> None:
        """Let tasks start."""
        self.dispatcher.open.set()

    async def submit(self, name: str = "", *, kind: str = "one", **more: Any) -> str:
        """Hand in a task; its id."""
        wanted = Submission(kind=kind, params={"name": name}, title=name, **more)
        return (await self.app.ledger.write(lambda tx: submit(tx, wanted))).task_id

    async def task(self, task_id: str) -> Task:
        return await self.app.ledger.read(lambda tx: tasks.get(tx, task_id))

    async def until(self, task_id: str, *statuses: Status) -> Task:
        """Wait until the task has one of the statuses."""
        changed = self.app.ledger.bell.subscribe("events")
        try:
            async with asyncio.timeout(_PATIENCE):
                while (task := await self.task(task_id)).status not in statuses:
                    await changed.wait()
                    changed.clear()
        finally:
            self.app.ledger.bell.unsubscribe(changed)
        return task

    async def done(self, *ids: str) -> list[Task]:
        ends = [status for status in Status if status.is_terminal]
        return [await self.until(task_id, *ends) for task_id in ids]

    async def started(self, *names: str) -> None:
        """Wait until the runs of these names have begun, or their steps have had their effect."""
        async with asyncio.timeout(_PATIENCE):
            while not all(name in self.rig.order or self.rig.effects[name] for name in names):
                await asyncio.sleep(0.01)


class DispatcherContract:
    """What may be counted on, whoever dispatches."""

    @pytest.fixture
    def rig(self) -> Rig:
        raise NotImplementedError

    async def test_what_is_submitted_runs_once_and_its_outcome_is_written(self, rig: Rig) -> None:
        async with rig.opened() as house:
            house.go()
            ids = [await house.submit(f"{n}") for n in range(12)]
            ended = await house.done(*ids)

        assert {task.status for task in ended} == {Status.SUCCEEDED}
        assert {task.attempt for task in ended} == {1}
        assert sorted(rig.order, key=int) == [f"{n}" for n in range(12)]

    async def test_no_more_run_at_once_than_there_are_places(self, rig: Rig) -> None:
        gates = [rig.gate(f"{n}") for n in range(9)]
        async with rig.opened(places=3) as house:
            house.go()
            ids = [await house.submit(f"{n}") for n in range(9)]
            await house.started("0", "1", "2")
            for gate in gates:
                gate.set()
            await house.done(*ids)

        assert rig.most == 3

    async def test_order_within_a_lane_is_strict_and_lanes_do_not_wait_for_each_other(self, rig: Rig) -> None:
        gate = rig.gate("a1")
        async with rig.opened() as house:
            house.go()
            urgent = {"priority": Priority.HIGH}
            lane_a = [await house.submit("a1", lane="a"), await house.submit("a2", lane="a")]
            lane_a.append(await house.submit("a3", lane="a", **urgent))
            lane_b = [await house.submit("b1", lane="b"), await house.submit("b2", lane="b")]
            await house.done(*lane_b)
            assert [name for name in rig.order if name.startswith("a")] == ["a1"]
            gate.set()
            await house.done(*lane_a)

        assert [name for name in rig.order if name.startswith("a")] == ["a1", "a2", "a3"]

    async def test_a_class_goes_first_and_waiting_long_enough_beats_it(self, rig: Rig) -> None:
        async with rig.opened(places=1) as house:
            await house.submit("old low", priority=Priority.LOW)
            rig.clock.pass_to(rig.clock.now() + 3 * 24 * 60 * MINUTE)
            ids = [await house.submit("normal"), await house.submit("high", priority=Priority.HIGH)]
            house.go()
            await house.done(*ids)

        assert rig.order == ["old low", "high", "normal"]

    async def test_owners_get_equal_shares(self, rig: Rig) -> None:
        async with rig.opened(places=2) as house:
            ids = [await house.submit(f"anna {n}", owner="anna") for n in range(6)]
            ids += [await house.submit(f"ben {n}", owner="ben") for n in range(2)]
            house.go()
            await house.done(*ids)

        assert Counter(name.split()[0] for name in rig.order[:4]) == {"anna": 2, "ben": 2}

    async def test_a_cancel_reaches_what_runs(self, rig: Rig) -> None:
        rig.gate("held")
        async with rig.opened() as house:
            house.go()
            task_id = await house.submit("held")
            await house.started("held")
            await house.app.ledger.write(lambda tx: commands.cancel(tx, task_id))
            [ended] = await house.done(task_id)

        assert ended.status is Status.CANCELLED
        assert rig.running == 0

    async def test_a_pause_takes_effect_between_steps_and_survives_a_restart(self, rig: Rig) -> None:
        gate = rig.gate("a")
        async with rig.opened() as house:
            house.go()
            task_id = await house.submit(kind="steps")
            await house.started("a")
            await house.app.ledger.write(lambda tx: commands.pause(tx, task_id))
            gate.set()
            await house.until(task_id, Status.PAUSED)
        async with rig.opened() as house:
            house.go()
            assert (await house.task(task_id)).status is Status.PAUSED
            await house.app.ledger.write(lambda tx: commands.resume(tx, task_id))
            [ended] = await house.done(task_id)

        assert ended.status is Status.SUCCEEDED
        assert rig.effects == {"a": 1, "b": 1, "c": 1}

    async def test_what_runs_longer_than_it_may_is_stopped(self, rig: Rig) -> None:
        rig.gate("held")
        async with rig.opened() as house:
            house.go()
            task_id = await house.submit("held", timeout=5 * SECOND)
            await house.started("held")
            await rig.clock.advance("6s")
            [ended] = await house.done(task_id)

        assert ended.status is Status.TIMED_OUT

    async def test_an_orderly_end_gives_back_what_runs_without_counting_a_crash(self, rig: Rig) -> None:
        gate = rig.gate("b")
        async with rig.opened() as house:
            house.go()
            task_id = await house.submit(kind="steps")
            await house.started("b")
        gate.set()
        async with rig.opened() as house:
            before = await house.task(task_id)
            house.go()
            [ended] = await house.done(task_id)

        assert (before.status, before.crashes) == (Status.QUEUED, 0)
        assert (ended.status, ended.attempt) == (Status.SUCCEEDED, 2)
        assert rig.effects == {"a": 1, "b": 1, "c": 1}

    async def test_an_orderly_end_gives_back_also_what_is_being_claimed(self, rig: Rig) -> None:
        rig.gate("held")
        writer = threading.Event()
        async with rig.opened() as house:
            task_id = await house.submit("held")
            ledger = house.app.ledger
            ledger.post(lambda _: writer.wait(_PATIENCE))
            house.go()
            async with asyncio.timeout(_PATIENCE), asyncio.TaskGroup() as group:
                while ledger.unanswered < 2:
                    await asyncio.sleep(0.01)
                group.create_task(house.dispatcher.drain())
                await asyncio.sleep(0)
                writer.set()
            left = await house.task(task_id)

        assert (left.status, left.attempt, left.crashes) == (Status.QUEUED, 1, 0)
        assert rig.running == 0

    async def test_after_a_kill_the_next_start_goes_on_at_once_and_repeats_no_finished_step(
        self, rig: Rig
    ) -> None:
        gate = rig.gate("b")
        async with rig.opened() as house:
            house.go()
            task_id = await house.submit(kind="steps")
            await house.started("b")
            raise _Died
        gate.set()
        async with rig.opened() as house:
            released = await house.task(task_id)
            house.go()
            [ended] = await house.done(task_id)

        assert (released.status, released.crashes) == (Status.QUEUED, 1)
        assert ended.status is Status.SUCCEEDED
        assert rig.effects == {"a": 1, "b": 1, "c": 1}

    async def test_what_an_older_attempt_says_is_refused(self, rig: Rig) -> None:
        rig.gate("held")
        async with rig.opened() as house:
            house.go()
            task_id = await house.submit("held")
            await house.started("held")
            stale = await house.task(task_id)
            raise _Died
        async with rig.opened() as house:
            house.go()
            await house.until(task_id, Status.RUNNING)
            with pytest.raises(Fenced):
                await house.app.ledger.write(lambda tx: endings.finish(tx, stale, Status.SUCCEEDED))
            rig.gates["held"].set()
            [ended] = await house.done(task_id)

        assert (ended.status, ended.attempt) == (Status.SUCCEEDED, 2)

    async def test_work_without_a_backing_is_lost_after_the_grace_and_not_before(self, rig: Rig) -> None:
        rig.gate("held")
        async with rig.opened() as house:
            house.go()
            taken_up, lost = await house.submit("held"), await house.submit("held")
            await house.started("held")
            await house.until(lost, Status.RUNNING)
            raise _Died
        async with rig.opened(known=False) as house:
            await rig.clock.advance("299s")
            await rig.clock.settle()
            assert (await house.task(taken_up)).status is Status.RUNNING
            raise _Died
        rig.gates["held"].set()
        async with rig.opened() as house:
            house.go()
            [ended] = await house.done(taken_up)
            assert ended.status is Status.SUCCEEDED
            await house.done(lost)

    async def test_work_whose_backing_stays_away_is_lost_and_says_so(self, rig: Rig) -> None:
        rig.gate("held")
        async with rig.opened() as house:
            house.go()
            task_id = await house.submit("held")
            await house.started("held")
            raise _Died
        async with rig.opened(known=False) as house:
            await rig.clock.advance("301s")
            [ended] = await house.done(task_id)

        assert ended.status is Status.LOST
        assert ended.error is not None
        assert "no kind 'one'" in ended.error.message
