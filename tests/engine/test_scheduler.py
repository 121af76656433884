"""Automations by time: every slot has its row, runs once, and what was missed is said."""

import asyncio
import contextlib
from collections import Counter
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from tawny.app import App, open_app
from tawny.clock import DAY, HOUR, MINUTE, SECOND, Instant, iso, parse_duration
from tawny.config import Config, Home, Limits
from tawny.domain import automations as rules
from tawny.domain.occurrences import Occurrence
from tawny.domain.tasks import Status
from tawny.engine import automations as orders
from tawny.engine import scheduler, settlement
from tawny.engine.kinds import Context, Kind
from tawny.engine.stability import Stability
from tawny.errors import Conflict, InvalidInput
from tawny.ledger import automations, events, occurrences, outbox, revisions, standing, tasks
from tawny.ledger.automations import Automation
from tawny.ledger.database import Tx, write_now
from tawny.testing import FakeClock

CONFIG = Config(limits=Limits(concurrency=8, max_running_per_owner=8, busy_load=0))
REMIND = {"type": "remind", "parameters": {"text": "Good morning"}}


def scheduled(expression: str, **more: Any) -> dict[str, Any]:
    schedule = {"type": "cron", "expression": expression, "timezone": "UTC"}
    return {"name": "It", "type": "scheduled", "schedule": schedule, "action": REMIND, **more}


def every(interval: str, **more: Any) -> dict[str, Any]:
    return {"name": "It", "schedule": {"type": "every", "interval": interval}, "action": REMIND, **more}


def failing(**more: Any) -> dict[str, Any]:
    action = {"type": "simulate", "parameters": {"steps": 1, "step_seconds": 0, "fail_at": 1}}
    return every("10s", action=action, **more)


class House:
    """An app that can be stopped and started again on the same home and clock."""

    def __init__(self, home: Home, clock: FakeClock, config: Config = CONFIG, model: Any = None) -> None:
        self.home = home
        self.model = model
        self.config = config
        self.clock = clock

    async def __aenter__(self) -> "House":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        self._opened = open_app(self.home, self.config, clock=self.clock, model=self.model)
        self.app = await self._opened.__aenter__()
        await self.settled()

    async def stop(self) -> None:
        await self._opened.__aexit__(None, None, None)

    async def add(self, document: dict[str, Any]) -> Automation:
        added = await self.app.ledger.write(
            lambda tx: orders.add(tx, document, kinds=self.app.kinds, timezone="UTC")
        )
        await self.settled()
        return added

    async def get(self, automation: Automation) -> Automation:
        return await self.app.ledger.read(lambda tx: automations.get(tx, automation.automation_id))

    async def slots(self, automation: Automation) -> list[Occurrence]:
        page = await self.app.ledger.read(
            lambda tx: occurrences.page(tx, automation.automation_id, limit=500)
        )
        return list(reversed(page.items))

    async def settled(self) -> None:
        """Until everything that is due now is done: writes of our own find no others between them."""
        quiet, ledger = 0, self.app.ledger
        while quiet < 5:
            before = ledger.commits
            await ledger.write(lambda tx: None)
            for _ in range(20):
                await asyncio.sleep(0)
            quiet = quiet + 1 if ledger.commits == before else 0
            # A slow thread of the ledger, or a slow look, is waited for: time must not run ahead of it.
            while ledger.unanswered or self.app.scheduler.is_looking:
                await asyncio.sleep(0.001)
                quiet = 0

    async def pass_time(self, duration: str) -> None:
        """Go from due time to due time, each one's work done before the next."""
        await self.settled()
        target = self.clock.now() + parse_duration(duration)
        while (due := self.clock.next_due()) is not None and due <= target:
            self.clock.pass_to(max(due, self.clock.now()))
            await self.settled()
        self.clock.pass_to(target)
        await self.settled()


@pytest.fixture
async def house(home: Home, clock: FakeClock) -> Any:
    async with House(home, clock) as house:
        yield house


class Nothing(msgspec.Struct, frozen=True):
    """No parameters."""


def at(text: str, found: list[Occurrence]) -> Occurrence:
    return next(occurrence for occurrence in found if iso(occurrence.slot).startswith(text))


async def test_a_cron_runs_at_its_times_and_never_twice(house: House) -> None:
    automation = await house.add(scheduled("0 9,10 * * *"))
    await house.pass_time("26h")
    found = await house.slots(automation)
    assert [(iso(o.slot), o.status, o.outcome) for o in found] == [
        ("2026-03-02T09:00:00.000Z", "ran", "succeeded"),
        ("2026-03-02T10:00:00.000Z", "ran", "succeeded"),
        ("2026-03-03T09:00:00.000Z", "ran", "succeeded"),
        ("2026-03-03T10:00:00.000Z", "ran", "succeeded"),
    ]
    made = await house.app.ledger.read(lambda tx: tasks.page(tx, automation_id=automation.automation_id))
    assert [task.runtime for task in made.items] == ["cron"] * 4
    assert (await house.get(automation)).document()["next_run"] == "2026-03-04T09:00:00.000Z"


