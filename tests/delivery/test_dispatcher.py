from typing import Any

import pytest

from tawny.clock import HOUR, MINUTE, SECOND
from tawny.delivery.channel import AmbiguousSend, ChannelDown, ChannelSettings
from tawny.delivery.dispatcher import Manners
from tawny.domain import notify
from tawny.domain.messages import Button, Outgoing
from tawny.engine import commands
from tawny.errors import Conflict, PermanentError, TemporaryError
from tawny.ledger import deliveries, outbox
from tawny.testing import MemoryChannel


async def test_a_message_arrives_and_leaves_a_receipt(desk: Any):
    channel = MemoryChannel("a")
    dispatcher = await desk.dispatcher(channel)
    delivery_id = await desk.put("hello", target="a:7#3")
    await dispatcher.run_until_idle()
    assert channel.texts == ["hello"]
    assert (channel.sent[0].to, channel.sent[0].thread, channel.sent[0].key) == ("7", "3", delivery_id)
    line = await desk.line(delivery_id)
    assert (line.status, line.receipt.ids, line.sent_to) == ("delivered", ("1",), "a:7#3")
    assert "delivery.sent" in await desk.events()


async def test_a_running_dispatcher_hears_of_a_new_message_without_polling(desk: Any):
    channel = MemoryChannel("a")
    dispatcher = await desk.dispatcher(channel)
    async with desk.running(dispatcher):
        await desk.clock.settle()
        commits = desk.ledger.commits
        await desk.clock.advance("1h")
        assert desk.ledger.commits == commits
        await desk.put("hello")
        await desk.until(lambda: channel.texts == ["hello"])


async def test_order_is_kept_within_a_conversation_and_others_go_on(desk: Any):
    slow, quick = MemoryChannel("slow"), MemoryChannel("quick")
    slow.hold()
    dispatcher = await desk.dispatcher(slow, quick)
    async with desk.running(dispatcher):
        for number in range(5):
            await desk.put(f"s{number}", target="slow:1")
            await desk.put(f"q{number}", target="quick:1")
        await desk.until(lambda: len(quick.sent) == 5)
        assert slow.sent == []
        slow.release()
        await desk.until(lambda: len(slow.sent) == 5)
    assert quick.texts == [f"q{number}" for number in range(5)]
    assert slow.texts == [f"s{number}" for number in range(5)]


async def test_a_send_that_did_not_happen_is_tried_again_after_5_25_120_600_seconds(desk: Any):
    channel = MemoryChannel("a")
    channel.fail_next(*[TemporaryError("refused") for _ in range(4)])
    dispatcher = await desk.dispatcher(channel)
    delivery_id = await desk.put("hello")
    async with desk.running(dispatcher):
        for attempt, delay in enumerate((5, 25, 120, 600), start=1):
            await desk.until(lambda attempt=attempt: channel.attempts == attempt)
            await desk.clock.settle()
            await desk.clock.advance(delay - 1)
            assert channel.attempts == attempt
            await desk.clock.advance(1)
        await desk.until(lambda: channel.texts == ["hello"])
        await desk.clock.settle()
    line = await desk.line(delivery_id)
    assert (line.status, line.attempts) == ("delivered", 5)


async def test_a_server_that_is_back_after_an_hour_gets_everything_once_and_in_order(desk: Any):
    channel = MemoryChannel("a")
    dispatcher = await desk.dispatcher(channel, default="inbox")
    down = desk.clock.now() + HOUR
    real_send = channel.send

    async def send(message: Outgoing):
        if desk.clock.now() < down:
            raise TemporaryError("connection refused")
        return await real_send(message)

    channel.send = send  # type: ignore[method-assign]
    for number in range(3):
        await desk.put(f"m{number}")
    async with desk.running(dispatcher):
        while not channel.sent:
            await desk.until(lambda: channel.sent or desk.clock.next_due() is not None)
            if (due := desk.clock.next_due()) is not None:
                await desk.clock.advance((due - desk.clock.now()) / SECOND)
        await desk.until(lambda: len(channel.sent) == 3 and desk.inbox.sent)
    assert desk.clock.now() - down < HOUR
    assert channel.texts == ["m0", "m1", "m2"]
    assert [message.title for message in desk.inbox.sent] == ["Channel trouble"]


