"""Host, Origin, bodies and headers, whoever asks."""

# pyright: reportPrivateUsage=false
import asyncio
import contextlib
from pathlib import Path

import pytest

from tawny.clock import MINUTE
from tawny.config import Limits
from tawny.gateway import auth, feed, guard, server, sessions, socket
from tawny.gateway.guard import BODY_LIMIT
from tawny.gateway.mcp import session
from tawny.ledger import pairing, search, tasks

from .conftest import Door


@pytest.mark.parametrize(
    "host",
    [
        "evil.test",
        "127.0.0.1.nip.io:8765",
        "localhost.evil.test:8765",
        "127.0.0.1:9999",
        "127.0.0.1.:8765",
        "localhost.:8765",
        "",
        "[::1",
        "127.0.0.1:8765:1",
        "user@127.0.0.1:8765",
    ],
)
async def test_foreign_host_is_misdirected(door: Door, host: str) -> None:
    for path in ("/healthz", "/", "/readyz"):
        assert (await door.client.get(path, headers={"host": host})).status_code == 421


@pytest.mark.parametrize("host", ["127.0.0.1:8765", "localhost:8765", "LOCALHOST:8765", "[::1]:8765"])
async def test_own_hosts_are_answered(door: Door, host: str) -> None:
    assert (await door.client.get("/readyz", headers={"host": host})).status_code == 200


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.test",
        "null",
        "http://localhost.evil.test",
        "http://127.0.0.1.nip.io:8765",
        "http://127.0.0.1:9999",
        "http://127.0.0.1:8765.",
        "http://127.0.0.1:8765/x",
        "file://",
        "http://a@127.0.0.1:8765",
        "chrome-extension://abc",
    ],
)
async def test_foreign_origin_is_refused_even_with_the_token(door: Door, origin: str) -> None:
    for path in ("/readyz", "/healthz"):
        assert (await door.client.get(path, headers={"origin": origin})).status_code == 403
    assert (await door.client.post("/v1/wake", json={}, headers={"origin": origin})).status_code == 403


async def test_own_origin_is_answered(door: Door) -> None:
    for origin in ("http://127.0.0.1:8765", "http://localhost:8765"):
        assert (await door.client.get("/readyz", headers={"origin": origin})).status_code == 200


async def test_every_answer_carries_the_security_headers(door: Door) -> None:
    for path in ("/", "/healthz", "/readyz", "/v1/nothing"):
        headers = (await door.client.get(path)).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "access-control-allow-origin" not in headers
    assert (await door.client.get("/readyz")).headers["cache-control"] == "no-store"


async def test_announced_oversize_is_refused_before_it_is_read(door: Door) -> None:
    answer = await door.client.post(
        "/v1/wake", content=b"{}", headers={"content-length": str(BODY_LIMIT + 1)}
    )
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "too_large"


async def test_unannounced_oversize_is_refused(door: Door) -> None:
    async def endless():
        for _ in range(11):
            yield b" " * 1024 * 1024

    answer = await door.client.post(
        "/v1/wake", content=endless(), headers={"content-type": "application/json"}
    )
    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b'{"topics": ["\\u0000"]}', "application/json", 400),
        (b'{"topics": [1]}', "application/json", 422),
        (b'{"topics": [], "more": 1}', "application/json", 422),
        (b'"text"', "application/json", 422),
        (b"{}", "text/plain", 415),
        (b"a=b", "application/x-www-form-urlencoded", 415),
    ],
)
async def test_malformed_bodies_get_the_fitting_status(
    door: Door, body: bytes, kind: str, status: int
) -> None:
    for path in ("/v1/wake", "/v1/tasks"):
        answer = await door.client.post(path, content=body, headers={"content-type": kind})
        assert answer.status_code == status
        error = answer.json()["error"]
        assert set(error) == {"code", "message", "hint", "retryable"}
        if status == 400 and b"u0000" in body:
            assert (error["message"], error["hint"]) == ("the body holds a NUL character", "leave it out")
        elif status == 400:
            assert error["message"].startswith("the body is no JSON: ")
            assert error["hint"] == "send one JSON document in UTF-8"
    assert (await door.client.get("/v1/tasks")).json()["items"] == []


async def test_unknown_method_names_the_known_ones(door: Door) -> None:
    answer = await door.client.delete("/readyz")
    assert answer.status_code == 405
    assert "GET" in answer.headers["allow"]
    assert answer.json()["error"]["code"] == "method_not_allowed"


