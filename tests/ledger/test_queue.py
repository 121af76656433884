"""What a claim takes, by place, owner, lane, kind, class and window; and that what cannot start hides nothing."""

from datetime import UTC, datetime
from typing import Any

import pytest
from tests.ledger.conftest import Meter

from tawny.clock import HOUR, MINUTE, SECOND, from_datetime
from tawny.domain.tasks import Priority, Submission
from tawny.ledger import queue
from tawny.ledger.database import Ledger, Tx
from tawny.ledger.submission import submit
from tawny.testing import FakeClock


class Line:
    """A queue that is known by the titles of what stands in it."""

    def __init__(self, ledger: Ledger, clock: FakeClock) -> None:
        self.ledger = ledger
        self.clock = clock

    async def add(self, *titles: str, kind: str = "work", **more: Any) -> None:
        def write(tx: Tx) -> None:
            for title in titles:
                submit(tx, Submission(kind=kind, title=title, **{"owner": "ann", **more}))

        self.clock.set(self.clock.now() + SECOND)
        await self.ledger.write(write)

    async def claim(self, **places: Any) -> list[str]:
        slots = queue.Slots(**{"background": 3, "interactive": 0, "per_owner": 100, **places})
        lease = self.clock.now() + MINUTE
        claimed = await self.ledger.write(
            lambda tx: queue.claim(tx, slots, worker="worker", lease_until=lease)
        )
        return [task.title for task in claimed[0]]

    async def at(self, text: str) -> None:
        """Set the clock to that time of UTC, and let go what was held until then."""
        self.clock.set(from_datetime(datetime.fromisoformat(text).replace(tzinfo=UTC)))
        await self.ledger.write(queue.release_due)


@pytest.fixture
def line(ledger: Ledger, clock: FakeClock) -> Line:
    return Line(ledger, clock)


async def test_what_waits_in_a_held_lane_does_not_hide_what_stands_behind_it(line):
    await line.add("head", lane="x", not_before=line.clock.now() + HOUR)
    await line.add(*(f"in the lane {n}" for n in range(60)), lane="x")
    await line.add("free 1", "free 2")

    assert await line.claim() == ["free 1", "free 2"]


async def test_what_waits_in_a_taken_lane_does_not_hide_what_stands_behind_it(line):
    await line.add("head", lane="x")
    assert await line.claim() == ["head"]
    await line.add(*(f"in the lane {n}" for n in range(60)), lane="x")
    await line.add("free")

    assert await line.claim() == ["free"]


async def test_of_a_lane_one_starts_at_a_time(line):
    await line.add("first", lane="x")
    await line.add("second", lane="x", priority=Priority.INTERACTIVE)

    assert await line.claim() == ["first"]
    assert await line.claim() == []


async def test_kinds_that_this_worker_has_not_do_not_hide_those_it_has(line):
    await line.add(*(f"theirs {n}" for n in range(60)), kind="elsewhere")
    await line.add("ours")

    assert await line.claim(only=("work", "more")) == ["ours"]


async def test_an_interactive_place_is_for_turns_alone(line):
    await line.add("background")
    await line.add("turn", detached=False)

    assert await line.claim(background=0, interactive=1) == ["turn"]
    assert await line.claim(background=0, interactive=1) == []


async def test_an_owner_has_as_many_as_one_may_have(line):
    await line.add("ann 1", "ann 2", "ann 3")
    await line.add("ben", owner="ben")

    assert sorted(await line.claim(per_owner=1)) == ["ann 1", "ben"]
    assert await line.claim(per_owner=1) == []


async def test_low_work_waits_for_a_quiet_machine_for_an_hour_at_most(line):
    await line.add("low", priority=Priority.LOW)
    assert await line.claim(low=False) == []

    line.clock.set(line.clock.now() + HOUR - SECOND)
    assert await line.claim(low=False) == []

    line.clock.set(line.clock.now() + SECOND)
    assert await line.claim(low=False) == ["low"]


async def test_a_window_is_waited_for_and_a_deadline_beats_it(line):
    await line.at("2026-03-02 12:00")
    await line.add("night", window="22:00-06:00")
    await line.add("urgent", window="22:00-06:00", deadline=line.clock.now() + HOUR)
    assert await line.claim() == []

    await line.at("2026-03-02 13:00:01")
    assert await line.claim() == ["urgent"]

    await line.at("2026-03-02 21:59:59")
    assert await line.claim() == []

    await line.at("2026-03-02 22:00")
    assert await line.claim() == ["night"]


