"""Full disks, changed clocks, second gateways: refused clearly, what runs is kept, all recovers by itself."""

import asyncio
import resource

import msgspec
import pytest
from tests.conftest import Engine
from tests.damage import spoil

from tawny.app import open_app
from tawny.clock import HOUR
from tawny.config import Home
from tawny.domain.tasks import Delivery, Status, Submission, Usage
from tawny.engine.kinds import Context, Kind
from tawny.errors import Conflict, StorageError
from tawny.ledger import tasks
from tawny.ledger.submission import submit

REFUSALS: list[str] = []
"""What the disk refuses next, once each."""
QUIET = Delivery(channels=("inbox",))


class Nothing(msgspec.Struct, frozen=True):
    pass


@pytest.fixture
def gate() -> asyncio.Event:
    return asyncio.Event()


@pytest.fixture
def kinds(gate: asyncio.Event) -> dict[str, Kind]:
    async def holding(ctx: Context, params: Nothing) -> str:
        async def wait() -> str:
            await gate.wait()
            return "through"

        return str(await ctx.step("gate", wait))

    async def keeping(ctx: Context, params: Nothing) -> str:
        await gate.wait()
        await ctx.artifact("big.bin", bytes(9 * 1024 * 1024))
        return "kept"

    async def telling(ctx: Context, params: Nothing) -> str:
        await gate.wait()
        for _ in range(20):  # more than the room left in any page
            ctx.log("told" + "x" * 30_000)
        ctx.spend(Usage(model_calls=1))
        await ctx.progress(1, 4)

        async def nothing() -> None:
            return None

        await ctx.step("only", nothing)
        return "told"

    async def having(ctx: Context, params: Nothing) -> str:
        REFUSALS.append("the children")
        two = [Submission(kind="remind", params={"text": word}, delivery=QUIET) for word in ("one", "two")]
        return ", ".join(str((kid.result or {}).get("text")) for kid in await ctx.children("kids", two))

    return {
        "having": Kind(name="having", params=Nothing, run=having, timeout=None),
        "holding": Kind(name="holding", params=Nothing, run=holding, timeout=None),
        "keeping": Kind(name="keeping", params=Nothing, run=keeping, timeout=None),
        "telling": Kind(name="telling", params=Nothing, run=telling, timeout=None),
    }


async def fill(engine: Engine) -> None:
    """Submit until not even the smallest finds room, and let that refusal out."""
    refusal: StorageError | None = None
    for size in (4000, 400, 1):
        try:
            for _ in range(200):
                wanted = Submission(kind="remind", params={"text": "x" * size})
                await engine.ledger.write(lambda tx, wanted=wanted: submit(tx, wanted))
        except StorageError as error:
            refusal = error
    assert refusal is not None
    raise refusal


async def test_a_full_disk_refuses_new_work_keeps_what_runs_and_recovers_by_itself(engine, config, gate):
    if config.ledger.url:
        pytest.skip("SQLite's own page limit stands in for a full disk")
    running = await engine.submit("holding")
    await engine.until(running.task_id, Status.RUNNING)
    pages = await engine.ledger.write(lambda tx: tx.value("PRAGMA page_count"))
    await engine.ledger.write(lambda tx: tx.value(f"PRAGMA max_page_count = {pages + 1}"))

    with pytest.raises(StorageError, match="full") as caught:
        await fill(engine)
    assert "free some disk space" in caught.value.hint
    gate.set()
    await engine.clock.settle()
    assert (await engine.task(running.task_id)).status is Status.RUNNING

    await room(engine)
    ended = await engine.play(running.task_id)
    assert ended.status is Status.SUCCEEDED


async def test_a_clock_that_jumps_back_fires_nothing_twice_and_ahead_fires_all_once(engine):
    later = await engine.submit("remind", params={"text": "x"}, not_before="2h")
    engine.clock.set(engine.clock.now() - 6 * HOUR)
    await engine.clock.settle()
    assert (await engine.task(later.task_id)).status is Status.QUEUED

    engine.clock.set(engine.clock.now() + 14 * HOUR)
    ended = await engine.done(later.task_id)
    assert (ended.status, ended.attempt) == (Status.SUCCEEDED, 1)


async def test_a_second_gateway_on_the_same_record_refuses_at_once(home, config, tmp_path):
    async with open_app(home, config):
        other = home if not config.ledger.url else Home(tmp_path / "another")
        with pytest.raises(Conflict, match=r"in use|another gateway"):
            async with open_app(other, config):
                pass