async def test_a_wait_the_other_side_asks_for_is_kept_and_costs_no_attempt(desk: Any):
    channel = MemoryChannel("a")
    channel.fail_next(TemporaryError("slow down", retry_after=40))
    dispatcher = await desk.dispatcher(channel)
    delivery_id = await desk.put("hello")
    async with desk.running(dispatcher):
        await desk.until(lambda: channel.attempts == 1)
        await desk.clock.settle()
        await desk.clock.advance(39)
        assert channel.attempts == 1
        await desk.clock.advance(2)
        await desk.until(lambda: channel.texts == ["hello"])
        await desk.clock.settle()
    assert (await desk.line(delivery_id)).attempts == 1


async def test_an_ambiguous_send_is_shown_as_unknown_and_never_repeated(desk: Any):
    channel = MemoryChannel("a")
    channel.fail_next(AmbiguousSend("no answer"))
    dispatcher = await desk.dispatcher(channel)
    await desk.add_task()
    delivery_id = await desk.put("result", task_id="task_1", transition="task.succeeded")
    async with desk.running(dispatcher):
        await desk.until(lambda: desk.inbox.sent)
        await desk.clock.advance("20h")
    assert channel.attempts == 1
    assert await desk.status(delivery_id) == "unknown"
    assert await desk.task_status() == "unknown"
    assert "delivery.unknown" in await desk.events()
    assert desk.inbox.texts == ["result"]


async def test_after_an_unknown_the_conversation_goes_on(desk: Any):
    channel = MemoryChannel("a")
    channel.fail_next(AmbiguousSend("no answer"))
    dispatcher = await desk.dispatcher(channel)
    await desk.put("one")
    await desk.put("two")
    await dispatcher.run_until_idle()
    assert channel.texts == ["two"]


async def test_a_channel_that_can_tell_is_asked(desk: Any):
    channel = MemoryChannel("a", knows=True)
    channel.fail_next(AmbiguousSend("lost on the way back", partial=("1",)))
    dispatcher = await desk.dispatcher(channel)
    arrived = await desk.put("arrived")
    await dispatcher.run_until_idle()
    assert (await desk.status(arrived), channel.texts) == ("delivered", ["arrived"])

    channel.fail_next(AmbiguousSend("lost on the way there"))
    lost = await desk.put("lost")
    async with desk.running(dispatcher):
        await desk.until(lambda: channel.attempts == 2)
        await desk.clock.settle()
        await desk.clock.advance(6)
        await desk.until(lambda: channel.texts == ["arrived", "lost"])
        await desk.clock.settle()
    assert await desk.status(lost) == "delivered"


async def test_an_idempotent_channel_gets_the_same_key_again(desk: Any):
    channel = MemoryChannel("a", idempotent=True)
    channel.fail_next(AmbiguousSend("no answer", partial=("1",)))
    dispatcher = await desk.dispatcher(channel)
    delivery_id = await desk.put("hello")
    async with desk.running(dispatcher):
        await desk.until(lambda: channel.attempts == 1)
        await desk.clock.settle()
        await desk.clock.advance(6)
        await desk.until(lambda: channel.attempts == 2)
        await desk.clock.settle()
    assert channel.texts == ["hello"]
    assert await desk.status(delivery_id) == "delivered"


async def test_only_who_asks_for_at_least_once_gets_a_marked_repeat(desk: Any):
    channel = MemoryChannel("a")
    channel.fail_next(AmbiguousSend("no answer", partial=("1",)))
    dispatcher = await desk.dispatcher(channel)
    await desk.put("hello", at_least_once=True)
    async with desk.running(dispatcher):
        await desk.until(lambda: channel.attempts == 1)
        await desk.clock.settle()
        await desk.clock.advance(6)
        await desk.until(lambda: len(channel.sent) == 2)
    assert channel.texts[1].startswith("(This may have reached you before.)")


