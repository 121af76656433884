"""Who gets in."""

import httpx
import pytest

from tawny.config import Home
from tawny.gateway.auth import owner_token, rotate_owner_token
from tawny.gateway.routes import OPERATIONS
from tawny.ledger import credentials
from tawny.testing import FakeClock

from .conftest import Door


def path_for(path: str) -> str:
    for name in ("{id}", "{key}", "{name}", "{source}"):
        path = path.replace(name, "x")
    return path


CLOSED = [entry for entry in OPERATIONS if entry.scope is not None]


def test_owner_token_is_made_once_and_private(home: Home) -> None:
    token = owner_token(home.token_file)

    assert len(token) == 64
    assert home.token_file.stat().st_mode & 0o777 == 0o600
    assert owner_token(home.token_file) == token


def test_token_file_that_others_could_read_is_closed(home: Home) -> None:
    token = owner_token(home.token_file)
    home.token_file.chmod(0o644)

    assert owner_token(home.token_file) == token
    assert home.token_file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("operation", CLOSED, ids=lambda entry: entry.name)
async def test_nothing_opens_without_a_token(door: Door, operation: object) -> None:
    method, path = operation.method, path_for(operation.path)  # type: ignore[attr-defined]
    async with door.browser() as stranger:
        assert (await stranger.request(method, path, json={})).status_code == 401
        wrong = {"authorization": f"Bearer {'0' * 64}"}
        assert (await stranger.request(method, path, json={}, headers=wrong)).status_code == 401
        basic = {"authorization": f"Basic {door.token}"}
        assert (await stranger.request(method, path, json={}, headers=basic)).status_code == 401


@pytest.mark.parametrize("path", ["/v1/nothing", "/v1/tasks/../../token", "/secret", "/v1", "/metricsx"])
async def test_unknown_paths_tell_a_stranger_nothing(door: Door, path: str) -> None:
    async with door.browser() as stranger:
        assert (await stranger.get(path)).status_code == 401
    assert (await door.client.get(path)).status_code == 404


async def test_health_and_panel_are_open(door: Door) -> None:
    async with door.browser() as stranger:
        assert (await stranger.get("/healthz")).json() == {"status": "ok"}
        page = await stranger.get("/")
        assert page.status_code == 200
        assert page.headers["content-type"].startswith("text/html")


async def test_wrong_tokens_are_not_even_compared_after_ten(door: Door, clock: FakeClock) -> None:
    async with door.browser() as guesser:
        statuses = [
            (await guesser.get("/readyz", headers={"authorization": f"Bearer wrong{n}"})).status_code
            for n in range(1000)
        ]
    assert statuses.count(401) == 10
    assert statuses.count(429) == 990

    async with door.browser() as guesser:
        _, fresh = await door.token_with("read")
        answer = await guesser.get("/readyz", headers={"authorization": f"Bearer {fresh}"})
        assert answer.status_code == 429  # even a right one is not looked at
        assert 1 <= int(answer.headers["retry-after"]) <= 61
    async with door.browser(peer="192.0.2.7") as other:
        assert (await other.get("/readyz", headers={"authorization": f"Bearer {fresh}"})).status_code == 200

    await clock.advance("61s")
    async with door.browser() as guesser:
        assert (await guesser.get("/readyz", headers={"authorization": f"Bearer {fresh}"})).status_code == 200


async def test_who_was_let_in_before_is_not_locked_out_by_guesses(door: Door) -> None:
    assert (await door.client.get("/readyz")).status_code == 200
    async with door.browser() as guesser:
        for n in range(20):
            await guesser.get("/readyz", headers={"authorization": f"Bearer wrong{n}"})
    assert (await door.client.get("/readyz")).status_code == 200


async def test_named_token_gets_its_scopes_and_no_more(door: Door) -> None:
    _, secret = await door.token_with("read")
    async with door.browser(authorization=f"Bearer {secret}") as program:
        assert (await program.get("/readyz")).status_code == 200
        refused = await program.post("/v1/wake", json={})
        assert refused.status_code == 403
        assert refused.json()["error"]["code"] == "missing_scope"


async def test_revoked_token_is_refused(door: Door) -> None:
    credential_id, secret = await door.token_with("read")
    async with door.browser(authorization=f"Bearer {secret}") as program:
        assert (await program.get("/readyz")).status_code == 200
        await door.site.ledger.write(lambda tx: credentials.revoke(tx, credential_id, actor="owner"))
        await door.site.keyring.load()
        assert (await program.get("/readyz")).status_code == 401


async def test_what_a_revoked_token_let_in_is_out_however_far_down(door: Door) -> None:
    first_id, first = await door.token_with("admin", "read")
    async with door.browser(authorization=f"Bearer {first}") as program:
        made = await program.post("/v1/tokens", json={"name": "second", "scopes": ["read"]})
    async with door.browser(origin="http://127.0.0.1:8765") as browser:
        assert (await browser.post("/v1/signin", json={"token": made.json()["token"]})).status_code == 204
        assert (await browser.get("/readyz")).status_code == 200

        await door.site.ledger.write(lambda tx: credentials.revoke(tx, first_id, actor="owner"))
        await door.site.keyring.load()

        assert (await browser.get("/readyz")).status_code == 401


