"""Matrix against a real homeserver: Synapse."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fake_http import DROP, HANG, FakeHttp, Request, Response
from homeserver import Homeserver, Person, Place, counted, line_to, shown, voice
from tawny.api import (
    AmbiguousSend,
    Attachment,
    ChannelDown,
    Inbound,
    Outgoing,
    PermanentError,
    TemporaryError,
)
from tawny.channels.matrix import MatrixSettings
from tawny.channels.matrix.rooms import MatrixChannel, _text
from tawny.clock import MINUTE
from tawny.delivery.compose import compose
from tawny.delivery.roster import Route
from tawny.testing.channel_contract import ChannelContract, Rig, Seen

# The server's start counts into the first test's time, and on a busy machine that is a minute.
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def people(homeserver: Homeserver) -> tuple[Person, Person, Person]:
    number = next(counted)
    return (
        homeserver.register(f"tawny{number}"),
        homeserver.register(f"ann{number}"),
        homeserver.register(f"eve{number}"),
    )


@pytest.fixture
async def line(homeserver: Homeserver) -> AsyncIterator[FakeHttp]:
    async with line_to(homeserver) as line:
        line.applies = lambda request: request.method == "PUT"
        yield line


@pytest.fixture
async def place(people: tuple[Person, Person, Person]) -> Place:
    tawny, ann, eve = people
    return Place(await ann.room(tawny), await ann.room(tawny, eve))


@pytest.fixture
async def channel(
    line: FakeHttp, homeserver: Homeserver, people: tuple[Person, Person, Person], place: Place, house: Any
) -> AsyncIterator[MatrixChannel]:
    account, ann, _ = people
    # A device of its own, as its keys lie in this test's folder.
    tawny = homeserver.login(account.name)
    settings = MatrixSettings(
        name="matrix", homeserver=line.url, token="x", to=place.alone, allow=(ann.id,), groups=(place.group,)
    )
    # Synced once already: what is said from now on is no history.
    answer = await tawny.call("GET", "/sync", params={"timeout": "0"})
    house.notes["since"] = answer["next_batch"]
    made = MatrixChannel(settings, house, token=tawny.token)
    yield made
    await made.close()


class TestContract(ChannelContract):
    @pytest.fixture
    async def rig(
        self,
        line: FakeHttp,
        people: tuple[Person, Person, Person],
        place: Place,
        channel: MatrixChannel,
        tmp_path: Path,
        homeserver: Homeserver,
    ) -> Rig:
        tawny, ann, eve = people

        def seen() -> list[Seen]:
            with httpx.Client(base_url=homeserver.url, trust_env=False) as client:
                answer = client.get(
                    f"/_matrix/client/v3/rooms/{place.alone}/messages",
                    params={"dir": "b", "limit": "100"},
                    headers={"authorization": f"Bearer {ann.token}"},
                ).json()
            return shown(
                (event["event_id"], event["content"])
                for event in reversed(answer["chunk"])
                if event["type"] == "m.room.message" and event["sender"] == tawny.id
            )

        root = await ann.say(place.alone, "the root", transaction=f"r{next(counted)}")
        answer = await tawny.call("GET", "/sync", params={"timeout": "0"})
        channel._host.notes["since"] = answer["next_batch"]  # type: ignore[attr-defined]
        (tmp_path / "notes.txt").write_text("notes")
        return Rig(
            channel=channel,
            seen=seen,
            to=place.alone,
            thread=root,
            say=voice(place, to=tawny.id, owner=ann, stranger=eve),
            refuse=line.stop,
            answer=lambda *answer: line.behave(Response(*answer)),
            hang=lambda: line.behave(HANG),
            drop=lambda: line.behave(DROP),
            slow_down=lambda seconds: line.behave(Response(429, {}, {"retry-after": str(seconds)})),
            reject=lambda: line.behave(Response(403, {"errcode": "M_FORBIDDEN", "error": "no"})),
            lock_out=lambda: setattr(channel.account, "token", "wrong"),
            reconnect=line.cut,
            file=Attachment("notes.txt", path="notes.txt", media_type="text/plain"),
            allow=(ann.id,),
            groups=(place.group,),
        )


async def test_invitations_of_the_allowed_are_followed(
    people: tuple[Person, Person, Person], channel: MatrixChannel
):
    tawny, ann, eve = people
    wanted = await ann.call("POST", "/createRoom", json={"invite": [tawny.id]})
    unwanted = await eve.call("POST", "/createRoom", json={"invite": [tawny.id]})
    heard: list[Inbound] = []

    async def accept(inbound: Inbound) -> None:
        heard.append(inbound)

    task = asyncio.create_task(channel.listen(accept))
    async with asyncio.timeout(15):
        while wanted["room_id"] not in (await tawny.call("GET", "/joined_rooms"))["joined_rooms"]:
            await asyncio.sleep(0.05)
    assert unwanted["room_id"] not in (await tawny.call("GET", "/joined_rooms"))["joined_rooms"]
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_an_event_of_any_shape_stops_nothing(
    people: tuple[Person, Person, Person], channel: MatrixChannel, place: Place, house: Any, line: FakeHttp
):
    """Whoever is in a room can put anything into it, and not every server looks; the library reads it all."""
    tawny, ann, eve = people
    megolm = "m.megolm.v1.aes-sha2"
    odd: list[tuple[str, Any]] = [
        ("m.room.message", {}),
        ("m.room.message", {"msgtype": 7, "body": ["x"]}),
        ("m.room.message", {"msgtype": "m.text", "body": None}),
        ("m.room.message", {"msgtype": "m.text", "body": "x", "m.relates_to": "nothing"}),
        ("m.room.message", {"msgtype": "m.text", "body": "x", "m.relates_to": {"rel_type": ["m.replace"]}}),
        ("m.room.message", {"msgtype": "m.text", "body": "x", "m.mentions": [1]}),
        ("m.room.message", {"msgtype": "m.image", "body": 1, "url": {}, "info": "?"}),
        ("m.room.message", {"msgtype": "m.text", "body": "deep", "x": [[[[[[[[[[]]]]]]]]]]}),
        ("m.room.encrypted", {}),
        ("m.room.encrypted", {"algorithm": megolm, "ciphertext": 1, "session_id": []}),
        ("m.room.encrypted", {"algorithm": megolm, "ciphertext": "AwgA", "session_id": "x", "sender_key": "y",
                              "device_id": "z"}),
        ("m.room.encrypted", {"algorithm": "none", "ciphertext": "AwgA"}),
        ("m.room.member", {"membership": 3}),
        ("org.example.new", {"body": 1}),
    ]  # fmt: skip
    forward = line.handler

    async def insert(request: Request) -> Response:
        answer = forward(request)
        answer = answer if isinstance(answer, Response) else await answer
        body = httpx.Response(200, content=answer.body).json() if request.path.endswith("/sync") else {}
        for room in body.get("rooms", {}).get("join", {}).values():
            facts = {"sender": eve.id, "origin_server_ts": 1}
            made = [
                {"type": kind, "content": content, "event_id": f"$odd{number}", **facts}
                for number, (kind, content) in enumerate(odd)
            ]
            bare = [{"type": "m.room.message"}, {"content": 1, **facts}, {"type": 3, **facts}, {}]
            room["timeline"]["events"] = made + bare + room["timeline"]["events"]
        return Response(200, body) if body else answer

    line.handler = insert
    house.notes["since"] = (await tawny.call("GET", "/sync", params={"timeout": "0"}))["next_batch"]
    await ann.say(place.alone, "still there?", transaction=f"t{next(counted)}")
    heard: list[Inbound] = []
    done = asyncio.Event()

    async def accept(inbound: Inbound) -> None:
        heard.append(inbound)
        if inbound.sender == ann.id:
            done.set()

    task = asyncio.create_task(channel.listen(accept))
    async with asyncio.timeout(30):
        waiting = asyncio.create_task(done.wait())
        await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
    assert not task.done(), task.exception()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert [inbound.text for inbound in heard if inbound.sender == ann.id] == ["still there?"]


async def test_a_transaction_sent_three_times_is_one_message(
    people: tuple[Person, Person, Person], channel: MatrixChannel, place: Place
):
    receipts = [await channel.send(Outgoing(key=f"dlv_{place.alone[1:8]}", text="once")) for _ in range(3)]
    assert len(set(receipts_ids(receipts))) == 1
    assert [event["content"]["body"] for event in await people[1].messages(place.alone)] == ["once"]


def elsewhere(house: Any) -> Any:
    return type(house)(house.home / "elsewhere")


async def asked_after(channel: MatrixChannel, key: str, *, ago: int = 0) -> Any:
    tried_at = channel._host.clock.now() - ago * MINUTE
    return await channel.reconcile(Outgoing(key=key, text="once", tried_at=tried_at))


async def test_what_was_sent_is_found_in_the_room_though_the_server_forgot_its_transaction(
    people: tuple[Person, Person, Person], channel: MatrixChannel, place: Place, homeserver: Homeserver,
    line: FakeHttp, house: Any
):  # fmt: skip
    key = f"dlv_{place.alone[1:8]}"
    sent = await channel.send(Outgoing(key=key, text="once"))
    for number in range(3):
        await people[0].say(place.alone, "chatter", transaction=f"{key}.{number}")
    whole = line.handler
    line.handler = lambda request: whole(
        replace(request, target=request.target.replace("limit=100", "limit=1"))
    )
    # To another device the server shows no transactions.
    settings = MatrixSettings(name="matrix", homeserver=line.url, token="x", to=place.alone)
    other = MatrixChannel(settings, elsewhere(house), token=homeserver.login(people[0].name).token)
    try:
        assert (await asked_after(other, key)).ids == sent.ids
        assert await asked_after(other, "dlv_never") is None
    finally:
        await other.close()


async def test_what_was_taken_back_may_have_been_it(
    people: tuple[Person, Person, Person], channel: MatrixChannel, place: Place
):
    sent = await channel.send(Outgoing(key="dlv_back", text="once"))
    await people[0].call("PUT", f"/rooms/{place.alone}/redact/{sent.ids[0]}/r{next(counted)}", json={})
    with pytest.raises(AmbiguousSend, match="cannot be read"):
        await asked_after(channel, "dlv_never")
    # By now a server may have forgotten the transaction, so it is not sent again.
    with pytest.raises(PermanentError, match="nobody can tell"):
        await asked_after(channel, "dlv_never", ago=16)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Response(503, b"<html>"), TemporaryError),
        (Response(429, {}, {"retry-after": "7"}), TemporaryError),
        (Response(200, b"[]"), TemporaryError),
        (Response(200, {}), TemporaryError),
        (DROP, TemporaryError),
        (Response(403, {"errcode": "M_FORBIDDEN", "error": "no"}), AmbiguousSend),
        (Response(400, {"errcode": "M_MISSING_PARAM", "error": "from"}), AmbiguousSend),
        (Response(401, {"errcode": "M_UNKNOWN_TOKEN", "error": "who?"}), ChannelDown),
    ],
)
async def test_a_room_that_is_not_shown_says_nothing_about_what_was_sent(
    channel: MatrixChannel, line: FakeHttp, answer: Any, error: type[Exception]
):
    await channel.account.open()
    line.applies = lambda request: request.path.endswith("/messages")
    # A lost answer is asked for a second time by the library itself.
    line.behave(answer, answer)
    with pytest.raises(error):
        await asked_after(channel, "dlv_never")


def receipts_ids(receipts: list[Any]) -> list[str]:
    return [receipt.ids[0] for receipt in receipts]


def seen_in(html: str) -> str:
    """What a client shows of a formatted body."""
    shown: list[str] = []
    reader = HTMLParser()
    reader.handle_data = shown.append
    reader.handle_starttag = lambda tag, attrs: shown.append("\n" if tag == "br" else "")
    reader.feed(html)
    reader.close()
    return "".join(shown)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="ab`~ \n<&>@#", max_size=50))
@example("see ```x\ny``` there")
@example("````\n```b\n````\na")
def test_formatted_or_not_every_word_is_shown_and_nobody_called(text: str):
    content = _text(text, formatted=True)
    assert content["m.mentions"] == {}
    assert content["body"] == text
    shown = seen_in(content.get("formatted_body", "")) or text
    # Only the lines that open and close a fence are not shown: what stands on one is its language.
    fences = [line for line in text.split("\n") if line.lstrip(" ").startswith(("```", "~~~"))]
    letters = Counter(filter(str.isalpha, text)) - Counter(filter(str.isalpha, "".join(fences)))
    assert not letters - Counter(filter(str.isalpha, shown))
    if "formatted_body" not in content:
        assert shown == text


@pytest.mark.parametrize(
    ("markdown", "html"),
    [
        ("a\n```py\nx < 1\n```\nb", "a<br><pre><code>x &lt; 1\n</code></pre>b"),
        ("~~~\n```\n~~~", "<pre><code>```\n</code></pre>"),
        ("```\nopen", "<pre><code>open</code></pre>"),
    ],
)
def test_code_is_shown_as_code(markdown: str, html: str):
    assert _text(markdown, formatted=True)["formatted_body"] == html
    assert "formatted_body" not in _text(markdown, formatted=False)


@pytest.mark.parametrize(
    ("table", "says"),
    [({"allow": ["ann"]}, "user id"), ({"groups": ["#room:x"]}, "room id"), ({"to": "#room:x"}, "room id")],
)
def test_names_and_aliases_are_refused(table: dict[str, Any], says: str):
    with pytest.raises(msgspec.ValidationError, match=says):
        msgspec.convert({"homeserver": "https://x", "token": "x", **table}, MatrixSettings)


@pytest.mark.parametrize(
    "heavy", ["漢" * 9000, "😀" * 5000, "```\n" + '<"&' * 3000 + "\n```", "```\n" + "漢" * 9000 + "\n```"]
)
async def test_a_long_message_of_heavy_characters_is_within_what_an_event_may_weigh(
    people: tuple[Person, Person, Person], channel: MatrixChannel, place: Place, heavy: str
):
    message = Outgoing(key="dlv_heavy", text=heavy, to=place.alone)
    pieces = compose(message, Route(channel, place.alone, "", ""))
    receipts = [await channel.send(piece) for piece in pieces]
    await channel.edit(receipts[0], msgspec.structs.replace(pieces[0], key="dlv_edit"))
    _, ann, _ = people
    said = [event["content"] for event in await ann.messages(place.alone)]
    arrived = [
        content["body"] for content in said if content.get("m.relates_to", {}).get("rel_type") != "m.replace"
    ]
    assert arrived == [piece.text for piece in pieces]
    assert said[-1]["m.new_content"]["body"] == pieces[0].text