async def test_a_broken_channel_costs_nobody_else(desk: Any):
    bad, good = MemoryChannel("bad"), MemoryChannel("good")
    bad.fail_next(ZeroDivisionError("bug"))
    dispatcher = await desk.dispatcher(bad, good)
    broken = await desk.put("x", target="bad")
    await desk.put("y", target="good")
    await dispatcher.run_until_idle()
    assert good.texts == ["y"]
    assert await desk.status(broken) == "unknown"


async def test_the_ladder_leads_from_the_thread_to_the_default_to_the_inbox(desk: Any):
    origin, home = MemoryChannel("origin"), MemoryChannel("home")
    origin.fail_next(PermanentError("chat not found"))
    home.fail_next(PermanentError("blocked"))
    dispatcher = await desk.dispatcher(origin, home, default="home")
    await desk.add_task()
    await desk.put("result", task_id="task_1", transition="task.succeeded", target="origin:9#1")
    await dispatcher.run_until_idle()
    assert desk.inbox.texts == ["result"]
    lines = await desk.lines()
    assert [(line.target, line.status) for line in lines] == [
        ("origin:9#1", "failed"),
        ("default", "failed"),
        ("inbox", "delivered"),
    ]
    assert lines[1].fallback_of == lines[0].delivery_id
    # It was named and not reached: that stays said.
    assert await desk.task_status() == "failed"


async def test_the_default_counts_as_reached_wherever_the_person_was(desk: Any):
    home = MemoryChannel("home")
    home.fail_next(PermanentError("blocked"))
    dispatcher = await desk.dispatcher(home, default="home")
    await desk.add_task()
    await desk.put("result", task_id="task_1", transition="task.succeeded", target="default")
    await dispatcher.run_until_idle()
    assert desk.inbox.texts == ["result"]
    assert await desk.task_status() == "delivered"


async def test_an_unknown_channel_is_no_black_hole(desk: Any):
    dispatcher = await desk.dispatcher()
    delivery_id = await desk.put("hello", target="pigeon:7")
    await dispatcher.run_until_idle()
    assert "no channel 'pigeon'" in str((await desk.line(delivery_id)).error)
    assert desk.inbox.texts == ["hello"]


async def test_a_bad_token_disables_one_channel_with_one_alert(desk: Any):
    bad, home = MemoryChannel("bad"), MemoryChannel("home")
    bad.fail_next(*[ChannelDown("the token is not valid", hint="make a new one")] * 3)
    dispatcher = await desk.dispatcher(bad, home, default="home")
    for number in range(3):
        await desk.put(f"m{number}", target=f"bad:{number}")
    await dispatcher.run_until_idle()
    alerts = [message for message in home.sent if message.title == "Channel trouble"]
    assert len(alerts) == 1
    assert "make a new one" in alerts[0].text
    assert sorted(message.text for message in home.sent if message not in alerts) == ["m0", "m1", "m2"]
    assert (await desk.states())["bad"].disabled == "the token is not valid"


async def test_long_messages_arrive_in_pieces_and_only_missing_ones_are_sent_again(desk: Any):
    channel = MemoryChannel("a", text_limit=40)
    dispatcher = await desk.dispatcher(channel)
    text = "\n\n".join(letter * 30 for letter in "abc")
    delivery_id = await desk.put(text, message=Outgoing(key="", text=text, buttons=(Button("Yes", "yes"),)))
    original, count = channel.send, 0

    async def send(message: Outgoing):
        nonlocal count
        count += 1
        if count == 2:
            raise TemporaryError("refused")
        return await original(message)

    channel.send = send  # type: ignore[method-assign]
    async with desk.running(dispatcher):
        await desk.until(lambda: count == 2)
        await desk.clock.settle()
        await desk.clock.advance(6)
        await desk.until(lambda: len(channel.sent) == 3)
        await desk.clock.settle()
    assert channel.texts == [letter * 30 for letter in "abc"]
    assert [message.key for message in channel.sent] == [delivery_id, f"{delivery_id}.1", f"{delivery_id}.2"]
    assert [len(message.buttons) for message in channel.sent] == [0, 0, 1]
    assert (await desk.line(delivery_id)).receipt.ids == ("1", "2", "3")


