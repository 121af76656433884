"""What may have arrived and is tried again all the same: a key drops a repeat, or it was asked for."""

from typing import Any

import pytest

from tawny.delivery.channel import AmbiguousSend, ChannelDown
from tawny.domain.messages import Outgoing, Receipt
from tawny.domain.tasks import Notify
from tawny.errors import PermanentError, TemporaryError
from tawny.ledger import deliveries, outbox, withdrawals
from tawny.testing import MemoryChannel

WAYS = ["by its key", "as asked", "after a kill"]


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return request.param


async def doubtful(desk: Any, channel: MemoryChannel, way: str, **more: Any) -> str:
    """A delivery that may have arrived and waits to be tried again."""
    channel.idempotent = way != "as asked"
    delivery_id = await desk.put("done", at_least_once=way == "as asked", **more)
    if way == "after a kill":
        claimed = await desk.ledger.write(
            lambda tx: deliveries.claim(tx, "a", sender="a dead process", plan=lambda *_: None)
        )
        assert claimed is not None
        channel.fail_next(TemporaryError("refused"))
    else:
        channel.fail_next(AmbiguousSend("no answer", partial=("1",)))
    await (await desk.dispatcher(channel)).run_until_idle()
    assert await desk.status(delivery_id) == "pending"
    return delivery_id


@pytest.mark.parametrize(
    "end", [PermanentError("gone"), ChannelDown("the token is bad"), TemporaryError("cannot be reached")]
)
async def test_what_may_have_arrived_never_ends_as_failed_or_expired(desk: Any, way: str, end: Exception):
    channel = MemoryChannel("a")
    await desk.add_task()
    delivery_id = await doubtful(desk, channel, way, task_id="task_1", transition="task.succeeded")
    channel.fail_next(end)
    dispatcher = await desk.dispatcher(channel)
    await desk.clock.advance("1m")
    await dispatcher.run_until_idle()
    await desk.clock.advance("2d")
    await dispatcher.run_until_idle()
    assert await desk.status(delivery_id) == "unknown"
    assert desk.inbox.texts.count("done") == 1
    assert await desk.task_status() == "unknown"
    assert "delivery.unknown" in await desk.events()


async def test_what_is_held_back_though_it_may_have_arrived_is_unknown(desk: Any, way: str):
    question = await doubtful(desk, MemoryChannel("a"), way, transition="approval:appr_1")
    await desk.ledger.write(lambda tx: withdrawals.hold_back(tx, "appr_1"))
    await desk.add_task()
    news = await doubtful(desk, MemoryChannel("a"), way, task_id="task_1", transition="task.started@1")
    await desk.ledger.write(lambda tx: outbox.hush(tx, "task_1", Notify.SILENT))
    assert [await desk.status(each) for each in (question, news)] == ["unknown", "unknown"]


async def test_news_told_at_that_address_already_may_be_there_twice(desk: Any, way: str):
    channel = MemoryChannel("a")
    channel.home_address = "here"
    await desk.add_task()
    news = await doubtful(desk, channel, way, task_id="task_1", transition="task.succeeded")
    await desk.put("done", target="a:here", task_id="task_1", transition="task.succeeded")
    await (await desk.dispatcher(channel)).run_until_idle()
    await desk.clock.advance("1m")
    await (await desk.dispatcher(channel)).run_until_idle()
    assert await desk.status(news) == "unknown"


async def test_the_next_piece_is_not_in_doubt_because_one_before_it_was(desk: Any):
    channel = MemoryChannel("a", idempotent=True, text_limit=40)
    channel.fail_next(AmbiguousSend("no answer"))
    dispatcher = await desk.dispatcher(channel)
    delivery_id = await desk.put("first words\n\n" + "x" * 39)
    await dispatcher.run_until_idle()
    await desk.clock.advance("10s")

    async def refuse_the_second(message: Outgoing) -> Receipt:
        if message.key.endswith(".1"):
            raise PermanentError("gone")
        return await MemoryChannel.send(channel, message)

    channel.send = refuse_the_second
    await dispatcher.run_until_idle()
    assert (channel.texts, await desk.status(delivery_id)) == (["first words"], "failed")


class Forgetful(MemoryChannel):
    """Drops a repeat until it has `forgotten` the keys; what lies there can be looked up."""

    forgotten = False

    def _arrive(self, message: Outgoing) -> Receipt:
        self.idempotent = not self.forgotten
        try:
            return super()._arrive(message)
        finally:
            self.idempotent = True


@pytest.mark.parametrize("arrived", [True, False])
async def test_a_key_may_be_forgotten_so_who_can_tell_is_asked_before_a_repeat(desk: Any, arrived: bool):
    channel = Forgetful("a", idempotent=True, knows=True)
    channel.fail_next(AmbiguousSend("no answer", partial=("1",) if arrived else ()))
    dispatcher = await desk.dispatcher(channel)
    delivery_id = await desk.put("hello")
    await dispatcher.run_until_idle()
    channel.forgotten = True
    await desk.clock.advance("10s")
    await dispatcher.run_until_idle()
    assert (channel.texts, await desk.status(delivery_id)) == (["hello"], "delivered")


@pytest.mark.parametrize(
    ("trouble", "status"),
    [
        (TemporaryError("not now"), "pending"),
        (PermanentError("nobody knows, and the key is forgotten"), "unknown"),
        (ChannelDown("the token is bad"), "unknown"),
        (AmbiguousSend("cannot tell"), "delivered"),
    ],
)
async def test_what_cannot_be_asked_after_is_repeated_only_under_a_key(
    desk: Any, trouble: Exception, status: str
):
    channel = MemoryChannel("a", idempotent=True)

    async def reconcile(message: Outgoing) -> Receipt | None:
        del message
        raise trouble

    channel.reconcile = reconcile
    delivery_id = await doubtful(desk, channel, "by its key")
    await desk.clock.advance("10s")
    await (await desk.dispatcher(channel)).run_until_idle()
    assert await desk.status(delivery_id) == status
    assert channel.texts == ["done"]