async def test_every_keeps_its_rhythm_over_a_restart(house: House) -> None:
    automation = await house.add(every("10m"))
    await house.pass_time("25m")
    await house.stop()
    await house.clock.advance("2m")
    await house.start()
    await house.pass_time("4m")
    assert [o.slot - automation.created_at for o in await house.slots(automation)] == [
        10 * MINUTE, 20 * MINUTE, 30 * MINUTE,
    ]  # fmt: skip


async def test_one_shot_runs_once_and_is_completed(house: House) -> None:
    automation = await house.add({"schedule": {"type": "after", "delay": "30m"}, "action": REMIND})
    await house.pass_time("29m")
    assert await house.slots(automation) == []
    await house.pass_time("2m")
    (only,) = await house.slots(automation)
    assert (only.status, only.outcome) == ("ran", "succeeded")
    after = await house.get(automation)
    assert (after.status, after.spec.type, after.name) == ("completed", "delayed", "Remind")


async def test_one_shot_that_fell_due_while_away_is_caught_up(house: House) -> None:
    automation = await house.add(
        {
            "schedule": {"type": "at", "time": "2026-03-02T09:00:00Z"},
            "action": REMIND,
            "policy": {"misfire": "skip"},
        }
    )
    await house.stop()
    await house.clock.advance("3d")
    await house.start()
    await house.settled()
    (only,) = await house.slots(automation)
    assert (only.status, only.outcome) == ("caught_up", "succeeded")
    assert "late" in only.reason
    assert (await house.get(automation)).status == "completed"


async def test_a_one_shot_outside_its_hours_waits_for_them(house: House) -> None:
    hours = {"start": "08:00", "end": "20:00", "timezone": "UTC"}
    schedule = {"type": "at", "time": "2026-03-02T23:00:00Z"}
    automation = await house.add({"schedule": schedule, "action": REMIND, "policy": {"active_hours": hours}})
    await house.pass_time("16h")
    assert await house.slots(automation) == []
    assert (await house.get(automation)).document()["next_run"] == "2026-03-03T08:00:00.000Z"
    await house.pass_time("8h")
    (only,) = await house.slots(automation)
    assert (iso(only.slot), only.status, only.outcome) == ("2026-03-02T23:00:00.000Z", "ran", "succeeded")
    assert (await house.get(automation)).status == "completed"


async def test_a_one_shot_is_not_lost_to_a_run_by_hand(house: House) -> None:
    action = {"type": "simulate", "parameters": {"steps": 1, "step_seconds": 5000}}
    schedule, policy = {"type": "after", "delay": "30m"}, {"timeout": "1d"}
    automation = await house.add({"schedule": schedule, "action": action, "policy": policy})
    await house.app.ledger.write(lambda tx: orders.run_now(tx, automation.automation_id))
    await house.pass_time("4h")
    assert [(o.status, o.outcome) for o in await house.slots(automation)] == [("ran", "succeeded")] * 2
    assert (await house.get(automation)).status == "completed"


async def away(house: House, policy: dict[str, Any], duration: str = "3d") -> list[Occurrence]:
    automation = await house.add(scheduled("0 9 * * *", policy=policy))
    await house.stop()
    await house.clock.advance(duration)
    await house.start()
    await house.settled()
    return await house.slots(automation)


async def test_run_once_folds_what_was_missed_into_one_run(house: House) -> None:
    found = await away(house, {"misfire": "run_once"})
    assert [o.status for o in found] == ["missed", "missed", "caught_up"]
    assert [o.merged_into for o in found] == [found[2].slot, found[2].slot, None]
    assert found[2].outcome == "succeeded"


async def test_run_all_catches_up_each_up_to_its_most(house: House) -> None:
    found = await away(house, {"misfire": "run_all(2)"})
    assert [(o.status, o.outcome) for o in found] == [
        ("missed", None), ("caught_up", "succeeded"), ("caught_up", "succeeded"),
    ]  # fmt: skip


async def test_misfire_skip_runs_nothing_but_says_so(house: House) -> None:
    found = await away(house, {"misfire": "skip"})
    assert [o.status for o in found] == ["missed"] * 3
    assert all("misfire is skip" in o.reason and o.task_id is None for o in found)


async def test_slots_older_than_the_window_are_not_caught_up(house: House) -> None:
    found = await away(house, {"misfire": "run_all", "misfire_window": "48h"})
    assert [o.status for o in found] == ["missed", "caught_up", "caught_up"]
    assert "misfire_window" in found[0].reason


async def test_a_restart_in_the_same_minute_neither_loses_nor_doubles(house: House) -> None:
    automation = await house.add(scheduled("* * * * *"))
    for _ in range(5):
        await house.pass_time("30s")
        await house.stop()
        await house.clock.advance("5s")
        await house.start()
        await house.settled()
    found = await house.slots(automation)
    slots = [o.slot for o in found]
    assert slots == sorted(set(slots))
    assert [b - a for a, b in pairwise(slots)] == [MINUTE] * (len(slots) - 1)
    assert {o.outcome for o in found if o.status in ("ran", "caught_up")} == {"succeeded"}


