"""What goes wrong with a channel: who is told, how often, and who else has to wait for it."""

import asyncio
import json
from typing import Any

import pytest

from tawny.delivery.channel import Accept, AmbiguousSend, ChannelDown
from tawny.delivery.listeners import Listeners
from tawny.delivery.roster import FILE
from tawny.domain.messages import Inbound, Outgoing
from tawny.errors import PermanentError, TemporaryError
from tawny.ledger import deliveries, outbox, tasks
from tawny.testing import MemoryChannel


async def troubles(desk: Any) -> list[str]:
    """The alerts that went out."""
    lines = await desk.lines(statuses=("delivered",))
    return [line.message.text for line in lines if line.message.title == "Channel trouble"]


async def test_while_a_channel_is_asked_after_a_stranded_message_others_go_out(desk: Any):
    slow, good = MemoryChannel("slow"), MemoryChannel("good")
    answer = asyncio.Event()

    async def reconcile(message: Outgoing, /) -> None:
        await answer.wait()
        raise AmbiguousSend(message.key)

    slow.reconcile = reconcile  # type: ignore[method-assign]
    stranded = await desk.put("stranded", target="slow")
    claimed = await desk.ledger.write(
        lambda tx: deliveries.claim(tx, "slow", sender="a dead process", plan=lambda *_: None)
    )
    assert claimed is not None
    await desk.put("next", target="slow")
    await desk.put("hello", target="good")
    dispatcher = await desk.dispatcher(slow, good)
    async with desk.running(dispatcher):
        await desk.until(lambda: good.texts == ["hello"])
        # What stands behind it in its own conversation waits for the word on it, and then goes on.
        assert (slow.texts, await desk.status(stranded)) == ([], "sending")
        answer.set()
        await desk.until(lambda: slow.texts == ["next"])
    assert await desk.status(stranded) == "unknown"


async def test_a_token_that_goes_bad_again_after_a_restart_is_told_again(desk: Any):
    channel = MemoryChannel("a")

    async def send_after_a_restart(text: str) -> None:
        dispatcher = await desk.dispatcher(channel, default="inbox")
        await desk.put(text)
        await dispatcher.run_until_idle()

    channel.fail_next(ChannelDown("the token is refused"))
    await send_after_a_restart("one")
    assert len(await troubles(desk)) == 1
    # Not mended: that is known.
    channel.fail_next(ChannelDown("the token is refused"))
    await send_after_a_restart("two")
    assert len(await troubles(desk)) == 1
    await send_after_a_restart("three")
    assert channel.texts == ["three"]
    channel.fail_next(ChannelDown("the token is refused"))
    await send_after_a_restart("four")
    assert len(await troubles(desk)) == 2


async def test_a_token_that_goes_bad_in_an_outage_is_told_besides(desk: Any):
    channel = MemoryChannel("a")
    channel.fail_next(*[TemporaryError("refused") for _ in range(4)], ChannelDown("the token is refused"))
    dispatcher = await desk.dispatcher(channel, default="inbox")
    await desk.put("hello")
    async with desk.running(dispatcher):
        for attempt, delay in enumerate((5, 25, 120, 600), start=1):
            await desk.until(lambda attempt=attempt: channel.attempts == attempt)
            await desk.clock.settle()
            await desk.clock.advance(delay)
        await desk.until(lambda: "hello" in desk.inbox.texts)
        await desk.clock.settle()
    outage, off = await troubles(desk)
    assert "cannot be reached" in outage
    assert "is off: the token is refused" in off


async def test_a_bad_token_found_out_while_listening_is_told_once(desk: Any):
    channel = MemoryChannel("a")

    async def listen(accept: Accept, /) -> None:
        raise ChannelDown(f"the token is refused before {accept}")

    async def accept(inbound: Inbound) -> None:
        raise AssertionError(inbound)

    channel.listen = listen  # type: ignore[method-assign]
    dispatcher = await desk.dispatcher(channel, default="inbox")
    listeners = Listeners(desk.ledger, desk.clock, dispatcher._roster, accept, shut=dispatcher.shut)
    async with desk.running(dispatcher), desk.running(listeners):
        await desk.until(lambda: desk.inbox.sent)
        await desk.put("hello")
        await desk.until(lambda: "hello" in desk.inbox.texts)
        await desk.clock.settle()
    assert channel.attempts == 0
    (told,) = await troubles(desk)
    assert "is off" in told
    assert (await desk.states())["a"].disabled


async def test_what_not_even_the_inbox_takes_goes_into_a_file(desk: Any):
    file = MemoryChannel("file", kind="file")
    desk.inbox.fail_next(PermanentError("full"))
    dispatcher = await desk.dispatcher(file)
    await desk.put("result", target="inbox")
    await dispatcher.run_until_idle()
    assert [(message.to, message.text) for message in file.sent] == [("undelivered.md", "result")]
    file.fail_next(PermanentError("no room"))
    desk.inbox.fail_next(PermanentError("full"))
    await desk.put("lost", target="inbox")
    await dispatcher.run_until_idle()
    # Below the file there is nothing: it stands there as failed.
    assert [line.target for line in await desk.lines(statuses=("failed",))] == ["inbox", "inbox", FILE]


@pytest.mark.parametrize("wanted", [True, False])
async def test_a_task_may_ask_for_its_result_at_least_once(desk: Any, wanted: bool):
    await desk.add_task(delivery=json.dumps({"channels": ["a"], "at_least_once": wanted}))

    def end(tx: Any) -> None:
        outbox.announce(tx, tasks.get(tx, "task_1"), "task.succeeded", {})

    await desk.ledger.write(end)
    (line,) = await desk.lines()
    assert (line.target, line.at_least_once) == ("a", wanted)
