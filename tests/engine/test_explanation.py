"""`why` has an answer for every case."""

from typing import Any

import pytest
from tests.engine.storm import three_crashes
from tests.engine.test_scheduler import REMIND, House, every, failing, scheduled

from tawny.config import Home
from tawny.engine import automations as orders
from tawny.engine.explanation import why
from tawny.ledger import inbox, occurrences
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


async def test_active_hours_misfire_and_the_window_are_reasons(house: House) -> None:
    hours = {"start": "08:00", "end": "22:00", "timezone": "UTC"}
    await house.add(scheduled("30 23 * * *", policy={"active_hours": hours}))
    await house.pass_time("1d")
    assert "outside its active hours" in await asked(house, "yesterday 23:30")


@pytest.mark.parametrize(
    ("policy", "word"),
    [({"misfire": "skip"}, "misfire is skip"), ({"misfire_window": "1h"}, "longer ago than misfire_window")],
)
async def test_why_what_was_missed_was_not_caught_up(house: House, policy: dict[str, Any], word: str) -> None:
    await house.add(scheduled("0 9 * * *", policy=policy))
    await house.stop()
    await house.clock.advance("6h")
    await house.start()
    await house.settled()
    said = await asked(house, "9")
    assert "was missed" in said
    assert word in said


async def test_a_stagger_and_a_wait_after_failures_say_until_when(house: House) -> None:
    document = scheduled("0 9 * * *")
    document["schedule"]["stagger"] = "59m"
    automation = await house.add(document)
    due = (await house.get(automation)).due_at
    assert due is not None
    await house.pass_time("1h")
    if due > house.clock.now():
        assert "by its stagger" in await asked(house, "9")
    await house.pass_time("1h")
    assert "ran as task_" in await asked(house, "9")


async def test_an_event_that_did_not_come_a_watch_and_a_silence_have_their_answers(house: House) -> None:
    await house.add({"name": "It", "on": {"source": "door", "filter": "open"}, "action": REMIND})
    answer = await house.app.ledger.read(lambda tx: why(tx, "It", "2026-03-02T08:30:00Z"))
    assert "No event from 'door' that it wants came" in answer["summary"]
    assert answer["facts"] == ["Its filter is 'open'."]
    assert "waits for an event" in await asked(house)
    await house.add({"name": "Backup", "expect": {"every": "1h"}})
    said = await house.app.ledger.read(lambda tx: why(tx, "Backup", "2026-03-02T08:30:00Z"))
    assert said["facts"] == ["No ping has come yet."]
    watch = {"probe": {"type": "file", "path": "x"}, "every": "1h", "condition": "exists"}
    await house.add({"name": "File", "watch": watch, "action": REMIND})
    await house.settled()
    said = await house.app.ledger.read(lambda tx: why(tx, "File", "2026-03-02T08:30:00Z"))
    assert "'exists' did not fire" in said["summary"]


async def said_at(house: House, at: str = "2026-03-02T08:30:00Z") -> str:
    return (await house.app.ledger.read(lambda tx: why(tx, "It", at)))["summary"]


@pytest.mark.parametrize(
    ("on", "event", "word"),
    [
        ({"source": "door", "filter": "open"}, {"open": False}, "its filter did not want it"),
        ({"source": "door", "filter": "size > 10"}, {"size": "big"}, "its filter fails: "),
        ({"source": "door", "account": "front"}, {"account": "back"}, "it is not from where it listens"),
    ],
)
async def test_an_event_that_came_and_was_not_wanted_is_named(
    house: House, on: dict[str, Any], event: dict[str, Any], word: str
) -> None:
    await house.add({"name": "It", "on": on, "action": REMIND})
    await house.pass_time("30m")
    await house.app.ledger.write(lambda tx: inbox.accept(tx, "door", "1", event))
    await house.settled()
    assert "An event from 'door' came at" in await said_at(house)
    assert word in await said_at(house)
    assert "No event from 'door'" in await said_at(house, "2026-03-02T08:29:00Z")


