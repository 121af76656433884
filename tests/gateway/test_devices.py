"""Devices and tokens: nobody gets more than the server granted, and whoever is put out is out."""

import asyncio
import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from websockets.exceptions import ConnectionClosed

from tawny.gateway import devicekey
from tawny.ledger import credentials
from tawny.testing import FakeClock

from .conftest import Door
from .test_socket import socket

OWN = "http://127.0.0.1:8765"


async def code_of(door: Door, **body: object) -> str:
    answer = await door.client.post("/v1/pairing", json=body)
    assert answer.status_code == 201
    assert answer.json()["url"].endswith("#pair=" + answer.json()["code"])
    return answer.json()["code"]


def key_pair() -> tuple[Ed25519PrivateKey, str]:
    key = Ed25519PrivateKey.generate()
    return key, base64.b64encode(key.public_key().public_bytes_raw()).decode()


async def test_browser_is_let_in_by_a_code_once(door: Door) -> None:
    code = await code_of(door, name="Phone", scopes=["read", "approvals"])
    async with door.browser(origin=OWN) as phone:
        answer = await phone.post("/v1/pairing/claim", json={"code": code.lower()})
        assert answer.status_code == 204
        assert "HttpOnly" in answer.headers["set-cookie"]
        you = (await phone.get("/v1/status")).json()["you"]
        assert (you["name"], you["scopes"]) == ("Phone", ["approvals", "read"])
        assert (await phone.post("/v1/wake", json={})).status_code == 403
    async with door.browser(origin=OWN) as second:
        assert (await second.post("/v1/pairing/claim", json={"code": code})).status_code == 401


async def test_code_ends_after_ten_minutes(door: Door, clock: FakeClock) -> None:
    code = await code_of(door)
    await clock.advance("11m")
    async with door.browser(origin=OWN) as phone:
        assert (await phone.post("/v1/pairing/claim", json={"code": code})).status_code == 401


async def test_codes_cannot_be_guessed(door: Door) -> None:
    code = await code_of(door)
    async with door.browser(origin=OWN) as guesser:
        tries = [
            (await guesser.post("/v1/pairing/claim", json={"code": f"0000-0000-{n:04d}"})).status_code
            for n in range(20)
        ]
        assert tries == [401] * 10 + [429] * 10
        assert (await guesser.post("/v1/pairing/claim", json={"code": code})).status_code == 429


async def test_device_proves_itself_by_its_key(door: Door) -> None:
    key, public = key_pair()
    code = await code_of(door, name="Watch", scopes=["read"])
    async with door.browser() as device:
        made = (await device.post("/v1/pairing/claim", json={"code": code, "public_key": public})).json()
    assert made["scopes"] == ["read"]
    async with door.browser(authorization=f"Bearer {made['token']}") as device:
        assert (await device.get("/v1/status")).json()["you"]["id"] == made["device_id"]
    async with door.listening() as address:
        async with socket(address) as client:
            signature = key.sign(devicekey.message(client.nonce, made["device_id"]))
            auth = {"device_id": made["device_id"], "signature": base64.b64encode(signature).decode()}
            hello = await client.ask("connect", auth=auth, scopes=["read", "admin"], role="owner")
            assert hello["payload"]["scopes"] == ["read"]
        async with socket(address) as client:
            refused = await client.ask("connect", auth=auth)  # another nonce: a replay
            assert refused["error"]["code"] == "unauthenticated"
        async with socket(address) as client:
            other, _ = key_pair()
            forged = base64.b64encode(other.sign(devicekey.message(client.nonce, made["device_id"]))).decode()
            refused = await client.ask("connect", auth={"device_id": made["device_id"], "signature": forged})
            assert refused["error"]["code"] == "unauthenticated"


async def test_revoked_device_is_out_of_everything_within_a_second(door: Door) -> None:
    key, public = key_pair()
    code = await code_of(door)
    async with door.browser() as device:
        made = (await device.post("/v1/pairing/claim", json={"code": code, "public_key": public})).json()
    async with door.listening() as address, socket(address) as client:
        signature = base64.b64encode(key.sign(devicekey.message(client.nonce, made["device_id"]))).decode()
        await client.ask("connect", auth={"device_id": made["device_id"], "signature": signature})
        async with door.browser(address, authorization=f"Bearer {door.token}") as owner:
            assert (await owner.delete(f"/v1/devices/{made['device_id']}")).status_code == 204
        with pytest.raises(ConnectionClosed):
            async with asyncio.timeout(1):
                await client.raw.recv()
        async with door.browser(address, authorization=f"Bearer {made['token']}") as device:
            assert (await device.get("/v1/status")).status_code == 401
        async with socket(address) as again:
            signature = base64.b64encode(key.sign(devicekey.message(again.nonce, made["device_id"]))).decode()
            answer = await again.ask("connect", auth={"device_id": made["device_id"], "signature": signature})
            assert answer["error"]["code"] == "unauthenticated"
        async with door.browser(address, authorization=f"Bearer {door.token}") as owner:
            listed = (await owner.get("/v1/devices")).json()["items"]
            assert [entry["revoked"] for entry in listed] == [True]


