"""The gateway's own way out: one resolution, one check, one address; every redirect anew."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address

import pytest

from tawny.config import Config, Home, Secret
from tawny.domain.ipaddresses import Address
from tawny.domain.network import parse_rules
from tawny.errors import PermanentError, Refused, TemporaryError
from tawny.sandbox.egress import Egress, Fetched
from tawny.secrets import secret_filler


class Server:
    """A tiny HTTP server on loopback that records what it was sent and answers from a table of paths."""

    def __init__(self) -> None:
        self.port = 0
        self.requests: list[str] = []
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.under_way: set[asyncio.Task[None]] = set()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.under_way.add(task)
        try:
            await self.answer(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            self.under_way.discard(task)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        length = next((int(x[15:]) for x in head.split("\r\n") if x.lower().startswith("content-length:")), 0)
        body = (await reader.readexactly(length)).decode() if length else ""
        self.requests.append(head + body)
        status, headers, data = self.answers.get(head.split()[1], (200, {}, b"hello"))
        lines = [
            f"HTTP/1.1 {status} X",
            f"content-length: {len(data)}",
            *(f"{k}: {v}" for k, v in headers.items()),
        ]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + data)
        await writer.drain()


@asynccontextmanager
async def serving() -> AsyncIterator[Server]:
    server = Server()
    listener = await asyncio.start_server(server.handle, "127.0.0.1", 0)
    server.port = listener.sockets[0].getsockname()[1]
    async with listener:
        yield server
    while server.under_way:
        await asyncio.wait(server.under_way)


class Names:
    """A name server that answers from a list, one answer a question: what rebinding does."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = [[ip_address(a) for a in answer] for answer in answers]
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[Address]:
        self.asked.append(f"{host}:{port}")
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


async def test_a_listed_loopback_address_is_reached() -> None:
    async with serving() as server:
        egress = Egress(parse_rules([], [f"127.0.0.1:{server.port}"]))
        got = await egress.fetch("GET", f"http://127.0.0.1:{server.port}/a", headers={"X-A": "1"})
        assert (got.status, got.text) == (200, "hello")
        assert "x-a: 1" in server.requests[0].lower()


async def test_an_unlisted_address_is_refused_before_a_connection() -> None:
    async with serving() as server:
        egress = Egress(parse_rules(["example.com"]))
        with pytest.raises(Refused, match="loopback"):
            await egress.fetch("GET", f"http://127.0.0.1:{server.port}/")
        assert server.requests == []


async def test_a_name_is_resolved_once_and_that_address_dialled() -> None:
    async with serving() as server:
        names = Names(["127.0.0.1"], ["10.0.0.1"])
        egress = Egress(parse_rules([], [f"box.example:{server.port}"]), resolve=names)
        got = await egress.fetch("GET", f"http://box.example:{server.port}/")
        assert got.status == 200
        assert names.asked == [f"box.example:{server.port}"]
        assert f"host: box.example:{server.port}" in server.requests[0].lower()


@pytest.mark.parametrize(
    "answer",
    [
        ["127.0.0.1"],
        ["::1"],
        ["93.184.216.34", "127.0.0.1"],
        ["93.184.216.34", "fd00::1"],
        ["169.254.169.254"],
    ],
)
async def test_a_public_name_that_answers_with_a_private_address_is_refused(answer: list[str]) -> None:
    async with serving() as server:
        egress = Egress(parse_rules([f"evil.test:{server.port}"], ["127.0.0.1:1"]), resolve=Names(answer))
        with pytest.raises(Refused, match=r"evil\.test:\d+ resolves to"):
            await egress.fetch("GET", f"http://evil.test:{server.port}/")
        assert server.requests == []


async def test_rebinding_between_hops_is_caught_at_the_hop() -> None:
    async with serving() as server:
        names = Names(["192.168.0.1"])
        server.answers["/"] = (302, {"location": f"http://rebind.test:{server.port}/in"}, b"")
        egress = Egress(
            parse_rules([f"rebind.test:{server.port}"], [f"127.0.0.1:{server.port}"]), resolve=names
        )
        with pytest.raises(Refused, match=r"rebind\.test"):
            await egress.fetch("GET", f"http://127.0.0.1:{server.port}/")
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://[::ffff:127.0.0.1]/",
        "//127.0.0.1:1/",
        "http://0x7f.1/",
        "http://localhost:22/",
        "http://1.1.1.1 &@127.0.0.1#@x/",
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
        "http:\\\\127.0.0.1\\",
        "https://unlisted.example/",
        "//[127.0.0.1",
        "http://[::1",
        "https://a]b/",
        "//user@[::ffff:7f00:1/",
    ],
)
async def test_a_redirect_to_a_forbidden_place_is_refused(location: str) -> None:
    async with serving() as server:
        server.answers["/"] = (302, {"location": location}, b"")
        egress = Egress(parse_rules([], [f"127.0.0.1:{server.port}"]))
        with pytest.raises(Refused):
            await egress.fetch("GET", f"http://127.0.0.1:{server.port}/")
        assert len(server.requests) == 1


