"""`why` has an answer for every case."""

from typing import Any

import pytest
from tests.engine.test_scheduler import House, every, failing, scheduled

from tawny.config import Home
from tawny.engine import automations as orders
from tawny.engine.explanation import why
from tawny.testing import FakeClock


@pytest.fixture
async def house(home: Home, clock: FakeClock) -> Any:
    async with House(home, clock) as house:
        yield house


async def asked(house: House, at: str | None = None) -> str:
    return (await house.app.ledger.read(lambda tx: why(tx, "It", at)))["summary"]


async def test_a_run_names_its_task_and_its_end(house: House) -> None:
    await house.add(scheduled("0 9 * * *"))
    await house.pass_time("2h")
    assert "ran as task_" in await asked(house, "9")
    assert "which is succeeded" in await asked(house, "today 09:00")
    assert "has no time at" in await asked(house, "09:30")


async def test_what_was_missed_says_who_did_its_work(house: House) -> None:
    await house.add(scheduled("0 9 * * *"))
    await house.stop()
    await house.clock.advance("50h")
    await house.start()
    await house.settled()
    assert "was caught up" in await asked(house, "9am")
    said = await asked(house, "yesterday 9:00")
    assert "was missed" in said
    assert "done by the run of Wed 2026-03-04 09:00" in said


async def test_overlap_and_pause_are_reasons(house: House) -> None:
    action = {"type": "simulate", "parameters": {"steps": 1, "step_seconds": 5000}}
    await house.add(scheduled("0 * * * *", action=action, policy={"timeout": "1d"}))
    await house.pass_time("2h")
    assert "overlap is skip" in await asked(house, "10")
    await house.app.ledger.write(lambda tx: orders.stop(tx, "It"))
    assert "paused" in await asked(house, "2026-03-02T15:00:00Z")
    assert "It is paused" in await asked(house)


async def test_waiting_after_failures_and_being_disabled_are_reasons(house: House) -> None:
    await house.add(failing(policy={"disable_after": 3}))
    await house.pass_time("15s")
    answer = await house.app.ledger.read(lambda tx: why(tx, "It"))
    assert "It has failed 1 times in a row." in answer["facts"]
    await house.pass_time("10m")
    assert "It is disabled: disabled after 3 failures" in await asked(house)


async def test_a_stopped_gateway_is_a_reason(house: House) -> None:
    await house.add(every("1h"))
    app = house.app
    await house.stop()
    await house.clock.advance("2h")
    from tawny.ledger.database import read_now

    answer = read_now(app.ledger.store, house.clock, lambda tx: why(tx, "It"))
    assert "the gateway is not running" in answer["summary"]
    assert "gateway run" in answer["unblock"][0]
    await house.start()
