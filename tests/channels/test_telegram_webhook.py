"""Telegram by webhook: only who knows the secret is heard, everything that polling survives, and nothing is lost."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

import servers
import telegram_schema
from fake_http import started
from tawny.api import Accept, Inbound, TemporaryError
from tawny.channels.telegram import TelegramSettings
from tawny.channels.telegram.bot import TelegramChannel
from tawny.clock import SystemClock
from tawny.delivery.channel import ChatSettings
from tawny.delivery.door import Door
from tawny.ledger.database import Ledger
from tawny.ledger.migrations import migrate
from tawny.ledger.sqlite import SqliteStore
from telegram_api import FakeTelegram

pytestmark = pytest.mark.filterwarnings("ignore::telegram.warnings.PTBDeprecationWarning")

HEADER = "X-Telegram-Bot-Api-Secret-Token"
SECRET = "right"


@pytest.fixture
async def server() -> AsyncIterator[FakeTelegram]:
    async with started(FakeTelegram()) as fake:
        yield fake


class Hook:
    """A bot that listens for updates, and the world's way to it. `heard` is what it has accepted."""

    def __init__(self, bot: TelegramChannel, url: str, client: httpx.AsyncClient) -> None:
        self.bot = bot
        self.url = url
        self.client = client
        self.heard: list[Inbound] = []

    async def accept(self, inbound: Inbound) -> None:
        self.heard.append(inbound)

    @property
    def texts(self) -> list[str]:
        return [inbound.text for inbound in self.heard]

    async def post(self, update: Any, *, secret: str | None = SECRET, path: str = "/tg", **more: Any) -> int:
        content = update if isinstance(update, bytes) else json.dumps(update).encode()
        headers = {} if secret is None else {HEADER: secret}
        answer = await self.client.post(self.url + path, content=content, headers=headers, **more)
        return answer.status_code

    @asynccontextmanager
    async def listening(self, accept: Accept | None = None) -> AsyncIterator[None]:
        task = asyncio.create_task(self.bot.listen(accept or self.accept))
        try:
            async with asyncio.timeout(60):
                while True:
                    assert not task.done(), task.result()
                    with contextlib.suppress(httpx.ConnectError):
                        await self.post({}, secret="wrong")
                        break
                    await asyncio.sleep(0.01)
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


@pytest.fixture
async def hook(server: FakeTelegram, house: Any) -> AsyncIterator[Hook]:
    port = servers.free_port()
    settings = TelegramSettings(
        name="telegram", token="x", api_base=server.http.url, allow=(12345678,), webhook_url="https://me.test/tg",
        webhook_listen=f"127.0.0.1:{port}", webhook_secret="x",
    )  # fmt: skip
    bot = TelegramChannel(settings, house, token=server.token, webhook_secret=SECRET)
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        yield Hook(bot, f"http://127.0.0.1:{port}", client)
    await bot.close()


async def test_only_who_knows_the_secret_is_heard(server: FakeTelegram, hook: Hook):
    update = {"update_id": 5, "message": server.message("over the hook")}
    async with hook.listening():
        for secret in (None, "", "righ", "rightx", "RIGHT"):
            assert await hook.post(update, secret=secret) == 401
        assert hook.heard == []
        assert await hook.post(update) == 200
    assert hook.texts == ["over the hook"]
    assert server.webhook is not None
    assert server.webhook["secret_token"] == SECRET
    assert server.webhook["url"] == "https://me.test/tg"


async def test_whatever_path_a_proxy_makes_of_it_the_secret_counts(server: FakeTelegram, hook: Hook):
    async with hook.listening():
        for number, path in enumerate(("/", "/tg/", "/elsewhere", "/%00", "/a/../b", "/tg?x=1")):
            update = {"update_id": number, "message": server.message(path)}
            assert await hook.post(update, path=path, secret="wrong") == 401
            assert await hook.post(update, path=path) == 200
        assert (await hook.client.get(hook.url + "/tg", headers={HEADER: SECRET})).status_code == 405
        assert (await hook.client.get(hook.url + "/")).status_code == 405
    assert hook.texts == ["/", "/tg/", "/elsewhere", "/%00", "/a/../b", "/tg?x=1"]