async def test_a_clock_that_jumps_back_runs_nothing_twice(house: House) -> None:
    automation = await house.add(scheduled("0 * * * *"))
    await house.pass_time("3h")
    house.clock.set(house.clock.now() - 2 * HOUR)
    await house.pass_time("3h")
    slots = [o.slot for o in await house.slots(automation)]
    assert len(slots) == len(set(slots)) == 4


async def test_a_clock_that_jumps_forward_is_an_absence(house: House) -> None:
    automation = await house.add(scheduled("0 * * * *"))
    house.clock.set(house.clock.now() + 6 * HOUR + SECOND)
    await house.settled()
    found = await house.slots(automation)
    assert [o.status for o in found].count("missed") == 5
    assert found[-1].outcome == "succeeded"


LONG = {"type": "simulate", "parameters": {"steps": 1, "step_seconds": 90}}


async def test_overlap_skip_lets_the_running_one_end(house: House) -> None:
    automation = await house.add(scheduled("* * * * *", action=LONG))
    await house.pass_time("3m")
    found = await house.slots(automation)
    assert [o.status for o in found] == ["ran", "skipped", "ran"]
    assert "overlap is skip" in found[1].reason


async def test_overlap_queue_runs_one_after_the_other(house: House) -> None:
    automation = await house.add(scheduled("* * * * *", action=LONG, policy={"overlap": "queue"}))
    await house.pass_time("3m")
    made = await house.app.ledger.read(lambda tx: tasks.page(tx, automation_id=automation.automation_id))
    assert sorted(task.status for task in made.items) == ["queued", "running", "succeeded"]


async def test_overlap_parallel_runs_beside(house: House) -> None:
    automation = await house.add(scheduled("* * * * *", action=LONG, policy={"overlap": "parallel"}))
    await house.pass_time("2m")
    made = await house.app.ledger.read(lambda tx: tasks.page(tx, automation_id=automation.automation_id))
    assert [task.status for task in made.items] == ["running", "running"]


async def test_overlap_replace_cancels_the_running_one(house: House) -> None:
    automation = await house.add(scheduled("* * * * *", action=LONG, policy={"overlap": "replace"}))
    await house.pass_time("2m")
    made = await house.app.ledger.read(lambda tx: tasks.page(tx, automation_id=automation.automation_id))
    assert [task.status for task in made.items] == ["running", "cancelled"]
    assert (await house.get(automation)).failures == 0


async def test_waits_grow_after_failures_and_a_success_forgets_them(house: House) -> None:
    automation = await house.add(failing())
    started = automation.created_at
    await house.pass_time("2m")
    ran = [o.slot - started for o in await house.slots(automation) if o.status == "ran"]
    # at 10 s, then 30 s and 60 s later, each at the last slot of its wait
    assert ran == [10 * SECOND, 40 * SECOND, 100 * SECOND]
    assert {o.status for o in await house.slots(automation)} == {"ran", "skipped"}
    assert (await house.get(automation)).failures == 3
    fixed = {"action": {"type": "remind", "parameters": {"text": "fine"}}}
    await house.app.ledger.write(
        lambda tx: orders.edit(tx, automation.automation_id, fixed, kinds=house.app.kinds, timezone="UTC")
    )
    await house.pass_time("5m")
    assert (await house.get(automation)).failures == 0


