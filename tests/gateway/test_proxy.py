"""Behind nginx as the how-to page sets it up: TLS, live streams, the Host and the Origin, and whose address counts."""

import asyncio
import json
import re
import shutil
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect

import servers
from tawny.config import Config, Gateway, Home

from .conftest import House, open_house

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "remote-access.md"
NAME = "tawny.example.org"
CONFIG = """
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{server}
}}
"""

pytestmark = pytest.mark.skipif(
    shutil.which("nginx") is None, reason="nginx is needed (Debian package nginx-light)"
)


@dataclass(frozen=True)
class Proxied:
    house: House
    port: int
    context: ssl.SSLContext

    def client(self, **headers: str) -> httpx.AsyncClient:
        """A client that comes by the proxy's name."""
        return httpx.AsyncClient(
            base_url=f"https://127.0.0.1:{self.port}",
            headers={"host": f"{NAME}:{self.port}"} | headers,
            verify=self.context,
            timeout=20,
        )

    def owner(self) -> httpx.AsyncClient:
        return self.client(authorization=f"Bearer {self.house.door.token}")


SNI = {"sni_hostname": NAME}


def server_block(folder: Path, *, port: int, gateway: str) -> str:
    """The page's own, with this test's ports and files."""
    (block,) = re.findall(r"```nginx\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    for written, here in {
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "http://127.0.0.1:8765": gateway,
        "/etc/ssl/tawny.pem": f"{folder}/tawny.pem",
        "/etc/ssl/tawny.key": f"{folder}/tawny.key",
    }.items():
        assert block.count(written) == 1, written
        block = block.replace(written, here)
    return block


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = servers.self_signed(folder, f"DNS:{NAME}")
    certificate.rename(folder / "tawny.pem")
    key.rename(folder / "tawny.key")
    return folder


@asynccontextmanager
async def nginx(folder: Path, text: str) -> AsyncGenerator[None]:
    (folder / "nginx.conf").write_text(CONFIG.format(folder=folder, server=text))
    process = await asyncio.create_subprocess_exec(
        *("nginx", "-p", str(folder), "-c", "nginx.conf", "-g", "daemon off; master_process off;"),
        stdout=-3,
        stderr=-3,
    )
    try:
        yield
    finally:
        await servers.reap(process)


@pytest.fixture
async def proxied(home: Home, certificate: Path) -> AsyncGenerator[Proxied]:
    port = servers.free_port()
    config = Config(gateway=Gateway(allowed_hosts=(f"{NAME}:{port}",)))
    async with open_house(home, config) as house, house.door.listening() as address:
        block = server_block(certificate, port=port, gateway=address)
        async with nginx(certificate, block):
            made = Proxied(house, port, ssl.create_default_context(cafile=str(certificate / "tawny.pem")))
            async with asyncio.timeout(30), made.client() as client:
                while True:
                    try:
                        assert (await client.get("/healthz", extensions=SNI)).status_code == 200
                        break
                    except httpx.ConnectError:
                        await asyncio.sleep(0.05)
            yield made


async def test_streams_are_not_held_back(proxied: Proxied) -> None:
    async with proxied.owner() as client, client.stream("GET", "/v1/stream", extensions=SNI) as stream:
        assert stream.status_code == 200
        lines = stream.aiter_lines()
        async with asyncio.timeout(20):
            while await anext(lines) != ": connected":
                pass
            for step in range(3):  # each is there before the next is made
                await proxied.house.door.append("task.progress", step=step)
                while f'"step":{step}' not in (line := await anext(lines)):
                    assert "system" not in line


async def test_sockets_go_through_with_their_origin(proxied: Proxied) -> None:
    uri = f"wss://{NAME}:{proxied.port}/ws"
    async with connect(
        uri, host="127.0.0.1", port=proxied.port, ssl=proxied.context, origin=f"https://{NAME}:{proxied.port}"
    ) as socket:
        assert json.loads(await socket.recv())["event"] == "connect.challenge"
        auth = {"token": proxied.house.door.token}
        await socket.send(
            json.dumps({"type": "req", "id": "1", "method": "connect", "params": {"auth": auth}})
        )
        assert json.loads(await socket.recv())["ok"] is True
        await proxied.house.door.append("task.progress", here=True)
        async with asyncio.timeout(20):
            while '"here":true' not in str(await socket.recv()):
                pass


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": "https://NAME"}, 200),
        ({"origin": "https://evil.test"}, 403),
        ({"host": "evil.test"}, 421),
        ({"host": "evil.test", "x-forwarded-host": "NAME"}, 421),
        ({"origin": "https://evil.test", "x-forwarded-host": "evil.test"}, 403),
    ],
)
async def test_host_and_origin_are_checked_behind_the_proxy(
    proxied: Proxied, headers: dict[str, str], status: int
) -> None:
    given = {name: value.replace("NAME", f"{NAME}:{proxied.port}") for name, value in headers.items()}
    async with proxied.owner() as client:
        answer = await client.get("/v1/tasks", headers=given, extensions=SNI)
        assert answer.status_code == status, answer.text


async def test_what_a_client_says_of_its_address_gives_it_no_fresh_attempts(proxied: Proxied) -> None:
    async with proxied.client() as client:
        statuses = [
            (
                await client.get(
                    "/v1/tasks",
                    headers={
                        "authorization": f"Bearer wrong-{n}",
                        "x-forwarded-for": f"203.0.113.{n}",
                        "x-real-ip": f"203.0.113.{n}",
                        "forwarded": f"for=203.0.113.{n}",
                    },
                    extensions=SNI,
                )
            ).status_code
            for n in range(12)
        ]
    assert statuses == [401] * 10 + [429] * 2
    async with proxied.owner() as client:
        answer = await client.get("/v1/tasks", extensions=SNI)
        assert answer.status_code == 429, "a secret that was not seen yet waits, too"


async def test_a_secret_that_was_right_before_is_not_locked_out(proxied: Proxied) -> None:
    async with proxied.owner() as owner, proxied.client() as client:
        assert (await owner.get("/v1/tasks", extensions=SNI)).status_code == 200
        for n in range(11):
            wrong = {"authorization": f"Bearer wrong-{n}"}
            await client.get("/v1/tasks", headers=wrong, extensions=SNI)
        assert (await owner.get("/v1/tasks", extensions=SNI)).status_code == 200


async def test_the_page_signs_in_through_the_proxy(proxied: Proxied) -> None:
    origin = f"https://{NAME}:{proxied.port}"
    async with proxied.client(origin=origin) as browser:
        answer = await browser.post("/v1/signin", json={"token": proxied.house.door.token}, extensions=SNI)
        assert answer.status_code == 204
        cookie = answer.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "samesite=strict" in cookie.lower()
        headers = {"cookie": cookie.partition(";")[0]}
        assert (await browser.get("/v1/tasks", headers=headers, extensions=SNI)).status_code == 200