async def test_a_body_too_large_is_not_read_and_an_unreadable_one_is_refused(
    server: FakeTelegram, hook: Hook
):
    async def endless() -> AsyncIterator[bytes]:
        yield b"x" * 100

    async with hook.listening():
        largest = json.dumps({"update_id": 1, "message": server.message("x" * 4096)}).encode()
        assert await hook.post(largest.ljust(1_000_000)) == 200
        assert await hook.post(largest.ljust(1_000_001)) == 413
        unsized = await hook.client.post(hook.url, content=endless(), headers={HEADER: SECRET})
        assert unsized.status_code == 413
        for body in (b"{", b"", b"\xff\xfe", b"[" * 200_000, b"NaN{"):
            assert await hook.post(body) in (400, 413)
        for odd in (None, [], [1], 7, "x", {}, {"update_id": None}, {"update_id": "x"}):
            assert await hook.post(odd) == 200
    assert hook.texts == ["x" * 4096]


@pytest.mark.parametrize("kind", telegram_schema.update_types())
async def test_every_type_of_update_is_survived(server: FakeTelegram, hook: Hook, kind: str):
    async with hook.listening():
        for depth in range(4):
            for pick in range(0, 8, 3):
                content = telegram_schema.content_of(kind, depth=depth, pick=pick)
                assert await hook.post({"update_id": 10 * depth + pick, kind: content}) == 200
        for odd in ({}, None, [1], "x"):
            assert await hook.post({"update_id": 90, kind: odd}) == 200
        assert await hook.post({"update_id": 99, "message": server.message("the end")}) == 200
    assert hook.texts[-1] == "the end"
    if kind not in ("message", "callback_query"):
        assert len(hook.heard) == 1


async def test_what_the_house_could_not_keep_comes_again(server: FakeTelegram, hook: Hook):
    errors: list[Exception] = [TemporaryError("the disk is full"), ValueError("a bug")]

    async def accept(inbound: Inbound) -> None:
        if errors:
            raise errors.pop()
        await hook.accept(inbound)

    update = {"update_id": 5, "message": server.message("important")}
    async with hook.listening(accept):
        assert [await hook.post(update) for _ in range(3)] == [503, 503, 200]
    assert hook.texts == ["important"]


async def test_an_update_sent_again_while_the_house_is_slow_comes_in_once(
    server: FakeTelegram, hook: Hook, tmp_path: Path
):
    """What has no answer within a minute Telegram sends again, beside the first that is still at work."""
    slow = asyncio.Event()
    inside: list[Inbound] = []

    async def submit(inbound: Inbound) -> None:
        # As the house does it: what it has by its id, it does not take twice.
        await slow.wait()
        if inbound.event_id not in [earlier.event_id for earlier in inside]:
            inside.append(inbound)

    store = SqliteStore(tmp_path / "hook.db")
    migrate(store, SystemClock())
    async with Ledger(store, SystemClock()) as ledger:
        door = Door(ledger, hook.bot, ChatSettings(allow=(12345678,)), submit)
        update = {"update_id": 5, "message": server.message("hello")}
        async with hook.listening(door):
            with pytest.raises(httpx.ReadTimeout):
                await hook.post(update, timeout=0.5)
            again = asyncio.create_task(hook.post(update))
            other = asyncio.create_task(hook.post({"update_id": 6, "edited_message": server.message("x")}))
            # Others are answered meanwhile.
            assert await other == 200
            slow.set()
            assert await again == 200
            assert await hook.post(update) == 200
    assert [inbound.text for inbound in inside] == ["hello"]


async def test_a_port_that_is_taken_is_trouble_of_this_channel_alone(server: FakeTelegram, hook: Hook):
    taken = socket.create_server(("127.0.0.1", httpx.URL(hook.url).port or 0))
    with taken, pytest.raises(TemporaryError, match=r"cannot listen at 127\.0\.0\.1"):
        await hook.bot.listen(hook.accept)
    async with hook.listening():
        assert await hook.post({"update_id": 5, "message": server.message("free again")}) == 200
    assert hook.texts == ["free again"]


@pytest.mark.parametrize("listen", ["8766", "127.0.0.1:", "127.0.0.1:99999", "127.0.0.1:http", ":8766", ""])
def test_what_is_no_address_to_listen_at_is_refused_when_the_settings_are_read(listen: str):
    table = {"token": "x", "webhook_url": "https://x.test/", "webhook_secret": "x", "webhook_listen": listen}
    with pytest.raises(msgspec.ValidationError, match="webhook_listen"):
        msgspec.convert(table, TelegramSettings)