def test_the_waits_after_failures() -> None:
    assert [rules.backoff(n) // SECOND for n in range(7)] == [0, 30, 60, 300, 900, 3600, 3600]


async def test_alert_after_two_failures_is_told_once(house: House) -> None:
    automation = await house.add(failing(policy={"notify": "silent"}))
    await house.pass_time("10s")
    assert await alerts(house) == []
    await house.pass_time("50m")
    assert (await house.get(automation)).failures > 3
    (alert,) = await alerts(house)
    assert "failed 2 times in a row" in alert.message.text


async def test_a_success_in_between_makes_no_second_alert_within_the_hour(house: House) -> None:
    automation = await house.add(failing(policy={"notify": "silent"}))
    bad = {"action": automation.spec.document()["action"]}
    await house.pass_time("1m")
    assert ((await house.get(automation)).failures, len(await alerts(house))) == (2, 1)
    await edit(house, automation, {"action": REMIND})
    await house.pass_time("2m")
    assert (await house.get(automation)).failures == 0
    await edit(house, automation, bad)
    await house.pass_time("2m")
    assert (await house.get(automation)).failures >= 2
    assert len(await alerts(house)) == 1
    # an hour after the first it is told again
    await house.pass_time("90m")
    told = await alerts(house)
    assert [line.status == "suppressed" for line in told] == [False, False]


async def test_being_disabled_again_after_a_resume_is_told_again(house: House) -> None:
    automation = await house.add(failing(policy={"notify": "silent", "alert_after": 9, "disable_after": 2}))
    for _ in range(2):
        await house.pass_time("1m")
        assert (await house.get(automation)).status == "disabled"
        await house.app.ledger.write(lambda tx: orders.resume(tx, automation.automation_id))
    told = await alerts(house)
    assert ["disabled after 2" in line.message.text for line in told] == [True, True]
    assert "suppressed" not in [line.status for line in told]


async def alerts(house: House) -> list[outbox.Line]:
    lines = await house.app.ledger.read(lambda tx: outbox.page(tx, limit=100))
    return [line for line in lines if line.transition.startswith("automation:")]


async def test_disabled_after_ten_failures_with_notice(house: House) -> None:
    automation = await house.add(failing())
    await house.pass_time("12h")
    after = await house.get(automation)
    assert (after.status, after.failures) == ("disabled", 10)
    assert "10 failures in a row" in after.reason
    assert any("disabled after 10" in line.message.text for line in await alerts(house))
    await house.app.ledger.write(lambda tx: orders.resume(tx, automation.automation_id))
    assert (await house.get(automation)).failures == 0


async def test_criteria_decide_the_verdict_apart_from_the_status(house: House) -> None:
    file = house.app.home.workspace / "report.txt"
    document = every("1m", success={"file_fresh": {"path": "report.txt", "within": "36500d"}})
    automation = await house.add(document)
    await house.pass_time("1m")
    file.write_text("done")
    await house.pass_time("1m")
    made = await house.app.ledger.read(lambda tx: tasks.page(tx, automation_id=automation.automation_id))
    assert [(task.status, task.verdict) for task in reversed(made.items)] == [
        (Status.SUCCEEDED, "failed"), (Status.SUCCEEDED, "succeeded"),
    ]  # fmt: skip
    assert [o.outcome for o in await house.slots(automation)] == ["failed", "succeeded"]


def verified(fail_at: int = 0, **more: Any) -> dict[str, Any]:
    parameters = {"steps": 1, "step_seconds": 30} | ({"fail_at": fail_at} if fail_at else {})
    verifier = {"type": "simulate", "parameters": parameters, **more}
    return every("1h", success={"min_length": 3, "verifier": verifier})


@pytest.mark.parametrize(
    ("document", "outcome", "word"),
    [
        (verified(), "succeeded", ""),
        (verified(fail_at=1), "failed", "the verifier ended failed"),
        (verified(condition='contains(text, "1 of 1")'), "failed", "does not hold"),
        (verified(condition="text < 3"), "failed", "condition"),
    ],
)
async def test_a_verifier_has_the_last_word_on_the_verdict(
    house: House, document: dict[str, Any], outcome: str, word: str
) -> None:
    automation = await house.add(document)
    await house.pass_time("1h")
    assert [o.outcome for o in await house.slots(automation)] == [None]
    await house.stop()
    await house.start()
    await house.pass_time("2m")
    (slot,) = await house.slots(automation)
    made = await house.app.ledger.read(lambda tx: tasks.page(tx, automation_id=automation.automation_id))
    assert [(task.status, task.verdict) for task in made.items] == [(Status.SUCCEEDED, outcome)]
    assert slot.outcome == outcome
    children = await house.app.ledger.read(lambda tx: tasks.children(tx, made.items[0].task_id))
    assert [child.title for child in children] == ["Verifier of It"]
    judged = [
        e.data["reason"]
        for e in await house.app.ledger.read(lambda tx: events.after(tx, 0))
        if e.type == "task.judged"
    ]
    assert len(judged) == 1
    assert word in judged[0]
    assert (await house.get(automation)).failures == (outcome == "failed")


async def test_what_the_run_said_is_what_its_verifier_reads(house: House) -> None:
    verifier = {"type": "remind", "parameters": {"text": "{{ text }} / {{ status }}"},
                "condition": 'text == "Good morning / succeeded"'}  # fmt: skip
    automation = await house.add(every("1h", success={"verifier": verifier}))
    await house.pass_time("1h")
    assert [o.outcome for o in await house.slots(automation)] == ["succeeded"]


async def test_no_verifier_runs_where_another_criterion_has_failed_already(house: House) -> None:
    document = verified()
    document["success"]["min_length"] = 1000
    automation = await house.add(document)
    await house.pass_time("1h")
    assert [o.outcome for o in await house.slots(automation)] == ["failed"]
    made = await house.app.ledger.read(lambda tx: tasks.page(tx, detached_only=False))
    assert [task.title for task in made.items] == ["It"]


async def test_an_edit_keeps_history_and_the_next_match(house: House) -> None:
    automation = await house.add(scheduled("0 9 * * *"))
    await house.pass_time("2h")
    await edit(house, automation, {"name": "Renamed", "action": {"parameters": {"text": "new"}}})
    after = await house.get(automation)
    assert (after.version, after.spec.action.parameters) == (2, {"text": "new"})
    assert after.document()["next_run"] == "2026-03-03T09:00:00.000Z"
    assert len(await house.slots(automation)) == 1
    await edit(
        house, automation, {"schedule": {"type": "cron", "expression": "30 10 * * *", "timezone": "UTC"}}
    )
    await house.pass_time("45m")
    assert [iso(o.slot)[11:16] for o in await house.slots(automation)] == ["09:00", "10:30"]
    history = await house.app.ledger.read(lambda tx: revisions.edits(tx, automation.automation_id))
    assert [entry["version"] for entry in history] == [3, 2, 1]


async def edit(house: House, automation: Automation, patch: dict[str, Any]) -> Automation:
    return await house.app.ledger.write(
        lambda tx: orders.edit(tx, automation.automation_id, patch, kinds=house.app.kinds, timezone="UTC")
    )


async def test_an_edit_while_a_slot_is_owed_loses_nothing(house: House) -> None:
    automation = await house.add(scheduled("0 9 * * *"))
    await house.stop()
    await house.clock.advance("2h")
    later = {"schedule": {"type": "cron", "expression": "30 10 * * *", "timezone": "UTC"}}
    write_now(
        house.app.ledger.store,
        house.clock,
        lambda tx: orders.edit(tx, automation.automation_id, later, kinds=None, timezone="UTC"),
    )
    await house.start()
    await house.pass_time("45m")
    found = await house.slots(automation)
    assert [(iso(o.slot)[11:16], o.status) for o in found] == [("09:00", "caught_up"), ("10:30", "ran")]


async def test_slots_while_paused_are_listed_as_skipped(house: House) -> None:
    automation = await house.add(scheduled("0 * * * *"))
    await house.app.ledger.write(lambda tx: orders.stop(tx, "It"))
    await house.pass_time("3h")
    assert await house.slots(automation) == []
    await house.app.ledger.write(lambda tx: orders.resume(tx, "It"))
    await house.pass_time("1h")
    found = await house.slots(automation)
    assert [o.status for o in found] == ["skipped"] * 3 + ["ran"]
    assert "paused by owner" in found[0].reason


async def test_active_hours_skip_what_lies_outside(house: House) -> None:
    automation = await house.add(
        scheduled("0 */6 * * *", policy={"active_hours": {"start": "08:00", "end": "20:00"}})
    )
    await house.pass_time("24h")
    assert [(iso(o.slot)[11:13], o.status) for o in await house.slots(automation)] == [
        ("12", "ran"), ("18", "ran"), ("00", "skipped"), ("06", "skipped"),
    ]  # fmt: skip


async def test_stagger_moves_the_run_and_not_the_slot(house: House) -> None:
    document = scheduled("0 9 * * *")
    document["schedule"]["stagger"] = "5m"
    automation = await house.add({**document, "id": "auto_01stagger"})
    assert automation.due_at is not None
    assert automation.next_slot is not None
    share = automation.due_at - automation.next_slot
    assert 0 < share < 5 * MINUTE
    await house.pass_time("60m")
    assert await house.slots(automation) == []
    await house.pass_time("6m")
    (only,) = await house.slots(automation)
    assert (iso(only.slot), only.status) == ("2026-03-02T09:00:00.000Z", "ran")
    task = await house.app.ledger.read(lambda tx: tasks.get(tx, only.task_id))
    assert task.created_at == only.slot + share


def paced(**more: Any) -> dict[str, Any]:
    return every("1h", policy={"pacing": {"min": "10m", "max": "2h"}}, **more)


async def choose(house: House, automation: Automation, after: int) -> Instant:
    page = await house.app.ledger.read(lambda tx: tasks.page(tx, automation_id=automation.automation_id))
    task_id, due = page.items[0].task_id, house.clock.now() + after
    chosen = await house.app.ledger.write(lambda tx: settlement.next_check(tx, task_id, due))
    await house.settled()
    return chosen - house.clock.now()


@pytest.mark.parametrize(
    ("wish", "chosen"), [(30 * MINUTE, 30 * MINUTE), (MINUTE, 10 * MINUTE), (DAY, 2 * HOUR)]
)
async def test_a_run_chooses_its_next_time_within_its_pacing(house: House, wish: int, chosen: int) -> None:
    automation = await house.add(paced())
    await house.pass_time("1h")
    assert await choose(house, automation, wish) == chosen
    due = house.clock.now() + chosen
    await house.stop()
    await house.start()
    assert (await house.get(automation)).due_at == due
    await house.pass_time("2h")
    slots = [o.slot for o in await house.slots(automation)]
    assert due in slots
    # and then the rhythm of the schedule again
    assert (await house.get(automation)).due_at == automation.created_at // 1000 * 1000 + (
        (house.clock.now() - automation.created_at) // HOUR + 1
    ) * HOUR