async def test_five_redirects_are_followed_and_six_are_not() -> None:
    async with serving() as server:
        for n in range(1, 10):
            server.answers[f"/{n}"] = (307, {"location": f"/{n - 1}"}, b"")
        egress = Egress(parse_rules([], [f"127.0.0.1:{server.port}"]))
        got = await egress.fetch("GET", f"http://127.0.0.1:{server.port}/5")
        assert (got.status, got.url) == (200, f"http://127.0.0.1:{server.port}/0")
        with pytest.raises(PermanentError, match="more than 5"):
            await egress.fetch("GET", f"http://127.0.0.1:{server.port}/6")


async def test_secret_headers_stay_with_their_origin() -> None:
    async with serving() as one, serving() as two:
        one.answers["/same"] = (302, {"location": "/there"}, b"")
        one.answers["/other"] = (302, {"location": f"http://127.0.0.1:{two.port}/"}, b"")
        egress = Egress(parse_rules([], [f"127.0.0.1:{one.port}", f"127.0.0.1:{two.port}"]))
        secrets = {
            "Authorization": "Bearer s3cret",
            "X-Api-Key": "s3cret",
            "Cookie": "s3cret",
            "Accept": "text/x",
        }
        await egress.fetch("GET", f"http://127.0.0.1:{one.port}/same", headers=secrets)
        assert one.requests[1].count("s3cret") == 3
        await egress.fetch("GET", f"http://127.0.0.1:{one.port}/other", headers=secrets)
        assert "s3cret" not in two.requests[0]
        assert "accept: text/x" in two.requests[0].lower()


async def test_a_body_is_never_redirected_to_another_origin() -> None:
    async with serving() as one, serving() as two:
        one.answers["/"] = (307, {"location": f"http://127.0.0.1:{two.port}/"}, b"")
        egress = Egress(parse_rules([], [f"127.0.0.1:{one.port}", f"127.0.0.1:{two.port}"]))
        with pytest.raises(Refused, match="redirects a POST"):
            await egress.fetch("POST", f"http://127.0.0.1:{one.port}/", body=b"private")
        assert two.requests == []


async def test_a_post_turns_into_a_get_after_303_without_its_body() -> None:
    async with serving() as server:
        server.answers["/"] = (303, {"location": "/done"}, b"")
        egress = Egress(parse_rules([], [f"127.0.0.1:{server.port}"]))
        await egress.fetch("POST", f"http://127.0.0.1:{server.port}/", body=b"private")
        assert server.requests[1].startswith("GET /done ")
        assert "private" not in server.requests[1]


async def test_a_long_body_is_cut_and_marked() -> None:
    async with serving() as server:
        server.answers["/"] = (200, {}, b"x" * 100_000)
        egress = Egress(parse_rules([], [f"127.0.0.1:{server.port}"]))
        got = await egress.fetch("GET", f"http://127.0.0.1:{server.port}/", max_body=1000)
        assert (len(got.body), got.truncated) == (1000, True)


async def test_a_proxy_in_the_environment_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as server, serving() as thief:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{thief.port}")
        egress = Egress(parse_rules([], [f"127.0.0.1:{server.port}"]))
        await egress.fetch("GET", f"http://127.0.0.1:{server.port}/")
        assert thief.requests == []


async def test_nobody_listening_is_temporary() -> None:
    async with serving() as server:
        port = server.port
    with pytest.raises(TemporaryError, match="cannot be reached"):
        await Egress(parse_rules([], [f"127.0.0.1:{port}"])).fetch("GET", f"http://127.0.0.1:{port}/")


async def test_silence_is_temporary() -> None:
    async def mute(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gate.wait()
        writer.close()

    gate = asyncio.Event()
    async with await asyncio.start_server(mute, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        with pytest.raises(TemporaryError, match="did not answer"):
            await Egress(parse_rules([], [f"127.0.0.1:{port}"])).fetch(
                "GET", f"http://127.0.0.1:{port}/", timeout=0.2
            )
        gate.set()


async def test_framing_headers_are_not_the_callers_to_set() -> None:
    with pytest.raises(Refused):
        await Egress(parse_rules(["example.com"])).fetch("GET", "http://example.com/", headers={"Host": "a"})


async def test_a_secret_is_filled_in_at_the_last_moment_and_does_not_follow_a_redirect(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUB_KEY", "hub-secret-value")
    async with serving() as own, serving() as other:
        config = Config(secrets={"hub": Secret("env:HUB_KEY", (f"127.0.0.1:{own.port}",))})
        listed = [f"127.0.0.1:{own.port}", f"127.0.0.1:{other.port}"]
        egress = Egress(parse_rules([], listed), fill=secret_filler(home, config))
        own.answers["/away"] = (302, {"location": f"http://127.0.0.1:{other.port}/"}, b"")
        headers = {"authorization": "Bearer {{secret:hub}}", "x-key": "{{ secret:hub }}"}
        await egress.fetch("GET", f"http://127.0.0.1:{own.port}/away", headers=headers)
        assert own.requests[0].count("hub-secret-value") == 2
        assert "hub-secret" not in other.requests[0]
        assert "secret:" not in other.requests[0]
        with pytest.raises(Refused, match="does not belong to"):
            await egress.fetch("GET", f"http://127.0.0.1:{other.port}/", headers=headers)
        assert len(other.requests) == 1


def test_page_is_read_in_the_charset_it_names_itself():
    page = '<meta charset="shift_jis"><p>会議</p>'
    fetched = Fetched(200, "https://e.org/", {"content-type": "text/html"}, page.encode("shift_jis"))
    assert fetched.text == page
