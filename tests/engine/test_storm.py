"""After three starts in a quarter of an hour that died, only what is interactive starts until the process is stable."""

from typing import Any

import pytest
from tests.engine.storm import three_crashes
from tests.engine.test_scheduler import CONFIG, REMIND, House, every, scheduled

from tawny.clock import MINUTE, SECOND, iso
from tawny.config import Config, Home
from tawny.domain.tasks import Priority, Status, Submission, Task
from tawny.engine import reasons
from tawny.engine.explanation import why
from tawny.ledger import automations, events, inbox, starts, tasks
from tawny.ledger.submission import submit
from tawny.testing import FakeClock, ScriptedModel

QUICK = {"steps": 1, "step_seconds": 0}
SAID = "the gateway has died 3 times within 15 minutes"


@pytest.fixture
async def house(home: Home, clock: FakeClock, config: Config) -> Any:
    model = ScriptedModel(["Here I am."])
    async with House(home, clock, CONFIG if config.ledger.url == "" else config, model=model) as house:
        yield house


async def storm(house: House) -> None:
    """The next start, after three that died."""
    await house.app.ledger.write(three_crashes)
    await house.stop()
    await house.start()
    assert house.app.stability.is_held


async def hand_in(house: House, **more: Any) -> Task:
    task = await house.app.ledger.write(
        lambda tx: submit(tx, Submission(kind="simulate", params=QUICK, title="It", **more))
    )
    await house.settled()
    return task


async def now(house: House, task: Task) -> Status:
    return (await house.app.ledger.read(lambda tx: tasks.get(tx, task.task_id))).status


async def types(house: House) -> list[str]:
    log = await house.app.ledger.read(lambda tx: events.after(tx, 0, limit=1000))
    return [event.type for event in log]


async def test_schedules_wait_until_the_process_has_lived_for_ten_seconds(house: House) -> None:
    automation = await house.add(every("4s"))
    await storm(house)
    await house.pass_time("9s")
    assert await house.slots(automation) == []
    await house.pass_time("1s")
    assert not house.app.stability.is_held
    assert [slot.status for slot in await house.slots(automation)][-1] in ("ran", "caught_up")
    said = await types(house)
    assert said.index("system.restart_storm") < said.index("system.storm_over") < said.index("automation.ran")


async def test_accepted_tasks_wait_and_all_of_them_go_on(house: House) -> None:
    await house.app.dispatcher.drain()  # what is accepted from now on is left to the next start
    left = [await hand_in(house) for _ in range(3)]
    await storm(house)
    fresh = await hand_in(house, priority=Priority.HIGH)
    await house.pass_time("9s")
    assert {await now(house, task) for task in (*left, fresh)} == {Status.QUEUED}
    await house.pass_time("1s")
    assert {await now(house, task) for task in (*left, fresh)} == {Status.SUCCEEDED}


async def test_a_chat_turn_and_work_somebody_waits_for_go_on(house: House) -> None:
    await storm(house)
    waiting = await hand_in(house)
    awaited = await hand_in(house, priority=Priority.INTERACTIVE)
    said = await house.app.agency.inbox.say("main", "Are you there?", event_id="1", wait=30)
    assert said.text == "Here I am."
    assert house.app.stability.is_held
    assert await now(house, awaited) is Status.SUCCEEDED
    assert await now(house, waiting) is Status.QUEUED