async def test_a_run_that_fails_loses_the_time_it_chose(house: House) -> None:
    action = {"type": "simulate", "parameters": {"steps": 2, "step_seconds": 60, "fail_at": 2}}
    automation = await house.add(paced(action=action))
    await house.pass_time("1h")
    await choose(house, automation, 2 * HOUR)
    await house.pass_time("3m")
    after = await house.get(automation)
    assert after.failures == 1
    assert after.due_at is not None
    assert after.due_at <= house.clock.now() + HOUR


async def test_without_pacing_a_run_keeps_to_its_schedule(house: House) -> None:
    automation = await house.add(every("1h"))
    await house.pass_time("1h")
    with pytest.raises(Conflict, match="keeps to its schedule"):
        await choose(house, automation, HOUR)


async def test_run_by_hand_leaves_the_schedule_alone(house: House) -> None:
    automation = await house.add(scheduled("0 9 * * *"))
    task = await house.app.ledger.write(lambda tx: orders.run_now(tx, "It"))
    assert task is not None
    await house.settled()
    (only,) = await house.slots(automation)
    assert (only.task_id, only.outcome) == (task.task_id, "succeeded")
    assert (await house.get(automation)).document()["next_run"] == "2026-03-02T09:00:00.000Z"


async def test_an_expression_that_ends_completes_its_automation(house: House) -> None:
    automation = await house.add(scheduled("0 0 9 2 3 * 2026"))
    await house.pass_time("2h")
    assert (await house.get(automation)).status == "completed"
    with pytest.raises(Conflict, match="no slot to come"):
        await house.app.ledger.write(lambda tx: orders.resume(tx, "It"))


