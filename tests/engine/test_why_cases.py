"""`tawny automations why NAME AT`: one case after the other of why it did, or did not, run at a time."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.engine.test_scheduler import REMIND, House, every, failing, scheduled

from tawny.config import Home
from tawny.engine import automations as orders
from tawny.engine import settlement
from tawny.engine.explanation import why
from tawny.errors import InvalidInput, NotFound
from tawny.ledger import inbox
from tawny.testing import FakeClock

Case = Callable[[House], Awaitable[Any]]
LONG = {"type": "simulate", "parameters": {"steps": 1, "step_seconds": 50_000}}
CASES: dict[str, tuple[Case, str, tuple[str, ...]]] = {}
"""What was done, the time asked about, and what the answer has to say. It begins on Monday 2 March 2026, 08:00 UTC."""


def case(at: str, *words: str) -> Callable[[Case], Case]:
    def noted(function: Case) -> Case:
        CASES[function.__name__.replace("_", " ")] = (function, at, words)
        return function

    return noted


def hourly(policy: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return scheduled("0 * * * *", policy={"timeout": "2d", **(policy or {})}, **more)


@case("9", "ran as task_", "which is succeeded")
async def it_ran(house: House) -> None:
    await house.add(hourly())
    await house.pass_time("2h")


@case("9", "ran as task_", "which is running")
async def it_runs_still(house: House) -> None:
    await house.add(hourly(action=LONG))
    await house.pass_time("61m")


@case("9", "ran as task_", "which is failed: ")
async def it_ran_and_failed(house: House) -> None:
    action = {"type": "simulate", "parameters": {"steps": 1, "step_seconds": 0, "fail_at": 1}}
    await house.add(hourly({"retry": {"max": 0}}, action=action))
    await house.pass_time("61m")


@case("9", "which is succeeded, verdict failed")
async def it_ran_and_did_not_do_what_was_asked(house: House) -> None:
    await house.add(hourly(success={"min_length": 1000}))
    await house.pass_time("61m")


@case("10", "which is queued.", "It is ready and waits for a free place")
async def it_waits_behind_the_run_before(house: House) -> None:
    await house.add(hourly({"overlap": "queue"}, action=LONG))
    await house.pass_time("121m")


@case("9", "which is cancelled: cancelled on request")
async def it_was_replaced_by_the_next(house: House) -> None:
    await house.add(hourly({"overlap": "replace"}, action=LONG))
    await house.pass_time("121m")


@case("10", "was skipped: the run before (task_", "overlap is skip")
async def the_run_before_had_not_ended(house: House) -> None:
    await house.add(hourly(action=LONG))
    await house.pass_time("121m")


@case("10", "which is running")
async def it_runs_beside_the_one_before(house: House) -> None:
    await house.add(hourly({"overlap": "parallel"}, action=LONG))
    await house.pass_time("121m")


@case("9", "was skipped: outside its active hours (10:00-12:00@UTC)")
async def it_was_outside_its_hours(house: House) -> None:
    await house.add(hourly({"active_hours": {"start": "10:00", "end": "12:00", "timezone": "UTC"}}))
    await house.pass_time("2h")


@case("9", "was missed: ", "Its work was done by the run of Mon 2026-03-02 11:00")
async def nothing_was_there_and_a_later_run_stands_for_it(house: House) -> None:
    await house.add(hourly())
    await _away(house)


@case("9", "was caught up", "as task_")
async def nothing_was_there_and_it_was_caught_up(house: House) -> None:
    await house.add(hourly({"misfire": "run_all", "overlap": "parallel"}))
    await _away(house)


@case("9", "was missed: ", "misfire is skip")
async def nothing_was_there_and_it_is_not_caught_up(house: House) -> None:
    await house.add(hourly({"misfire": "skip"}))
    await _away(house)


@case("9", "was missed: ", "longer ago than misfire_window")
async def nothing_was_there_for_too_long(house: House) -> None:
    await house.add(hourly({"misfire_window": "30m"}))
    await _away(house)


async def _away(house: House) -> None:
    await house.stop()
    await house.clock.advance("210m")
    await house.start()


@case("9", "It is paused", "nothing runs at")
async def somebody_has_paused_it(house: House) -> None:
    await house.add(hourly())
    await house.app.ledger.write(lambda tx: orders.stop(tx, "It"))
    await house.pass_time("2h")


@case("2026-03-02T16:00:00Z", "It is disabled (disabled after 3 failures in a row", "nothing runs at")
async def it_was_disabled_by_its_failures(house: House) -> None:
    await house.add(failing(policy={"disable_after": 3}))
    await house.pass_time("10m")


@case("8:05", "waits until Mon 2026-03-02 08:08:00 UTC, after 3 failures in a row")
async def it_waits_after_failures(house: House) -> None:
    await house.add({**failing(), **scheduled("* * * * *", action=failing()["action"])})
    await house.pass_time("6m")


@case("9:30", "Its schedule has no time at")
async def it_has_no_such_time(house: House) -> None:
    await house.add(hourly())
    await house.pass_time("2h")


@case("2026-03-02T07:00:00Z", "It did not exist at")
async def it_did_not_exist(house: House) -> None:
    await house.add(hourly())


@case("2026-03-03T09:00:00Z", "It is to run then: Tue 2026-03-03 09:00:00 UTC")
async def it_is_to_come(house: House) -> None:
    await house.add(hourly())


@case("10", "Its schedule has no time at")
async def its_schedule_had_ended(house: House) -> None:
    document = hourly()
    document["schedule"]["until"] = "2026-03-02T09:30:00Z"
    await house.add(document)
    await house.pass_time("3h")


@case("9", "Its schedule has no time at", "Version 1")
async def it_was_edited_since(house: House) -> None:
    await house.add(scheduled("0 11 * * *"))
    await house.pass_time("2h")
    patch = {"schedule": {"type": "cron", "expression": "0 9 * * *", "timezone": "UTC"}}
    await house.app.ledger.write(
        lambda tx: orders.edit(tx, "It", patch, kinds=house.app.kinds, timezone="UTC")
    )


@case("2026-03-29T02:30:00", "The run of Sun 2026-03-29 03:00:00 CEST ran as task_")
async def the_clocks_went_ahead_over_it(house: House) -> None:
    schedule = {"type": "cron", "expression": "30 2 * * *", "timezone": "Europe/Berlin"}
    await house.clock.advance("26d")
    await house.add({"name": "It", "schedule": schedule, "action": REMIND})
    await house.pass_time("1d")


@case("9", "It does not run at", "asked to be next at Mon 2026-03-02 12:15:00 UTC (next_check)")
async def the_run_before_has_chosen_a_later_time(house: House) -> None:
    automation = await house.add(
        scheduled("15 * * * *", policy={"pacing": {"min": "1h", "max": "1d"}})
        | {"schedule": {"type": "cron", "expression": "0,15 * * * *", "timezone": "UTC"}}
    )
    await house.pass_time("16m")
    (slot,) = await house.slots(automation)
    assert slot.task_id is not None
    due = house.clock.now() // 60_000_000 * 60_000_000 + (3 * 60 + 59) * 60_000_000
    await house.app.ledger.write(lambda tx: settlement.next_check(tx, str(slot.task_id), due))
    await house.pass_time("2h")


@case("8:30", "ran (by hand (owner)) as task_")
async def somebody_ran_it_by_hand(house: House) -> None:
    await house.add(hourly())
    await house.pass_time("30m")
    await house.app.ledger.write(lambda tx: orders.run_now(tx, "It"))
    await house.settled()


@case("8:30", "ran (event 1 from door) as task_")
async def an_event_came(house: House) -> None:
    await house.add({"name": "It", "on": {"source": "door"}, "action": REMIND})
    await _ring(house)


@case("8:30", "No event from 'door' that it wants came at")
async def no_event_came(house: House) -> None:
    await house.add({"name": "It", "on": {"source": "door"}, "action": REMIND})
    await house.pass_time("1h")


@case("8:30", "An event from 'door' came at", "its filter did not want it")
async def its_filter_did_not_want_the_event(house: House) -> None:
    await house.add({"name": "It", "on": {"source": "door", "filter": "open"}, "action": REMIND})
    await _ring(house, open=False)


@case("8:30", "its filter fails: ")
async def its_filter_failed(house: House) -> None:
    await house.add({"name": "It", "on": {"source": "door", "filter": "size > 3"}, "action": REMIND})
    await _ring(house, size="big")


@case("8:30", "was skipped: the event is 2h old; policy.max_age is 1h")
async def the_event_was_too_old(house: House) -> None:
    await house.add({"name": "It", "on": {"source": "door"}, "action": REMIND, "policy": {"max_age": "1h"}})
    await _ring(house, hours_old=2)


@case("8:30", "its action could not be started: ")
async def its_action_could_not_be_filled_in(house: House) -> None:
    action = {"type": "remind", "parameters": {"text": "{{ 1 / n }}"}}
    await house.add({"name": "It", "on": {"source": "door"}, "action": action})
    await _ring(house, n=0)


async def _ring(house: House, *, hours_old: int = 0, **data: Any) -> None:
    await house.pass_time("30m")
    time = house.clock.now() - hours_old * 3_600_000_000
    await house.app.ledger.write(lambda tx: inbox.accept(tx, "door", "1", data, time=time))
    await house.pass_time("5m")


@case("9", "Its condition 'exists' did not fire at")
async def a_watch_saw_nothing(house: House) -> None:
    await house.add({"name": "It", "watch": _file(), "action": REMIND})
    await house.pass_time("2h")


@case("9", "It could not be looked at: x: ")
async def a_watch_could_not_look(house: House) -> None:
    (house.app.home.workspace / "x").mkdir()
    await house.add({"name": "It", "watch": _file(), "action": REMIND})
    await house.pass_time("2h")


@case("9", "ran (exists ", "as task_")
async def a_watch_fired(house: House) -> None:
    await house.add({"name": "It", "watch": _file(), "action": REMIND})
    await house.pass_time("50m")
    (house.app.home.workspace / "x").write_text("here")
    await house.pass_time("20m")


def _file() -> dict[str, Any]:
    return {"probe": {"type": "file", "path": "x"}, "every": "10m", "condition": "exists"}


@case("9", "It was not silent at", "The last ping came Mon 2026-03-02 08:30:00 UTC.")
async def a_sign_of_life_had_come(house: House) -> None:
    automation = await house.add({"name": "It", "expect": {"every": "1h"}})
    await house.pass_time("30m")
    await house.app.ledger.write(lambda tx: orders.ping(tx, automation.automation_id))
    await house.pass_time("45m")


@pytest.mark.parametrize("name", CASES)
async def test_why_answers(home: Home, clock: FakeClock, name: str) -> None:
    act, at, words = CASES[name]
    async with House(home, clock) as house:
        await act(house)
        await house.settled()
        answer = await house.app.ledger.read(lambda tx: why(tx, "It", at))
    said = " ".join([answer["summary"], *answer["facts"]])
    for word in words:
        assert word in said, said


async def test_why_of_what_is_not_there_or_at_no_time_is_refused(home: Home, clock: FakeClock) -> None:
    async with House(home, clock) as house:
        await house.add(every("1h"))
        with pytest.raises(NotFound, match="no automation"):
            await house.app.ledger.read(lambda tx: why(tx, "Nobody"))
        with pytest.raises(InvalidInput) as refused:
            await house.app.ledger.read(lambda tx: why(tx, "It", "25:00"))
        assert "write it like" in refused.value.hint
