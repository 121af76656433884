"""Web Push: sealed for the browser alone, without content, once, also after a restart."""

import asyncio
import base64
import contextlib
import json
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import http_ece
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tawny.config import Config, Home, Limits, Network
from tawny.engine.kinds import Kind
from tawny.ledger import credentials, events, push

from .conftest import House, open_house
from .test_approvals import Params, ask


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Service:
    """A push service on this machine, and the browser behind it."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.auth = b"0123456789abcdef"
        self.got: asyncio.Queue[tuple[dict[str, str], dict[str, Any]]] = asyncio.Queue()
        self.status = "201 Created"
        self.port = 0

    def subscription(self) -> dict[str, Any]:
        point = self.key.public_key().public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        )
        keys = {"p256dh": b64(point), "auth": b64(self.auth)}
        return {
            "endpoint": f"http://127.0.0.1:{self.port}/push/secret-id",
            "expirationTime": None,
            "keys": keys,
        }

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {
            line.split(":", 1)[0].lower(): line.split(":", 1)[1].strip() for line in head[1:] if ":" in line
        }
        headers["path"] = head[0].split()[1]
        body = await reader.readexactly(int(headers["content-length"]))
        plain = http_ece.decrypt(body, private_key=self.key, auth_secret=self.auth, version="aes128gcm")
        writer.write(f"HTTP/1.1 {self.status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()
        self.got.put_nowait((headers, json.loads(plain)))

    async def next(self) -> tuple[dict[str, str], dict[str, Any]]:
        async with asyncio.timeout(60):
            return await self.got.get()


@asynccontextmanager
async def service() -> AsyncGenerator[Service]:
    made = Service()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    async with server:
        yield made


def config(port: int) -> Config:
    here = f"127.0.0.1:{port}"
    return Config(
        network=Network(allow=(here,), allow_private=(here,)),
        limits=Limits(concurrency=8, max_running_per_owner=8),
    )


@asynccontextmanager
async def open_pushing(home: Home, there: Service) -> AsyncGenerator[House]:
    kinds = {"ask": Kind(name="ask", params=Params, run=ask)}
    async with open_house(home, config(there.port), kinds=kinds) as house:
        yield house


async def test_question_reaches_the_browser_without_its_content(home: Home) -> None:
    async with service() as there, open_pushing(home, there) as house:
        public = (await house.client.get("/v1/push/key")).json()["public_key"]
        assert len(base64.urlsafe_b64decode(public + "=")) == 65
        made = await house.client.post(
            "/v1/push/subscriptions", json={**there.subscription(), "name": "Phone"}
        )
        assert made.status_code == 201, made.text
        task = await house.run("ask")
        headers, shown = await there.next()
        assert headers["content-encoding"] == "aes128gcm"
        assert headers["authorization"].startswith("vapid t=")
        assert public in headers["authorization"]
        assert shown["task_id"] == task["task_id"]
        assert shown["approval_id"].startswith("appr_")
        assert "a@b" not in json.dumps(shown)
        assert "hi" not in json.dumps(shown["body"])
        assert (await house.client.get("/v1/push/key")).json()["public_key"] == public


async def test_ends_are_told_as_the_task_wants(home: Home) -> None:
    async with service() as there, open_pushing(home, there) as house:
        await house.client.post("/v1/push/subscriptions", json=there.subscription())
        silent = await house.run(notify="silent")
        await house.until(silent["task_id"], "succeeded")
        told = await house.run(notify="done_only", title="Secret plans")
        _, shown = await there.next()
        assert shown["task_id"] == told["task_id"]
        assert "Secret" not in json.dumps(shown)


async def test_restart_tells_what_happened_meanwhile_and_nothing_twice(home: Home) -> None:
    async with service() as there:
        async with open_pushing(home, there) as house:
            await house.client.post("/v1/push/subscriptions", json=there.subscription())
            await house.client.post("/v1/push/test")
            assert (await there.next())[1]["tag"] == "test"
            async with asyncio.timeout(5):
                while (await house.app.ledger.read(push.told) or 0) < house.app.feed.last_seq:
                    await asyncio.sleep(0.01)
        async with open_pushing(home, there) as house:
            told = await house.run(notify="done_only")
            assert (await there.next())[1]["task_id"] == told["task_id"]
            assert there.got.empty()


async def test_crash_before_the_record_shows_the_person_one(home: Home) -> None:
    """The gateway died after it told and before it wrote that down; both messages are one to service and browser."""
    async with service() as there:
        async with open_pushing(home, there) as house:
            await house.client.post("/v1/push/subscriptions", json=there.subscription())
            await house.run("ask")
            first, shown = await there.next()
            seen = await house.app.ledger.read(lambda tx: events.after(tx, 0, limit=1000))
            (asked,) = [event.seq for event in seen if event.type == "approval.requested"]
            async with asyncio.timeout(10):
                while (await house.app.ledger.read(push.told) or 0) < asked:
                    await asyncio.sleep(0.01)
            await house.app.ledger.write(lambda tx: push.tell(tx, asked - 1))
        async with open_pushing(home, there) as house:
            second, again = await there.next()
        assert again == shown
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,32}", first["topic"])
        assert second["topic"] == first["topic"]
        assert shown["tag"] not in first["topic"]


async def test_who_may_look_no_more_is_told_no_more(home: Home) -> None:
    """The browser was signed in by a token that is revoked; its own row knows nothing of that."""
    async with service() as there, open_pushing(home, there) as house:
        token_id, token = await house.door.token_with("read")
        async with house.door.browser(origin="http://127.0.0.1:8765") as browser:
            assert (await browser.post("/v1/signin", json={"token": token})).status_code == 204
            body = there.subscription()
            body["endpoint"] = body["endpoint"].replace("secret-id", "browser")
            assert (await browser.post("/v1/push/subscriptions", json=body)).status_code == 201
        await house.client.post("/v1/push/subscriptions", json=there.subscription())
        await house.client.post("/v1/push/test")
        assert [(await there.next())[0]["path"] for _ in range(2)] == ["/push/browser", "/push/secret-id"]
        await house.app.ledger.write(lambda tx: credentials.revoke(tx, token_id, actor="owner"))
        await house.door.site.keyring.load()
        await house.client.post("/v1/push/test")
        assert (await there.next())[0]["path"] == "/push/secret-id"


async def test_what_the_owners_token_asked_for_ends_with_it(home: Home) -> None:
    async with service() as there, open_pushing(home, there) as house:
        await house.client.post("/v1/push/subscriptions", json=there.subscription())
        await house.client.post("/v1/push/test")
        await there.next()
        fresh = (await house.client.post("/v1/tokens/rotate")).json()["token"]
        house.client.headers["authorization"] = f"Bearer {fresh}"
        await house.client.post("/v1/push/test")
        async with asyncio.timeout(10):
            while await house.app.ledger.read(push.subscriptions):
                await asyncio.sleep(0.01)
        assert there.got.empty()
        await house.client.post("/v1/push/subscriptions", json=there.subscription())
        await house.client.post("/v1/push/test")
        assert (await there.next())[1]["tag"] == "test"


@pytest.mark.parametrize("kept", ["owner", None])
async def test_what_an_older_build_kept_ends_with_the_owners_token_too(home: Home, kept: str | None) -> None:
    async with service() as there:
        async with open_pushing(home, there) as house:
            await house.client.post("/v1/push/subscriptions", json=there.subscription())
            as_it_was = "UPDATE push_subscriptions SET credential_id = :kept"
            await house.app.ledger.write(lambda tx: tx.execute(as_it_was, kept=kept))
        async with open_pushing(home, there) as house:
            await house.client.post("/v1/push/test")
            assert (await there.next())[1]["tag"] == "test"
            fresh = (await house.client.post("/v1/tokens/rotate")).json()["token"]
            house.client.headers["authorization"] = f"Bearer {fresh}"
            await house.client.post("/v1/push/test")
            bell = house.app.ledger.bell.subscribe("events")
            async with asyncio.timeout(20):
                while await house.app.ledger.read(push.subscriptions):
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(bell.wait(), 0.05)
            assert there.got.empty()


@pytest.mark.parametrize(
    ("said", "accepted", "language"),
    [
        ({}, "zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ({}, "de, zh;q=0.2, en;q=0.7", "en"),
        ({}, "fr", "en"),
        ({}, "zh;q=nonsense, ;;;,en;q=0", "en"),
        ({"language": "zh"}, "en", "zh"),
        ({"language": "en"}, "zh-TW", "en"),
    ],
)
async def test_person_is_told_in_their_language(
    home: Home, said: dict[str, str], accepted: str, language: str
) -> None:
    texts = {
        "en": ("Tawny needs your yes", ["Approve", "Deny"], "A task is done", "simulate"),
        "zh": ("Tawny 需要您的同意", ["批准", "拒绝"], "任务已完成", "试运行任务"),
    }[language]
    async with service() as there, open_pushing(home, there) as house:
        headers = {"accept-language": accepted}
        await house.client.post("/v1/push/subscriptions", json=there.subscription() | said, headers=headers)
        await house.run("ask")
        _, shown = await there.next()
        assert (shown["title"], shown["lang"]) == (texts[0], language)
        assert [one["title"] for one in shown["actions"]] == texts[1]
        assert [one["action"] for one in shown["actions"]] == ["approve", "deny"]
        await house.run(notify="done_only")
        _, shown = await there.next()
        assert (shown["title"], shown["body"]) == (texts[2], texts[3])
        await house.client.post("/v1/push/test")
        assert (await there.next())[1]["body"] == {"en": "Push works.", "zh": "推送可用。"}[language]


async def test_two_devices_are_told_each_in_its_own(home: Home) -> None:
    async with service() as there, open_pushing(home, there) as house:
        for language in ("en", "zh"):
            body = there.subscription() | {"language": language}
            body["endpoint"] += language
            await house.client.post("/v1/push/subscriptions", json=body)
        await house.client.post("/v1/push/test")
        told = [await there.next() for _ in range(2)]
        assert {headers["path"][-2:]: shown["lang"] for headers, shown in told} == {"en": "en", "zh": "zh"}
        refused = await house.client.post(
            "/v1/push/subscriptions", json=there.subscription() | {"language": "de"}
        )
        assert refused.status_code == 422


async def test_ended_subscription_is_dropped(home: Home) -> None:
    async with service() as there, open_pushing(home, there) as house:
        there.status = "410 Gone"
        await house.client.post("/v1/push/subscriptions", json=there.subscription())
        await house.client.post("/v1/push/test")
        await there.next()
        async with asyncio.timeout(5):
            while await house.app.ledger.read(push.subscriptions):
                await asyncio.sleep(0.01)
        assert (await house.client.post("/v1/push/test")).status_code == 404


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://127.0.0.1:9/x",
        "https://evil.test/x",
        "file:///etc/passwd",
        "https://fcm.googleapis.com.evil.test/",
    ],
)
async def test_other_addresses_are_no_push_services(house: House, endpoint: str) -> None:
    body = {**Service().subscription(), "endpoint": endpoint}
    assert (await house.client.post("/v1/push/subscriptions", json=body)).status_code in (403, 422)


async def test_browsers_own_services_are_known(house: House) -> None:
    for endpoint in (
        "https://fcm.googleapis.com/fcm/send/x",
        "https://updates.push.services.mozilla.com/wpush/v2/x",
        "https://web.push.apple.com/x",
    ):
        body = {**Service().subscription(), "endpoint": endpoint}
        assert (await house.client.post("/v1/push/subscriptions", json=body)).status_code == 201
        assert (
            await house.client.post("/v1/push/unsubscribe", json={"endpoint": endpoint})
        ).status_code == 204


async def test_wrong_keys_are_refused(house: House) -> None:
    body = Service().subscription() | {
        "endpoint": "https://web.push.apple.com/x",
        "keys": {"p256dh": "x", "auth": "y"},
    }
    assert (await house.client.post("/v1/push/subscriptions", json=body)).status_code == 422