async def test_expectation_tells_silence_once_until_a_ping(house: House) -> None:
    document = {"name": "Backup", "type": "continuous", "expect": {"every": "1d", "grace": "1h"}}
    automation = await house.add(document)
    assert automation.document()["ping_url"].startswith("/hooks/ping-")
    await house.pass_time("24h")
    assert await alerts(house) == []
    await house.pass_time("30d")
    assert len(await alerts(house)) == 1
    await house.app.ledger.write(lambda tx: orders.ping(tx, automation.automation_id))
    await house.pass_time("26h")
    assert len(await alerts(house)) == 2


async def test_a_resting_scheduler_commits_nothing(house: House) -> None:
    await house.add(scheduled("0 9 * * *"))
    await house.clock.settle()
    before = house.app.ledger.commits
    await house.clock.advance("30m")
    assert house.app.ledger.commits == before


async def test_ten_thousand_stored_automations_cost_nothing_while_none_is_due(house: House) -> None:
    """Neither a commit nor a look at the database, and nothing is to be done before the first is due."""
    first = await house.add(scheduled("0 9 * * *"))

    def multiply(tx: Tx) -> None:
        row = tx.one("SELECT * FROM automations LIMIT 1")
        assert row is not None
        columns = ", ".join(name for name in row if name not in ("automation_id", "hook"))
        tx.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)"
            f" INSERT INTO automations (automation_id, {columns})"
            f" SELECT 'auto_copy' || CAST(i AS TEXT), {columns} FROM n, automations"
        )
        tx.wake(standing.TOPIC)

    ledger = house.app.ledger
    await ledger.write(multiply)
    await house.settled()
    stored = await ledger.read(lambda tx: tx.value("SELECT COUNT(*) FROM automations"))
    before = (ledger.commits, ledger.reads)
    due = (await house.get(first)).next_slot
    assert due is not None
    await house.clock.advance("30m")
    assert stored == 10_001
    assert (ledger.commits, ledger.reads) == (before[0], before[1] + 1), "the one look is this test's own"
    woken = house.clock.next_due()
    assert woken is not None
    assert woken >= due


async def test_overdue_work_is_a_problem_and_is_told(house: House) -> None:
    automation = await house.add(every("1h"))

    due = house.clock.now() + HOUR

    async def hold(is_held: bool) -> None:
        house.app.stability.is_held = is_held
        await house.app.ledger.write(lambda tx: tx.wake(standing.TOPIC))

    await hold(True)
    await house.pass_time("63m")
    assert (await house.get(automation)).due_at == due
    assert "overdue" in (await house.app.ledger.read(scheduler.problems))[0]
    await hold(False)
    await house.settled()
    assert await house.app.ledger.read(scheduler.problems) == []
    assert [o.status for o in await house.slots(automation)] == ["caught_up"]


async def test_what_is_overdue_is_told_once_and_so_is_its_end(house: House) -> None:
    automation = await house.add(every("1h"))
    house.app.stability.is_held = True
    await house.app.ledger.write(lambda tx: tx.wake(standing.TOPIC))
    await house.pass_time("61m")

    async def look(_: Automation) -> None:
        raise AssertionError

    # one whose clock for firing has stopped: it only watches
    watching = scheduler.Scheduler(
        house.app.ledger,
        house.clock,
        workspace=house.home.workspace,
        look=look,
        stability=Stability(house.app.ledger, house.clock),
    )

    async def told() -> tuple[list[str], int]:
        await watching._check()
        log = await house.app.ledger.read(lambda tx: events.after(tx, 0, limit=500))
        lines = await house.app.ledger.read(lambda tx: outbox.page(tx, limit=100))
        said = [event.type for event in log if event.type in ("system.overdue", "system.on_time")]
        return said, len([o for o in lines if o.transition == "system.overdue" and o.fallback_of is None])

    assert await told() == ([], 0)
    await house.pass_time("2m")
    assert await told() == (["system.overdue"], 1)
    await house.pass_time("5m")
    assert await told() == (["system.overdue"], 1)
    due = house.clock.now() + HOUR
    await house.app.ledger.write(lambda tx: standing.set_due(tx, automation.automation_id, due))
    assert await told() == (["system.overdue", "system.on_time"], 1)