async def raw(address: str, request: bytes) -> bytes:
    """What a real socket answers to these bytes."""
    host, _, port = address.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        with contextlib.suppress(ConnectionError):
            writer.write(request)
            await writer.drain()
        return await asyncio.wait_for(reader.read(65536), 15)
    finally:
        writer.close()


async def test_noise_is_answered_with_the_error_document(door: Door) -> None:
    async with door.listening() as address:
        for noise in (b"\x16\x03\x01hello\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"):
            answer = await raw(address, noise)
            assert answer.startswith(b"HTTP/1.1 400")
            assert b'"code":"malformed"' in answer


async def test_huge_heads_are_refused(door: Door) -> None:
    async with door.listening() as address:
        head = b"GET / HTTP/1.1\r\nHost: x\r\nX-Big: " + b"a" * 100_000 + b"\r\n\r\n"
        assert (await raw(address, head)).startswith(b"HTTP/1.1 431")


async def test_slow_heads_are_cut_off(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tawny.gateway.server._HEADER_SECONDS", 0.2)
    async with door.listening() as address:
        assert (await raw(address, b"GET / HTTP/1.1\r\nHost:")).startswith(b"HTTP/1.1 408")


async def test_slow_bodies_are_cut_off(door: Door) -> None:
    door.gateway.app._seconds = 0.2
    async with door.listening() as address:
        port = address.rpartition(":")[2]
        head = (
            f"POST /v1/wake HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {door.token}\r\n"
            "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        )
        answer = await raw(address, head.encode())
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"connection: close" in answer


async def test_too_many_connections_are_turned_away(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tawny.gateway.server._CONNECTIONS", 2)
    async with door.listening() as address:
        port = int(address.rpartition(":")[2])
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        assert (await raw(address, b"")).startswith(b"HTTP/1.1 503")
        for _, writer in held:
            writer.close()


def test_the_page_tells_the_limits_that_hold() -> None:
    """The numbers of the page are the code's."""
    page = Path(__file__).parents[2] / "docs" / "reference" / "http.md"
    _, _, rest = page.read_text(encoding="utf-8").partition("### Limits\n")
    rows = {
        line.split(" | ")[1]: line.split(" | ")[2]
        for line in rest.split("\n## ")[0].splitlines()
        if " | " in line
    }
    megabyte = 1024 * 1024
    assert rows == {
        "what": "limit",
        "---": "---",
        "wrong tokens, codes and signatures of one address (IPv6: a /64)": (
            f"{auth._WRONG_A_MINUTE} a minute, counted together"
        ),
        "one code": f"once, within {pairing.LASTS // MINUTE} minutes",
        "tasks of one owner in `queued`": (
            f"`[limits] max_queued_per_owner`, {Limits().max_queued_per_owner} unless told"
        ),
        "connections at once": f"{server._CONNECTIONS}",
        "a request's head": f"{server._HEADER_BYTES // 1024} KB, within {server._HEADER_SECONDS:.0f} s",
        "a request's body": f"{guard.BODY_LIMIT // megabyte} MB, within {guard._BODY_SECONDS:.0f} s",
        "a connection between two requests; the rest of an answered body; an answer that is not taken": (
            f"{server._KEEP_ALIVE_SECONDS} s; {server._REST_SECONDS:.0f} s; {server._UNREAD_SECONDS:.0f} s"
        ),
        "`limit`": f"{tasks.MAX_LIMIT}",
        "tasks looked through for a page": f"{search.LOOKED_THROUGH}",
        "until `connect`, and its frame": (
            f"{socket._CONNECT_SECONDS:.0f} s, {socket._CONNECT_BYTES // 1024} KB"
        ),
        "a frame; requests in flight; wrong frames": (
            f"{server._SOCKET_BYTES // megabyte} MB; {socket._AT_ONCE}; {socket._BAD_FRAMES}"
        ),
        "a device that takes nothing": f"{feed._WINDOW} events, then a snapshot; {feed.STALL:.0f} s",
        "sessions of a credential; resources watched in one": (
            f"{session._PER_CREDENTIAL}; {session.MAX_WATCHED}"
        ),
        "an answer is held for": f"{sessions.HOLD:.0f} s",
    }


async def test_only_what_json_takes_for_space_is_an_empty_body(door: Door) -> None:
    kind = {"content-type": "application/json"}
    for body in (b"", b" \t\r\n"):
        assert (await door.client.post("/v1/wake", content=body, headers=kind)).status_code == 204
    for body in (b"\x0b", b"\x0c", b"\x1c", b"\xc2\xa0"):
        assert (await door.client.post("/v1/wake", content=body, headers=kind)).status_code == 400
