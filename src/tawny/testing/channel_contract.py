"""The suite every channel passes. A plugin's test subclasses `ChannelContract` and gives a `rig` fixture.

    class TestPigeon(ChannelContract):
        @pytest.fixture
        async def rig(self):
            ...
            yield Rig(...)

The rig is the world around the channel: a real local server, or a fake that checks what it is asked.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tawny.clock import Instant, SystemClock
from tawny.delivery.channel import AmbiguousSend, Channel, ChannelDown, ChatSettings
from tawny.delivery.compose import compose
from tawny.delivery.dispatcher import Dispatcher
from tawny.delivery.door import Door
from tawny.delivery.roster import Roster, Route
from tawny.domain.messages import Attachment, Button, Inbound, Outgoing
from tawny.domain.sessions import COMMANDS, Command, parse_command
from tawny.errors import PermanentError, TemporaryError
from tawny.ledger import outbox
from tawny.ledger.database import Ledger
from tawny.ledger.migrations import migrate
from tawny.ledger.sqlite import SqliteStore

OWNER = "owner"
STRANGER = "stranger"


GARBAGE = (
    b"", b"null", b"[]", b"{}", b"7", b'"ok"', b"{\"ok\": tru", b"<html>captive portal</html>", b"\xff\xfe\x00\x01",
    b'{"ok": true, "result": [], "id": null, "ts": 5, "event_id": {}, "message": "x"}', b"[" * 3000,
)  # fmt: skip
"""What stands between us and a server, or its own bug, may answer a send with; none of it says what became of it."""


@dataclass
class Seen:
    """A message as it stands in the world: what a person at the other end has before them."""

    text: str
    conversation: str = ""
    thread: str = ""
    buttons: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


Step = Callable[..., Awaitable[Any] | Any]


@dataclass
class Rig:
    """A channel and the world around it. What a channel cannot do is left out, and its tests are skipped.

    Attributes:
        channel: the channel under test, open.
        seen: everything that has arrived, oldest first.
        to: an address somebody reads.
        say: `say(text, sender=OWNER or STRANGER, event=…, thread=…, group=…, mention=…)`: somebody speaks. Repeating
            an `event` is the world sending the same thing again.
        tap: `tap(label, sender=…)`: somebody taps a button of the last message.
        refuse, drop, slow_down, reject, lock_out: the next send is refused at the connection; done but not answered;
            told to wait; refused for good; refused for its credentials.
        answer: `answer(status, body, headers)`: the next send gets just this answer, and nothing else happens.
        hang: the next send is taken and never answered, for longer than anybody waits.
        reconnect: cut the connection on which messages come in.
        file: a file in the home that may be sent.
        allow: the id of OWNER as the channel's settings have it.
        now: the channel's clock.
    """

    channel: Channel
    seen: Callable[[], list[Seen]]
    to: str = ""
    thread: str = ""
    say: Step | None = None
    tap: Step | None = None
    refuse: Step | None = None
    drop: Step | None = None
    slow_down: Step | None = None
    reject: Step | None = None
    lock_out: Step | None = None
    answer: Step | None = None
    hang: Step | None = None
    reconnect: Step | None = None
    file: Attachment | None = None
    allow: tuple[int | str, ...] = ()
    groups: tuple[int | str, ...] = ()
    now: Callable[[], Instant] = field(default=SystemClock().now)
    plain: Callable[[str], str] = field(default=lambda text: text)
    settle: float = 10.0


async def _do(step: Step | None, *arguments: Any, why: str, **named: Any) -> Any:
    if step is None:
        pytest.skip(f"this channel has no {why}")
    result = step(*arguments, **named)
    return await result if asyncio.iscoroutine(result) else result


def _message(rig: Rig, text: str = "Hello there", **more: Any) -> Outgoing:
    more.setdefault("key", "dlv_contract_1")
    return Outgoing(text=text, to=rig.to, **more)


def _pieces(rig: Rig, message: Outgoing) -> list[Outgoing]:
    """The message as the dispatcher would hand it over."""
    return compose(message, Route(rig.channel, rig.to, "", ""))


class Listening:
    """A channel listening through its door, and what came in."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.inside: list[Inbound] = []
        self.tries = 0

    async def accept(self, inbound: Inbound) -> None:
        self.inside.append(inbound)

    async def until(self, count: int, *, seconds: float) -> None:
        async with asyncio.timeout(seconds):
            while len(self.inside) < count:
                await asyncio.sleep(0.01)

    async def stays(self, count: int, *, seconds: float = 0.3) -> None:
        """Nothing more comes in; what was said last has, so what came earlier had its chance."""
        await asyncio.sleep(seconds)
        assert len(self.inside) == count, [inbound.text for inbound in self.inside]