async def test_events_are_stored_and_handled_once_when_the_storm_is_over(house: House) -> None:
    automation = await house.add({"name": "It", "on": {"source": "door"}, "action": REMIND})
    await storm(house)
    for _ in range(3):
        await house.app.ledger.write(lambda tx: inbox.accept(tx, "door", "ring-1", {}))
    await house.settled()
    assert await house.slots(automation) == []
    minute = iso(house.clock.now() // MINUTE * MINUTE)
    answer = await house.app.ledger.read(lambda tx: why(tx, "It", minute))
    assert "it has not been handled yet" in answer["summary"]
    assert SAID in answer["summary"]
    await house.pass_time("10s")
    assert [slot.status for slot in await house.slots(automation)] == ["ran"]


async def test_watches_are_not_looked_at(house: House) -> None:
    probe = {"type": "remind", "parameters": {"text": "7"}}
    watch = {"probe": probe, "every": "2s", "condition": "value == 'never'"}
    automation = await house.add({"name": "It", "watch": watch, "action": REMIND})
    await storm(house)
    await house.pass_time("9s")
    assert (await house.get(automation)).state["previous"] is None, "it was looked at when it was made"
    await house.pass_time("3s")
    assert (await house.get(automation)).state["previous"] == 7


async def test_a_one_shot_that_fell_due_in_the_storm_runs_after_it(house: House) -> None:
    automation = await house.add(
        {
            "name": "It",
            "schedule": {"type": "after", "delay": "3s"},
            "action": REMIND,
            "policy": {"misfire": "skip"},
        }
    )
    await storm(house)
    await house.pass_time("9s")
    assert await house.slots(automation) == []
    assert (await house.get(automation)).status == "active"
    await house.pass_time("1s")
    assert [slot.status for slot in await house.slots(automation)] == ["ran"]
    assert (await house.get(automation)).status == "completed"


async def test_a_second_crash_in_the_storm_holds_again_and_nothing_is_lost(house: House) -> None:
    task = await hand_in(house, not_before=house.clock.now() + SECOND)
    await storm(house)
    await house.pass_time("5s")
    await house.app.ledger.write(
        lambda tx: tx.execute("INSERT INTO unclean_starts (started_at) VALUES (:at)", at=tx.now - SECOND)
    )
    await house.stop()
    await house.start()
    await house.pass_time("9s")
    assert await now(house, task) is Status.QUEUED
    await house.pass_time("1s")
    assert await now(house, task) is Status.SUCCEEDED


async def test_two_crashes_hold_nothing(house: House) -> None:
    await house.app.ledger.write(three_crashes)
    await house.app.ledger.write(
        lambda tx: tx.execute("DELETE FROM unclean_starts WHERE started_at = :at", at=tx.now - MINUTE)
    )
    await house.stop()
    await house.start()
    assert not house.app.stability.is_held


async def test_crashes_of_a_quarter_of_an_hour_ago_hold_nothing(house: House) -> None:
    await house.app.ledger.write(three_crashes)
    await house.stop()
    house.clock.pass_to(house.clock.now() + 16 * MINUTE)
    await house.start()
    assert not house.app.stability.is_held


async def test_starts_that_end_in_order_are_no_storm(house: House) -> None:
    for _ in range(5):
        await house.stop()
        house.clock.pass_to(house.clock.now() + SECOND)
        await house.start()
    assert not house.app.stability.is_held


async def test_why_says_what_is_held_and_until_when(house: House) -> None:
    automation = await house.add(scheduled("0 9 * * *"))
    soon = await house.add({**every("5s"), "name": "Soon"})
    await storm(house)
    task = await hand_in(house)
    until = iso(house.clock.now() + starts.STABLE)
    said = await house.app.ledger.read(lambda tx: reasons.why(tx, task.task_id))
    assert SAID in said["summary"]
    assert until in said["summary"]
    await house.pass_time("6s")
    answers = [
        (await house.app.ledger.read(lambda tx, name=name: why(tx, name)))["summary"]
        for name in (automation.automation_id, soon.automation_id)
    ]
    assert "runs next" in answers[0], "the storm is over by then"
    assert SAID in answers[1]
    await house.pass_time("4s")
    assert "succeeded" in (await house.app.ledger.read(lambda tx: reasons.why(tx, task.task_id)))["summary"]


async def test_who_starts_work_by_hand_is_told_that_it_waits(house: House) -> None:
    automation = await house.add(every("1h"))

    def told(task: Task) -> Any:
        return house.app.ledger.read(lambda tx: starts.notice(tx, task))

    assert await told(await hand_in(house, not_before=house.clock.now() + MINUTE)) == {}
    await storm(house)
    assert SAID in (await told(await hand_in(house)))["notice"]
    assert await told(await hand_in(house, priority=Priority.INTERACTIVE)) == {}
    await house.pass_time("10s")
    assert await told(await hand_in(house)) == {}
    assert (await house.app.ledger.read(lambda tx: automations.get(tx, automation.automation_id))).status == (
        "active"
    )
