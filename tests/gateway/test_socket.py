"""The WebSocket: challenge, connect, hello; requests and events."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tawny.gateway.routes import METHODS
from tawny.gateway.socket import FRAMES, SocketEndpoint
from tawny.ledger import credentials
from tawny.testing import FakeClock

from .conftest import Door


class Client:
    def __init__(self, raw: ClientConnection) -> None:
        self.raw = raw
        self.nonce = ""
        self._id = 0

    async def frame(self) -> dict[str, Any]:
        async with asyncio.timeout(5):
            return msgspec.json.decode(await self.raw.recv())

    async def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a request; its answer, events in between thrown away."""
        self._id += 1
        await self.raw.send(
            msgspec.json.encode(
                {"type": "req", "id": str(self._id), "method": method, "params": params}
            ).decode()
        )
        while (frame := await self.frame())["type"] != "res":
            pass
        assert frame["id"] == str(self._id)
        return frame


@asynccontextmanager
async def socket(address: str, **headers: str) -> AsyncGenerator[Client]:
    url = address.replace("http", "ws", 1) + "/ws"
    async with connect(url, additional_headers=headers, compression=None) as raw:
        client = Client(raw)
        first = await client.frame()
        assert first["event"] == "connect.challenge"
        client.nonce = first["payload"]["nonce"]
        assert len(client.nonce) >= 32
        yield client


async def test_connect_is_answered_with_hello(door: Door) -> None:
    async with door.listening() as address, socket(address) as client:
        answer = await client.ask("connect", client={"id": "test"}, auth={"token": door.token})
        assert answer["ok"] is True
        hello = answer["payload"]
        assert hello["type"] == "hello"
        assert hello["scopes"] == ["admin", "approvals", "pairing", "read", "write"]
        assert "readyz" in hello["methods"]
        assert (await client.ask("readyz"))["payload"]["status"] == "ready"


async def test_claims_of_role_and_scope_only_make_it_less(door: Door) -> None:
    _, secret = await door.token_with("read")
    async with door.listening() as address:
        async with socket(address) as client:
            answer = await client.ask(
                "connect", auth={"token": secret}, role="owner", scopes=["admin", "read", "write"]
            )
            assert answer["payload"]["role"] == "guest"
            assert answer["payload"]["scopes"] == ["read"]
            refused = await client.ask("wake")
            assert refused["ok"] is False
            assert refused["error"]["code"] == "missing_scope"
        async with socket(address) as client:
            answer = await client.ask("connect", auth={"token": door.token}, scopes=["read"])
            assert answer["payload"]["scopes"] == ["read"]
            assert (await client.ask("wake"))["ok"] is False


async def test_nothing_but_connect_comes_first(door: Door) -> None:
    async with door.listening() as address, socket(address) as client:
        refused = await client.ask("readyz")
        assert refused["error"]["code"] == "unauthenticated"
        with pytest.raises(ConnectionClosed):
            await client.frame()


@pytest.mark.parametrize("auth", [{}, {"token": "wrong"}, {"device_id": "dev_x", "signature": "x"}])
async def test_wrong_credentials_are_closed(door: Door, auth: dict[str, str]) -> None:
    async with door.listening() as address, socket(address) as client:
        assert (await client.ask("connect", auth=auth))["error"]["code"] == "unauthenticated"
        with pytest.raises(ConnectionClosed):
            await client.frame()


async def test_foreign_pages_get_no_socket(door: Door) -> None:
    async with door.listening() as address:
        for origin in ("https://evil.test", "null", "http://localhost.evil.test"):
            with pytest.raises(InvalidStatus) as refused:
                async with socket(address, Origin=origin, Authorization=f"Bearer {door.token}"):
                    pass
            assert refused.value.response.status_code == 403


async def test_events_follow_the_place_given(door: Door) -> None:
    await door.append("task.queued", "task.started")
    async with door.listening() as address, socket(address) as client:
        hello = await client.ask("connect", auth={"token": door.token}, after=1)
        assert hello["payload"]["seq"] == 1
        await door.append("task.progress", "task.succeeded")
        frames = [await client.frame() for _ in range(3)]
        assert [(frame["event"], frame["seq"]) for frame in frames] == [
            ("task.started", 2),
            ("task.progress", 3),
            ("task.succeeded", 4),
        ]
        assert frames[0]["payload"]["seq"] == 2


async def test_reader_without_scope_gets_no_events(door: Door) -> None:
    _, secret = await door.token_with("write")
    async with door.listening() as address, socket(address) as client:
        await client.ask("connect", auth={"token": secret}, after=0)
        await door.append("task.queued")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await client.raw.recv()
        assert (await client.ask("subscribe", after=0))["error"]["code"] == "missing_scope"


async def test_subscribing_again_moves_the_place(door: Door) -> None:
    await door.append("task.queued", "approval.requested", "task.started")
    async with door.listening() as address, socket(address) as client:
        await client.ask("connect", auth={"token": door.token})
        assert (await client.ask("subscribe", after=0, topics="approval"))["ok"]
        assert (await client.frame())["seq"] == 2


async def test_revoked_device_is_put_out_within_a_second(door: Door) -> None:
    credential_id, secret = await door.token_with("read")
    async with door.listening() as address, socket(address) as client:
        await client.ask("connect", auth={"token": secret})
        await door.site.ledger.write(lambda tx: credentials.revoke(tx, credential_id, actor="owner"))
        with pytest.raises(ConnectionClosed):
            async with asyncio.timeout(1):
                await client.raw.recv()


