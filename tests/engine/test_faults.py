"""Full disks, changed clocks, second gateways: refused clearly, what runs is kept, all recovers by itself."""

import asyncio

import msgspec
import pytest
from tests.conftest import Engine

from tawny.app import open_app
from tawny.clock import HOUR
from tawny.config import Home
from tawny.domain.tasks import Status, Submission
from tawny.engine.kinds import Context, Kind
from tawny.errors import Conflict, StorageError
from tawny.ledger.submission import submit


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

    return {"holding": Kind(name="holding", params=Nothing, run=holding, timeout=None)}


async def fill(engine: Engine) -> None:
    for _ in range(200):
        await engine.ledger.write(
            lambda tx: submit(tx, Submission(kind="remind", params={"text": "x" * 4000}))
        )


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

    async with asyncio.timeout(10):
        while True:
            try:
                await engine.ledger.write(lambda tx: tx.value("PRAGMA max_page_count = 1000000"))
            except StorageError:
                continue
            break
    await engine.clock.advance("2s")
    ended = await engine.done(running.task_id)
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