@pytest.mark.parametrize(
    ("document", "word"),
    [
        ({}, "schedule"),
        ({"schedule": {"type": "every", "interval": "1h"}}, "action"),
        ({"action": REMIND}, "schedule"),
        (scheduled("61 * * * *"), "minute"),
        (scheduled("0 0 30 2 *"), "no run"),
        ({**scheduled("0 8 * * *"), "type": "event"}, "type"),
        ({**scheduled("0 8 * * *"), "timezone": "Nowhere/At_All"}, "timezone"),
        ({**scheduled("0 8 * * *"), "polciy": {}}, "polciy"),
        (scheduled("0 8 * * *", policy={"misfire": "sometimes"}), "misfire"),
        (scheduled("0 8 * * *", policy={"overlap": "maybe"}), "overlap"),
        (scheduled("0 8 * * *", policy={"timeout": "soon"}), "timeout"),
        (scheduled("0 8 * * *", policy={"active_hours": {"start": "8", "end": "22:00"}}), "active_hours"),
        (scheduled("0 8 * * *", action={"type": "dance"}), "dance"),
        (scheduled("0 8 * * *", action={"type": "remind", "parameters": {"txt": "?"}}), "txt"),
        ({"schedule": "every blue moon", "action": REMIND}, "schedule"),
        ({"on": {"source": "email", "filter": "subject =="}, "action": REMIND}, "filter"),
        ({"on": {"source": "file"}, "action": REMIND}, "path"),
        (every("1h", success={"verifier": {"type": "dance"}}), "success.verifier"),
        (every("1h", success={"verifier": {"type": "remind", "parameters": {"txt": "?"}}}), "txt"),
        (
            every(
                "1h",
                success={"verifier": {"type": "remind", "parameters": {"text": "x"}, "condition": "text =="}},
            ),
            "success.verifier.condition",
        ),
        (every("1h", policy={"pacing": {"min": "2h", "max": "1h"}}), "pacing"),
        ({"schedule": "every month on the 31st", "action": REMIND}, "not every month"),
        (
            {"watch": {"probe": {"type": "http"}, "every": "6h", "condition": "price <"}, "action": REMIND},
            "condition",
        ),
        ({"watch": {"probe": {}, "every": "6h", "condition": "price < 1"}, "action": REMIND}, "probe"),
        (
            {
                "watch": {"probe": {"type": "http", "uri": "x"}, "every": "6h", "condition": "price < 1"},
                "action": REMIND,
            },
            "watch.probe",
        ),
        (scheduled("0 8 * * *", action={"type": "alert"}), "no kind 'alert'"),
        (
            scheduled("0 8 * * *", action={"type": "remind", "parameters": {"text": "{{ 1 + }}"}}),
            "action.parameters",
        ),
    ],
)
async def test_bad_input_is_refused_naming_the_field_and_an_example(
    house: House, document: dict[str, Any], word: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        await house.add(document)
    assert word in refused.value.message
    assert refused.value.hint


async def test_the_seeds_document_is_taken_verbatim(house: House) -> None:
    seed: dict[str, Any] = {
        "task_id": "task_abc123",
        "type": "scheduled",
        "schedule": {"type": "cron", "expression": "0 8 * * 1-5"},
        "action": {"type": "remind", "parameters": {"text": "brief"}},
        "delivery": {"channels": ["telegram", "email"], "priority": "normal"},
        "status": "active",
        "created_at": "2026-03-01T10:00:00Z",
        "last_run": "2026-03-13T08:00:00Z",
        "next_run": "2026-03-14T08:00:00Z",
    }
    added = await house.add(seed)
    document = added.document()
    assert (document["id"], document["created_at"]) == ("task_abc123", "2026-03-01T10:00:00.000Z")
    assert document["next_run"] == "2026-03-03T08:00:00.000Z"
    assert document["schedule"]["timezone"] == "UTC"
    again, is_new = await house.app.ledger.write(
        lambda tx: orders.import_(tx, seed, kinds=house.app.kinds, timezone="UTC")
    )
    assert (again.automation_id, is_new) == ("task_abc123", False)


async def test_facts_are_appended_to_the_event_log(house: House) -> None:
    await house.add(every("1m"))
    await house.pass_time("1m")
    types = [event.type for event in await house.app.ledger.read(lambda tx: events.after(tx, 0))]
    assert types[:1] == ["automation.created"]
    assert "automation.ran" in types


def _is_busy(tx: Any) -> bool:
    due = automations.next_due(tx)
    open_slots = "SELECT COUNT(*) AS n FROM occurrences WHERE task_id IS NOT NULL AND outcome IS NULL"
    return (due is not None and due <= tx.now) or tx.value(open_slots) > 0


def _rows(tx: Any) -> dict[str, int]:
    tables = ("tasks", "occurrences", "events")
    return {table: tx.value(f"SELECT COUNT(*) AS n FROM {table}") for table in tables}


@pytest.mark.timeout(240)
async def test_two_months_miss_and_double_nothing_and_the_tables_stay_flat(
    home: Home, clock: FakeClock
) -> None:
    """Eight automations and two months here; fifty and the whole year are a benchmark."""
    ran: Counter[tuple[str, Instant]] = Counter()

    async def note(context: Context, _: Nothing) -> str:
        ran[context.task.automation_id or "", clock.now()] += 1
        return "done"

    kinds = {"note": Kind(name="note", params=Nothing, run=note)}
    wanted: set[tuple[str, Instant]] = set()
    async with open_app(home, CONFIG, clock=clock, kinds=kinds) as app:
        midnight = clock.now() // DAY * DAY
        for n in range(8):
            document = scheduled(
                f"{7 * n} {3 * n} * * *", action={"type": "note"}, policy={"notify": "silent"}
            )
            made = await app.ledger.write(
                lambda tx, d=document: orders.add(tx, d, kinds=app.kinds, timezone="UTC")
            )
            first = midnight + 3 * n * HOUR + 7 * n * MINUTE
            wanted |= {(made.automation_id, first + day * DAY) for day in range(1, 61)}
        clock.pass_to(midnight + DAY - SECOND)
        await _through(app)
        ran.clear()
        for slot in sorted({at for _, at in wanted}):
            clock.pass_to(slot)
            await _through(app)
        await app.housekeeping.round()
        rows = await app.ledger.read(_rows)
    assert ran.keys() == wanted
    assert set(ran.values()) == {1}
    # thirty days are kept; slots are forgotten every thirteenth day
    assert rows["tasks"] <= 8 * 31
    assert rows["occurrences"] <= 8 * 44
    assert rows["events"] <= 8 * 31 * 6


async def _through(app: App) -> None:
    """Until nothing is due and all that was started is settled."""
    changed = app.ledger.bell.subscribe("ended", "automations")
    while await app.ledger.read(_is_busy):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.02):
                await changed.wait()
        changed.clear()
    app.ledger.bell.unsubscribe(changed)


