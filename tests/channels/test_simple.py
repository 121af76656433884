"""The small channels, each against the contract: a server that checks what it is asked, or a file, or a stream."""

import asyncio
import base64
import io
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from fake_http import DROP, HANG, FakeHttp, Request, Response
from tawny.api import AmbiguousSend, Inbound, Outgoing, PermanentError, Refused, TemporaryError
from tawny.channels.chat import ChatChannel
from tawny.channels.file import FileChannel
from tawny.channels.inbox import InboxChannel
from tawny.channels.memory import MemoryNotes
from tawny.channels.ntfy import NtfyChannel
from tawny.channels.terminal import TerminalChannel
from tawny.channels.webhook import WebhookChannel
from tawny.delivery.compose import compose
from tawny.delivery.roster import Route
from tawny.testing import FakeClock, MemoryChannel
from tawny.testing.channel_contract import GARBAGE, ChannelContract, Rig, Seen

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()


class TestMemory(ChannelContract):
    @pytest.fixture
    async def rig(self) -> Rig:
        channel = MemoryChannel("m")
        channel.knows = True

        def say(text: str, *, event: int | None = None, **more: Any) -> Any:
            rig.said += 1  # type: ignore[attr-defined]
            event_id = str(event if event is not None else 1000 + rig.said)  # type: ignore[attr-defined]
            return channel.push(
                Inbound(channel="m", event_id=event_id, sender="1", text=text, conversation="c")
            )

        rig = Rig(
            channel=channel,
            seen=lambda: [Seen(edit or message.text) for message, edit in _edited(channel)],
            to="c",
            say=say,
            refuse=lambda: channel.fail_next(TemporaryError("refused")),
            slow_down=lambda seconds: channel.fail_next(TemporaryError("wait", retry_after=seconds)),
            reject=lambda: channel.fail_next(PermanentError("no")),
        )
        rig.said = 0  # type: ignore[attr-defined]
        return rig


def _edited(channel: MemoryChannel) -> list[tuple[Outgoing, str]]:
    texts = {receipt.ids[-1]: message.text for receipt, message in channel.edits}
    return [(message, texts.get(str(number), "")) for number, message in enumerate(channel.sent, start=1)]


class Receiver:
    """Somebody's webhook: verifies every signature with the reference library, and knows keys it has seen."""

    def __init__(self) -> None:
        self.http = FakeHttp(self.handle)
        self.seen: dict[str, dict[str, Any]] = {}
        self.posts: list[Request] = []

    def handle(self, request: Request) -> Response:
        self.posts.append(request)
        headers = {
            name: request.headers[name] for name in ("webhook-id", "webhook-timestamp", "webhook-signature")
        }
        verifier = _Untimed(SECRET)
        verifier.verify(request.body, headers)
        assert request.headers["idempotency-key"] == request.headers["webhook-id"]
        self.seen.setdefault(request.headers["idempotency-key"], request.json())
        return Response(204)


class _Untimed(Webhook):
    """The reference implementation, but for the age of the timestamp: the clock of these tests stands in March."""

    def _Webhook__verify_timestamp(self, timestamp_header: str) -> Any:  # noqa: N802
        from datetime import UTC, datetime

        return datetime.fromtimestamp(float(timestamp_header), UTC)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    await made.http.start()
    yield made
    await made.http.stop()


class TestWebhook(ChannelContract):
    @pytest.fixture
    async def rig(self, receiver: Receiver, house: Any) -> AsyncIterator[Rig]:
        channel = WebhookChannel("ops", house, url=f"{receiver.http.url}/hook", secret=SECRET)
        yield Rig(
            channel=channel,
            seen=lambda: [Seen(body["message"]["text"]) for body in receiver.seen.values()],
            refuse=receiver.http.stop,
            answer=lambda *answer: receiver.http.behave(Response(*answer)),
            hang=lambda: receiver.http.behave(HANG),
            drop=lambda: receiver.http.behave(DROP),
            slow_down=lambda seconds: receiver.http.behave(Response(429, b"", {"retry-after": str(seconds)})),
            reject=lambda: receiver.http.behave(Response(410, b"gone")),
        )
        await channel.close()