async def test_without_buttons_choices_are_numbered(desk: Any):
    channel = MemoryChannel("a", has_buttons=False)
    dispatcher = await desk.dispatcher(channel)
    buttons = (Button("Approve", "approve:1"), Button("Deny", "deny:1"))
    await desk.put("", message=Outgoing(key="", text="Pay?", buttons=buttons))
    await dispatcher.run_until_idle()
    assert channel.texts == ["Pay?\n\n1. Approve\n2. Deny\n\nReply with the number."]


async def test_what_is_too_old_is_not_told(desk: Any):
    channel = MemoryChannel("a")
    dispatcher = await desk.dispatcher(channel)
    await desk.add_task()
    started = await desk.put("started", task_id="task_1", transition="task.started@1")
    done = await desk.put("done", task_id="task_1", transition="task.succeeded")
    await desk.clock.advance("7d")
    await dispatcher.run_until_idle()
    assert channel.sent == []
    assert (await desk.status(started), await desk.status(done)) == ("expired", "expired")
    assert desk.inbox.texts == ["done"]


async def test_quiet_hours_hold_and_the_severe_breaks_through(desk: Any):
    channel = MemoryChannel("a")
    quiet = notify.parse_quiet_hours("22:00-07:00")
    desk.clock.set(desk.clock.now() + 15 * HOUR)
    dispatcher = await desk.dispatcher(channel, manners=Manners(quiet=quiet))
    await desk.put("first", transition="task.succeeded")
    await desk.put("second", transition="task.failed")
    await desk.put("fire", transition="task.failed", severity="critical")
    await desk.put("an answer", transition="reply")
    async with desk.running(dispatcher):
        await desk.until(lambda: len(channel.sent) == 2)
        await desk.clock.settle()
        assert channel.texts == ["fire", "an answer"]
        await desk.clock.advance("7h59m")
        assert len(channel.sent) == 2
        await desk.clock.advance("2m")
        await desk.until(lambda: len(channel.sent) == 3)
        await desk.clock.settle()
    assert "first" in channel.texts[2]
    assert "second" in channel.texts[2]
    assert {line.status for line in await desk.lines()} == {"delivered"}


async def test_neither_a_question_nor_news_for_a_machine_waits_for_the_morning(desk: Any):
    person, machine = MemoryChannel("a"), MemoryChannel("ops", kind="webhook")
    desk.clock.set(desk.clock.now() + 15 * HOUR)
    quiet = notify.parse_quiet_hours("22:00-07:00")
    dispatcher = await desk.dispatcher(person, machine, manners=Manners(quiet=quiet))
    asks = Outgoing(key="", text="which of the two?", buttons=(Button("This", "pick:1"),))
    await desk.put("", message=asks, transition="task.succeeded")
    await desk.put("news", transition="task.succeeded")
    await desk.put("event", target="ops", transition="task.succeeded")
    await dispatcher.run_until_idle()
    assert (person.texts, machine.texts) == (["which of the two?"], ["event"])


async def test_a_hundred_events_in_a_minute_are_one_digest(desk: Any):
    channel = MemoryChannel("a")
    dispatcher = await desk.dispatcher(channel, manners=Manners(digest=10 * MINUTE))
    async with desk.running(dispatcher):
        for number in range(100):
            await desk.put(f"event {number:03d}", transition="task.succeeded")
        await desk.until(desk.all_held)
        await desk.clock.advance("11m")
        await desk.until(lambda: channel.sent)
        await desk.clock.settle()
    text = "".join(channel.texts)
    assert all(f"event {number:03d}" in text for number in range(100))
    assert text.index("event 001") < text.index("event 099")
    assert len({message.key.partition(".")[0] for message in channel.sent}) == 1
    assert {line.status for line in await desk.lines()} == {"delivered"}