async def test_what_found_no_place_in_its_window_waits_for_the_next(line):
    await line.at("2026-03-02 22:00")
    await line.add("night", window="22:00-06:00")

    await line.at("2026-03-03 06:00")
    assert await line.claim() == []

    await line.at("2026-03-03 22:00")
    assert await line.claim() == ["night"]


async def test_a_class_has_at_most_its_places_and_the_others_go_by(line):
    await line.add(*(f"low {n}" for n in range(60)), priority=Priority.LOW)
    await line.add("normal 1", "normal 2")
    places = {"background": 4, "per_class": {"low": 1, "high": 2}}

    assert await line.claim(**places) == ["normal 1", "normal 2", "low 0"]
    # The one of its class still runs.
    assert await line.claim(**places) == []
    await line.add("normal 3")
    assert await line.claim(**places) == ["normal 3"]


async def test_a_full_class_does_not_hide_what_stands_behind_it(line):
    await line.add("first of its class", priority=Priority.HIGH)
    await line.claim(per_class={"high": 1})
    await line.add(*(f"high {n}" for n in range(60)), priority=Priority.HIGH)
    await line.add("behind")

    assert await line.claim(per_class={"high": 1}) == ["behind"]
    assert await line.claim(per_class={"high": 2}) == ["high 0"]


async def test_what_runs_elsewhere_takes_no_place_of_its_class_here(line, ledger):
    await line.add("there", "here", priority=Priority.LOW)
    slots = queue.Slots(background=1, interactive=0, per_owner=100)
    await ledger.write(lambda tx: queue.claim(tx, slots, worker="another", lease_until=tx.now + MINUTE))

    assert await line.claim(per_class={"low": 1}) == ["here"]


def test_a_claim_for_one_owner_looks_twice_and_starts_in_two(meter: Meter) -> None:
    """What there is and what may start; its change and how it stands then. What runs is asked for where it matters."""

    def statements(**more: Any) -> int:
        meter.tx.execute("UPDATE tasks SET status = 'succeeded' WHERE status = 'running'")
        submit(meter.tx, Submission(kind="work"))
        slots = queue.Slots(background=3, interactive=3, per_owner=3, **more)
        return meter.statements(lambda: queue.claim(meter.tx, slots, worker="w", lease_until=MINUTE))

    assert statements(busy=0) == 4
    assert statements(busy=1) == 5, "its owner may have all places, but for the bound"
    assert statements() == 5
    assert statements(busy=0, per_class={"low": 1}) == 5
    submit(meter.tx, Submission(kind="work", owner="ann"))
    assert statements(busy=0) == 5 + 3, "two owners share: another to find, to look at, and to start"
    assert (
        meter.statements(lambda: queue.claim(meter.tx, queue.Slots(3, 3, 3), worker="w", lease_until=1)) == 1
    )


async def test_a_claim_says_whether_it_has_left_anything(line, ledger):
    def left(tx: Tx, **places: Any) -> bool:
        slots = queue.Slots(**{"background": 2, "interactive": 0, "per_owner": 100, **places})
        return queue.claim(tx, slots, worker="worker", lease_until=tx.now + MINUTE)[1]

    assert not await ledger.write(left)
    await line.add("one", "two")
    assert not await ledger.write(left)
    await line.add("three", "four", "five")
    assert await ledger.write(left)
    assert not await ledger.write(left)
    await line.add(*(f"{n}" for n in range(30)))
    assert await ledger.write(left)
    await line.add("low", priority=Priority.LOW)
    assert await ledger.write(lambda tx: left(tx, background=40, low=False)), "the low one waits"
    assert not await ledger.write(left)
    await line.at("2026-06-01T12:00")
    await line.add("at night", window="22:00-06:00")
    assert not await ledger.write(left), "what its window holds needs no look before that opens"


def test_a_claim_in_a_lane_does_not_read_what_has_ended(meter: Meter) -> None:
    tx, work = meter.tx, Submission(kind="work", lane="x")
    slots = queue.Slots(background=1, interactive=0, per_owner=1, only=("work",))

    def claim() -> None:
        assert len(queue.claim(tx, slots, worker="worker", lease_until=tx.now + MINUTE)[0]) == 1

    def hundreds_of_instructions() -> int:
        tx.execute("UPDATE tasks SET status = 'succeeded', runnable = 0, ended_at = :now", now=tx.now)
        submit(tx, work)
        return meter.hundreds_of_instructions(claim)

    hundreds_of_instructions()
    before = hundreds_of_instructions()
    for _ in range(2_000):
        submit(tx, work)
    assert hundreds_of_instructions() <= before + 2