async def test_a_task_goes_out_in_the_contracts_shape(receiver: Receiver, house: Any):
    channel = WebhookChannel("ops", house, url=f"{receiver.http.url}/hook", secret=SECRET)
    document = {"type": "task.succeeded", "task": {"task_id": "task_1"}}
    await channel.send(Outgoing(key="dlv_1", text="x", document=document))
    await channel.send(Outgoing(key="dlv_1", text="x", document=document))
    assert receiver.seen == {"dlv_1": document}
    assert len(receiver.posts) == 2
    await channel.close()


async def test_a_forged_body_or_signature_is_found_out(receiver: Receiver, house: Any):
    channel = WebhookChannel("ops", house, url=f"{receiver.http.url}/hook", secret=SECRET)
    await channel.send(Outgoing(key="dlv_1", text="x"))
    (post,) = receiver.posts
    headers = {name: post.headers[name] for name in ("webhook-id", "webhook-timestamp", "webhook-signature")}
    for forged in ({**headers, "webhook-id": "dlv_2"}, {**headers, "webhook-timestamp": "1"}):
        with pytest.raises(WebhookVerificationError):
            _Untimed(SECRET).verify(post.body, forged)
    with pytest.raises(WebhookVerificationError):
        _Untimed(SECRET).verify(post.body + b" ", headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(post.body, headers)  # the real age: a replay of March
    await channel.close()


async def test_an_address_in_a_task_goes_under_the_network_list_with_a_secret_of_the_house(
    receiver: Receiver, house: Any
):
    channel = WebhookChannel("webhook-url", house, kind="webhook-url")
    receiver.http.handler = lambda _request: Response(200)
    await channel.send(Outgoing(key="k", text="x", to=f"{receiver.http.url}/a"))
    assert house.clients == [False]
    assert house.notes["secret"].startswith("whsec_")
    with pytest.raises(PermanentError, match="no web address"):
        await channel.send(Outgoing(key="k", text="x", to="file:///etc/passwd"))
    await channel.close()


async def test_a_named_webhook_posts_to_its_own_address_only(receiver: Receiver, house: Any):
    channel = WebhookChannel("ops", house, url=f"{receiver.http.url}/hook", secret=SECRET)
    with pytest.raises(PermanentError, match="its own address"):
        await channel.send(Outgoing(key="k", text="x", to="https://evil.test/"))
    assert receiver.posts == []
    await channel.close()


class Ntfy:
    """ntfy's publish and poll, as documented: unknown fields are refused; each topic is kept for twelve hours."""

    FIELDS = frozenset(
        {"topic", "message", "title", "tags", "priority", "actions", "click", "attach", "markdown", "icon",
         "filename", "delay", "email", "call"}
    )  # fmt: skip

    def __init__(self) -> None:
        self.http = FakeHttp(self.handle)
        self.messages: list[dict[str, Any]] = []
        self.forgotten = 0
        """How many a restart has made it forget; by default ntfy keeps them in memory."""
        self.now = 1_772_438_400

    @property
    def kept(self) -> list[dict[str, Any]]:
        return [each for each in self.messages[self.forgotten :] if each["expires"] > self.now]

    def handle(self, request: Request) -> Response:
        if request.method == "GET":
            topic = request.path.split("/")[1]
            assert request.query == {"poll": "1", "since": "all"}
            lines = [json.dumps(each) for each in self.kept if each["topic"] == topic]
            return Response(200, "\n".join(lines).encode())
        body = request.json()
        if (
            not set(body) <= self.FIELDS
            or not 1 <= body["priority"] <= 5
            or len(body["message"].encode()) > 4096
        ):
            return Response(400, {"code": 40000, "http": 400, "error": "invalid request"})
        number = len(self.messages)
        times = {"time": self.now, "expires": self.now + 12 * 3600}
        message = {**body, **times, "id": f"id{number}", "event": "message"}
        self.messages.append(message)
        return Response(200, message)


@pytest.fixture
async def phone(house: Any) -> AsyncIterator[tuple[Ntfy, NtfyChannel]]:
    server = Ntfy()
    await server.http.start()
    channel = NtfyChannel("phone", house, server=server.http.url, topic="mine")
    yield server, channel
    await channel.close()
    await server.http.stop()


async def test_a_push_whose_answer_was_lost_is_found_hours_later(phone: tuple[Ntfy, NtfyChannel]):
    server, channel = phone
    server.http.behave(DROP)
    with pytest.raises(AmbiguousSend):
        await channel.send(Outgoing(key="dlv_1", text="x"))
    server.now += 11 * 3600
    found = await channel.reconcile(Outgoing(key="dlv_1", text="x"))
    assert found is not None
    assert found.ids == ("id0",)


async def test_a_push_is_not_there_only_where_one_from_before_it_still_is(
    phone: tuple[Ntfy, NtfyChannel], house: Any
):
    server, channel = phone
    never = Outgoing(key="dlv_2", text="x", tried_at=house.clock.now() + 1)
    with pytest.raises(AmbiguousSend, match="forgotten"):
        await channel.reconcile(never)
    await channel.send(Outgoing(key="dlv_1", text="x"))
    assert await channel.reconcile(never) is None
    # Another topic's messages say nothing about this one, and neither do later ones.
    with pytest.raises(AmbiguousSend, match="forgotten"):
        await channel.reconcile(msgspec.structs.replace(never, to="other"))
    with pytest.raises(AmbiguousSend, match="forgotten"):
        await channel.reconcile(msgspec.structs.replace(never, tried_at=house.clock.now() - 1))
    server.now += 12 * 3600
    with pytest.raises(AmbiguousSend, match="forgotten"):
        await channel.reconcile(never)


async def test_a_push_that_a_restarted_server_has_forgotten_is_not_sent_again(
    phone: tuple[Ntfy, NtfyChannel], house: Any
):
    server, channel = phone
    await channel.send(Outgoing(key="dlv_1", text="x"))
    server.http.behave(DROP)
    message = Outgoing(key="dlv_2", text="x", tried_at=house.clock.now())
    with pytest.raises(AmbiguousSend):
        await channel.send(message)
    server.forgotten = len(server.messages)
    with pytest.raises(AmbiguousSend, match="forgotten"):
        await channel.reconcile(message)


@pytest.mark.parametrize("body", GARBAGE)
async def test_a_list_of_garbage_says_nothing_about_a_push(
    phone: tuple[Ntfy, NtfyChannel], house: Any, body: bytes
):
    server, channel = phone
    await channel.send(Outgoing(key="dlv_1", text="x"))
    server.http.applies = lambda request: request.method == "GET"
    server.http.behave(Response(200, body))
    with pytest.raises(AmbiguousSend):
        await channel.reconcile(Outgoing(key="dlv_2", text="x", tried_at=house.clock.now()))


@pytest.mark.parametrize(("status", "error"), [(500, AmbiguousSend), (503, TemporaryError)])
async def test_what_broke_in_the_server_may_have_been_pushed(
    phone: tuple[Ntfy, NtfyChannel], status: int, error: Any
):
    server, channel = phone
    server.http.behave(Response(status, b"oops"))
    with pytest.raises(error):
        await channel.send(Outgoing(key="dlv_1", text="x"))


async def test_a_push_is_cut_by_what_its_characters_weigh(phone: tuple[Ntfy, NtfyChannel]):
    server, channel = phone
    for text in ("漢" * 3000, "😀" * 3000):
        for piece in compose(Outgoing(key="k", text=text), Route(channel, "mine", "", "")):
            await channel.send(piece)
    assert "".join(message["message"] for message in server.messages) == "漢" * 3000 + "😀" * 3000


class TestNtfy(ChannelContract):
    @pytest.fixture
    async def rig(self, phone: tuple[Ntfy, NtfyChannel], house: Any) -> Rig:
        server, channel = phone
        return Rig(
            channel=channel,
            now=house.clock.now,
            seen=lambda: [Seen(message["message"]) for message in server.messages],
            to="mine",
            refuse=server.http.stop,
            answer=lambda *answer: server.http.behave(Response(*answer)),
            hang=lambda: server.http.behave(HANG),
            drop=lambda: server.http.behave(DROP),
            slow_down=lambda seconds: server.http.behave(Response(429, b"", {"retry-after": str(seconds)})),
            reject=lambda: server.http.behave(Response(403, b"forbidden")),
            lock_out=lambda: server.http.behave(Response(401, b"unauthorized")),
        )


class TestFile(ChannelContract):
    @pytest.fixture
    async def rig(self, tmp_path: Path) -> Rig:
        channel = FileChannel("file", tmp_path, FakeClock())

        def seen() -> list[Seen]:
            path = tmp_path / "notes" / "out.md"
            if not path.exists():
                return []
            return [Seen(entry.partition("-->")[2]) for entry in path.read_text().split("\n## ")[1:]]

        return Rig(channel=channel, seen=seen, to="notes/out.md")


@pytest.mark.parametrize("to", ["../out.md", "/etc/passwd", "a/../../b", "link/x", ".", "a\0b"])
async def test_a_file_outside_the_workspace_is_refused(tmp_path: Path, to: str):
    root = tmp_path / "workspace"
    root.mkdir()
    (root / "link").symlink_to(tmp_path)
    with pytest.raises((Refused, PermanentError)):
        await FileChannel("file", root, FakeClock()).send(Outgoing(key="k", text="x", to=to))
    assert os.listdir(tmp_path) == ["workspace"]


async def test_the_same_key_is_written_once(tmp_path: Path):
    channel = FileChannel("file", tmp_path, FakeClock())
    for _ in range(3):
        await channel.send(Outgoing(key="dlv_1", text="x", to="a.jsonl"))
    (line,) = (tmp_path / "a.jsonl").read_text().splitlines()
    assert json.loads(line)["text"] == "x"


class TestMemoryNotes(ChannelContract):
    @pytest.fixture
    async def rig(self, tmp_path: Path) -> Rig:
        def seen() -> list[Seen]:
            return [Seen(path.read_text()) for path in tmp_path.glob("2026-03-02.md")]

        return Rig(channel=MemoryNotes("memory", tmp_path, FakeClock()), seen=seen)


@pytest.mark.parametrize("asks", [True, False])
async def test_a_note_written_before_midnight_is_not_written_again_after_it(tmp_path: Path, asks: bool):
    clock = FakeClock()
    channel = MemoryNotes("memory", tmp_path, clock)
    message = Outgoing(key="dlv_1", text="x")
    await channel.send(message)
    await clock.advance("23h59m")
    if asks:
        assert await channel.reconcile(message) is not None
    await channel.send(message)
    written = "".join(await asyncio.to_thread(lambda: [path.read_text() for path in tmp_path.iterdir()]))
    assert written.count("dlv_1") == 1


class TestInbox(ChannelContract):
    @pytest.fixture
    async def rig(self) -> Rig:
        # The row in the outbox is the message, so what was sent is what is seen.
        kept: list[Seen] = []

        class Noting(InboxChannel):
            async def send(self, message: Outgoing, /) -> Any:
                kept.append(Seen(message.text))
                return await super().send(message)

        return Rig(channel=Noting(), seen=lambda: kept)


class TestChat(ChannelContract):
    @pytest.fixture
    async def rig(self, house: Any) -> Rig:
        def seen() -> list[Seen]:
            return [Seen(message.text, conversation=session) for session, message in house.said]

        return Rig(channel=ChatChannel("chat", house), seen=seen, to="main")


class TestTerminal(ChannelContract):
    @pytest.fixture
    async def rig(self) -> Rig:
        out = io.StringIO()
        lines = asyncio.StreamReader()
        channel = TerminalChannel("terminal", FakeClock(), out=out, lines=lines)

        def seen() -> list[Seen]:
            return [Seen(text) for text in out.getvalue().split("\r")[1:]]

        return Rig(channel=channel, seen=seen)

    async def test_lines_come_in(self) -> None:
        lines = asyncio.StreamReader()
        channel = TerminalChannel("terminal", FakeClock(), out=io.StringIO(), lines=lines)
        heard: list[Inbound] = []

        async def accept(inbound: Inbound) -> None:
            heard.append(inbound)

        lines.feed_data("hello\n\n  second \n\xff\n".encode("latin-1"))
        lines.feed_eof()
        await channel.listen(accept)
        assert [inbound.text for inbound in heard] == ["hello", "second", "\ufffd"]
        assert len({inbound.event_id for inbound in heard}) == 3

    async def test_control_characters_do_not_reach_the_terminal(self) -> None:
        out = io.StringIO()
        await TerminalChannel("t", FakeClock(), out=out).send(Outgoing(key="k", text="a\x1b[2Jb\x07\u202ec"))
        assert out.getvalue() == "\ra[2Jbc\n"