async def test_nobody_gives_what_he_has_not_got(door: Door) -> None:
    _, pairer = await door.token_with("pairing", "read")
    _, admin = await door.token_with("admin")
    async with door.browser(authorization=f"Bearer {pairer}") as program:
        assert (await program.post("/v1/pairing", json={"scopes": ["admin"]})).status_code == 403
        assert (await program.post("/v1/pairing", json={"role": "owner"})).status_code == 403
        own = await program.post("/v1/pairing", json={})
        assert own.status_code == 201
        assert (await program.post("/v1/tokens", json={"name": "x", "scopes": ["read"]})).status_code == 403
    async with door.browser(authorization=f"Bearer {admin}") as program:
        assert (await program.post("/v1/tokens", json={"name": "x", "scopes": ["write"]})).status_code == 403
        assert (await program.post("/v1/tokens", json={"name": "x", "scopes": ["admin"]})).status_code == 201
        assert (await program.post("/v1/tokens/rotate")).status_code == 403
    async with door.browser(origin=OWN) as phone:
        await phone.post("/v1/pairing/claim", json={"code": own.json()["code"]})
        assert (await phone.get("/v1/status")).json()["you"]["scopes"] == ["pairing", "read"]


async def test_token_is_told_once_and_kept_as_a_hash(door: Door) -> None:
    key = {"idempotency-key": "t-1"}
    body = {"name": "ci", "scopes": ["read"]}
    made = (await door.client.post("/v1/tokens", json=body, headers=key)).json()
    again = await door.client.post("/v1/tokens", json=body, headers=key)
    assert again.status_code == 409
    assert again.json()["error"]["code"] == "told_once"
    async with door.browser(authorization=f"Bearer {made['token']}") as program:
        assert (await program.get("/v1/status")).status_code == 200
    (listed,) = (await door.client.get("/v1/tokens")).json()["items"]
    assert listed["name"] == "ci"
    assert "token" not in listed
    for table in ("credentials", "idempotency", "audit", "events"):
        rows = await door.site.ledger.read(lambda tx, table=table: list(tx.all(f"SELECT * FROM {table}")))
        assert made["token"] not in str(rows)
    assert (await door.client.delete(f"/v1/tokens/{made['id']}")).status_code == 204
    async with door.browser(authorization=f"Bearer {made['token']}") as program:
        assert (await program.get("/v1/status")).status_code == 401


async def test_rotating_the_owners_token_ends_the_old_one(door: Door) -> None:
    fresh = (await door.client.post("/v1/tokens/rotate")).json()["token"]
    assert (await door.client.get("/v1/status")).status_code == 401
    async with door.browser(authorization=f"Bearer {fresh}") as owner:
        assert (await owner.get("/v1/status")).status_code == 200


async def test_token_with_an_end_ends(door: Door, clock: FakeClock) -> None:
    made = (await door.client.post("/v1/tokens", json={"name": "d", "scopes": ["read"], "days": 1})).json()
    async with door.browser(authorization=f"Bearer {made['token']}") as program:
        assert (await program.get("/v1/status")).status_code == 200
        await clock.advance("25h")
        assert (await program.get("/v1/status")).status_code == 401


async def test_device_that_a_revoked_token_let_in_is_out_by_its_key_too(door: Door) -> None:
    pairer_id, pairer = await door.token_with("pairing", "read")
    key, public = key_pair()
    async with door.browser(authorization=f"Bearer {pairer}") as program:
        code = (await program.post("/v1/pairing", json={})).json()["code"]
    async with door.browser() as device:
        made = (await device.post("/v1/pairing/claim", json={"code": code, "public_key": public})).json()

    async def enter(address: str) -> dict[str, Any]:
        async with socket(address) as client:
            signed = base64.b64encode(key.sign(devicekey.message(client.nonce, made["device_id"]))).decode()
            return await client.ask("connect", auth={"device_id": made["device_id"], "signature": signed})

    async with door.listening() as address:
        assert (await enter(address))["ok"] is True
        await door.site.ledger.write(lambda tx: credentials.revoke(tx, pairer_id, actor="owner"))
        await door.site.keyring.load()
        assert (await enter(address))["error"]["code"] == "unauthenticated"
