import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator
from html import unescape
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import telegram_schema
from fake_http import HANG, Response, started
from tawny.api import AmbiguousSend, Attachment, Inbound, Outgoing, PermanentError, TemporaryError
from tawny.channels.telegram import TelegramSettings
from tawny.channels.telegram.bot import TelegramChannel
from tawny.channels.telegram.markup import to_html
from tawny.channels.telegram.updates import WANTED
from tawny.channels.telegram.wordless import _rich
from tawny.testing.channel_contract import OWNER, ChannelContract, Rig, Seen
from telegram_api import FakeTelegram, _Html, slow_down

# The library announces its own future in the constructor of an error; nothing of ours can keep it from doing so.
pytestmark = pytest.mark.filterwarnings("ignore::telegram.warnings.PTBDeprecationWarning")


@pytest.fixture
async def server() -> AsyncIterator[FakeTelegram]:
    async with started(FakeTelegram()) as fake:
        yield fake


@pytest.fixture
async def bot(server: FakeTelegram, house: Any) -> AsyncIterator[TelegramChannel]:
    settings = TelegramSettings(
        name="telegram", token="x", api_base=server.http.url, allow=(12345678,), groups=(-100777,)
    )
    channel = TelegramChannel(settings, house, token=server.token)
    yield channel
    await channel.close()


class TestContract(ChannelContract):
    @pytest.fixture
    async def rig(self, server: FakeTelegram, bot: TelegramChannel, tmp_path: Path) -> Rig:
        def seen() -> list[Seen]:
            return [
                Seen(
                    text=message.get("text", message.get("caption", "")),
                    conversation=str(message["chat"]["id"]),
                    thread=str(message.get("message_thread_id", "")),
                    buttons=tuple(
                        button["text"]
                        for row in message.get("reply_markup", {}).get("inline_keyboard", [])
                        for button in row
                    ),
                    files=(message["file"][0],) if message["file"] else (),
                )
                for message in server.arrived
            ]

        def say(text: str, *, sender: str = OWNER, event: int | None = None, **more: Any) -> None:
            content: dict[str, Any] = {}
            if more.get("group"):
                content["chat"] = -100777
                text = f"@tawny_bot {text}" if more.get("mention") else text
            if more.get("thread"):
                content |= {"message_thread_id": int(more["thread"]), "is_topic_message": True}
            update_id = None if event is None else 9000 + event
            who = 12345678 if sender == OWNER else 666
            server.say(text, sender=who, update_id=update_id, name="Owner", **content)

        def tap(label: str, *, sender: str = OWNER) -> None:
            server.tap(server.arrived[-1], label, sender=12345678 if sender == OWNER else 666)

        def answer(status: int, body: bytes, headers: dict[str, str]) -> None:
            # The Bot API says in the body how long to wait.
            wait: Any = headers.get("retry-after")
            if wait is not None:
                with contextlib.suppress(ValueError):
                    wait = float(wait)
                document = {"ok": False, "error_code": status, "parameters": {"retry_after": wait}}
                body = json.dumps(document).encode()
            server.http.behave(Response(status, body))

        (tmp_path / "notes.txt").write_text("notes")
        return Rig(
            channel=bot,
            seen=seen,
            to="12345678",
            thread="77",
            say=say,
            tap=tap,
            refuse=server.http.stop,
            answer=answer,
            hang=lambda: server.http.behave(HANG),
            drop=lambda: server.http.behave("drop"),
            slow_down=lambda seconds: server.http.behave(slow_down(seconds)),
            reject=lambda: server.blocked.add(12345678),
            lock_out=lambda: setattr(server, "token", "other"),
            reconnect=server.http.cut,
            file=Attachment("notes.txt", path="notes.txt", media_type="text/plain"),
            allow=(12345678,),
            groups=(-100777,),
        )


# --- beyond the contract


