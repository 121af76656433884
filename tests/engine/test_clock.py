"""Two clocks: the wall clock, which may be set, tells when; the steady one tells how long."""

import asyncio
from pathlib import Path

import pytest

from tawny.cli.demo.timelapse import TimelapseClock
from tawny.clock import DAY, HOUR, MINUTE, SECOND, SystemClock, sleep
from tawny.domain.tasks import Submission
from tawny.engine.housekeeping import Housekeeping
from tawny.ledger import retention
from tawny.ledger.database import Ledger
from tawny.ledger.migrations import migrate
from tawny.ledger.sqlite import SqliteStore
from tawny.ledger.submission import submit
from tawny.testing import FakeClock


class SetClock(SystemClock):
    """The machine's clocks, the wall clock set by the test; nobody is told."""

    off = 0

    def now(self) -> int:
        return super().now() + self.off


async def test_clock_that_leaps_is_noticed_within_seconds():
    # The longest nap is 30 seconds: well below that it can only have been the lookout.
    clock, rung = SetClock(), asyncio.Event()
    cancel = clock.call_at(clock.now() + HOUR, rung.set)
    clock.off = HOUR
    async with asyncio.timeout(15):
        await rung.wait()
    cancel()


async def test_lookout_goes_on_with_the_next_alarm_after_a_quiet_time():
    clock, first, quiet, second = SetClock(), asyncio.Event(), asyncio.Event(), asyncio.Event()
    async with asyncio.timeout(15):
        clock.call_at(clock.now() + HOUR, first.set)
        clock.off += HOUR
        await first.wait()
        clock.call_steady(clock.steady() + 3 * SECOND // 2, quiet.set)
        await quiet.wait()  # only steady alarms wait: the lookout has ended
        clock.call_at(clock.now() + HOUR, second.set)
        clock.off += HOUR
        await second.wait()


async def test_steady_alarm_does_not_mind_a_wall_clock_that_is_set():
    clock, early, due = SetClock(), asyncio.Event(), asyncio.Event()
    clock.call_steady(clock.steady() + HOUR, early.set)
    clock.call_steady(clock.steady() + SECOND // 2, due.set)
    clock.off = -DAY
    clock.leapt()
    async with asyncio.timeout(15):
        await due.wait()
        await sleep(clock, 0.01)
    clock.off = DAY
    clock.leapt()
    await asyncio.sleep(0)
    assert not early.is_set()


async def test_demo_moves_the_wall_clock_alone(tmp_path: Path):
    clock, early = TimelapseClock(tmp_path / "ahead"), asyncio.Event()
    clock.call_steady(clock.steady() + HOUR, early.set)
    wall, steady = clock.now(), clock.steady()
    clock.forward(6 * HOUR)
    await asyncio.sleep(0)
    assert clock.now() - wall >= 6 * HOUR
    assert clock.steady() - steady < HOUR
    assert not early.is_set()


async def test_fake_clock_passes_time_on_both_and_sets_the_wall_alone():
    clock, rung = FakeClock(), list[str]()
    wall, steady = clock.now(), clock.steady()
    clock.call_at(wall + 10 * MINUTE, lambda: rung.append("wall"))
    clock.call_steady(steady + 5 * MINUTE, lambda: rung.append("steady"))
    assert clock.next_due() == wall + 5 * MINUTE

    clock.set(wall - HOUR)
    assert clock.steady() == steady
    assert clock.next_due() == wall - HOUR + 5 * MINUTE
    await clock.advance("5m")
    assert rung == ["steady"]
    clock.set(wall + 10 * MINUTE)
    assert rung == ["steady", "wall"]
    assert clock.steady() == steady + 5 * MINUTE
    with pytest.raises(ValueError, match="backwards"):
        clock.pass_to(wall)


@pytest.mark.parametrize("mended", [False, True])
async def test_results_are_kept_their_thirty_days_though_the_clock_leaps(tmp_path: Path, mended: bool):
    clock, store = FakeClock(), SqliteStore(tmp_path / "ledger.db")
    migrate(store, clock)
    (tmp_path / "artifacts").mkdir()
    async with Ledger(store, clock) as ledger:
        keeper = Housekeeping(ledger, clock, keep=retention.Keep(), artifacts_root=tmp_path / "artifacts")
        task = await ledger.write(lambda tx: submit(tx, Submission(kind="remind")))
        await ledger.write(
            lambda tx: tx.execute(
                "UPDATE tasks SET status = 'succeeded', ended_at = :now, result = '{\"text\":\"kept\"}'",
                now=tx.now,
            )
        )
        start = clock.now()
        clock.set(start + 400 * DAY)
        assert await keeper.round() == 0
        if mended:
            clock.set(start)
        for _ in range(29):
            clock.pass_to(clock.now() + DAY)
            assert await keeper.round() == 0
        assert await ledger.read(lambda tx: tx.value("SELECT COUNT(*) AS n FROM tasks")) == 1
        clock.pass_to(clock.now() + DAY + SECOND)
        assert await keeper.round() == 1, task


async def test_a_day_of_housekeeping_is_a_day_that_passes(tmp_path: Path):
    clock, store = FakeClock(), SqliteStore(tmp_path / "ledger.db")
    migrate(store, clock)
    (tmp_path / "artifacts").mkdir()
    rounds = list[int]()

    class Counted(Housekeeping):
        async def round(self) -> int:
            rounds.append(clock.steady())
            return await super().round()

    async with Ledger(store, clock) as ledger:
        keeper = Counted(ledger, clock, keep=retention.Keep(), artifacts_root=tmp_path / "artifacts")
        running = asyncio.create_task(keeper.run())
        await clock.settle()
        began = clock.steady()
        clock.set(clock.now() + 400 * DAY)
        await clock.settle()
        assert rounds == []
        await clock.advance("1h")
        await clock.settle()
        assert rounds == [began + HOUR]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