async def test_what_a_refused_commit_held_is_written_when_the_disk_is_back(engine, config, gate):
    """Log lines, progress and usage of a run are kept over a full disk, and counted once."""
    if config.ledger.url:
        pytest.skip("SQLite's own page limit stands in for a full disk")
    task = await engine.submit("telling")
    await engine.until(task.task_id, Status.RUNNING)
    pages = await engine.ledger.write(lambda tx: tx.value("PRAGMA page_count"))
    await engine.ledger.write(lambda tx: tx.value(f"PRAGMA max_page_count = {pages + 1}"))
    with pytest.raises(StorageError, match="full"):
        await fill(engine)

    limit = await engine.ledger.write(lambda tx: tx.value("PRAGMA max_page_count"))
    assert limit == pages + 1
    gate.set()
    await engine.clock.settle()
    assert await engine.ledger.read(lambda tx: tasks.logs(tx, task.task_id)) == []

    await room(engine)
    ended = await engine.play(task.task_id)
    assert (ended.status, ended.usage.model_calls, ended.progress.percentage) == (Status.SUCCEEDED, 1, 100)
    lines = await engine.ledger.read(lambda tx: tasks.logs(tx, task.task_id))
    assert [line["message"].strip("x") for line in lines] == ["told"] * 20


async def test_children_whose_commit_was_refused_are_not_waited_for(engine):
    def probe(where: str) -> None:
        if where == "before" and REFUSALS:
            raise StorageError(f"{REFUSALS.pop()}: no")

    REFUSALS.clear()
    engine.ledger._probe = probe
    ended = await engine.play((await engine.submit("having")).task_id)

    assert (ended.status, ended.result) == (Status.SUCCEEDED, {"text": "one, two"})
    assert len(await engine.ledger.read(lambda tx: tasks.children(tx, ended.task_id))) == 2


async def room(engine: Engine) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                await engine.ledger.write(lambda tx: tx.value("PRAGMA max_page_count = 1000000"))
            except StorageError:
                continue
            return


async def test_a_writer_that_cannot_open_the_database_refuses_and_goes_on_when_it_can(ledger, home, config):
    if config.ledger.url:
        pytest.skip("a file that cannot be opened is SQLite's")
    aside = home.root / "aside"
    home.database.rename(aside)
    home.database.mkdir()
    with pytest.raises(StorageError, match="unable to open"):
        await asyncio.wait_for(ledger.write(lambda tx: tx.value("SELECT 1 AS one")), 10)

    home.database.rmdir()
    aside.rename(home.database)
    assert await asyncio.wait_for(ledger.write(lambda tx: tx.value("SELECT 1 AS one")), 10) == 1


async def test_damage_found_while_running_stops_the_engine_with_a_clear_word(open_engine, home, config):
    """It must neither hang, nor go on as if nothing were there, nor call the damage a passing trouble."""
    if config.ledger.url:
        pytest.skip("damage to SQLite's file")
    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012 - the damage happens while it is open
        async with open_engine() as engine:
            for _ in range(20):
                await engine.submit("remind", params={"text": "x" * 3000}, not_before="1h")
            spoil(home.database)
            with pytest.raises(StorageError, match="is damaged") as refused:
                await engine.submit("remind", params={"text": "x"})
            assert "backup restore" in refused.value.hint
            await asyncio.Event().wait()
    assert caught.value.split(StorageError)[0] is not None


async def test_a_file_that_finds_no_room_waits_for_some(engine, home, gate):
    """The process's own limit on a file's size stands in for a full disk."""
    task = await engine.submit("keeping")
    await engine.until(task.task_id, Status.RUNNING)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8 * 1024 * 1024, hard))
    try:
        gate.set()
        folder = home.artifacts / task.task_id
        async with asyncio.timeout(20):
            while engine.clock.next_due() is None or not folder.exists():
                await engine.clock.settle()
        await engine.clock.advance("2s")
        assert (await engine.task(task.task_id)).status is Status.RUNNING
        assert not (folder / "big.bin").exists()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    ended = await engine.play(task.task_id)
    assert (ended.status, ended.attempt) == (Status.SUCCEEDED, 1)
    assert (folder / "big.bin").stat().st_size == 9 * 1024 * 1024


async def test_damage_that_postgresql_tells_of_ends_the_engine_too(open_engine, config):
    if not config.ledger.url:
        pytest.skip("PostgreSQL's own word for damage")
    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012 - the damage is found while it is open
        async with open_engine() as engine:
            with pytest.raises(StorageError, match="is damaged"):
                await engine.ledger.write(
                    lambda tx: tx.execute(
                        "DO $$ BEGIN RAISE EXCEPTION 'page 7' USING ERRCODE = 'XX001'; END $$"
                    )
                )
            await asyncio.Event().wait()
    assert caught.value.split(StorageError)[1] is None