async def take(bot: TelegramChannel, server: FakeTelegram, count: int, *, last: str = "") -> list[Inbound]:
    """Listen until `count` messages have come in, or the `last` one has."""
    heard: list[Inbound] = []
    enough = asyncio.Event()

    async def accept(inbound: Inbound) -> None:
        heard.append(inbound)
        if len(heard) >= count or (last and inbound.text == last):
            enough.set()

    task = asyncio.create_task(bot.listen(accept))
    waiting = asyncio.create_task(enough.wait())
    await asyncio.wait({task, waiting}, timeout=60, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        await task
    assert enough.is_set(), [inbound.text for inbound in heard]
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert server.http.port
    return heard


def test_names_in_allow_are_refused():
    with pytest.raises(msgspec.ValidationError, match="numeric id"):
        msgspec.convert({"token": "x", "allow": ["@owner"]}, TelegramSettings)


def test_webhook_mode_without_a_secret_is_refused():
    with pytest.raises(msgspec.ValidationError, match="webhook_secret"):
        msgspec.convert({"token": "x", "webhook_url": "https://x.test/"}, TelegramSettings)


@pytest.mark.parametrize("kind", [kind for kind in telegram_schema.update_types() if kind not in WANTED])
async def test_of_every_other_type_of_update_nothing_comes_in_and_nothing_stops(
    server: FakeTelegram, bot: TelegramChannel, monkeypatch: pytest.MonkeyPatch, kind: str
):
    # As a server would that ignores allowed_updates: with the least in it, with the most, with nothing.
    monkeypatch.setattr("tawny.channels.telegram.bot.WANTED", telegram_schema.update_types())
    for depth in range(4):
        for pick in range(8):
            server.push(**{kind: telegram_schema.content_of(kind, depth=depth, pick=pick)})
    server.push(**{kind: {}})
    server.push(**{kind: None})
    server.push(**{kind: [1]})
    server.say("the end")
    heard = await take(bot, server, 1)
    assert [inbound.text for inbound in heard] == ["the end"]


async def test_a_tap_of_any_shape_stops_nothing(server: FakeTelegram, bot: TelegramChannel):
    for depth in range(4):
        for pick in range(8):
            server.push(callback_query=telegram_schema.content_of("callback_query", depth=depth, pick=pick))
    whole = telegram_schema.content_of("callback_query", depth=2)
    bare = server.message("hello")
    for odd in (
        {**whole, "from": None},
        {**whole, "message": {**bare, "chat": None}},
        {**whole, "message": {**bare, "date": None}},
        {},
        None,
        [1],
    ):
        server.push(callback_query=odd)
    server.push(message={**bare, "chat": None})
    server.say("the end")
    *taps, end = await take(bot, server, 1000, last="the end")
    assert taps
    assert {inbound.action for inbound in taps} == {"text"}
    assert end.text == "the end"


_SAID = {
    "text": "text",
    "caption": "text",
    "sticker": "text",
    "contact": "A contact: text text, text",
    "location": "My location: 1.5, 1.5",
    "venue": "A place: text, text (1.5, 1.5)",
    "poll": "A poll: text\n- text",
    "checklist": "A checklist: text\n- [ ] text",
    "dice": "text 7",
    "rich_message": "text",
}
_FILES = {"animation", "audio", "document", "live_photo", "photo", "video", "video_note", "voice"}


@pytest.mark.parametrize("field", telegram_schema.message_fields())
async def test_every_content_of_a_message_is_survived_and_what_a_person_said_comes_in(
    server: FakeTelegram, bot: TelegramChannel, field: str
):
    bare = server.message("")
    content = telegram_schema.content_of(field, of="Message", depth=1)
    server.push(message={**bare, "text": None, field: content, "from": bare["from"]})
    for depth in (2, 3):
        full = telegram_schema.content_of(field, of="Message", depth=depth, pick=depth)
        server.push(message={**bare, "from": {"id": 666, "is_bot": True, "first_name": "Bot"}, field: full})
    server.push(message={**bare, field: "not what it should be", "chat": {"id": "?"}})
    server.say("the end")
    comes_in = field in _SAID or field in _FILES
    first, *more = await take(bot, server, 2 if comes_in else 1)
    if field in _SAID:
        assert first.text == _SAID[field]
    elif field in _FILES:
        assert "could not be fetched" in first.text or first.attachments
    assert [inbound.text for inbound in (more or [first])] == ["the end"]


def test_the_words_of_rich_text_are_read_in_order():
    document = {
        "blocks": [
            {"type": "heading", "text": "Plan", "size": 1},
            {"type": "paragraph", "text": ["buy ", {"type": "bold", "text": ["two ", "pears"]}]},
            {"type": "divider"},
            {"type": "list", "items": [{"label": "1. ", "blocks": [{"type": "paragraph", "text": "first"}]}]},
            {"type": "photo", "photo": [{"file_id": "x"}], "caption": {"text": "a pear", "credit": "me"}},
        ]
    }
    assert _rich(document) == "Plan\nbuy two pears\n1. first\na pearme"
    deep: Any = "bottom"
    for _ in range(5000):
        deep = {"text": deep}
    assert _rich({"blocks": [deep]}) == ""


async def test_an_update_of_a_future_api_stops_nothing(server: FakeTelegram, bot: TelegramChannel):
    server.push(message={"message_id": "what?", "chat": 7})
    server.push(some_future_thing={"x": 1})
    server.push(message={**server.message(), "from": None})
    server.say("the end")
    assert [inbound.text for inbound in await take(bot, server, 1)] == ["the end"]


@pytest.mark.parametrize(
    "odd", [{}, {"update_id": None}, {"update_id": "x"}, {"update_id": [1]}, None, [1], "x", 7]
)
async def test_an_update_without_a_number_costs_no_other(
    server: FakeTelegram, bot: TelegramChannel, odd: Any
):
    server._updates.append({"update_id": 1, "message": server.message("before")})
    server.http.applies = lambda request: "getUpdates" in request.path
    message = server.message("beside it")
    batch = [odd, {"update_id": 2, "message": message}, odd]
    server.http.behave(Response(200, {"ok": True, "result": batch}))
    server.http.behave(Response(200, {"ok": True, "result": [odd]}))
    heard: list[str] = []

    async def accept(inbound: Inbound) -> None:
        heard.append(inbound.text)

    # Where nothing but such comes, asking on at once would be for ever.
    with pytest.raises(TemporaryError, match="no numbers"):
        await bot.listen(accept)
    assert heard == ["beside it"]
    polls = [parameters.get("offset") for method, parameters in server.calls if method == "getUpdates"]
    assert polls == []
    assert [inbound.text for inbound in await take(bot, server, 1)] == ["before"]


async def test_an_anonymous_admin_is_not_the_owner(server: FakeTelegram, bot: TelegramChannel):
    server.push(
        message=server.message(
            "@tawny_bot do it", chat=-100777, sender_chat={"id": -100777, "type": "supergroup", "title": "G"}
        )
    )
    (inbound,) = await take(bot, server, 1)
    assert inbound.sender == "-100777"


async def test_a_longer_name_that_contains_ours_is_no_mention(server: FakeTelegram, bot: TelegramChannel):
    server.say("@tawny_bot_2 hello", chat=-100777)
    server.say("/run@tawny_bot now", chat=-100777)
    first, second = await take(bot, server, 2)
    assert not first.mentioned
    assert not second.mentioned or second.text.startswith("/run")


async def test_a_photo_that_comes_in_lies_in_the_home(
    server: FakeTelegram, bot: TelegramChannel, tmp_path: Path
):
    server.files["p2"] = b"\xff\xd8jpeg"
    size = {"file_unique_id": "u", "width": 1, "height": 1}
    server.push(
        message={
            **server.message(),
            "caption": "look",
            "photo": [{"file_id": "p1", **size}, {"file_id": "p2", **size}],
        }
    )
    (inbound,) = await take(bot, server, 1)
    assert inbound.text == "look"
    (file,) = inbound.attachments
    assert (tmp_path / file.path).read_bytes() == b"\xff\xd8jpeg"
    assert file.media_type == "image/jpeg"


async def test_a_files_name_cannot_lead_out_of_the_home(
    server: FakeTelegram, bot: TelegramChannel, tmp_path: Path
):
    server.files["d1"] = b"x"
    server.push(
        message={
            **server.message(),
            "document": {"file_id": "d1", "file_unique_id": "u", "file_name": "../../../.bashrc"},
        }
    )
    (inbound,) = await take(bot, server, 1)
    path = (tmp_path / inbound.attachments[0].path).resolve()
    assert path.is_relative_to(tmp_path / "channels")


async def test_a_files_name_of_heavy_letters_finds_room(
    server: FakeTelegram, bot: TelegramChannel, tmp_path: Path
):
    server.files["d1"] = b"x"
    document = {"file_id": "d1", "file_unique_id": "u", "file_name": "\U00020000" * 100 + ".pdf"}
    server.push(message={**server.message(), "document": document})
    (inbound,) = await take(bot, server, 1)
    path = tmp_path / inbound.attachments[0].path
    assert (path.read_bytes(), path.suffix) == (b"x", ".pdf")


async def test_a_file_of_somebody_who_paired_is_fetched_where_both_are_alone(
    server: FakeTelegram, bot: TelegramChannel, house: Any
):
    server.files["d1"] = b"x"
    house.paired.add("777")
    document = {"file_id": "d1", "file_unique_id": "u", "file_name": "notes.txt"}
    server.push(message={**server.message(sender=777), "document": document})
    server.push(message={**server.message(sender=777, chat=-100777), "document": document})
    alone, in_group = await take(bot, server, 2)
    assert [file.name for file in alone.attachments] == ["notes.txt"]
    assert in_group.attachments == ()


async def test_a_picture_that_telegram_refuses_goes_as_a_file(
    server: FakeTelegram, bot: TelegramChannel, tmp_path: Path
):
    for name, data in (("good.png", b"\x89PNG\r\n"), ("odd.png", b"no picture")):
        (tmp_path / name).write_bytes(data)
        file = Attachment(name, path=name, media_type="image/png")
        await bot.send(Outgoing(key="k", text="", to="12345678", attachments=(file,)))
    assert [message["file"][0] for message in server.arrived] == ["good.png", "odd.png"]
    methods = [method for method, _ in server.calls if method.startswith("send")]
    assert methods == ["sendPhoto", "sendPhoto", "sendDocument"]


async def test_a_strangers_file_is_not_fetched(server: FakeTelegram, bot: TelegramChannel):
    server.files["d1"] = b"x"
    document = {"file_id": "d1", "file_unique_id": "u", "file_name": "virus.exe"}
    server.push(message={**server.message(sender=666), "document": document})
    server.say("me")
    await take(bot, server, 2)
    assert "getFile" not in [method for method, _ in server.calls]


async def test_a_file_outside_the_home_is_not_sent(bot: TelegramChannel, server: FakeTelegram):
    for path in ("/etc/passwd", "../../etc/passwd", ""):
        with pytest.raises(PermanentError, match="not in the home"):
            await bot.send(
                Outgoing(key="k", text="", to="12345678", attachments=(Attachment("passwd", path=path),))
            )
    assert server.arrived == []


async def test_only_what_is_stored_is_confirmed(server: FakeTelegram, bot: TelegramChannel):
    first = server.say("one")

    async def accept(inbound: Inbound) -> None:
        raise TemporaryError(f"no room for {inbound.text}")

    with pytest.raises(TemporaryError):
        await bot.listen(accept)
    assert server.confirmed <= first
    assert [inbound.text for inbound in await take(bot, server, 1)] == ["one"]


async def test_broken_markup_is_sent_plain(server: FakeTelegram, bot: TelegramChannel):
    server.http.behave(
        Response(400, {"ok": False, "error_code": 400, "description": "Bad Request: can't parse entities: x"})
    )
    await bot.send(Outgoing(key="k", text="**bold", to="12345678"))
    assert [message["text"] for message in server.arrived] == ["**bold"]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (500, TemporaryError),
        (502, AmbiguousSend),
        (503, TemporaryError),
        (504, AmbiguousSend),
        (400, PermanentError),
    ],
)
async def test_an_error_of_the_server_is_what_it_is(
    server: FakeTelegram, bot: TelegramChannel, status: int, error: Any
):
    server.http.behave(Response(status, b"<html>oops</html>"))
    with pytest.raises(error):
        await bot.send(Outgoing(key="k", text="x", to="12345678"))
    assert server.arrived == []


