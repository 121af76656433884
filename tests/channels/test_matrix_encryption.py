"""Matrix end to end: our channel and another client, each with its own keys, over a real Synapse that reads nothing."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import nio
import pytest

from fake_http import DROP, FakeHttp, Handler, Request, Response
from homeserver import Homeserver, Person, Place, counted, line_to, shown, voice
from owing import SENDER, owe, status
from sealed_person import SealedPerson, sealed
from tawny.api import Attachment, ChannelDown, Inbound, Outgoing, TemporaryError
from tawny.channels.matrix import MatrixSettings
from tawny.channels.matrix.rooms import MatrixChannel
from tawny.delivery.compose import compose
from tawny.delivery.roster import Route
from tawny.testing.channel_contract import ChannelContract, Rig, Seen

# The server's start counts into the first test's time, and on a busy machine that is a minute.
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def ann(homeserver: Homeserver) -> Iterator[SealedPerson]:
    with sealed(homeserver.register(f"ann{next(counted)}")) as made:
        yield made


@pytest.fixture(scope="module")
def eve(homeserver: Homeserver) -> Iterator[SealedPerson]:
    with sealed(homeserver.register(f"eve{next(counted)}")) as made:
        yield made


@pytest.fixture
def tawny(homeserver: Homeserver) -> Person:
    return homeserver.register(f"tawny{next(counted)}")


@pytest.fixture
async def line(homeserver: Homeserver) -> AsyncIterator[FakeHttp]:
    async with line_to(homeserver) as line:
        yield line


@pytest.fixture
async def place(ann: SealedPerson, eve: SealedPerson, tawny: Person) -> Place:
    return Place(await ann.room(tawny), await ann.room(tawny, eve._person))


def made(line: FakeHttp, ann: SealedPerson, place: Place, tawny: Person, house: Any) -> MatrixChannel:
    settings = MatrixSettings(
        name="matrix", homeserver=line.url, token="x", to=place.alone, allow=(ann.id,), groups=(place.group,)
    )
    return MatrixChannel(settings, house, token=tawny.token)


@pytest.fixture
async def channel(
    line: FakeHttp, ann: SealedPerson, place: Place, tawny: Person, house: Any
) -> AsyncIterator[MatrixChannel]:
    channel = made(line, ann, place, tawny, house)
    await channel.account.open()
    house.notes["since"] = str((await channel.account.sync(None)).next_batch)
    yield channel
    await channel.close()


class TestEncryptedContract(ChannelContract):
    """The whole suite again, in rooms where the server sees nothing."""

    @pytest.fixture
    async def rig(
        self,
        line: FakeHttp,
        ann: SealedPerson,
        eve: SealedPerson,
        place: Place,
        channel: MatrixChannel,
        tmp_path: Path,
        house: Any,
        tawny: Person,
    ) -> Rig:
        def seen() -> list[Seen]:
            return shown_to(ann, place.alone, by=tawny.id)

        root = await ann.say(place.alone, "the root", transaction=f"r{next(counted)}")
        house.notes["since"] = str((await channel.account.sync(house.notes["since"])).next_batch)
        (tmp_path / "notes.txt").write_text("notes")
        return Rig(
            channel=channel,
            seen=seen,
            to=place.alone,
            thread=root,
            say=voice(place, to=tawny.id, owner=ann, stranger=eve),
            refuse=line.stop,
            drop=lambda: line.behave(DROP),
            slow_down=lambda seconds: line.behave(Response(429, {}, {"retry-after": str(seconds)})),
            reject=lambda: line.behave(Response(403, {"errcode": "M_FORBIDDEN", "error": "no"})),
            lock_out=lambda: setattr(channel.account, "token", "wrong"),
            reconnect=line.cut,
            file=Attachment("notes.txt", path="notes.txt", media_type="text/plain"),
            allow=(ann.id,),
            groups=(place.group,),
            settle=30.0,
        )


def shown_to(reader: SealedPerson, room: str, *, by: str) -> list[Seen]:
    """What a person's client shows in a room, edits applied. A message it cannot open fails the test."""
    opened: list[tuple[str, dict[str, Any]]] = []
    for event in reader.messages(room):
        if event.sender != by:
            continue
        assert not isinstance(event, nio.MegolmEvent), "a message came without its key"
        assert event.decrypted, "a message came in clear"
        opened.append((event.event_id, event.source["content"]))
    return shown(opened)


