import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.asyncio.server import serve

from fake_http import DROP, HANG, Request, Response, started
from slack_api import FakeSlack
from tawny.api import (
    AmbiguousSend,
    Attachment,
    Button,
    ChannelDown,
    Outgoing,
    PermanentError,
    TemporaryError,
)
from tawny.channels.slack import SlackChannel, SlackSettings, to_mrkdwn
from tawny.testing.channel_contract import OWNER, ChannelContract, Rig, Seen


@pytest.fixture
async def server() -> AsyncIterator[FakeSlack]:
    async with started(FakeSlack()) as fake, serve(fake.talk, "127.0.0.1", 0) as socket:
        port = next(iter(socket.sockets)).getsockname()[1]
        fake.socket_url = f"ws://127.0.0.1:{port}/"
        yield fake


@pytest.fixture
async def channel(server: FakeSlack, house: Any) -> AsyncIterator[SlackChannel]:
    settings = SlackSettings(
        name="slack",
        token="x",
        app_token="x",
        to="D1",
        allow=("UOWNER",),
        groups=("CGROUP",),
        api_base=server.http.url,
    )
    made = SlackChannel(settings, house, token="xoxb-1", app_token="xapp-1")
    yield made
    await made.close()


class TestContract(ChannelContract):
    @pytest.fixture
    async def rig(self, server: FakeSlack, channel: SlackChannel, tmp_path: Path) -> Rig:
        def seen() -> list[Seen]:
            found = []
            for message in server.messages:
                # Where there are blocks people see those, and not the text.
                blocks = message.get("blocks") or ()
                sections = [block["text"]["text"] for block in blocks if block["type"] == "section"]
                text = "\n".join(sections) if blocks else message["text"]
                for sign, meant in (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
                    text = text.replace(sign, meant)
                elements = [each for block in blocks for each in block.get("elements", ())]
                buttons = tuple(each["text"]["text"] for each in elements)
                files = (message["file"][0],) if "file" in message else ()
                found.append(Seen(text, message["channel"], message.get("thread_ts", ""), buttons, files))
            return found

        def say(text: str, *, sender: str = OWNER, event: int | None = None, **more: Any) -> None:
            group = bool(more.get("group"))
            stamp = f"1772438400.9{event:05d}" if event is not None else f"1772438401.{next(server._ids):06d}"
            payload = {
                "type": "message",
                "user": "UOWNER" if sender == OWNER else "USTRANGER",
                "username": "UOWNER",
                "text": f"<@UBOT> {text}" if more.get("mention") else text,
                "channel": "CGROUP" if group else "D1",
                "channel_type": "channel" if group else "im",
                "ts": stamp,
            }
            if more.get("thread"):
                payload["thread_ts"] = more["thread"]
            server.push("events_api", {"event": payload})

        def tap(label: str, *, sender: str = OWNER) -> None:
            message = server.messages[-1]
            (element,) = [
                each
                for block in message["blocks"]
                for each in block.get("elements", ())
                if each["text"]["text"] == label
            ]
            user = {"id": "UOWNER" if sender == OWNER else "USTRANGER", "username": "UOWNER"}
            server.push(
                "interactive",
                {
                    "type": "block_actions",
                    "user": user,
                    "channel": {"id": "D1"},
                    "message": {"ts": message["ts"]},
                    "actions": [{"action_id": element["action_id"], "value": element["value"]}],
                },
            )

        (tmp_path / "notes.txt").write_text("notes")
        return Rig(
            channel=channel,
            seen=seen,
            to="D1",
            thread="1772438400.000001",
            say=say,
            tap=tap,
            refuse=server.http.stop,
            answer=lambda *answer: server.http.behave(Response(*answer)),
            hang=lambda: server.http.behave(HANG),
            drop=lambda: server.http.behave(DROP),
            slow_down=lambda seconds: server.http.behave(Response(429, b"", {"retry-after": str(seconds)})),
            reject=lambda: server.http.behave(Response(200, {"ok": False, "error": "channel_not_found"})),
            lock_out=lambda: server.http.behave(Response(200, {"ok": False, "error": "token_revoked"})),
            reconnect=server.cut,
            file=Attachment("notes.txt", path="notes.txt", media_type="text/plain"),
            allow=("UOWNER",),
            groups=("CGROUP",),
        )


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Response(200, {"ok": False, "error": "internal_error"}), AmbiguousSend),
        (Response(200, {"ok": False, "error": "ratelimited"}), TemporaryError),
        (Response(200, {"ok": False, "error": "invalid_auth"}), ChannelDown),
        (Response(200, {"ok": False, "error": "msg_too_long"}), PermanentError),
        (Response(200, b"<html>"), AmbiguousSend),
        (Response(500, b""), AmbiguousSend),
        (Response(503, b""), TemporaryError),
    ],
)
async def test_every_answer_is_what_it_says(
    server: FakeSlack, channel: SlackChannel, answer: Response, error: Any
):
    server.http.behave(answer)
    with pytest.raises(error):
        await channel.send(Outgoing(key="k", text="x"))
    assert server.messages == []