async def test_an_answer_that_is_no_json_is_ambiguous(server: FakeTelegram, bot: TelegramChannel):
    server.http.behave(Response(200, b"<html>captive portal</html>"))
    with pytest.raises(AmbiguousSend):
        await bot.send(Outgoing(key="k", text="x", to="12345678"))


async def test_the_token_is_in_no_error(server: FakeTelegram, bot: TelegramChannel):
    await server.http.stop()
    with pytest.raises(TemporaryError) as error:
        await bot.send(Outgoing(key="k", text="x", to="12345678"))
    assert "SECRET" not in str(error.value)


async def test_links_are_not_previewed(server: FakeTelegram, bot: TelegramChannel):
    await bot.send(Outgoing(key="k", text="see https://evil.test/?d=secret", to="12345678"))
    assert server.calls[-1][1]["link_preview_options"] == '{"is_disabled":true}' or "true" in str(
        server.calls[-1][1]["link_preview_options"]
    )


@pytest.mark.parametrize(
    ("markdown", "html"),
    [
        ("**bold** and *it* and `a<b`", "<b>bold</b> and <i>it</i> and <code>a&lt;b</code>"),
        ("# Title\n\n- one\n- two", "<b>Title</b>\n\n• one\n• two"),
        ("```py\na < b\n```", '<pre><code class="language-py">a &lt; b</code></pre>'),
        ("[x](https://a.test/?q=1&b=2)", '<a href="https://a.test/?q=1&amp;b=2">x</a>'),
        ("[x](javascript:alert(1))", "[x](javascript:alert(1))"),
        ("2*3*4 snake_case_name", "2*3*4 snake_case_name"),
        ("a **b", "a **b"),
    ],
)
def test_markdown_becomes_telegrams_html(markdown: str, html: str):
    assert to_html(markdown) == html