async def test_what_is_due_at_a_start_begins_group_by_group_the_first_at_once_all_within_a_second(
    home: Home, clock: FakeClock
) -> None:
    most = 500
    config = Config(limits=Limits(concurrency=most, max_running_per_owner=most, busy_load=0))
    async with House(home, clock, config) as house:
        for n in range(200):
            await house.app.ledger.write(
                lambda tx, n=n: orders.add(tx, {**every("1h"), "name": f"n {n}"}, kinds=None, timezone="UTC")
            )
        await house.stop()
        await house.clock.advance("90m")
        ready = house.clock.now()
        await house.start()
        begun = [await _begun(house)]
        while house.clock.now() < ready + SECOND:
            await house.pass_time("50ms")
            begun.append(await _begun(house))
        assert begun[0] == 13
        assert begun[:16] == [min(13 * n, 200) for n in range(1, 17)]
        assert begun[16:] == [200] * (len(begun) - 16)
        # their times go by unhurried again
        await house.pass_time("1h")
        assert await _begun(house) == 400


async def _begun(house: House) -> int:
    """How many runs have ended: no moment has passed since they began."""
    return await house.app.ledger.read(
        lambda tx: tx.value("SELECT COUNT(*) AS n FROM tasks WHERE status = 'succeeded'")
    )


@pytest.mark.parametrize("crowd", [1, 10])
async def test_a_few_that_are_due_at_a_start_begin_in_the_instant_of_it(house: House, crowd: int) -> None:
    for n in range(crowd):
        await house.add({**every("1h"), "name": f"n {n}"})
    await house.stop()
    await house.clock.advance("90m")
    await house.start()
    assert await _begun(house) == crowd


@pytest.mark.parametrize("window", [None, "140m"])
@pytest.mark.parametrize("misfire", ["run_once", "run_all(2)", "run_all", "skip"])
@pytest.mark.parametrize("overlap", ["skip", "queue", "parallel", "replace"])
async def test_whatever_the_overlap_an_absence_is_made_up_as_its_misfire_says(
    house: House, overlap: str, misfire: str, window: str | None
) -> None:
    """Five slots pass while nothing is there, two of them within the window: each has its row, once."""
    policy = {"overlap": overlap, "misfire": misfire, "timeout": "1d"}
    if window is not None:
        policy["misfire_window"] = window
    action = {"type": "simulate", "parameters": {"steps": 1, "step_seconds": 60}}
    automation = await house.add(scheduled("0 * * * *", policy=policy, action=action))
    await house.stop()
    await house.clock.advance("330m")  # at 13:30, of the slots from 9 to 13
    await house.start()
    await house.pass_time("10m")
    found = await house.slots(automation)
    within = 5 if window is None else 2
    caught_up = {"run_once": 1, "run_all(2)": 2, "run_all": within, "skip": 0}[misfire]
    assert [o.status for o in found] == ["missed"] * (5 - caught_up) + ["caught_up"] * caught_up
    assert {o.outcome for o in found if o.status == "caught_up"} <= {"succeeded"}
    folded = [o for o in found if o.merged_into is not None]
    assert len(folded) == (within - 1 if misfire == "run_once" else 0)
    assert len({o.slot for o in found}) == 5
