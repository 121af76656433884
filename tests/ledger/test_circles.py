"""Whatever hangs together by lane, merge, `after` and children comes to its end: no circles, nobody forgotten."""

import pytest

from tawny.clock import MINUTE, SECOND
from tawny.domain.tasks import After, Status, Submission
from tawny.engine import commands
from tawny.errors import InvalidInput
from tawny.ledger import endings, queue
from tawny.ledger.database import Ledger, Tx
from tawny.ledger.submission import submit
from tawny.ledger.tasks import get
from tawny.testing import FakeClock

SLOTS = queue.Slots(background=4, interactive=1, per_owner=4)


class House:
    """A ledger with a worker that has places for all."""

    def __init__(self, ledger: Ledger, clock: FakeClock) -> None:
        self.ledger = ledger
        self.clock = clock

    async def submit(
        self,
        *,
        lane: str | None = None,
        parent: str | None = None,
        after: str | None = None,
        merge: str | None = None,
        later: int = 0,
    ) -> str:
        # The clock moves, so that ids stand in the order of submission.
        self.clock.set(self.clock.now() + SECOND)
        wanted = Submission(
            kind="work",
            owner="ann",
            lane=lane,
            parent_id=parent,
            merge_key=merge,
            not_before=self.clock.now() + later if later else None,
            after=() if after is None else (After(after, "any"),),
        )
        return (await self.ledger.write(lambda tx: submit(tx, wanted))).task_id

    async def claim(self) -> list[str]:
        lease = self.clock.now() + MINUTE
        claimed = await self.ledger.write(
            lambda tx: queue.claim(tx, SLOTS, worker="worker", lease_until=lease)
        )
        return [task.task_id for task in claimed[0]]

    async def succeed(self, task_id: str) -> Status:
        def end(tx: Tx) -> Status:
            return endings.finish(tx, get(tx, task_id), Status.SUCCEEDED, result={"text": "r"}).status

        return await self.ledger.write(end)

    async def status(self, task_id: str) -> Status:
        return (await self.ledger.read(lambda tx: get(tx, task_id))).status


@pytest.fixture
def house(ledger: Ledger, clock: FakeClock) -> House:
    return House(ledger, clock)


async def test_a_child_does_not_queue_in_its_lane_behind_what_follows_its_parent(house):
    parent = await house.submit()
    assert await house.claim() == [parent]
    follower = await house.submit(lane="x", after=parent)
    child = await house.submit(lane="x", parent=parent)
    assert await house.succeed(parent) is Status.WAITING, "it drains: it waits for its child"

    assert await house.claim() == [child]
    await house.succeed(child)

    assert await house.status(parent) is Status.SUCCEEDED
    assert await house.claim() == [follower]


async def test_a_task_that_follows_others_has_its_old_place_in_the_lane_once_they_have_ended(house):
    first = await house.submit()
    follower = await house.submit(lane="x", after=first)
    second, third = await house.submit(lane="x"), await house.submit(lane="x")
    assert await house.claim() == [first, second]
    await house.succeed(first)
    assert await house.claim() == [], "the lane is taken"
    await house.succeed(second)

    assert await house.claim() == [follower], "it was accepted before the third"
    await house.succeed(follower)
    assert await house.claim() == [third]


async def test_a_task_that_is_held_for_its_time_keeps_its_lane(house):
    held = await house.submit(lane="x", later=MINUTE)
    behind = await house.submit(lane="x")
    assert await house.claim() == []

    house.clock.set(house.clock.now() + MINUTE)
    await house.ledger.write(queue.release_due)

    assert await house.claim() == [held]
    await house.succeed(held)
    assert await house.claim() == [behind]


async def test_a_child_is_not_folded_into_what_follows_its_parent(house):
    parent = await house.submit()
    assert await house.claim() == [parent]
    follower = await house.submit(merge="m", after=parent)
    child = await house.submit(merge="m", parent=parent)
    assert await house.succeed(parent) is Status.WAITING

    assert await house.claim() == [child]
    await house.succeed(child)

    assert await house.status(parent) is Status.SUCCEEDED
    assert await house.claim() == [follower]


async def test_a_child_cannot_follow_what_was_folded_into_a_task_that_waits_for_it(house):
    leader = await house.submit(merge="m")
    folded = await house.submit(merge="m")
    assert await house.status(folded) is Status.WAITING
    assert await house.claim() == [leader]

    with pytest.raises(InvalidInput, match="waits for this child") as caught:
        await house.submit(parent=leader, after=folded)

    assert caught.value.hint == "let it follow another task"


async def test_a_task_ends_though_what_was_folded_into_it_is_paused_which_gets_its_share_when_resumed(house):
    leader = await house.submit(merge="m")
    folded = await house.submit(merge="m")
    await house.ledger.write(lambda tx: commands.pause(tx, folded))
    assert await house.claim() == [leader]

    assert await house.succeed(leader) is Status.SUCCEEDED
    assert await house.status(folded) is Status.PAUSED

    resumed = await house.ledger.write(lambda tx: commands.resume(tx, folded))
    assert (resumed.status, resumed.result) == (Status.SUCCEEDED, {"text": "r"})


async def test_a_child_ends_though_its_draining_parent_is_paused_which_ends_when_resumed(house):
    parent = await house.submit()
    assert await house.claim() == [parent]
    child = await house.submit(parent=parent)
    assert await house.succeed(parent) is Status.WAITING
    await house.ledger.write(lambda tx: commands.pause(tx, parent))
    assert await house.status(child) is Status.PAUSED
    await house.ledger.write(lambda tx: commands.resume(tx, child))
    assert await house.claim() == [child]

    assert await house.succeed(child) is Status.SUCCEEDED
    assert await house.status(parent) is Status.PAUSED

    resumed = await house.ledger.write(lambda tx: commands.resume(tx, parent))
    assert resumed.status is Status.SUCCEEDED


async def test_a_paused_wait_that_is_not_over_goes_on_when_resumed(house):
    parent = await house.submit()
    assert await house.claim() == [parent]
    child = await house.submit(parent=parent)
    await house.succeed(parent)
    await house.ledger.write(lambda tx: commands.pause(tx, parent))

    resumed = await house.ledger.write(lambda tx: commands.resume(tx, parent))
    assert resumed.status is Status.WAITING

    assert await house.claim() == [child]
    await house.succeed(child)
    assert await house.status(parent) is Status.SUCCEEDED
