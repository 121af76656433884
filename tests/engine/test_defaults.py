"""What the engine does with nothing configured: three background tasks at once, and a place kept for a turn."""

import asyncio

import msgspec
import pytest
from tests.conftest import Engine, Watched

from tawny.app import open_app
from tawny.clock import DAY, MINUTE
from tawny.config import Config, Home, Ledger, Limits
from tawny.domain.tasks import Status, Submission
from tawny.engine.kinds import DEFAULT_TIMEOUT, Context, Kind
from tawny.ledger import retention
from tawny.ledger.submission import submit
from tawny.testing import FakeClock


class Nothing(msgspec.Struct, frozen=True):
    pass


class World(Watched):
    def __init__(self) -> None:
        super().__init__()
        self.running: list[str] = []
        self.most = 0
        self.held: dict[str, asyncio.Event] = {}


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def kinds(world: World) -> dict[str, Kind]:
    async def hold(ctx: Context, _: Nothing) -> None:
        world.running.append(ctx.task.title)
        world.most = max(world.most, len(world.running))
        world.changed.set()
        await world.held.setdefault(ctx.task.title, asyncio.Event()).wait()
        world.running.remove(ctx.task.title)
        world.changed.set()

    return {"hold": Kind(name="hold", params=Nothing, run=hold)}


async def test_three_background_tasks_at_once_and_a_turn_beside_them(
    home: Home, clock: FakeClock, kinds: dict[str, Kind], world: World
) -> None:
    quiet = Config(limits=Limits(busy_load=0))
    assert quiet.limits.concurrency == Config().limits.concurrency == 3
    async with open_app(home, quiet, clock=clock, kinds=kinds) as app:
        engine = Engine(app, clock)
        tasks = [await engine.submit("hold", title=f"t{n}") for n in range(5)]
        await world.until(lambda: len(world.running) == 3)
        await clock.settle()
        assert world.running == ["t0", "t1", "t2"], "in their order, and no more than three"

        turn = Submission(kind="hold", title="turn", detached=False)
        await app.ledger.write(lambda tx: submit(tx, turn))
        await world.until(lambda: "turn" in world.running)
        assert len(world.running) == 4

        world.held["t1"].set()
        await world.until(lambda: "t3" in world.running)
        await clock.settle()
        assert sorted(world.running) == ["t0", "t2", "t3", "turn"]
        for name in ("t0", "t2", "t3", "turn"):
            world.held[name].set()
        await world.until(lambda: world.running == ["t4"])
        world.held["t4"].set()
        for task in tasks:
            assert (await engine.done(task.task_id)).status is Status.SUCCEEDED


def test_how_long_things_last_unless_they_say_otherwise() -> None:
    assert DEFAULT_TIMEOUT == 10 * MINUTE
    assert Kind(name="x", params=Nothing, run=lambda *_: None).timeout == 10 * MINUTE  # pyright: ignore[reportArgumentType]
    keep = retention.keep_of(Config())
    assert (keep.details, keep.results) == (7 * DAY, 30 * DAY)
    other = retention.keep_of(Config(ledger=Ledger(retention="1d", result_retention="2d")))
    assert (other.details, other.results) == (1 * DAY, 2 * DAY)