@contextlib.asynccontextmanager
async def listening(
    rig: Rig, folder: Path, *, accept: Callable[[Inbound], Awaitable[None]] | None = None
) -> AsyncGenerator[Listening]:
    """The channel listening through its door (or to `accept`), as the house does it: restarted when it breaks."""
    store = SqliteStore(folder / "contract.db")
    clock = SystemClock()
    migrate(store, clock)
    async with Ledger(store, clock) as ledger:
        heard = Listening(ledger)
        rules = ChatSettings(allow=rig.allow, groups=rig.groups) if rig.allow else None
        guard = Door(ledger, rig.channel, rules, heard.accept)

        async def listen() -> None:
            while True:
                heard.tries += 1
                try:
                    await rig.channel.listen(accept or guard)
                except (TemporaryError, AmbiguousSend, OSError):
                    await asyncio.sleep(0.05)
                else:
                    return

        task = asyncio.ensure_future(listen())  # noqa: TID251 - its owner is this block, which ends it
        try:
            yield heard
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


class ChannelContract:
    """The tests. Each takes the `rig` fixture of the subclass."""

    async def test_a_channel_says_what_it_can(self, rig: Rig) -> None:
        channel = rig.channel
        assert channel.name
        assert channel.kind
        assert channel.text_limit >= 32
        for fact in (channel.can_edit, channel.has_buttons, channel.idempotent, channel.files_apart):
            assert isinstance(fact, bool)

    async def test_what_is_sent_arrives_and_leaves_a_receipt(self, rig: Rig) -> None:
        receipt = await rig.channel.send(_message(rig))
        assert receipt.ids
        assert all(isinstance(each, str) and each for each in receipt.ids)
        assert ["Hello there" in seen.text for seen in rig.seen()] == [True]

    async def test_text_that_looks_like_markup_arrives_whole(self, rig: Rig) -> None:
        text = "a < b & c > d, 2*3*4, snake_case_name, [x](y), `code`, <script>alert(1)</script>, € 漢字 😀"
        await rig.channel.send(_message(rig, text))
        arrived = rig.seen()[-1].text
        for part in ("a < b & c > d", "snake_case_name", "code", "<script>alert(1)</script>", "€ 漢字 😀"):
            assert part in arrived

    async def test_a_message_as_long_as_the_limit_arrives(self, rig: Rig) -> None:
        limit = min(rig.channel.text_limit, 200_000)
        text = ("word " * limit)[: limit - 1] + "."
        for piece in _pieces(rig, _message(rig, text)):
            await rig.channel.send(piece)
        arrived = " ".join(seen.text for seen in rig.seen())
        assert arrived.count("word") >= text.count("word") - 1

    async def test_long_code_arrives_in_pieces_each_in_its_fence(self, rig: Rig) -> None:
        if rig.channel.text_limit > 50_000:
            pytest.skip("this channel needs no pieces")
        code = "\n".join(f"line_{number} = {number}" for number in range(rig.channel.text_limit // 8))
        pieces = _pieces(rig, _message(rig, f"```python\n{code}\n```"))
        assert len(pieces) > 1
        for piece in pieces:
            await rig.channel.send(piece)
        arrived = "\n".join(seen.text for seen in rig.seen())
        assert all(f"line_{number} = {number}" in arrived for number in range(rig.channel.text_limit // 8))

    async def test_a_refused_connection_is_temporary_and_nothing_arrived(self, rig: Rig) -> None:
        await _do(rig.refuse, why="connection that can be refused")
        with pytest.raises(TemporaryError):
            await rig.channel.send(_message(rig))
        assert rig.seen() == []

    async def test_an_answer_that_never_comes_is_ambiguous(self, rig: Rig) -> None:
        await _do(rig.drop, why="answer that can be lost")
        try:
            await rig.channel.send(_message(rig))
        except AmbiguousSend:
            return
        assert rig.channel.idempotent, "a send was repeated, and nothing made the repeat harmless"
        assert len(rig.seen()) == 1

    async def test_after_a_lost_answer_the_message_is_there_once(self, rig: Rig) -> None:
        tried_at = rig.now()
        await _do(rig.drop, why="answer that can be lost")
        with contextlib.suppress(AmbiguousSend):
            await rig.channel.send(_message(rig))
        try:
            receipt = await rig.channel.reconcile(_message(rig, tried_at=tried_at))
        except AmbiguousSend:
            pass
        else:
            assert receipt is not None
        if rig.channel.idempotent:
            await rig.channel.send(_message(rig))
        assert len(rig.seen()) == 1

    async def test_a_message_that_never_went_out_is_not_found_by_asking(self, rig: Rig) -> None:
        await rig.channel.send(_message(rig, "Before", key="dlv_before"))
        try:
            found = await rig.channel.reconcile(_message(rig, key="dlv_never_sent", tried_at=rig.now()))
        except AmbiguousSend:
            pytest.skip("this channel cannot tell")
        # One that looks by sending again under the same key has sent it by that.
        assert ["Hello there" in seen.text for seen in rig.seen()] == [False] + [True] * (found is not None)

    async def test_a_wait_asked_for_is_passed_on(self, rig: Rig) -> None:
        await _do(rig.slow_down, 7, why="limit")
        with pytest.raises(TemporaryError) as error:
            await rig.channel.send(_message(rig))
        assert error.value.retry_after is not None
        assert error.value.retry_after >= 7
        assert rig.seen() == []

    @pytest.mark.parametrize("status", [500, 502, 503, 504, 520, 599])
    async def test_a_server_in_trouble_refuses_nothing_for_good(self, rig: Rig, status: int) -> None:
        await _do(rig.answer, status, b"<html>trouble</html>", {}, why="answers of HTTP")
        with pytest.raises((TemporaryError, AmbiguousSend)):
            await rig.channel.send(_message(rig))
        await self._works_again(rig)

    @pytest.mark.parametrize("body", GARBAGE)
    async def test_an_answer_of_garbage_is_a_receipt_or_a_doubt(self, rig: Rig, body: bytes) -> None:
        await _do(rig.answer, 200, body, {}, why="answers of HTTP")
        try:
            receipt = await rig.channel.send(_message(rig))
        except AmbiguousSend:
            pass
        else:
            assert rig.channel.idempotent, "nobody knows whether that has arrived"
            assert receipt.ids
        await self._works_again(rig)

    @pytest.mark.parametrize(
        ("wait", "least", "most"),
        [("", 1, 3600), ("3", 3, 3), ("0", 0, 1), ("-5", 0, 3600), ("soon", 1, 3600), ("1e9", 60, 3600),
         ("nan", 0, 3600), ("Wed, 21 Oct 2099 07:28:00 GMT", 1, 3600)],
    )  # fmt: skip
    async def test_whatever_a_limit_says_the_wait_is_a_sensible_one(
        self, rig: Rig, wait: str, least: float, most: float
    ) -> None:
        headers = {"retry-after": wait} if wait else {}
        await _do(rig.answer, 429, b"{}", headers, why="answers of HTTP")
        with pytest.raises(TemporaryError) as error:
            await rig.channel.send(_message(rig))
        assert error.value.retry_after is not None
        assert least <= error.value.retry_after <= most
        await self._works_again(rig)

    async def test_a_server_that_hangs_costs_no_more_than_a_doubt(self, rig: Rig) -> None:
        await _do(rig.hang, why="answer to wait for")
        async with asyncio.timeout(120):
            with pytest.raises(AmbiguousSend):
                await rig.channel.send(_message(rig))
        await self._works_again(rig)

    async def _works_again(self, rig: Rig) -> None:
        """The trouble is over: the next message arrives."""
        await rig.channel.send(_message(rig, "It works again", key="dlv_contract_2"))
        assert "It works again" in rig.seen()[-1].text

    async def test_a_refusal_for_good_is_permanent(self, rig: Rig) -> None:
        await _do(rig.reject, why="refusal")
        with pytest.raises(PermanentError) as error:
            await rig.channel.send(_message(rig))
        assert not isinstance(error.value, ChannelDown)

    async def test_wrong_credentials_take_the_channel_down(self, rig: Rig) -> None:
        await _do(rig.lock_out, why="credentials")
        with pytest.raises(ChannelDown):
            await rig.channel.send(_message(rig))

    async def test_an_edit_replaces_the_message(self, rig: Rig) -> None:
        if not rig.channel.can_edit:
            pytest.skip("this channel cannot edit")
        receipt = await rig.channel.send(_message(rig, "10 %"))
        await rig.channel.edit(receipt, _message(rig, "90 %"))
        await rig.channel.edit(receipt, _message(rig, "90 %"))
        assert [seen.text.strip() for seen in rig.seen()] == ["90 %"]

    async def test_a_message_goes_into_its_thread(self, rig: Rig) -> None:
        if not rig.thread:
            pytest.skip("this channel has no threads")
        await rig.channel.send(_message(rig, thread=rig.thread))
        assert rig.seen()[-1].thread == rig.thread

    async def test_a_file_arrives(self, rig: Rig) -> None:
        if rig.file is None:
            pytest.skip("this channel carries no files")
        for piece in _pieces(rig, _message(rig, "See the file", attachments=(rig.file,))):
            await rig.channel.send(piece)
        assert [name for seen in rig.seen() for name in seen.files] == [rig.file.name]

    async def test_buttons_are_shown(self, rig: Rig) -> None:
        message = _message(rig, "May I?", buttons=(Button("Approve", "pick:1"), Button("Deny", "pick:2")))
        for piece in _pieces(rig, message):
            await rig.channel.send(piece)
        seen = rig.seen()[-1]
        if rig.channel.has_buttons and rig.tap is not None:
            assert seen.buttons == ("Approve", "Deny")
        elif not rig.channel.has_buttons:
            assert "1. Approve" in seen.text

    async def test_a_tap_brings_the_buttons_value(self, rig: Rig, tmp_path: Path) -> None:
        if rig.tap is None:
            pytest.skip("nobody taps here")
        value = "pick:" + "x" * 90
        async with listening(rig, tmp_path) as heard:
            await rig.channel.send(
                _message(rig, "May I?", buttons=(Button("Approve", value), Button("No", "no")))
            )
            await _do(rig.tap, "Approve", why="button")
            await heard.until(1, seconds=rig.settle)
        assert heard.inside[0].action == value
        assert heard.inside[0].conversation

    async def test_a_strangers_tap_does_nothing(self, rig: Rig, tmp_path: Path) -> None:
        if rig.tap is None or not rig.allow:
            pytest.skip("nobody taps here")
        async with listening(rig, tmp_path) as heard:
            await rig.channel.send(_message(rig, "May I?", buttons=(Button("Approve", "pick:1"),)))
            await _do(rig.tap, "Approve", sender=STRANGER, why="button")
            await _do(rig.tap, "Approve", why="button")
            await heard.until(1, seconds=rig.settle)
            await heard.stays(1)

    async def test_what_is_said_comes_in_with_an_id_and_a_place_to_answer(
        self, rig: Rig, tmp_path: Path
    ) -> None:
        if rig.say is None:
            pytest.skip("nothing comes in here")
        async with listening(rig, tmp_path) as heard:
            await _do(rig.say, "What is up?", why="voice")
            await heard.until(1, seconds=rig.settle)
        inbound = heard.inside[0]
        assert "What is up?" in inbound.text
        assert inbound.event_id
        assert inbound.sender
        assert inbound.channel == rig.channel.name
        assert not inbound.group
        await rig.channel.send(
            Outgoing(key="dlv_reply", text="All well", to=inbound.conversation, thread=inbound.thread)
        )
        assert "All well" in rig.seen()[-1].text

    async def test_every_command_comes_in_as_the_command_it_is(self, rig: Rig, tmp_path: Path) -> None:
        if rig.say is None:
            pytest.skip("nothing comes in here")
        async with listening(rig, tmp_path) as heard:
            for name in COMMANDS:
                await _do(rig.say, f"/{name} the subtitles", why="voice")
            await heard.until(len(COMMANDS), seconds=len(COMMANDS) * rig.settle)
        came = {inbound.text: parse_command(inbound.text) for inbound in heard.inside}
        assert sorted(map(repr, came.values())) == sorted(
            repr(Command(name, "the subtitles")) for name in COMMANDS
        )

    async def test_the_same_event_comes_in_once(self, rig: Rig, tmp_path: Path) -> None:
        if rig.say is None:
            pytest.skip("nothing comes in here")
        async with listening(rig, tmp_path) as heard:
            await _do(rig.say, "one", event=1, why="voice")
            await _do(rig.say, "one", event=1, why="voice")
            await _do(rig.say, "two", event=2, why="voice")
            await heard.until(2, seconds=rig.settle)
            await heard.stays(2)
        assert ["one" in heard.inside[0].text, "two" in heard.inside[1].text] == [True, True]

    async def test_only_the_immutable_id_opens_the_door(self, rig: Rig, tmp_path: Path) -> None:
        if rig.say is None or not rig.allow:
            pytest.skip("whoever is here is the owner")
        async with listening(rig, tmp_path) as heard:
            await _do(rig.say, "I am the owner", sender=STRANGER, why="voice")
            await _do(rig.say, "It is me", why="voice")
            await heard.until(1, seconds=rig.settle)
            await heard.stays(1)
        assert "It is me" in heard.inside[0].text

    async def test_a_stranger_gets_a_code_where_both_are_alone_and_nothing_else(
        self, rig: Rig, tmp_path: Path
    ) -> None:
        if rig.say is None or not rig.allow:
            pytest.skip("whoever is here is the owner")
        async with listening(rig, tmp_path) as heard:
            for _ in range(2):
                await _do(rig.say, "What does the owner do today?", sender=STRANGER, why="voice")
            await _do(rig.say, "It is me", why="voice")
            await heard.until(1, seconds=rig.settle)
            owed = await heard.ledger.read(outbox.page)
            before = len(rig.seen())
            await Dispatcher(heard.ledger, SystemClock(), Roster([rig.channel])).run_until_idle()
            told = rig.seen()[before:]
        assert ["It is me" in inbound.text for inbound in heard.inside] == [True]
        # In a group, nothing at all.
        assert [line.transition for line in owed] == ["pairing"] * len(told)
        assert len(told) <= 1
        for code in told:
            assert re.fullmatch(
                r"I do not know you\..*tawny channels pair [A-Z0-9]{8}", code.text.strip(), re.S
            )

    async def test_a_group_is_heard_on_mention_only(self, rig: Rig, tmp_path: Path) -> None:
        if rig.say is None or not rig.groups:
            pytest.skip("there are no groups here")
        async with listening(rig, tmp_path) as heard:
            await _do(rig.say, "chatter among people", group=True, why="voice")
            await _do(rig.say, "what do you think?", group=True, mention=True, why="voice")
            await heard.until(1, seconds=rig.settle)
            await heard.stays(1)
        assert "what do you think?" in heard.inside[0].text
        assert heard.inside[0].group

    async def test_a_thread_that_spoke_is_named(self, rig: Rig, tmp_path: Path) -> None:
        if rig.say is None or not rig.thread:
            pytest.skip("there are no threads here")
        async with listening(rig, tmp_path) as heard:
            await _do(rig.say, "in the thread", thread=rig.thread, why="voice")
            await heard.until(1, seconds=rig.settle)
        assert heard.inside[0].thread == rig.thread

    async def test_a_cut_connection_is_made_again_and_nothing_is_missed(
        self, rig: Rig, tmp_path: Path
    ) -> None:
        if rig.say is None or rig.reconnect is None:
            pytest.skip("no connection is held here")
        async with listening(rig, tmp_path) as heard:
            await _do(rig.say, "before", why="voice")
            await heard.until(1, seconds=rig.settle)
            await _do(rig.reconnect, why="connection")
            await _do(rig.say, "after", why="voice")
            await heard.until(2, seconds=rig.settle * 3)
        assert "after" in heard.inside[1].text

    async def test_what_the_house_could_not_keep_comes_again(self, rig: Rig, tmp_path: Path) -> None:
        if rig.say is None or not rig.reconnect:
            pytest.skip("what comes in here is gone once read")
        kept: list[Inbound] = []
        tries = 0

        async def accept(inbound: Inbound) -> None:
            nonlocal tries
            tries += 1
            if tries == 1:
                raise TemporaryError("the disk is full")
            kept.append(inbound)

        async with listening(rig, tmp_path, accept=accept):
            await _do(rig.say, "important", why="voice")
            async with asyncio.timeout(rig.settle * 3):
                while not kept:
                    await asyncio.sleep(0.01)
        assert "important" in kept[0].text

    async def test_closing_twice_is_fine(self, rig: Rig) -> None:
        await rig.channel.close()
        await rig.channel.close()
