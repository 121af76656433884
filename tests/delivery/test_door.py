from typing import Any

import pytest

from tawny.delivery.channel import ChatSettings
from tawny.delivery.door import Door
from tawny.domain.messages import Attachment, Button, Inbound, Outgoing
from tawny.errors import NotFound
from tawny.ledger import channels
from tawny.testing import MemoryChannel


class Hall:
    """A door with a channel before it and a list behind it."""

    def __init__(
        self, desk: Any, channel: MemoryChannel, dispatcher: Any, rules: ChatSettings | None
    ) -> None:
        self.desk = desk
        self.channel = channel
        self.dispatcher = dispatcher
        self.inside: list[Inbound] = []
        self.door = Door(desk.ledger, channel, rules, self._accept)
        self._count = 0

    async def _accept(self, inbound: Inbound) -> None:
        self.inside.append(inbound)

    async def say(self, text: str = "", *, sender: str = "1234567", event_id: str = "", **more: Any) -> None:
        self._count += 1
        more.setdefault("conversation", sender)
        await self.door(
            Inbound(channel="a", event_id=event_id or str(self._count), sender=sender, text=text, **more)
        )
        await self.dispatcher.run_until_idle()

    @property
    def actions(self) -> list[str]:
        return [inbound.action for inbound in self.inside]


@pytest.fixture
async def hall(desk: Any) -> Any:
    async def build(rules: ChatSettings | None = None, **channel: Any) -> Hall:
        made = MemoryChannel("a", **channel)
        return Hall(desk, made, await desk.dispatcher(made), rules or ChatSettings(allow=(1234567,)))

    return build


async def test_the_same_event_comes_in_once(hall: Any):
    it = await hall()
    await it.say("hello", event_id="7")
    await it.say("hello", event_id="7")
    assert len(it.inside) == 1


@pytest.mark.parametrize("sender", ["", " ", "567", "1", "12345678", "@owner", "1234567 ", "0x12d687"])
async def test_only_the_whole_immutable_id_opens_the_door(hall: Any, sender: str):
    it = await hall(ChatSettings(allow=(1234567,), pairing=False))
    await it.say("let me in", sender=sender, sender_name="1234567")
    assert it.inside == []
    assert it.channel.sent == []


async def test_an_empty_list_lets_nobody_in(hall: Any):
    it = await hall(ChatSettings(pairing=False))
    await it.say("hello")
    assert it.inside == []


async def test_a_stranger_gets_a_code_and_nothing_else(hall: Any):
    it = await hall()
    await it.say("what does the owner do today?", sender="666")
    await it.say("hello?", sender="666")
    assert it.inside == []
    assert len(it.channel.sent) == 1
    code = it.channel.texts[0].split()[-1]
    assert len(code) == 8
    assert set(code) <= set(channels.CODE_LETTERS)
    assert it.channel.sent[0].to == "666"


@pytest.mark.parametrize("odd", ["a\x00b", "a\ud83d", "\udc00b", "\x00"])
async def test_what_no_database_keeps_comes_in_without_it_and_stops_nothing(hall: Any, odd: str):
    it = await hall()
    more = {"sender_name": odd, "thread": odd, "reply_to": odd, "attachments": (Attachment(odd, path=odd),)}
    await it.say(odd, event_id=f"1{odd}", **more)
    await it.say(odd, event_id=f"2{odd}", sender=f"666{odd}", **more)
    await it.say("", event_id=f"3{odd}", action=odd)
    assert len(it.channel.sent) == 1
    said, tapped = it.inside
    for text in (
        said.text,
        said.sender_name,
        said.thread,
        said.event_id,
        said.attachments[0].name,
        tapped.action,
    ):
        assert "\x00" not in text
        text.encode()
    # Whose id it is stays certain: nobody becomes somebody else by what is left out.
    await it.say("let me in", sender="1234567\x00", event_id="4")
    assert len(it.inside) == 2


async def test_a_paired_stranger_is_let_in_alone_but_not_in_a_group(hall: Any, desk: Any):
    it = await hall(ChatSettings(allow=(1,), groups=("-5",)))
    await it.say("hi", sender="666")
    code = it.channel.texts[0].split()[-1]
    paired = await desk.ledger.write(lambda tx: channels.pair(tx, code.lower()))
    assert (paired.channel, paired.sender) == ("a", "666")
    await it.say("hi again", sender="666")
    await it.say("in the group", sender="666", conversation="-5", group=True)
    assert [inbound.text for inbound in it.inside] == ["hi again"]
    with pytest.raises(NotFound):
        await desk.ledger.write(lambda tx: channels.pair(tx, code))


async def test_a_code_lasts_an_hour_and_three_are_pending_at_most(hall: Any, desk: Any):
    it = await hall()
    for number in range(5):
        await it.say("hi", sender=f"66{number}")
    assert len(it.channel.sent) == 3
    code = it.channel.texts[0].split()[-1]
    await desk.clock.advance("61m")
    with pytest.raises(NotFound, match="no such pairing code"):
        await desk.ledger.write(lambda tx: channels.pair(tx, code))
    await it.say("hi", sender="669")
    assert len(it.channel.sent) == 4