async def test_a_file_whose_answer_was_lost_is_not_sent_again(
    server: FakeSlack, channel: SlackChannel, tmp_path: Path
):
    (tmp_path / "notes.txt").write_text("notes")
    file = Attachment("notes.txt", path="notes.txt", media_type="text/plain")
    message = Outgoing(key="k", text="", to="D1", attachments=(file,))
    server.http.behave(DROP)
    with pytest.raises(AmbiguousSend):
        await channel.send(message)
    with pytest.raises(AmbiguousSend, match="no mark"):
        await channel.reconcile(message)
    assert len(server.messages) == 1


async def test_a_message_is_found_at_the_end_of_a_long_thread(server: FakeSlack, channel: SlackChannel):
    thread = "1772438400.000001"
    chatter = {"channel": "D1", "thread_ts": thread, "text": "chatter"}
    server.messages += [{**chatter, "ts": f"1772438401.{number:06d}"} for number in range(950)]
    message = Outgoing(key="k", text="x", to="D1", thread=thread)
    assert await channel.reconcile(message) is None
    receipt = await channel.send(message)
    found = await channel.reconcile(message)
    assert found is not None
    assert found.ids == receipt.ids
    server.messages[:0] = [{**chatter, "ts": f"1772438402.{number:06d}"} for number in range(100)]
    with pytest.raises(AmbiguousSend, match="too long"):
        await channel.reconcile(message)


async def test_a_message_not_found_in_a_place_that_is_too_full_may_be_there(
    server: FakeSlack, channel: SlackChannel
):
    message = Outgoing(key="k", text="x", to="D1")
    assert await channel.reconcile(message) is None
    chatter = {"channel": "D1", "text": "chatter"}
    server.messages += [{**chatter, "ts": f"1772438401.{number:06d}"} for number in range(1001)]
    with pytest.raises(AmbiguousSend, match="too long"):
        await channel.reconcile(message)
    receipt = await channel.send(message)
    server.messages += [{**chatter, "ts": f"1772438402.{number:06d}"} for number in range(990)]
    found = await channel.reconcile(message)
    assert found is not None
    assert found.ids == receipt.ids


@pytest.mark.parametrize(
    "page",
    [
        {"messages": [], "has_more": True},
        {"messages": [], "is_limited": True},
        {"messages": [], "has_more": True, "response_metadata": {"next_cursor": ""}},
        {"messages": None},
        {},
        {"messages": [None]},
        {"messages": [{"metadata": {"event_payload": {"key": "k"}}}]},
    ],
)
async def test_a_list_that_is_cut_or_none_says_nothing(
    server: FakeSlack, channel: SlackChannel, page: dict[str, Any]
):
    server.http.applies = lambda request: "conversations." in request.path
    server.http.behave(Response(200, {"ok": True, **page}))
    with pytest.raises(AmbiguousSend):
        await channel.reconcile(Outgoing(key="k", text="x", to="D1"))