@pytest.mark.parametrize("text", ["@ann look", "see (@ann)", "[x](tg://user?id=1)", "**@ann**", "@a " * 1300])
@pytest.mark.parametrize("style", ["markdown", "plain"])
async def test_words_call_nobody_in_a_group(
    server: FakeTelegram, bot: TelegramChannel, text: str, style: str
):
    message = Outgoing(key="k", text=text, to="-1001", format=style)
    receipt = await bot.send(message)
    await bot.edit(receipt, message)
    for method, arguments in server.calls:
        if method in ("sendMessage", "editMessageText"):
            assert not re.search(r"(?<!\w)@\w|href=.tg:", arguments["text"])
    # Where both are alone there is nobody else to call, and names can be copied.
    await bot.send(Outgoing(key="k", text="@ann", to="12345678"))
    assert server.calls[-1][1]["text"] == "@ann"


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="ab*_`~<>&#- \n", max_size=60))
def test_whatever_the_markdown_every_word_is_shown(text: str):
    fences = [line for line in text.split("\n") if line.lstrip(" ").startswith(("```", "~~~"))]
    letters = [char for char in unescape(re.sub(r"</?[a-z][^>]*>", "", to_html(text))) if char in "ab"]
    kept = [char for char in text if char in "ab"]
    assert len(kept) - sum(len(line) for line in fences) <= len(letters) <= len(kept)
    if not fences:
        assert letters == kept


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="ab*_`~[]()<>&#- \n\x00", max_size=60))
def test_whatever_the_markdown_what_telegram_gets_is_wellformed_or_plain(text: str):
    reader = _Html()
    reader.feed(to_html(text))
    reader.close()
    # Crossing marks (**a _b** c_) may cross tags; Telegram refuses those before sending, and they go out plain.
    assert reader.error == "" or reader.error.startswith("Unmatched")