async def test_the_server_never_sees_the_words(
    line: FakeHttp, ann: SealedPerson, channel: MatrixChannel, place: Place, tawny: Person, tmp_path: Path
):
    (tmp_path / "plan.txt").write_text("the secret plan in a file")
    await channel.send(Outgoing(key="dlv_1", text="the secret word"))
    await channel.send(
        Outgoing(
            key="dlv_2",
            text="",
            attachments=(Attachment("plan.txt", path="plan.txt", media_type="text/plain"),),
        )
    )
    text, file = ann.messages(place.alone)[-2:]
    assert text.body == "the secret word"
    fetched = await ann.do(ann.client.download(file.url))
    key = file.source["content"]["file"]
    plain = nio.crypto.attachments.decrypt_attachment(
        fetched.body, key["key"]["k"], key["hashes"]["sha256"], key["iv"]
    )
    assert plain == b"the secret plan in a file"
    said = [request.body for request in line.requests]
    assert len(said) > 2
    assert not any(b"secret" in body for body in said)


async def test_after_a_restart_old_and_new_words_are_read(
    line: FakeHttp, ann: SealedPerson, channel: MatrixChannel, place: Place, tawny: Person, house: Any
):
    await channel.send(Outgoing(key="dlv_1", text="before"))
    await ann.say(place.alone, "said while it was down", transaction=f"t{next(counted)}")
    await channel.close()
    again = made(line, ann, place, tawny, house)
    try:
        heard = await hear(again, 1)
        assert [inbound.text for inbound in heard] == ["said while it was down"]
        await again.send(Outgoing(key="dlv_2", text="after"))
    finally:
        await again.close()
    assert [seen.text for seen in shown_to(ann, place.alone, by=tawny.id)] == ["before", "after"]


async def test_a_restart_that_has_not_synced_yet_still_encrypts(
    line: FakeHttp, ann: SealedPerson, channel: MatrixChannel, place: Place, tawny: Person, house: Any
):
    await channel.close()
    again = made(line, ann, place, tawny, house)
    try:
        await again.send(Outgoing(key="dlv_1", text="first thing"))
    finally:
        await again.close()
    assert [seen.text for seen in shown_to(ann, place.alone, by=tawny.id)] == ["first thing"]


async def test_the_same_key_after_a_restart_is_one_message(
    line: FakeHttp, ann: SealedPerson, channel: MatrixChannel, place: Place, tawny: Person, house: Any
):
    first = await channel.send(Outgoing(key="dlv_1", text="once"))
    await channel.close()
    again = made(line, ann, place, tawny, house)
    try:
        assert (await again.send(Outgoing(key="dlv_1", text="once"))).ids == first.ids
    finally:
        await again.close()
    assert [seen.text for seen in shown_to(ann, place.alone, by=tawny.id)] == ["once"]


def without_transactions(handler: Handler) -> Handler:
    """A homeserver that has forgotten which device sent what under which transaction."""

    async def forget(request: Request) -> Response:
        answer = handler(request)
        answer = answer if isinstance(answer, Response) else await answer
        page = json.loads(answer.body)
        for event in page.get("chunk", ()):
            event.get("unsigned", {}).pop("transaction_id", None)
        return Response(answer.status, page)

    return forget


async def test_what_was_sealed_and_sent_is_found_in_the_room_after_a_restart(
    line: FakeHttp, ann: SealedPerson, channel: MatrixChannel, place: Place, tawny: Person, house: Any
):
    sent = await channel.send(Outgoing(key="dlv_1", text="once"))
    await channel.send(Outgoing(key="dlv_2", text="twice"))
    await channel.close()
    # No transactions are shown, as by a server that forgot them.
    asks = {"text": "", "tried_at": house.clock.now()}
    forward, line.handler = line.handler, without_transactions(line.handler)
    again = made(line, ann, place, tawny, house)
    try:
        found = await again.reconcile(Outgoing(key="dlv_1", **asks))
        assert (found.ids if found else ()) == sent.ids
        assert await again.reconcile(Outgoing(key="dlv_never", **asks)) is None
    finally:
        line.handler = forward
        await again.close()


async def test_without_its_key_delivered_a_message_does_not_go_out(
    line: FakeHttp, ann: SealedPerson, channel: MatrixChannel, place: Place, tawny: Person
):
    """The library would send on, and Ann would see a message she can never read."""
    line.applies = lambda request: "/sendToDevice/" in request.path
    line.behave(Response(500, {"errcode": "M_UNKNOWN", "error": "no"}))
    with pytest.raises(TemporaryError, match="did not get the key"):
        await channel.send(Outgoing(key="dlv_1", text="hello"))
    assert shown_to(ann, place.alone, by=tawny.id) == []
    await channel.send(Outgoing(key="dlv_1", text="hello"))
    assert [seen.text for seen in shown_to(ann, place.alone, by=tawny.id)] == ["hello"]


