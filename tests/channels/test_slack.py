import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from websockets.asyncio.server import ServerConnection, serve

from fake_http import DROP, FakeHttp, Request, Response
from tawny.api import AmbiguousSend, Attachment, ChannelDown, Outgoing, PermanentError, TemporaryError
from tawny.channels.slack import SlackChannel, SlackSettings, to_mrkdwn
from tawny.testing.channel_contract import OWNER, ChannelContract, Rig, Seen

ALLOWED = {
    "chat.postMessage": {
        "channel",
        "text",
        "blocks",
        "thread_ts",
        "unfurl_links",
        "unfurl_media",
        "metadata",
    },
    "chat.update": {"channel", "ts", "text", "blocks", "metadata"},
    "conversations.history": {"channel", "limit", "include_all_metadata"},
    "conversations.replies": {"channel", "ts", "limit", "include_all_metadata"},
    "conversations.open": {"users"},
    "files.completeUploadExternal": {"files", "channel_id", "thread_ts"},
    "auth.test": set(),
    "apps.connections.open": set(),
}


class FakeSlack:
    """Slack's methods as documented, and its socket: envelopes come again until they are acknowledged."""

    def __init__(self) -> None:
        self.http = FakeHttp(self.handle)
        self.http.applies = lambda request: "chat." in request.path
        self.violations: list[str] = []
        self.messages: list[dict[str, Any]] = []
        self.uploads: dict[str, tuple[str, bytes]] = {}
        self.waiting: dict[str, dict[str, Any]] = {}
        self.socket_url = ""
        self._ids = itertools.count(1)
        self._news = asyncio.Event()
        self._sockets: set[ServerConnection] = set()

    def handle(self, request: Request) -> Response:
        method = request.path.rpartition("/")[2]
        if method.startswith("upload-"):
            self.uploads[method] = (self.uploads[method][0], request.body)
            return Response(200, b"OK")
        if request.headers.get("authorization") not in ("Bearer xoxb-1", "Bearer xapp-1"):
            return Response(200, {"ok": False, "error": "invalid_auth"})
        if method == "files.getUploadURLExternal":
            form = request.form()
            ticket = f"upload-{next(self._ids)}"
            self.uploads[ticket] = (form["filename"], b"")
            assert int(form["length"]) > 0
            return Response(200, {"ok": True, "upload_url": f"{self.http.url}/{ticket}", "file_id": ticket})
        arguments = request.json()
        if method not in ALLOWED or not set(arguments) <= ALLOWED[method]:
            self.violations.append(f"{method}: {set(arguments) - ALLOWED.get(method, set())}")
            return Response(200, {"ok": False, "error": "invalid_arguments"})
        return Response(200, getattr(self, "on_" + method.replace(".", "_").lower())(arguments))

    def on_auth_test(self, _: Any) -> Any:
        return {"ok": True, "user_id": "UBOT", "team": "t"}

    def on_apps_connections_open(self, _: Any) -> Any:
        return {"ok": True, "url": self.socket_url}

    def on_chat_postmessage(self, arguments: dict[str, Any]) -> Any:
        if arguments["channel"] == "CGONE":
            return {"ok": False, "error": "channel_not_found"}
        if len(arguments["text"]) > 40_000:
            return {"ok": False, "error": "msg_too_long"}
        for block in arguments.get("blocks", ()):
            if block["type"] == "section":
                assert 1 <= len(block["text"]["text"]) <= 3000
            for element in block.get("elements", ()):
                assert len(element["text"]["text"]) <= 75
                assert len(element.get("value", "")) <= 2000
        message = {**arguments, "ts": f"1772438400.{next(self._ids):06d}"}
        self.messages.append(message)
        return {"ok": True, "channel": arguments["channel"], "ts": message["ts"]}

    def on_chat_update(self, arguments: dict[str, Any]) -> Any:
        for message in self.messages:
            if message["ts"] == arguments["ts"] and message["channel"] == arguments["channel"]:
                message.update(arguments)
                return {"ok": True, "ts": message["ts"], "channel": message["channel"]}
        return {"ok": False, "error": "message_not_found"}

    def on_conversations_history(self, arguments: dict[str, Any]) -> Any:
        return {
            "ok": True,
            "messages": [each for each in self.messages if each["channel"] == arguments["channel"]],
        }

    def on_conversations_open(self, arguments: dict[str, Any]) -> Any:
        return {"ok": True, "channel": {"id": arguments["users"]}}

    def on_files_completeuploadexternal(self, arguments: dict[str, Any]) -> Any:
        (file,) = arguments["files"]
        self.messages.append(
            {"channel": arguments["channel_id"], "text": "", "ts": "1.1", "file": self.uploads[file["id"]]}
        )
        return {"ok": True, "files": []}

    # --- the socket

    async def talk(self, socket: ServerConnection) -> None:
        self._sockets.add(socket)
        await socket.send(json.dumps({"type": "hello", "num_connections": 1}))
        sent: set[str] = set()

        async def tell() -> None:
            while True:
                for envelope_id, envelope in list(self.waiting.items()):
                    if envelope_id not in sent:
                        sent.add(envelope_id)
                        await socket.send(json.dumps(envelope))
                self._news.clear()
                await self._news.wait()

        telling = asyncio.create_task(tell())
        try:
            async for raw in socket:
                self.waiting.pop(json.loads(raw)["envelope_id"], None)
        finally:
            telling.cancel()
            self._sockets.discard(socket)

    def push(self, kind: str, payload: dict[str, Any]) -> None:
        envelope_id = f"env-{next(self._ids)}"
        self.waiting[envelope_id] = {"type": kind, "envelope_id": envelope_id, "payload": payload}
        self._news.set()

    async def cut(self) -> None:
        for socket in list(self._sockets):
            socket.transport.abort()


@pytest.fixture
async def server() -> AsyncIterator[FakeSlack]:
    fake = FakeSlack()
    await fake.http.start()
    async with serve(fake.talk, "127.0.0.1", 0) as socket:
        port = next(iter(socket.sockets)).getsockname()[1]
        fake.socket_url = f"ws://127.0.0.1:{port}/"
        yield fake
    await fake.http.stop()
    assert fake.violations == []


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
                text = message["text"]
                for sign, meant in (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
                    text = text.replace(sign, meant)
                elements = [each for block in message.get("blocks", ()) for each in block.get("elements", ())]
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
