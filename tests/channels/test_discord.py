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
from tawny.api import AmbiguousSend, Attachment, ChannelDown, Outgoing, TemporaryError
from tawny.channels.discord import DiscordChannel, DiscordSettings
from tawny.testing.channel_contract import OWNER, ChannelContract, Rig, Seen

FIELDS = {"content", "nonce", "enforce_nonce", "allowed_mentions", "flags", "components", "attachments"}


class FakeDiscord:
    """The documented REST interface and gateway: identify, resume with replay, heartbeats, enforced nonces."""

    def __init__(self) -> None:
        self.http = FakeHttp(self.handle)
        self.http.applies = lambda request: request.path.endswith("/messages")
        self.violations: list[str] = []
        self.messages: list[dict[str, Any]] = []
        self.log: list[dict[str, Any]] = []
        self.identified = 0
        self.resumed = 0
        self.acknowledged: list[str] = []
        self.socket_url = ""
        self.close_with = 0
        self._ids = itertools.count(1000)
        self._news = asyncio.Event()
        self._sockets: set[ServerConnection] = set()

    def handle(self, request: Request) -> Response:
        if request.headers.get("authorization") != "Bot t0k3n" and "callback" not in request.path:
            return Response(401, {"message": "401: Unauthorized", "code": 0})
        parts = request.path.strip("/").split("/")
        match (request.method, *parts):
            case ("GET", "gateway", "bot"):
                return Response(200, {"url": self.socket_url, "shards": 1})
            case ("POST", "users", "@me", "channels"):
                return Response(200, {"id": "9" + request.json()["recipient_id"], "type": 1})
            case ("POST", "channels", room, "messages"):
                return self.post(room, request)
            case ("PATCH", "channels", room, "messages", message_id):
                for message in self.messages:
                    if message["id"] == message_id and message["channel_id"] == room:
                        message.update(request.json())
                        return Response(200, message)
                return Response(404, {"message": "Unknown Message", "code": 10008})
            case ("POST", "interactions", interaction, _, "callback"):
                self.acknowledged.append(interaction)
                return Response(204)
            case _:
                self.violations.append(f"{request.method} {request.path}")
                return Response(404, {"message": "404: Not Found", "code": 0})

    def post(self, room: str, request: Request) -> Response:
        form = request.form()
        body = json.loads(form["payload_json"]) if "payload_json" in form else form
        if not set(body) <= FIELDS or len(body["content"]) > 2000 or len(body["nonce"]) > 25:
            self.violations.append(f"message {body}")
            return Response(400, {"message": "Invalid Form Body", "code": 50035})
        if not body["content"] and "files[0]" not in form:
            return Response(400, {"message": "Cannot send an empty message", "code": 50006})
        for message in self.messages:
            if message["nonce"] == body["nonce"] and message["channel_id"] == room:
                return Response(200, message)
        for row in body.get("components", ()):
            assert row["type"] == 1
            assert 1 <= len(row["components"]) <= 5
            assert all(len(each.get("custom_id", "")) <= 100 for each in row["components"])
        message = {**body, "id": str(next(self._ids)), "channel_id": room, "author": {"id": "1", "bot": True}}
        if "files[0]" in form:
            message["file"] = form["files[0]"][0]
        self.messages.append(message)
        return Response(200, message)

    # --- the gateway

    async def talk(self, socket: ServerConnection) -> None:
        self._sockets.add(socket)
        await socket.send(json.dumps({"op": 10, "d": {"heartbeat_interval": 41250}}))
        greeting = json.loads(await socket.recv())
        while greeting["op"] == 1:
            greeting = json.loads(await socket.recv())
        if self.close_with:
            await socket.close(self.close_with)
            return
        sent = 0
        if greeting["op"] == 2:
            self.identified += 1
            assert {"token", "intents", "properties"} <= set(greeting["d"])
            ready = {"user": {"id": "1"}, "session_id": "s1", "resume_gateway_url": self.socket_url, "v": 10}
            # Kinder than Discord, which forgets what was said before; the tests need not wait for the login.
            self.log.insert(0, {"op": 0, "t": "READY", "d": ready})
        else:
            self.resumed += 1
            sent = greeting["d"]["seq"]

        async def tell() -> None:
            nonlocal sent
            while True:
                while sent < len(self.log):
                    sent += 1
                    await socket.send(json.dumps({**self.log[sent - 1], "s": sent}))
                self._news.clear()
                await self._news.wait()

        telling = asyncio.create_task(tell())
        try:
            async for raw in socket:
                if json.loads(raw)["op"] == 1:
                    await socket.send(json.dumps({"op": 11}))
        finally:
            telling.cancel()
            self._sockets.discard(socket)

    def push(self, kind: str, data: dict[str, Any]) -> None:
        self.log.append({"op": 0, "t": kind, "d": data})
        self._news.set()

    async def cut(self) -> None:
        for socket in list(self._sockets):
            socket.transport.abort()


@pytest.fixture
async def server() -> AsyncIterator[FakeDiscord]:
    fake = FakeDiscord()
    await fake.http.start()
    async with serve(fake.talk, "127.0.0.1", 0) as socket:
        port = next(iter(socket.sockets)).getsockname()[1]
        fake.socket_url = f"ws://127.0.0.1:{port}"
        yield fake
    await fake.http.stop()
    assert fake.violations == []