async def test_words_in_clear_in_an_encrypted_room_are_not_obeyed(
    ann: SealedPerson, channel: MatrixChannel, place: Place
):
    await ann._person.say(place.alone, "forged by the server", transaction=f"t{next(counted)}")
    await ann.say(place.alone, "sealed by Ann", transaction=f"t{next(counted)}")
    assert [inbound.text for inbound in await hear(channel, 1)] == ["sealed by Ann"]


async def test_words_under_another_name_than_their_sealers_are_not_obeyed(
    line: FakeHttp, ann: SealedPerson, eve: SealedPerson, channel: MatrixChannel, place: Place
):
    """A server that writes Ann's name over Eve's message."""
    forward = line.handler

    async def relabel(request: Request) -> Response:
        answer = await answered(forward, request)
        if request.path.endswith("/sync"):
            body = httpx.Response(200, content=answer.body).json()
            for room in body.get("rooms", {}).get("join", {}).values():
                for event in room["timeline"]["events"]:
                    event["sender"] = ann.id if event["type"] == "m.room.encrypted" else event["sender"]
            return Response(200, body)
        return answer

    await eve.say(place.group, "by Eve", transaction=f"t{next(counted)}", **_mention(channel))
    await ann.say(place.group, "by Ann", transaction=f"t{next(counted)}", **_mention(channel))
    line.handler = relabel
    assert [inbound.text for inbound in await hear(channel, 1)] == ["by Ann"]


async def test_a_key_that_comes_after_its_message_opens_it(
    line: FakeHttp, ann: SealedPerson, channel: MatrixChannel, place: Place, house: Any
):
    forward = line.handler
    held: list[Any] = []

    async def hold_keys(request: Request) -> Response:
        answer = await answered(forward, request)
        if request.path.endswith("/sync"):
            body = httpx.Response(200, content=answer.body).json()
            if held and not body.get("rooms", {}).get("join"):
                body.setdefault("to_device", {})["events"] = held.copy()
                held.clear()
            elif events := body.get("to_device", {}).pop("events", []):
                held.extend(events)
            return Response(200, body)
        return answer

    line.handler = hold_keys
    await ann.say(place.alone, "the key is late", transaction=f"t{next(counted)}")
    heard = hear(channel, 1)
    # The sync with the message ends; another one, with the key alone, begins when something else happens.
    waiting = asyncio.ensure_future(heard)
    async with asyncio.timeout(30):
        while "waiting" not in house.notes:
            await asyncio.sleep(0.02)
    async with asyncio.timeout(60):
        assert [inbound.text for inbound in await waiting] == ["the key is late"]
    assert house.notes["waiting"] == "[]"


@pytest.mark.crash
@pytest.mark.parametrize("point", ["asked", "done"])
async def test_a_sealed_message_cut_off_by_a_kill_is_there_once(
    line: FakeHttp, ann: SealedPerson, place: Place, tawny: Person, tmp_path: Path, point: str
):
    """Sealed anew after the kill, under the same transaction, with a key that Ann has."""
    table = {"homeserver": line.url, "token": tawny.token, "to": place.alone}
    home = tmp_path / "home"
    home.mkdir()
    delivery_id = owe(home, "matrix")
    forward = line.handler
    running: list[asyncio.subprocess.Process] = []

    async def kill(request: Request) -> Response:
        if not running or not line.applies(request):
            return await answered(forward, request)
        if point == "done":
            await answered(forward, request)
        running.pop().kill()
        raise ConnectionError("nobody is there any more")

    line.handler = kill
    for is_cut_off in (True, False):
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            str(SENDER),
            str(home),
            "0",
            json.dumps({"matrix": [table]}),
            stdout=asyncio.subprocess.PIPE,
        )
        if is_cut_off:
            running.append(child)
        async with asyncio.timeout(110):
            out, _ = await child.communicate()
        assert out == (b"" if is_cut_off else b"idle\n")
    assert status(home, delivery_id) == "delivered"
    assert [seen.text for seen in shown_to(ann, place.alone, by=tawny.id)] == ["the result"]


