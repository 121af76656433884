"""Matrix against a real homeserver: Synapse."""

import asyncio
import contextlib
import itertools
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from fake_http import DROP, HANG, FakeHttp, Request, Response
from homeserver import Homeserver, Person, synapse
from tawny.api import Attachment, Inbound, Outgoing
from tawny.channels.matrix import MatrixSettings
from tawny.channels.matrix.rooms import MatrixChannel
from tawny.testing.channel_contract import OWNER, ChannelContract, Rig, Seen

_count = itertools.count()


@pytest.fixture(scope="module")
def homeserver() -> Iterator[Homeserver]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, synapse(Path(folder)) as made:
        yield made


@pytest.fixture(scope="module")
def people(homeserver: Homeserver) -> tuple[Person, Person, Person]:
    return homeserver.register("tawny"), homeserver.register("ann"), homeserver.register("eve")


@pytest.fixture
async def line(homeserver: Homeserver) -> AsyncIterator[FakeHttp]:
    """The way to the homeserver, which can be cut: a proxy under the test's hand."""
    client = httpx.AsyncClient(base_url=homeserver.url, trust_env=False, timeout=60)

    async def forward(request: Request) -> Response:
        kept = {
            name: value
            for name, value in request.headers.items()
            if name in ("authorization", "content-type")
        }
        answer = await client.request(request.method, request.target, headers=kept, content=request.body)
        return Response(answer.status_code, answer.content, {"content-type": answer.headers["content-type"]})

    proxy = FakeHttp(forward)
    proxy.applies = lambda request: request.method == "PUT"
    await proxy.start()
    yield proxy
    await proxy.stop()
    await client.aclose()


class Place:
    """Two rooms: one where the owner is alone with the assistant, one with others."""

    def __init__(self, alone: str, group: str) -> None:
        self.alone = alone
        self.group = group


@pytest.fixture
async def place(people: tuple[Person, Person, Person]) -> Place:
    tawny, ann, eve = people
    return Place(await ann.room(tawny), await ann.room(tawny, eve))


@pytest.fixture
async def channel(
    line: FakeHttp, homeserver: Homeserver, people: tuple[Person, Person, Person], place: Place, house: Any
) -> AsyncIterator[MatrixChannel]:
    _, ann, _ = people
    # A device of its own, as its keys lie in this test's folder.
    tawny = homeserver.login("tawny")
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
        transactions: dict[int, str] = {}

        def seen() -> list[Seen]:
            with httpx.Client(base_url=homeserver.url, trust_env=False) as client:
                answer = client.get(
                    f"/_matrix/client/v3/rooms/{place.alone}/messages",
                    params={"dir": "b", "limit": "100"},
                    headers={"authorization": f"Bearer {ann.token}"},
                ).json()
            edits: dict[str, str] = {}
            found: list[tuple[str, Seen]] = []
            for event in reversed(answer["chunk"]):
                if event["type"] != "m.room.message" or event["sender"] != tawny.id:
                    continue
                content = event["content"]
                relation = content.get("m.relates_to", {})
                if relation.get("rel_type") == "m.replace":
                    edits[relation["event_id"]] = content["m.new_content"]["body"]
                    continue
                is_file = content["msgtype"] == "m.file"
                thread = relation.get("event_id", "") if relation.get("rel_type") == "m.thread" else ""
                files = (content["body"],) if is_file else ()
                found.append(
                    (event["event_id"], Seen("" if is_file else content["body"], "", thread, (), files))
                )
            for event_id, message in found:
                message.text = edits.get(event_id, message.text)
            return [message for _, message in found]

        async def say(text: str, *, sender: str = OWNER, event: int | None = None, **more: Any) -> None:
            who = ann if sender == OWNER else eve
            room = place.group if more.get("group") or sender != OWNER else place.alone
            transaction = (
                transactions.setdefault(event, f"e{next(_count)}")
                if event is not None
                else f"t{next(_count)}"
            )
            content: dict[str, Any] = {}
            if more.get("mention") or sender != OWNER:
                content["m.mentions"] = {"user_ids": [tawny.id]}
            if more.get("thread"):
                content["m.relates_to"] = {"rel_type": "m.thread", "event_id": more["thread"]}
            await who.say(room, text, transaction=transaction, **content)

        root = await ann.say(place.alone, "the root", transaction=f"r{next(_count)}")
        answer = await tawny.call("GET", "/sync", params={"timeout": "0"})
        channel._host.notes["since"] = answer["next_batch"]  # type: ignore[attr-defined]
        (tmp_path / "notes.txt").write_text("notes")
        return Rig(
            channel=channel,
            seen=seen,
            to=place.alone,
            thread=root,
            say=say,
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
    await ann.say(place.alone, "still there?", transaction=f"t{next(_count)}")
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


def receipts_ids(receipts: list[Any]) -> list[str]:
    return [receipt.ids[0] for receipt in receipts]


@pytest.mark.parametrize(
    ("table", "says"),
    [({"allow": ["ann"]}, "user id"), ({"groups": ["#room:x"]}, "room id"), ({"to": "#room:x"}, "room id")],
)
def test_names_and_aliases_are_refused(table: dict[str, Any], says: str):
    with pytest.raises(msgspec.ValidationError, match=says):
        msgspec.convert({"homeserver": "https://x", "token": "x", **table}, MatrixSettings)