async def test_what_opens_as_its_token_ends_is_closed_at_once(door: Door) -> None:
    credential_id, secret = await door.token_with("read")
    principal = door.site.keyring.identify(bearer=secret, cookie=None, address="127.0.0.1")
    await door.site.ledger.write(lambda tx: credentials.revoke(tx, credential_id, actor="owner"))
    await door.site.keyring.load()
    closed: list[bool] = []
    door.site.keyring.attach(principal, lambda: closed.append(True))
    assert closed == [True]


async def test_changed_owner_token_ends_the_old_one_and_its_cookies(door: Door) -> None:
    async with door.browser(origin="http://127.0.0.1:8765") as browser:
        assert (await browser.post("/v1/signin", json={"token": door.token})).status_code == 204
        assert (await browser.get("/readyz")).status_code == 200

        fresh = rotate_owner_token(door.home.token_file)

        assert (await browser.get("/readyz")).status_code == 401
        assert (await door.client.get("/readyz")).status_code == 401
        assert (await browser.get("/readyz", headers={"authorization": f"Bearer {fresh}"})).status_code == 200


async def test_signing_in_sets_a_cookie_scripts_cannot_read(door: Door) -> None:
    async with door.browser(origin="http://127.0.0.1:8765") as browser:
        answer = await browser.post("/v1/signin", json={"token": door.token})
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert "Path=/" in cookie
        assert door.token not in cookie
        assert (await browser.get("/readyz")).status_code == 200
        assert (await browser.post("/v1/wake", json={})).status_code == 204

        assert (await browser.post("/v1/signout")).status_code == 204
        assert (await browser.get("/readyz")).status_code == 401


async def test_cookie_is_no_bearer_token(door: Door) -> None:
    async with door.browser(origin="http://127.0.0.1:8765") as browser:
        answer = await browser.post("/v1/signin", json={"token": door.token})
        secret = answer.headers["set-cookie"].split(";")[0].partition("=")[2]
    async with door.browser(authorization=f"Bearer {secret}") as thief:
        assert (await thief.get("/readyz")).status_code == 401


async def test_signing_in_with_a_wrong_token_counts_as_a_guess(door: Door) -> None:
    async with door.browser() as guesser:
        answers = [await guesser.post("/v1/signin", json={"token": f"wrong{n}"}) for n in range(12)]
    assert [answer.status_code for answer in answers] == [401] * 10 + [429] * 2
    assert all("set-cookie" not in answer.headers for answer in answers)


async def test_cookie_alone_cannot_write_without_an_origin(door: Door) -> None:
    async with door.browser() as browser:
        await browser.post("/v1/signin", json={"token": door.token})
        form = await browser.post("/v1/wake", content=b"a=b", headers={"content-type": "text/plain"})
        assert form.status_code == 403


async def test_guests_sign_in_ends_with_their_token(door: Door) -> None:
    credential_id, secret = await door.token_with("read")
    async with door.browser(origin="http://127.0.0.1:8765") as browser:
        await browser.post("/v1/signin", json={"token": secret})
        assert (await browser.get("/readyz")).status_code == 200
        assert (await browser.post("/v1/wake", json={})).status_code == 403

        await door.site.ledger.write(lambda tx: credentials.revoke(tx, credential_id, actor="owner"))
        await door.site.keyring.load()
        assert (await browser.get("/readyz")).status_code == 401


async def test_forwarding_headers_change_nothing(door: Door) -> None:
    lies = {
        "x-forwarded-for": "127.0.0.1",
        "x-real-ip": "127.0.0.1",
        "forwarded": "for=127.0.0.1",
        "x-forwarded-user": "owner",
        "x-forwarded-host": "127.0.0.1:8765",
    }
    async with door.browser(peer="203.0.113.9") as liar:
        assert (await liar.get("/readyz", headers=lies)).status_code == 401


async def test_two_authorization_headers_are_refused(door: Door) -> None:
    headers = httpx.Headers([("authorization", "Bearer x"), ("authorization", f"Bearer {door.token}")])
    async with door.browser() as stranger:
        assert (await stranger.get("/readyz", headers=headers)).status_code == 400


async def test_owner_token_is_written_nowhere_but_in_its_file(door: Door) -> None:
    body = {"data": {"said": f"the token is {door.token}"}}
    assert (await door.client.post("/v1/events/leak", json=body)).status_code == 202
    rows = await door.site.ledger.read(lambda tx: str(list(tx.all("SELECT * FROM inbox"))))
    assert door.token not in rows
    assert "[redacted]" in rows