async def test_a_digest_that_fails_is_retried_whole_and_only_once(desk: Any):
    channel = MemoryChannel("a")
    channel.fail_next(TemporaryError("refused"))
    dispatcher = await desk.dispatcher(channel, manners=Manners(digest=10 * MINUTE))
    async with desk.running(dispatcher):
        await desk.put("one", transition="task.succeeded")
        await desk.put("two", transition="task.succeeded")
        await desk.until(desk.all_held)
        await desk.clock.advance("10m")
        await desk.until(lambda: channel.attempts == 1)
        await desk.clock.settle()
        await desk.clock.advance("6s")
        await desk.until(lambda: len(channel.sent) == 1)
        await desk.clock.settle()
    assert "one" in channel.texts[0]
    assert "two" in channel.texts[0]


async def test_one_incident_is_one_message_until_it_is_over(desk: Any):
    channel = MemoryChannel("a")
    dispatcher = await desk.dispatcher(channel)
    for number in range(5):
        await desk.put(f"down {number}", incident="failing:auto_1")
    await dispatcher.run_until_idle()
    assert channel.texts == ["down 0"]
    await desk.ledger.write(lambda tx: outbox.close_incident(tx, "failing:auto_1"))
    await desk.put("down again", incident="failing:auto_1")
    await dispatcher.run_until_idle()
    assert channel.texts == ["down 0", "down again"]


async def test_a_channel_for_failures_gets_failures(desk: Any):
    ops, home = MemoryChannel("ops"), MemoryChannel("home")
    settings = {"ops": ChannelSettings(failures_only=True), "home": ChannelSettings()}
    dispatcher = await desk.dispatcher(ops, home, settings=settings)
    await desk.add_task()
    await desk.put("broke", task_id="task_1", transition="task.failed", target=notify.MONITORS)
    await desk.put("fine", target="default")
    await dispatcher.run_until_idle()
    assert (ops.texts, home.texts) == (["broke"], ["fine"])


async def test_the_same_transition_is_owed_once(desk: Any):
    await desk.add_task()
    message = Outgoing(key="", text="done")

    def put(tx: Any) -> str | None:
        return outbox.put(tx, task_id="task_1", transition="task.succeeded", target="a", message=message)

    assert await desk.ledger.write(put) is not None
    assert await desk.ledger.write(put) is None


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ("silent", ["May I?"]),
        ("on_failure", ["failed", "May I?"]),
        ("done_only", ["failed", "done", "May I?"]),
        ("state_changes", ["failed", "started", "done", "May I?"]),
    ],
)
async def test_what_a_task_owes_and_no_longer_wants_to_tell_is_not_told(
    desk: Any, policy: str, said: list[str]
):
    channel = MemoryChannel("a")
    dispatcher = await desk.dispatcher(channel)
    await desk.add_task(status="running")
    await desk.put("failed", task_id="task_1", transition="task.failed")
    await desk.put("started", task_id="task_1", transition="task.started@1")
    await desk.put("done", task_id="task_1", transition="task.succeeded")
    await desk.put("May I?", task_id="task_1", transition="approval.requested:appr_1")
    await desk.ledger.write(lambda tx: commands.set_notify(tx, "task_1", policy))
    await dispatcher.run_until_idle()
    assert [message.text for message in channel.sent] == said
    if policy == "silent":
        assert await desk.task_status() == "suppressed"


async def test_an_ended_task_keeps_in_what_it_still_owes_and_is_changed_no_further(desk: Any):
    channel = MemoryChannel("a")
    dispatcher = await desk.dispatcher(channel)
    await desk.add_task()
    await desk.put("done", task_id="task_1", transition="task.succeeded")
    task = await desk.ledger.write(lambda tx: commands.set_notify(tx, "task_1", "silent"))
    await dispatcher.run_until_idle()
    assert channel.sent == []
    assert task.delivery_status == "suppressed"
    with pytest.raises(Conflict, match="ended already"):
        await desk.ledger.write(lambda tx: commands.set_notify(tx, "task_1", "silent"))