async def test_malformed_frames_are_refused_and_then_the_sender(door: Door) -> None:
    async with door.listening() as address, socket(address) as client:
        await client.ask("connect", auth={"token": door.token})
        for bad in ("{", "[]", '{"type": "req"}', '{"type":"req","id":{},"method":"x"}'):
            await client.raw.send(bad)
            assert (await client.frame())["ok"] is False
        assert (await client.ask("readyz"))["ok"] is True
        assert (await client.ask("nonsense"))["error"]["code"] == "unknown_method"
        assert (await client.ask("readyz", bogus=1))["error"]["code"] == "invalid"
        for _ in range(6):
            await client.raw.send("{")
        frames = 0
        with contextlib.suppress(ConnectionClosed):
            while await client.frame():
                frames += 1
        assert frames <= 6


async def test_large_first_frame_is_refused(door: Door) -> None:
    async with door.listening() as address, socket(address) as client:
        await client.raw.send("x" * 70_000)
        with pytest.raises(ConnectionClosed):
            await client.frame()


async def test_silent_client_is_sent_away(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tawny.gateway.socket._CONNECT_SECONDS", 0.1)
    async with door.listening() as address, socket(address) as client:
        with pytest.raises(ConnectionClosed):
            await client.frame()


async def test_cookie_of_the_panel_needs_no_token_in_the_frame(door: Door) -> None:
    async with door.listening() as address:
        async with door.browser(origin=address, address=address) as browser:
            signed = await browser.post("/v1/signin", json={"token": door.token})
            cookie = signed.headers["set-cookie"].split(";")[0]
        async with socket(address, Origin=address, Cookie=cookie) as client:
            assert (await client.ask("connect"))["payload"]["role"] == "owner"


async def test_who_stops_reading_gets_a_snapshot_and_goes_on_from_there(door: Door) -> None:
    """The same rule as the stream's, and the events' frames are written once for all: whole, in order, of any size."""
    feed = door.site.feed
    feed._window = type(feed._window)(maxlen=64)
    async with door.listening() as address:
        url = address.replace("http", "ws", 1) + "/ws"
        async with connect(url, compression=None, max_queue=1, max_size=2**22) as raw:
            await raw.recv()
            await raw.send(
                msgspec.json.encode(
                    {
                        "type": "req",
                        "id": "1",
                        "method": "connect",
                        "params": {"auth": {"token": door.token}, "after": 0},
                    }
                ).decode()
            )
            assert msgspec.json.decode(await raw.recv())["ok"] is True
            for _ in range(100):
                await door.append(*["task.progress"] * 50, text="x" * 2000)
            for size in (10, 200, 70_000):
                await door.append("task.progress", text="y" * size)
            await door.append("task.succeeded")
            async with asyncio.timeout(20):
                while feed.last_seq < 5004:
                    await asyncio.sleep(0)
            place = jumps = 0
            while place < 5004:
                event = msgspec.json.decode(await raw.recv())
                if event["event"] == "system.snapshot":
                    assert event["seq"] is None
                    assert event["payload"]["data"]["after"] == place
                    place = event["payload"]["data"]["seq"]
                    jumps += 1
                else:
                    assert event["seq"] == event["payload"]["seq"] == place + 1
                    place += 1
            assert jumps


async def test_who_was_put_out_and_reads_nothing_does_nothing_more(door: Door, clock: FakeClock) -> None:
    """Its connection hangs on an event it does not take: what it still sends is not done."""
    credential_id, secret = await door.token_with("admin", "read")
    sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    got: list[Any] = []
    stuck, reads = asyncio.Event(), asyncio.Event()

    async def take(message: Any) -> None:
        got.append(message)

    async def take_frames(_: bytes) -> None:
        stuck.set()
        await reads.wait()

    def ask(method: str, **params: Any) -> None:
        request = {"type": "req", "id": method, "method": method, "params": params}
        sent.put_nowait({"type": "websocket.receive", "text": msgspec.json.encode(request).decode()})

    scope = {"type": "websocket", "headers": [], "extensions": {FRAMES: {"write": take_frames}}}
    sent.put_nowait({"type": "websocket.connect"})
    ask("connect", auth={"token": secret}, after=0)
    await door.append("task.queued")
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        serving = group.create_task(SocketEndpoint(door.site, METHODS)(scope, sent.get, take))
        await stuck.wait()
        await door.site.ledger.write(lambda tx: credentials.revoke(tx, credential_id, actor="owner"))
        await door.site.keyring.load()
        ask("tokens.add", name="late", scopes=["read"])
        while not sent.empty():
            await clock.settle()
        for _ in range(20):
            await clock.settle()
        reads.set()
        await serving
    assert 1008 in [message.get("code") for message in got]
    names = [entry.name for entry in await door.site.ledger.read(credentials.everything)]
    assert names == ["program"]


async def test_two_authorization_headers_are_refused(door: Door) -> None:
    async with door.listening() as address:
        url = address.replace("http", "ws", 1) + "/ws"
        twice = [("Authorization", f"Bearer {door.token}")] * 2
        with pytest.raises(InvalidStatus) as refused:
            async with connect(url, additional_headers=twice):
                pass
        assert refused.value.response.status_code == 400


async def test_restart_in_the_middle_costs_nothing(door: Door) -> None:
    seen: list[int] = []
    async with door.listening() as address, socket(address) as client:
        await client.ask("connect", auth={"token": door.token}, after=0)
        await door.append(*["task.progress"] * 10)
        seen += [(await client.frame())["seq"] for _ in range(10)]
    await door.append(*["task.progress"] * 10)  # while nobody answers
    door.site.feed.stopped = False
    async with door.listening() as address, socket(address) as client:
        hello = await client.ask("connect", auth={"token": door.token}, after=seen[-1])
        assert hello["ok"] is True
        await door.append(*["task.progress"] * 10)
        seen += [(await client.frame())["seq"] for _ in range(20)]
    assert seen == list(range(1, 31))
