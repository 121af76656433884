import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from websockets.asyncio.server import serve

from discord_api import FakeDiscord
from fake_http import DROP, HANG, Response, started
from tawny.api import AmbiguousSend, Attachment, Button, ChannelDown, Outgoing, TemporaryError
from tawny.channels.discord import DiscordChannel, DiscordSettings, _shown
from tawny.testing.channel_contract import OWNER, ChannelContract, Rig, Seen


@pytest.fixture
async def server() -> AsyncIterator[FakeDiscord]:
    async with started(FakeDiscord()) as fake, serve(fake.talk, "127.0.0.1", 0) as socket:
        port = next(iter(socket.sockets)).getsockname()[1]
        fake.socket_url = f"ws://127.0.0.1:{port}"
        yield fake


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
    async def rig(self, server: FakeDiscord, channel: DiscordChannel, house: Any, tmp_path: Path) -> Rig:
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
            answer=lambda *answer: server.http.behave(Response(*answer)),
            hang=lambda: server.http.behave(HANG),
            drop=lambda: server.http.behave(DROP),
            slow_down=lambda seconds: server.http.behave(Response(429, {}, {"retry-after": str(seconds)})),
            reject=lambda: server.http.behave(Response(403, {"message": "Cannot send", "code": 50007})),
            lock_out=lambda: server.http.behave(Response(401, {"message": "401: Unauthorized"})),
            reconnect=server.cut,
            file=Attachment("notes.txt", path="notes.txt", media_type="text/plain"),
            allow=(77,),
            groups=(500,),
            now=house.clock.now,
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


async def test_where_the_address_to_resume_at_is_dead_another_is_asked_for(
    server: FakeDiscord, channel: DiscordChannel
):
    heard = asyncio.Event()

    async def accept(inbound: Any) -> None:
        assert inbound.text == "hello"
        heard.set()

    channel._resume_url = "ws://127.0.0.1:1/"
    with pytest.raises(TemporaryError, match="broke"):
        await channel.listen(accept)
    task = asyncio.create_task(channel.listen(accept))
    async with asyncio.timeout(60):
        while not server.identified:
            assert not task.done()
            await asyncio.sleep(0.01)
        server.push(
            "MESSAGE_CREATE",
            {"type": 0, "channel_id": "977", "author": {"id": "77"}, "content": "hello", "id": "1"},
        )
        await heard.wait()
    task.cancel()


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
    message = Outgoing(key="k", text="x", to="977", tried_at=house.clock.now())
    with pytest.raises(AmbiguousSend):
        await channel.send(message)
    found = await channel.reconcile(message)
    assert found is not None
    assert [found.ids[0]] == [each["id"] for each in server.messages]
    await house.clock.advance("2m")
    with pytest.raises(AmbiguousSend, match="forgotten"):
        await channel.reconcile(message)


async def test_nobody_is_pinged(server: FakeDiscord, channel: DiscordChannel):
    await channel.send(Outgoing(key="k", text="@everyone look", to="977"))
    assert server.messages[0]["allowed_mentions"] == {"parse": []}


def test_names_in_allow_are_refused():
    with pytest.raises(msgspec.ValidationError, match="numeric id"):
        msgspec.convert({"token": "x", "allow": ["owner#1234"]}, DiscordSettings)


@pytest.mark.parametrize("buttons", [1, 5, 6, 25])
async def test_whatever_is_sent_the_published_interface_takes(
    server: FakeDiscord, channel: DiscordChannel, buttons: int, tmp_path: Path
):
    """What it does not take the fake notes, and its fixture fails the test."""
    offered = tuple(Button(f"{number} " + "x" * 100, f"{number}" + "v" * 3000) for number in range(buttons))
    offered += () if buttons == 25 else (Button("look", url="https://a.test/"),)
    message = Outgoing(key="dlv_" + "k" * 40, text="x" * 2000, to="977", title="T", buttons=offered)
    receipt = await channel.send(message)
    await channel.edit(receipt, message)
    await channel.edit(receipt, Outgoing(key="k", text="done"))
    (tmp_path / "notes.txt").write_text("notes")
    file = Attachment("notes.txt", path="notes.txt", media_type="text/plain")
    await channel.send(Outgoing(key="f", text="", to="user-77", attachments=(file,)))
    assert len(server.messages) == 2


@pytest.mark.parametrize(
    "text",
    ["rm *old* __x__ ~~y~~ `z` ||w|| <@1> # a - b \\* [x](y)", "*_" * 900, "# " + "`" * 3 + "x" * 1980],
)
def test_what_is_no_markdown_is_shown_character_by_character(text: str):
    shown = _shown(Outgoing(key="k", text=text, format="plain"))
    assert len(shown) <= 2000
    if shown.startswith("```\n"):
        inside = shown.removeprefix("```\n").removesuffix("\n```")
        assert "```" not in inside
        assert inside.replace("\u2060", "") == text
    else:
        # Discord shows a mark after a backslash as itself, and takes the backslash away.
        assert not re.search(r"(?<!\\)(?:\\\\)*[*_~`|<>#]", shown.replace("\\\\", ""))
        assert re.sub(r"\\([^0-9A-Za-z\s])", r"\1", shown) == text


def test_markdown_goes_to_discord_as_it_is():
    assert _shown(Outgoing(key="k", text="**b** `x`")) == "**b** `x`"