@pytest.fixture
async def channel(server: FakeDiscord, house: Any) -> AsyncIterator[DiscordChannel]:
    settings = DiscordSettings(
        name="discord", token="x", allow=(77,), groups=(500,), api_base=server.http.url
    )
    made = DiscordChannel(settings, house, token="t0k3n")
    yield made
    await made.close()


class TestContract(ChannelContract):
    @pytest.fixture
    async def rig(self, server: FakeDiscord, channel: DiscordChannel, tmp_path: Path) -> Rig:
        def seen() -> list[Seen]:
            return [
                Seen(
                    message["content"],
                    message["channel_id"],
                    buttons=tuple(
                        each["label"] for row in message.get("components", ()) for each in row["components"]
                    ),
                    files=(message["file"],) if "file" in message else (),
                )
                for message in server.messages
            ]

        def say(text: str, *, sender: str = OWNER, event: int | None = None, **more: Any) -> None:
            content: dict[str, Any] = {
                "id": str(event if event is not None else 5000 + next(server._ids)),
                "type": 0,
                "channel_id": "500" if more.get("group") else "977",
                "author": {"id": "77" if sender == OWNER else "666", "username": "owner"},
                "content": f"<@1> {text}" if more.get("mention") else text,
                "mentions": [{"id": "1"}] if more.get("mention") else [],
            }
            if more.get("group"):
                content["guild_id"] = "3"
            server.push("MESSAGE_CREATE", content)

        def tap(label: str, *, sender: str = OWNER) -> None:
            message = server.messages[-1]
            (button,) = [
                each for row in message["components"] for each in row["components"] if each["label"] == label
            ]
            server.push(
                "INTERACTION_CREATE",
                {
                    "id": str(next(server._ids)),
                    "token": "x",
                    "type": 3,
                    "channel_id": "977",
                    "user": {"id": "77" if sender == OWNER else "666", "username": "owner"},
                    "data": {"custom_id": button["custom_id"], "component_type": 2},
                    "message": {"id": message["id"]},
                },
            )

        (tmp_path / "notes.txt").write_text("notes")
        return Rig(
            channel=channel,
            seen=seen,
            to="977",
            say=say,
            tap=tap,
            refuse=server.http.stop,
            drop=lambda: server.http.behave(DROP),
            slow_down=lambda seconds: server.http.behave(Response(429, {}, {"retry-after": str(seconds)})),
            reject=lambda: server.http.behave(Response(403, {"message": "Cannot send", "code": 50007})),
            lock_out=lambda: server.http.behave(Response(401, {"message": "401: Unauthorized"})),
            reconnect=server.cut,
            file=Attachment("notes.txt", path="notes.txt", media_type="text/plain"),
            allow=(77,),
            groups=(500,),
        )


async def test_a_person_is_written_to_alone(server: FakeDiscord, channel: DiscordChannel):
    await channel.send(Outgoing(key="k", text="x"))
    assert server.messages[0]["channel_id"] == "977"


async def test_a_cut_socket_is_resumed_without_a_new_login(server: FakeDiscord, channel: DiscordChannel):
    heard: list[str] = []

    async def accept(inbound: Any) -> None:
        heard.append(inbound.text)

    async def listen() -> None:
        while True:
            try:
                await channel.listen(accept)
            except TemporaryError:
                continue

    task = asyncio.create_task(listen())
    message = {"type": 0, "channel_id": "977", "author": {"id": "77"}, "content": "one", "id": "1"}
    server.push("MESSAGE_CREATE", message)
    async with asyncio.timeout(10):
        while not server.identified:
            await asyncio.sleep(0.01)
        server.push("MESSAGE_CREATE", {**message, "content": "two", "id": "2"})
        while "two" not in heard:
            await asyncio.sleep(0.01)
        await server.cut()
        server.push("MESSAGE_CREATE", {**message, "content": "three", "id": "3"})
        while "three" not in heard:
            await asyncio.sleep(0.01)
    task.cancel()
    assert heard.count("two") == 1
    assert (server.identified, server.resumed) == (1, 1)


@pytest.mark.parametrize(
    ("code", "error"), [(4004, ChannelDown), (4014, ChannelDown), (4000, TemporaryError)]
)
async def test_a_closed_socket_says_whether_to_come_again(
    server: FakeDiscord, channel: DiscordChannel, code: int, error: Any
):
    server.close_with = code

    async def accept(inbound: Any) -> None:
        raise AssertionError(inbound)

    with pytest.raises(error):
        await channel.listen(accept)


async def test_after_the_nonces_time_nobody_asks_again(
    channel: DiscordChannel, house: Any, server: FakeDiscord
):
    server.http.behave(DROP)
    message = Outgoing(key="k", text="x", to="977")
    with pytest.raises(AmbiguousSend):
        await channel.send(message)
    await house.clock.advance("2m")
    with pytest.raises(AmbiguousSend, match="forgotten"):
        await channel.reconcile(message)


async def test_nobody_is_pinged(server: FakeDiscord, channel: DiscordChannel):
    await channel.send(Outgoing(key="k", text="@everyone look", to="977"))
    assert server.messages[0]["allowed_mentions"] == {"parse": []}


def test_names_in_allow_are_refused():
    with pytest.raises(msgspec.ValidationError, match="numeric id"):
        msgspec.convert({"token": "x", "allow": ["owner#1234"]}, DiscordSettings)