async def test_a_strangers_button_does_nothing(hall: Any):
    it = await hall()
    await it.say(sender="666", action="approve:appr_1")
    assert it.inside == []
    assert it.channel.sent == []


async def test_groups_are_answered_on_mention_by_the_allowed_only(hall: Any):
    it = await hall(ChatSettings(allow=(1234567,), groups=(-5,)))
    await it.say("chatter", conversation="-5", group=True, mentioned=False)
    await it.say("you there", conversation="-5", group=True, mentioned=True)
    await it.say("you there", conversation="-6", group=True, mentioned=True)
    await it.say("you there", sender="666", conversation="-5", group=True, mentioned=True)
    await it.say("you there", sender="-5", conversation="-5", group=True, mentioned=True)
    assert [inbound.text for inbound in it.inside] == ["you there"]
    assert it.channel.sent == []


QUESTION = Outgoing(key="", text="Pay 100 €?", buttons=(Button("Approve", "yes:1"), Button("Deny", "no:1")))


@pytest.mark.parametrize(("reply", "action"), [("1", "yes:1"), ("2.", "no:1"), ("Deny", "no:1"), ("3", "")])
async def test_a_numbered_reply_is_a_tap(hall: Any, desk: Any, reply: str, action: str):
    it = await hall(has_buttons=False)
    await desk.put("", target="a:1234567", message=QUESTION)
    await it.dispatcher.run_until_idle()
    await it.say(reply)
    assert it.actions == [action]


async def test_a_number_answers_one_question_once(hall: Any, desk: Any):
    it = await hall(has_buttons=False)
    await desk.put("", target="a:1234567", message=QUESTION)
    await it.dispatcher.run_until_idle()
    await it.say("1")
    await it.say("1")
    assert it.actions == ["yes:1", ""]


async def test_with_two_questions_open_a_bare_number_is_asked_back(hall: Any, desk: Any):
    it = await hall(has_buttons=False)
    for number in (1, 2):
        buttons = (Button("Approve", f"yes:{number}"),)
        await desk.put("", target="a:1234567", message=Outgoing(key="", text=f"Q{number}", buttons=buttons))
    await it.dispatcher.run_until_idle()
    await it.say("1")
    assert it.inside == []
    assert "2 questions are open" in it.channel.texts[-1]
    await it.say("1", reply_to="1")
    assert it.actions == ["yes:1"]


async def test_a_number_in_another_conversation_answers_nothing(hall: Any, desk: Any):
    it = await hall(ChatSettings(allow=(1234567, 7654321)), has_buttons=False)
    await desk.put("", target="a:1234567", message=QUESTION)
    await it.dispatcher.run_until_idle()
    await it.say("1", sender="7654321")
    assert it.actions == [""]


async def test_what_the_house_could_not_keep_is_not_marked_as_taken_in(desk: Any):
    channel = MemoryChannel("a")
    calls = 0

    async def accept(inbound: Inbound) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise OSError(f"the disk is full for {inbound.event_id}")

    door = Door(desk.ledger, channel, None, accept)
    inbound = Inbound(channel="a", event_id="1", sender="1", text="hi")
    with pytest.raises(OSError, match="full"):
        await door(inbound)
    await door(inbound)
    await door(inbound)
    assert calls == 2


async def test_an_answer_the_house_could_not_keep_still_is_one_when_it_comes_again(desk: Any):
    channel = MemoryChannel("a", has_buttons=False)
    dispatcher = await desk.dispatcher(channel)
    await desk.put("", target="a:1234567", message=QUESTION)
    await dispatcher.run_until_idle()
    actions: list[str] = []

    async def accept(inbound: Inbound) -> None:
        actions.append(inbound.action)
        if len(actions) == 1:
            raise OSError("the disk is full")

    door = Door(desk.ledger, channel, None, accept)

    def said(event_id: str) -> Inbound:
        return Inbound(channel="a", event_id=event_id, sender="1234567", conversation="1234567", text="1")

    with pytest.raises(OSError, match="full"):
        await door(said("1"))
    await door(said("1"))
    await door(said("2"))
    assert actions == ["yes:1", "yes:1", ""]


async def test_the_first_who_paired_is_where_messages_go_by_default(hall: Any, desk: Any):
    it = await hall(ChatSettings())
    await it.say("hi", sender="42", conversation="4242")
    await desk.ledger.write(lambda tx: channels.pair(tx, it.channel.texts[0].split()[-1]))
    roster = it.dispatcher._roster
    roster.settings["a"] = ChatSettings()
    await desk.put("news", target="a")
    await it.dispatcher.run_until_idle()
    assert it.channel.sent[-1].to == "4242"
