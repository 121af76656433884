"""Events on every device: in order, once, without a gap, whatever the device does."""

# pyright: reportPrivateUsage=false
import asyncio
import re
import socket
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager

import httpx
import msgspec

from tawny.api import AsyncClient
from tawny.cli import following
from tawny.gateway import running
from tawny.testing import FakeClock

from .conftest import Door

Got = list[tuple[int | None, bytes]]


@asynccontextmanager
async def stream(address: str, token: str, *, last: str = "", **query: str) -> AsyncGenerator["Listener"]:
    headers = {"authorization": f"Bearer {token}"} | ({"last-event-id": last} if last else {})
    async with (
        httpx.AsyncClient(base_url=address, headers=headers, timeout=10) as client,
        client.stream("GET", "/v1/stream", params=query) as response,
    ):
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        yield Listener(response)


class Listener:
    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.aiter_lines()

    async def take(self, count: int) -> Got:
        """The next events as (id, data)."""
        got: Got = []
        id: int | None = None
        async with asyncio.timeout(10):
            async for line in self._lines:
                if line.startswith("id: "):
                    id = int(line[4:])
                elif line.startswith("data: "):
                    got.append((id, line[6:].encode()))
                    id = None
                    if len(got) == count:
                        return got
        return got


@asynccontextmanager
async def deaf(address: str) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection whose own end buffers next to nothing."""
    host, port = address.removeprefix("http://").split(":")
    raw = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.setblocking(False)
    await asyncio.get_running_loop().sock_connect(raw, (host, int(port)))
    reader, writer = await asyncio.open_connection(sock=raw, limit=4096)
    try:
        yield reader, writer
    finally:
        writer.close()


async def test_stream_follows_from_where_it_is_told(door: Door) -> None:
    await door.append("task.queued", "task.started", "task.progress")
    async with door.listening() as address, stream(address, door.token, after="1") as listener:
        got = await listener.take(2)
        assert [seq for seq, _ in got] == [2, 3]
        await door.append("task.succeeded")
        ((seq, data),) = await listener.take(1)
        assert seq == 4
        assert msgspec.json.decode(data)["type"] == "task.succeeded"


async def test_stream_without_a_place_begins_now(door: Door) -> None:
    await door.append("task.queued")
    async with door.listening() as address, stream(address, door.token) as listener:
        await door.append("task.started")
        assert [seq for seq, _ in await listener.take(1)] == [2]


async def test_last_event_id_wins_and_replays_the_same_bytes(door: Door) -> None:
    await door.append(*["task.progress"] * 5, current=1, text="é")
    async with door.listening() as address:
        async with stream(address, door.token, after="0") as first:
            whole = await first.take(5)
        async with stream(address, door.token, last="2", after="0") as again:
            assert await again.take(3) == whole[2:]


async def test_restart_in_the_middle_costs_nothing(door: Door) -> None:
    seen: Got = []
    async with door.listening() as address, stream(address, door.token, after="0") as listener:
        await door.append(*["task.progress"] * 10)
        seen += await listener.take(10)
    await door.append(*["task.progress"] * 10)  # while nobody answers
    door.site.feed.stopped = False
    async with (
        door.listening() as address,
        stream(address, door.token, last=str(seen[-1][0])) as listener,
    ):
        await door.append(*["task.progress"] * 10)
        seen += await listener.take(20)
    assert [seq for seq, _ in seen] == list(range(1, 31))


async def test_topics_choose_and_ids_stay_true(door: Door) -> None:
    async with (
        door.listening() as address,
        stream(address, door.token, topics="approval,task.succeeded") as listener,
    ):
        await door.append("task.progress", "approval.requested", "task.succeeded", "delivery.sent")
        await door.append("approval.answered")
        got = await listener.take(3)
        assert [seq for seq, _ in got] == [2, 3, 5]


async def test_far_behind_reads_everything_from_the_ledger(door: Door) -> None:
    door.site.feed._window = type(door.site.feed._window)(maxlen=16)
    for _ in range(20):
        await door.append(*["task.progress"] * 60)
    async with door.listening() as address, stream(address, door.token, after="0") as listener:
        got = await listener.take(1200)
        assert [seq for seq, _ in got] == list(range(1, 1201))


async def test_who_stops_reading_gets_a_snapshot_and_goes_on_from_there(door: Door) -> None:
    """Ten megabytes pass by a reader that takes none; little of it may lie ready for it afterwards."""
    feed = door.site.feed
    feed._window = type(feed._window)(maxlen=64)
    async with door.listening() as address, deaf(address) as (reader, writer):
        head = f"GET /v1/stream?after=0 HTTP/1.1\r\nhost: {address[7:]}\r\nauthorization: Bearer {door.token}"
        writer.write(f"{head}\r\n\r\n".encode())
        await reader.readuntil(b": connected\n\n")
        for _ in range(100):
            await door.append(*["task.progress"] * 50, text="x" * 2000)
        async with asyncio.timeout(20):
            while feed.last_seq < 5000:
                await asyncio.sleep(0)
        await door.append("task.succeeded", last=True)
        reader._limit = 2**24  # now it reads
        got = await reader.readuntil(b'"last":true')
        assert len(got) < 1_500_000
        place = jumps = 0
        for block in got.split(b"\n\n"):
            if seq := re.search(rb"^id: (\d+)$", block, re.MULTILINE):
                assert int(seq[1]) == place + 1
                place += 1
            elif snapshot := re.search(rb'"data":\{"seq":(\d+),"after":(\d+),"reason":"slow"', block):
                assert int(snapshot[2]) == place
                place = int(snapshot[1])
                jumps += 1
        assert place == 5001
        assert jumps


async def test_our_own_client_asks_again_for_what_it_was_too_slow_for(door: Door) -> None:
    feed = door.site.feed
    feed._window = type(feed._window)(maxlen=16)
    async with door.listening() as address, AsyncClient(address, token=door.token) as client:
        seen: list[int] = []
        await door.append("task.started")
        async with aclosing(client.events(after=0)) as events:
            async for event in events:
                seen.append(event["seq"])
                if len(seen) == 1:
                    for _ in range(400):
                        await door.append("task.progress", text="x" * 60_000)
                if event["seq"] == 401:
                    break
        assert seen == list(range(1, 402))


async def test_follow_reads_in_the_record_what_it_was_too_slow_for(door: Door) -> None:
    feed = door.site.feed
    feed._window = type(feed._window)(maxlen=16)
    await door.append("task.started")
    async with door.listening() as address:
        port = int(address.rpartition(":")[2])
        with running.announced(door.home, "127.0.0.1", port):
            events = following.events_of(door.home, 0)
            seen = [(await asyncio.to_thread(next, events))["seq"]]
            async with asyncio.TaskGroup() as group:
                second = group.create_task(asyncio.to_thread(next, events))
                async with asyncio.timeout(10):
                    while not feed.devices:
                        await asyncio.sleep(0.01)
                await door.append("task.progress")
            seen.append(second.result()["seq"])
            for _ in range(400):
                await door.append("task.progress", text="x" * 60_000)
            while seen[-1] < 402:
                seen.append((await asyncio.to_thread(next, events))["seq"])
            await asyncio.to_thread(events.close)
        assert seen == list(range(1, 403))


async def test_who_comes_back_reads_everything_however_slowly(door: Door) -> None:
    """An old place is asked for by who wants it all: no snapshot, though the window has long gone on."""
    door.site.feed._window = type(door.site.feed._window)(maxlen=16)
    for _ in range(40):
        await door.append(*["task.progress"] * 50, text="x" * 1000)
    async with door.listening() as address, stream(address, door.token, after="0") as slow:
        for _ in range(20):
            await door.append(*["task.progress"] * 50, text="x" * 1000)
        got = await slow.take(3000)
        assert [seq for seq, _ in got] == list(range(1, 3001))


async def test_whispers_are_live_only_and_have_no_id(door: Door) -> None:
    async with door.listening() as address:
        async with stream(address, door.token) as listener:
            door.site.feed.whisper("message.delta", {"text": "Hel"}, session="main")
            ((seq, data),) = await listener.take(1)
            assert seq is None
            assert msgspec.json.decode(data)["data"] == {"text": "Hel"}
            assert msgspec.json.decode(data)["seq"] is None
        await door.append("message.sent")
        async with stream(address, door.token, after="0") as listener:
            assert [seq for seq, _ in await listener.take(1)] == [1]


async def test_place_the_log_has_forgotten_gets_a_snapshot(door: Door) -> None:
    await door.append(*["task.progress"] * 10)
    await door.site.ledger.write(lambda tx: tx.execute("DELETE FROM events WHERE seq < 5"))
    await door.site.feed.load()
    door.site.feed._window.clear()
    async with door.listening() as address, stream(address, door.token, after="1") as listener:
        ((seq, data),) = await listener.take(1)
        assert seq is None
        assert msgspec.json.decode(data)["type"] == "system.snapshot"
        assert msgspec.json.decode(data)["seq"] == 10
        await door.append("task.succeeded")
        assert [seq for seq, _ in await listener.take(1)] == [11]


async def test_place_from_the_future_gets_a_snapshot(door: Door) -> None:
    async with door.listening() as address, stream(address, door.token, after="99") as listener:
        ((_, data),) = await listener.take(1)
        assert msgspec.json.decode(data)["type"] == "system.snapshot"


async def test_stream_ends_when_its_token_is_revoked(door: Door) -> None:
    from tawny.ledger import credentials

    credential_id, secret = await door.token_with("read")
    async with door.listening() as address, stream(address, secret) as listener:
        await door.site.ledger.write(lambda tx: credentials.revoke(tx, credential_id, actor="owner"))
        async with asyncio.timeout(1):
            assert await listener.take(1) == []


async def test_stream_ends_with_the_time_its_token_was_given(door: Door, clock: FakeClock) -> None:
    made = await door.client.post("/v1/tokens", json={"name": "day", "scopes": ["read"], "days": 1})
    async with door.listening() as address, stream(address, made.json()["token"]) as listener:
        await clock.advance("25h")
        async with asyncio.timeout(5):
            assert await listener.take(1) == []


async def test_stream_ends_when_the_owners_token_is_changed(door: Door) -> None:
    async with door.listening() as address, stream(address, door.token) as listener:
        async with door.browser(address, authorization=f"Bearer {door.token}") as owner:
            assert (await owner.post("/v1/tokens/rotate")).status_code == 200
        async with asyncio.timeout(1):
            assert await listener.take(1) == []


async def test_wrong_places_are_refused(door: Door) -> None:
    for query in ("after=x", "after=-1", "bogus=1"):
        assert (await door.client.get(f"/v1/stream?{query}")).status_code == 422
    for last in ("x", "-1", "1" * 30):
        answer = await door.client.get("/v1/stream", headers={"last-event-id": last})
        assert answer.status_code == 422


async def test_devices_leave_nothing_behind(door: Door) -> None:
    async with door.listening() as address:
        async with stream(address, door.token) as listener:
            await door.append("task.queued")
            await listener.take(1)
            assert door.site.feed.devices == 1
        async with asyncio.timeout(2):
            while door.site.feed.devices:
                await asyncio.sleep(0.01)