async def test_a_long_question_is_shown_whole(server: FakeSlack, channel: SlackChannel):
    words = " ".join(f"w{number}" for number in range(900))[:3800]
    await channel.send(Outgoing(key="k", text=words, to="D1", buttons=(Button("Yes", "yes"),)))
    (message,) = server.messages
    *sections, actions = message["blocks"]
    shown = " ".join(block["text"]["text"] for block in sections)
    assert (len(words), shown.split(), actions["type"]) == (3800, words.split(), "actions")


@pytest.mark.parametrize("allow", [["@owner"], ["owner"], [42], ["general"]])
def test_names_in_allow_are_refused(allow: list[Any]):
    with pytest.raises(msgspec.ValidationError, match="no Slack id"):
        msgspec.convert({"token": "x", "allow": allow}, SlackSettings)


@pytest.mark.parametrize(
    ("markdown", "mrkdwn"),
    [
        ("**bold** <b> & `a<b`", "*bold* &lt;b&gt; &amp; `a&lt;b`"),
        ("# Title", "*Title*"),
        ("[x](https://a.test/)", "<https://a.test/|x>"),
        ("```py\n**a**\n```", "```\n**a**\n```"),
        ("<!channel> <@U1>", "&lt;!channel&gt; &lt;@U1&gt;"),
    ],
)
def test_markdown_becomes_slacks_markup(markdown: str, mrkdwn: str):
    assert to_mrkdwn(markdown) == mrkdwn


async def test_what_is_no_markup_is_shown_character_by_character(server: FakeSlack, channel: SlackChannel):
    text = "rm *old* _x_ ~y~ `z` <!channel> & > " * 200
    for buttons in ((), (Button("Approve", "approve:1"),)):
        message = Outgoing(key="k", text=text, format="plain", to="D1", buttons=buttons)
        receipt = await channel.send(message)
        await channel.edit(receipt, message)
    for request in server.http.requests:
        if request.path.endswith(("chat.postMessage", "chat.update")):
            sections = [block["text"] for block in request.json()["blocks"] if block["type"] == "section"]
            assert {each["type"] for each in sections} == {"plain_text"}
            assert " ".join(each["text"] for each in sections).split() == text.split()


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="ab*_`~<>!@&#|[]()- \n", max_size=60))
def test_whatever_the_markdown_slack_sees_no_call_in_it_and_every_word(text: str):
    markup = to_mrkdwn(text)
    assert not re.search(r"<(?!https?://)", markup)
    fences = sum(len(line) for line in text.split("\n") if "```" in line)
    shown = sum(char in "ab" for char in re.sub(r"&(amp|lt|gt);", "", markup))
    assert sum(char in "ab" for char in text) - fences <= shown


@pytest.mark.parametrize("buttons", [1, 5, 25])
@pytest.mark.parametrize("link", [True, False])
async def test_whatever_is_sent_the_published_methods_take(
    server: FakeSlack, channel: SlackChannel, buttons: int, link: bool
):
    """What they do not take the fake notes, and its fixture fails the test."""
    offered = tuple(
        Button(f"{number} " + "x" * 100, "" if link else "v" * 3000, "https://a.test/" if link else "")
        for number in range(buttons)
    )
    text = "**b** & <x>\n" * 300
    for place in ({"to": "UOWNER"}, {"to": "D1"}, {"to": "CGROUP", "thread": "1772438400.000001"}):
        message = Outgoing(key="k", text=text, severity="critical", title="T", buttons=offered, **place)
        receipt = await channel.send(message)
        await channel.edit(receipt, message)
        await channel.edit(receipt, Outgoing(key="k", text="done", **place))
        if not place["to"].startswith("U"):
            assert await channel.reconcile(message) is not None
    assert len(server.messages) == 3


async def test_a_method_that_reads_no_json_is_given_none(server: FakeSlack, channel: SlackChannel):
    answered = server.handle(
        Request(
            "POST",
            "/conversations.history",
            {"authorization": "Bearer xoxb-1", "content-type": "application/json"},
            b'{"channel": "D1"}',
        )
    )
    assert not answered.body["ok"]
    assert server.violations
    server.violations.clear()
    assert await channel.reconcile(Outgoing(key="k", text="x", to="UOWNER")) is None