async def test_a_pause_is_the_reason_for_an_event_that_started_nothing(house: House) -> None:
    await house.add({"name": "It", "on": {"source": "door"}, "action": REMIND})
    await house.app.ledger.write(lambda tx: orders.stop(tx, "It"))
    await house.pass_time("30m")
    await house.app.ledger.write(lambda tx: inbox.accept(tx, "door", "1", {}))
    await house.pass_time("30m")
    answer = await house.app.ledger.read(lambda tx: why(tx, "It", "2026-03-02T08:30:00Z"))
    assert answer["summary"].startswith("It is paused (paused by owner): nothing runs at")
    assert answer["unblock"] == ["'tawny automations enable It'"]


async def test_a_watch_that_slept_or_could_not_look_says_so(house: House) -> None:
    hours = {"start": "09:00", "end": "20:00", "timezone": "UTC"}
    # a folder is there, and no file
    (house.app.home.workspace / "x").mkdir()
    watch = {"probe": {"type": "file", "path": "x"}, "every": "10m", "condition": "exists"}
    await house.add({"name": "It", "watch": watch, "action": REMIND, "policy": {"active_hours": hours}})
    await house.pass_time("2h")
    assert "outside its active hours (09:00-20:00@UTC)" in await said_at(house)
    assert "It could not be looked at: x: " in await said_at(house, "2026-03-02T09:30:00Z")
    (house.app.home.workspace / "x").rmdir()
    await house.pass_time("10m")
    assert "did not fire" in await said_at(house, "2026-03-02T09:30:00Z")


async def test_a_one_shot_that_waits_for_its_hours_says_so(house: House) -> None:
    policy = {"active_hours": {"start": "09:00", "end": "20:00", "timezone": "UTC"}}
    await house.add(
        {"name": "It", "schedule": {"type": "after", "delay": "30m"}, "action": REMIND, "policy": policy}
    )
    await house.pass_time("40m")
    assert "waits until Mon 2026-03-02 09:00:00 UTC, for its active hours" in await asked(house, "8:30")


async def test_the_version_that_was_in_force_answers(house: House) -> None:
    automation = await house.add(scheduled("0 9 * * *"))
    await house.pass_time("3h")
    patch = {"schedule": {"type": "cron", "expression": "0 10 * * *", "timezone": "UTC"}}
    await house.app.ledger.write(
        lambda tx: orders.edit(tx, automation.automation_id, patch, kinds=house.app.kinds, timezone="UTC")
    )
    answer = await house.app.ledger.read(lambda tx: why(tx, "It", "10:00"))
    assert "has no time at" in answer["summary"]
    assert "Version 1 of it was in force then." in answer["facts"]
    assert "ran as task_" in await asked(house, "9")


async def test_crashes_in_a_row_are_a_reason_to_wait(house: House) -> None:
    await house.add(every("1h"))
    await house.stop()
    await house.clock.advance("2h")
    app = house.app
    from tawny.ledger.database import read_now, write_now

    write_now(app.ledger.store, house.clock, three_crashes)
    answer = read_now(app.ledger.store, house.clock, lambda tx: why(tx, "It"))
    assert "the gateway is not running" in answer["summary"]
    assert "It has died 3 times of late; 'tawny logs' says of what." in answer["facts"]
    await house.start()


async def test_old_times_are_no_longer_known(house: House) -> None:
    automation = await house.add(scheduled("0 9 * * *"))
    await house.stop()
    await house.clock.advance("40d")
    await house.start()
    await house.settled()
    await house.app.ledger.write(lambda tx: occurrences.prune(tx, automation.automation_id))
    assert "no longer kept" in await asked(house, "2026-03-04T09:00:00Z")
    assert "did not exist" in await asked(house, "2026-01-01T09:00:00Z")
