"""Every operation against every kind of credential that is none: the right status, and nothing has changed."""

import hashlib
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from tawny.clock import HOUR
from tawny.config import Home
from tawny.gateway.auth import Attempts
from tawny.gateway.routes import OPERATIONS
from tawny.ledger import credentials

from .conftest import House
from .test_scopes import OPEN, concrete

CLOSED = [entry for entry in OPERATIONS if entry.scope is not None]
Headers = list[tuple[str, str]]


def state(home: Home) -> str:
    """Everything that is in the database, as one number, and the owner's token."""
    with closing(sqlite3.connect(home.database)) as connection:
        dump = "\n".join(connection.iterdump())
    return hashlib.sha256(f"{dump}{home.token_file.read_text()}".encode()).hexdigest()


def bearer(token: str) -> Headers:
    return [("authorization", f"Bearer {token}")]


BAD: dict[str, Callable[[str, str, str], Headers]] = {
    "nothing": lambda owner, ended, cookie: [],
    "an empty bearer": lambda owner, ended, cookie: bearer(""),
    "a made-up token": lambda owner, ended, cookie: bearer("x" * len(owner)),
    "the owner's token but its last letter": lambda owner, ended, cookie: bearer(owner[:-1]),
    "the owner's token and a letter": lambda owner, ended, cookie: bearer(owner + "a"),
    "the owner's token in other case": lambda owner, ended, cookie: bearer(owner.swapcase()),
    "the owner's token by another scheme": lambda owner, ended, cookie: [("authorization", f"Basic {owner}")],
    "the owner's token as a cookie": lambda owner, ended, cookie: [("cookie", f"tawny_session={owner}")],
    "the owner's token in another header": lambda owner, ended, cookie: [("x-api-key", owner)],
    "the token's digest": lambda owner, ended, cookie: bearer(hashlib.sha256(owner.encode()).hexdigest()),
    "a revoked token": lambda owner, ended, cookie: bearer(ended.split()[0]),
    "an expired token": lambda owner, ended, cookie: bearer(ended.split()[1]),
    "a token's id": lambda owner, ended, cookie: bearer(ended.split()[2]),
    "two tokens, one of them right": lambda owner, ended, cookie: bearer(owner) + bearer("x"),
    "a wrong token beside a right cookie": lambda owner, ended, cookie: [
        *bearer("x"),
        ("cookie", f"tawny_session={cookie}"),
    ],
    "an ended cookie": lambda owner, ended, cookie: [("cookie", f"tawny_session={ended.split()[3]}")],
    "a proxy's word for who it is": lambda owner, ended, cookie: [
        ("x-forwarded-user", "owner"),
        ("x-remote-user", "owner"),
        ("forwarded", "for=127.0.0.1"),
        ("x-forwarded-for", "127.0.0.1"),
    ],
}


async def cookie_of(house: House) -> str:
    async with house.door.browser(origin="http://127.0.0.1:8765") as browser:
        answer = await browser.post("/v1/signin", json={"token": house.door.token})
        assert answer.status_code == 204
        return browser.cookies["tawny_session"]


async def ended(house: House) -> str:
    """A revoked token, an expired one, an id, an ended cookie."""
    revoked_id, revoked = await house.door.token_with("read", "write", "admin")
    cookie = await cookie_of(house)
    async with house.door.browser(
        origin="http://127.0.0.1:8765", cookie=f"tawny_session={cookie}"
    ) as browser:
        assert (await browser.post("/v1/signout")).status_code == 204

    def make(tx: Any) -> tuple[Any, str]:
        credentials.revoke(tx, revoked_id, actor="owner")
        return credentials.create(
            tx,
            credentials.TOKEN,
            name="old",
            role="guest",
            scopes=frozenset({"read", "write"}),
            actor="owner",
            expires_at=tx.now - HOUR,
        )

    made, expired = await house.app.ledger.write(make)
    await house.door.site.keyring.load()
    return f"{revoked} {expired} {made.credential_id} {cookie}"


def test_no_operation_is_without_a_scope_but_the_open_ones() -> None:
    assert {entry.name for entry in OPERATIONS} - {entry.name for entry in CLOSED} == OPEN
    assert len(CLOSED) > 70


@pytest.mark.parametrize("kind", sorted(BAD))
async def test_what_is_no_credential_opens_nothing_and_changes_nothing(house: House, kind: str) -> None:
    house.door.site.keyring.attempts = Attempts(house.app.clock, limit=100_000)  # each is to be looked at
    headers = BAD[kind](house.door.token, await ended(house), await cookie_of(house))
    before = state(house.app.home)
    wrong: list[str] = []
    async with house.door.browser(origin="http://127.0.0.1:8765") as client:
        for entry in CLOSED:
            answer = await client.request(entry.method, concrete(entry.path), json={}, headers=headers)
            expected = 400 if kind.startswith("two tokens") else 401
            if answer.status_code != expected or "error" not in answer.json():
                wrong.append(f"{entry.name}: {answer.status_code}")
    assert wrong == []
    assert state(house.app.home) == before


async def test_a_right_cookie_from_nowhere_changes_nothing(house: House) -> None:
    """As a page of another site would send it: with the cookie, without the Origin, or with its own."""
    headers = {"cookie": f"tawny_session={await cookie_of(house)}"}
    before = state(house.app.home)
    for more in (
        {},
        {"origin": "https://evil.test"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site", "origin": "http://127.0.0.1:8765"},
    ):
        async with house.door.browser() as client:
            for entry in CLOSED:
                if not entry.alters:
                    continue
                answer = await client.request(
                    entry.method, concrete(entry.path), json={}, headers=headers | more
                )
                assert answer.status_code == 403, f"{entry.name} {more}: {answer.status_code}"
    assert state(house.app.home) == before


async def test_the_state_would_show_it(house: House) -> None:
    """The harness finds what a right token changes."""
    before = state(house.app.home)
    assert state(house.app.home) == before
    await house.run("simulate", not_before="1h")
    assert state(house.app.home) != before


@pytest.mark.parametrize(
    "claim",
    [
        {"owner": "owner"},
        {"owner": "somebody"},
        {"origin": {"by": "owner", "via": "cli", "trusted": True}},
        {"actor": "owner"},
        {"role": "owner", "scopes": ["admin"]},
    ],
)
async def test_who_lies_about_who_it_is_gets_what_was_granted(house: House, claim: dict[str, Any]) -> None:
    id, secret = await house.door.token_with("read", "write", name="robot")
    async with house.door.browser(authorization=f"Bearer {secret}") as client:
        body = {"kind": "simulate", "params": {"steps": 1, "step_seconds": 0}, "not_before": "1h"} | claim
        answer = await client.post("/v1/tasks", json=body)
        if answer.status_code == 422:
            assert (await client.get("/v1/tasks")).json()["items"] == []
            return
        assert answer.json()["owner"] == "robot"
    rows = (await house.client.get("/v1/audit", params={"task_id": answer.json()["task_id"]})).json()["items"]
    assert {row["actor"] for row in rows} == {f"token:{id}"}