async def test_hushing_one_task_costs_no_other_that_travels_with_it(desk: Any):
    channel = MemoryChannel("a")
    dispatcher = await desk.dispatcher(channel, manners=Manners(digest=MINUTE))
    await desk.add_task("task_1", status="running")
    await desk.add_task("task_2")
    await desk.put("first", task_id="task_1", transition="task.succeeded")
    await desk.put("second", task_id="task_2", transition="task.succeeded")
    async with desk.running(dispatcher):
        await desk.until(desk.all_held)
        channel.fail_next(TemporaryError("not now"))
        await desk.clock.advance("2m")
        await desk.until(lambda: channel.attempts)
        await desk.clock.settle()
        # Both travel in one message now, which waits to be tried again.
        await desk.ledger.write(lambda tx: commands.set_notify(tx, "task_1", "silent"))
        await desk.clock.advance("6s")
        await desk.until(lambda: channel.sent)
    assert "second" in channel.sent[0].text


async def test_a_person_may_have_an_unknown_sent_again(desk: Any):
    channel = MemoryChannel("a")
    channel.fail_next(AmbiguousSend("no answer"))
    dispatcher = await desk.dispatcher(channel)
    await desk.add_task()
    first = await desk.put("done", task_id="task_1", transition="task.succeeded")
    await dispatcher.run_until_idle()
    again = await desk.ledger.write(lambda tx: outbox.resend(tx, first))
    await dispatcher.run_until_idle()
    assert channel.texts == ["done"]
    assert (await desk.line(again)).generation == 2
    assert await desk.task_status() == "delivered"
    with pytest.raises(Conflict, match="is delivered"):
        await desk.ledger.write(lambda tx: outbox.resend(tx, again))


@pytest.mark.parametrize(
    ("how", "status", "copies"),
    [
        ({"idempotent": True}, "delivered", 1),
        ({"knows": True}, "delivered", 1),
        ({}, "unknown", 1),
    ],
)
@pytest.mark.parametrize("arrived", [True, False])
async def test_what_a_dead_process_was_sending(
    desk: Any, how: dict[str, Any], status: str, copies: int, arrived: bool
):
    channel = MemoryChannel("a", **how)
    delivery_id = await desk.put("hello")
    claimed = await desk.ledger.write(
        lambda tx: deliveries.claim(tx, "a", sender="a dead process", plan=lambda *_: None)
    )
    assert claimed is not None
    if arrived:
        await channel.send(claimed.message)
    dispatcher = await desk.dispatcher(channel)
    await dispatcher.run_until_idle()
    await desk.clock.advance("10s")
    await dispatcher.run_until_idle()
    assert await desk.status(delivery_id) == status
    assert len(channel.sent) == (copies if arrived or status == "delivered" else 0)


async def test_shutdown_lets_a_send_finish(desk: Any):
    channel = MemoryChannel("a")
    channel.hold()
    dispatcher = await desk.dispatcher(channel)
    delivery_id = await desk.put("hello")
    async with desk.running(dispatcher):
        await desk.until(lambda: channel.attempts == 1)
        channel.release()
    assert await desk.status(delivery_id) == "delivered"


async def test_news_that_two_targets_bring_to_one_place_is_told_there_once(desk: Any):
    channel = MemoryChannel("a")
    channel.home_address = "7"
    dispatcher = await desk.dispatcher(channel)
    await desk.add_task()
    for target in ("a", "a:7", "a:8"):
        await desk.put("May I?", task_id="task_1", transition="approval:appr_1", target=target)
    await dispatcher.run_until_idle()
    assert sorted(message.to for message in channel.sent) == ["7", "8"]
