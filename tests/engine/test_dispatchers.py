"""Both dispatchers pass the one suite; and what the roll of a team is trusted with."""

from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import psycopg
import pytest
from procrastinate import App, PsycopgConnector
from procrastinate.jobs import Job

import servers
from tawny.config import Config, Home, Ledger
from tawny.engine.dispatcher import LocalDispatcher
from tawny.engine.procrastinate import Names, ProcrastinateDispatcher, Roll
from tawny.errors import PermanentError
from tawny.ledger.roll import Facts
from tawny.testing.dispatcher_contract import DispatcherContract, Rig


class TestLocal(DispatcherContract):
    @pytest.fixture
    def rig(self, tmp_path: Path) -> Rig:
        return Rig(Home(tmp_path / "home"), Config())

    async def test_it_is_the_local_one(self, rig: Rig) -> None:
        async with rig.opened() as house:
            assert isinstance(house.dispatcher, LocalDispatcher)


@pytest.fixture
def database(postgres: str) -> Iterator[str]:
    with servers.database(postgres) as url:
        yield url


class TestProcrastinate(DispatcherContract):
    @pytest.fixture
    def rig(self, tmp_path: Path, database: str) -> Rig:
        return Rig(Home(tmp_path / "home"), Config(ledger=Ledger(url=database)))

    async def test_it_is_the_one_for_teams(self, rig: Rig) -> None:
        async with rig.opened() as house:
            assert isinstance(house.dispatcher, ProcrastinateDispatcher)


# --- the roll


@pytest.fixture
async def rolls(database: str) -> AsyncGenerator[list[Roll]]:
    made = [Roll(database, node=node) for node in ("one", "two")]
    await made[0].open(make=True)
    await made[1].open(make=False)
    yield made
    for roll in made:
        await roll.close()


def silence(database: str, worker: str, *, seconds: int) -> None:
    """Let the last word of a worker be some time ago."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            "UPDATE procrastinate_workers SET last_heartbeat = now() - make_interval(secs => %s) WHERE id ="
            " (SELECT worker_id FROM procrastinate_jobs WHERE args->>'worker' = %s AND status = 'doing')",
            (seconds, worker),
        )


async def test_who_is_signed_in_lives_until_signed_out(rolls: list[Roll]) -> None:
    await rolls[0].sign_in(Facts(worker="one.a"))
    await rolls[1].sign_in(Facts(worker="two.a"))
    assert await rolls[0].living() == {"one.a", "two.a"}
    assert await rolls[1].beat()
    await rolls[1].sign_out()

    assert await rolls[0].living() == {"one.a"}


async def test_who_is_silent_is_not_among_the_living_and_one_beat_brings_him_back(rolls, database) -> None:
    await rolls[0].sign_in(Facts(worker="one.a"))
    await rolls[1].sign_in(Facts(worker="two.a"))
    silence(database, "two.a", seconds=11)
    assert await rolls[0].living() == {"one.a"}
    assert await rolls[1].beat()

    assert await rolls[0].living() == {"one.a", "two.a"}


async def test_who_was_tidied_away_learns_of_it_with_the_next_beat(rolls, database) -> None:
    await rolls[0].sign_in(Facts(worker="one.a"))
    await rolls[1].sign_in(Facts(worker="two.a"))
    silence(database, "two.a", seconds=11)
    await rolls[0].tidy()
    await rolls[0].tidy()

    assert not await rolls[1].beat()
    await rolls[1].sign_in(Facts(worker="two.b"))
    assert await rolls[1].beat()
    assert await rolls[0].living() == {"one.a", "two.b"}


async def test_a_home_that_starts_again_ends_its_last_life_alone(rolls, database) -> None:
    await rolls[0].sign_in(Facts(worker="one.a"))
    await rolls[1].sign_in(Facts(worker="two.a"))
    again = Roll(database, node="two")
    await again.open(make=False)
    await again.sign_in(Facts(worker="two.b"))

    assert await again.living() == {"one.a", "two.b"}
    await again.close()


async def test_a_worker_makes_no_tables(database: str) -> None:
    roll = Roll(database, node="one")
    with pytest.raises(PermanentError, match="no gateway"):
        await roll.open(make=False)
    await roll.close()


def test_names_are_new_with_every_start_and_every_life() -> None:
    names = Names("home", "boot")

    assert [names.next(), names.next(), Names("home", "later").next()] == [
        "home.boot",
        "home.boot.2",
        "home.later",
    ]


async def test_the_reason_why_lanes_are_not_procrastinates_locks(rolls: list[Roll], database: str) -> None:
    """A job of higher priority overtakes within its lock. When this fails, decision 0004 can be thought over."""
    async with App(connector=PsycopgConnector(conninfo=database)).open_async() as app:
        manager = app.job_manager
        for name, priority in (("first", 0), ("second", 10)):
            job = Job(queue="q", lock="lane", queueing_lock=None, task_name=name, priority=priority)
            await manager.defer_job_async(job)
        fetched = await manager.fetch_job(["q"], await manager.register_worker())

    assert fetched is not None
    assert fetched.task_name == "second"


async def test_the_reason_why_cancels_are_not_procrastinates(rolls: list[Roll], database: str) -> None:
    """It says yes while the job runs on: nobody confirms the end. When this fails, see decision 0004."""
    async with App(connector=PsycopgConnector(conninfo=database)).open_async() as app:
        manager = app.job_manager
        job = Job(queue="q", lock=None, queueing_lock=None, task_name="long")
        job_id = (await manager.defer_job_async(job)).id
        assert job_id is not None
        await manager.fetch_job(["q"], await manager.register_worker())
        assert await manager.cancel_job_by_id_async(job_id, abort=True)
        assert (await manager.get_job_status_async(job_id)).value == "doing"