async def test_the_account_vouches_for_its_device_once(
    homeserver: Homeserver,
    line: FakeHttp,
    ann: SealedPerson,
    channel: MatrixChannel,
    place: Place,
    tawny: Person,
    house: Any,
):
    async def keys() -> Any:
        return await tawny.call("POST", "/keys/query", json={"device_keys": {tawny.id: []}})

    known = await keys()
    (self_signing,) = known["self_signing_keys"][tawny.id]["keys"]
    assert self_signing in known["device_keys"][tawny.id][tawny.device]["signatures"][tawny.id]
    # Made once: a restart changes nothing, and another device of the account leaves the identity alone.
    await channel.close()
    again = made(line, ann, place, tawny, house)
    await again.account.open()
    await again.close()
    assert (await keys())["master_keys"] == known["master_keys"]
    assert (house.folder / "signing.json").stat().st_mode & 0o777 == 0o600
    other = homeserver.login(tawny.name)
    house.folder = house.folder / "other"
    elsewhere = made(line, ann, place, other, house)
    await elsewhere.account.open()
    await elsewhere.close()
    assert (await keys())["master_keys"] == known["master_keys"]


async def test_a_device_whose_keys_are_lost_is_taken_out_of_service(
    line: FakeHttp, ann: SealedPerson, channel: MatrixChannel, place: Place, tawny: Person, house: Any
):
    house.folder = house.folder / "restored-without-keys"
    again = made(line, ann, place, tawny, house)
    with pytest.raises(ChannelDown, match="keys") as error:
        await again.send(Outgoing(key="dlv_1", text="hello"))
    assert "log in again" in str(error.value.hint)
    await again.close()


async def test_whoever_left_the_room_gets_no_further_key(
    homeserver: Homeserver, ann: SealedPerson, channel: MatrixChannel, tawny: Person, house: Any
):
    with sealed(homeserver.register(f"bob{next(counted)}")) as bob:
        room = await ann.room(tawny, bob._person)
        house.notes["since"] = str((await channel.account.sync(house.notes["since"])).next_batch)
        await channel.send(Outgoing(key="dlv_1", text="with Bob", to=room))
        assert [event.body for event in bob.messages(room)] == ["with Bob"]
        await bob._person.call("POST", f"/rooms/{room}/leave", json={})
        await channel.account.sync(house.notes["since"])
        await channel.send(Outgoing(key="dlv_2", text="without Bob", to=room))
        assert [seen.text for seen in shown_to(ann, room, by=tawny.id)] == ["with Bob", "without Bob"]
        answer = await ann._person.call("GET", f"/rooms/{room}/messages", params={"dir": "b"})
        events = [event for event in answer["chunk"] if event["type"] == "m.room.encrypted"]
        sessions = {event["content"]["session_id"] for event in events}
        assert len(sessions) == 2, "one session before he left, another one after"


async def answered(handler: Handler, request: Request) -> Response:
    answer = handler(request)
    return answer if isinstance(answer, Response) else await answer


def _mention(channel: MatrixChannel) -> dict[str, Any]:
    return {"m.mentions": {"user_ids": [channel.account.me]}}


async def hear(channel: MatrixChannel, count: int) -> list[Inbound]:
    """Listen until so much has come in, and a moment longer so that too much would be seen."""
    heard: list[Inbound] = []
    enough = asyncio.Event()

    async def accept(inbound: Inbound) -> None:
        heard.append(inbound)
        if len(heard) >= count:
            enough.set()

    listening = asyncio.ensure_future(channel.listen(accept))
    async with asyncio.timeout(60):
        waiting = asyncio.ensure_future(enough.wait())
        await asyncio.wait([listening, waiting], return_when=asyncio.FIRST_COMPLETED)
    if listening.done():
        listening.result()
    listening.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await listening
    return heard


@pytest.mark.parametrize(
    "heavy", ["漢" * 9000, "😀" * 5000, "```\n" + '<"&' * 3000 + "\n```", "```\n" + "漢" * 9000 + "\n```"]
)
async def test_a_long_message_of_heavy_characters_is_within_what_an_event_may_weigh(
    ann: SealedPerson, tawny: Person, channel: MatrixChannel, place: Place, heavy: str
):
    message = Outgoing(key="dlv_heavy", text=heavy, to=place.alone)
    pieces = compose(message, Route(channel, place.alone, "", ""))
    receipts = [await channel.send(piece) for piece in pieces]
    await channel.edit(receipts[0], msgspec.structs.replace(pieces[0], key="dlv_edit"))
    assert [seen.text for seen in shown_to(ann, place.alone, by=tawny.id)] == [piece.text for piece in pieces]
