"""A real Matrix homeserver (Synapse) on loopback, with its limits off, for as long as a block lasts."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

import servers


@dataclass
class Homeserver:
    url: str
    folder: Path

    def register(self, name: str) -> "Person":
        """A new account and its access token."""
        with httpx.Client(base_url=self.url, trust_env=False, timeout=20) as client:
            body: dict[str, Any] = {
                "username": name,
                "password": "a long password",
                "auth": {"type": "m.login.dummy"},
            }
            answer = client.post("/_matrix/client/v3/register", json=body)
            answer.raise_for_status()
            made = answer.json()
        return Person(self.url, made["user_id"], made["access_token"], made["device_id"])

    def login(self, name: str) -> "Person":
        """The account on a device of its own."""
        with httpx.Client(base_url=self.url, trust_env=False, timeout=20) as client:
            body: dict[str, Any] = {
                "type": "m.login.password",
                "identifier": {"type": "m.id.user", "user": name},
                "password": "a long password",
            }
            answer = client.post("/_matrix/client/v3/login", json=body)
            answer.raise_for_status()
            made = answer.json()
        return Person(self.url, made["user_id"], made["access_token"], made["device_id"])


@dataclass
class Person:
    """Somebody with an account, who speaks over plain HTTP."""

    url: str
    id: str
    token: str
    device: str = ""

    async def call(self, method: str, path: str, **content: Any) -> Any:
        async with httpx.AsyncClient(base_url=self.url, trust_env=False, timeout=20) as client:
            answer = await client.request(
                method,
                f"/_matrix/client/v3{path}",
                headers={"authorization": f"Bearer {self.token}"},
                **content,
            )
        answer.raise_for_status()
        return answer.json()

    async def room(self, *guests: "Person") -> str:
        """A new room in which all the guests are."""
        made = await self.call("POST", "/createRoom", json={"invite": [guest.id for guest in guests]})
        for guest in guests:
            await guest.call("POST", f"/join/{made['room_id']}", json={})
        return made["room_id"]

    async def say(self, room: str, text: str, *, transaction: str, **content: Any) -> str:
        path = f"/rooms/{room}/send/m.room.message/{transaction}"
        answer = await self.call("PUT", path, json={"msgtype": "m.text", "body": text, **content})
        return answer["event_id"]

    async def messages(self, room: str) -> list[dict[str, Any]]:
        """Everything said in a room, oldest first."""
        answer = await self.call("GET", f"/rooms/{room}/messages", params={"dir": "b", "limit": "100"})
        return [event for event in reversed(answer["chunk"]) if event["type"] == "m.room.message"]


_LIMITS = ("rc_message", "rc_registration", "rc_joins_per_room", "rc_room_creation")


@contextlib.contextmanager
def synapse(folder: Path) -> Iterator[Homeserver]:
    pytest.importorskip("synapse", reason="matrix-synapse is not installed")
    port = servers.free_port()
    config = folder / "homeserver.yaml"
    module = [sys.executable, "-W", "ignore", "-m", "synapse.app.homeserver"]
    subprocess.run(
        [
            *module,
            "--generate-keys",
            "--server-name",
            "tawny.test",
            "--config-path",
            str(_config(config, folder, port)),
        ],
        check=True,
        cwd=folder,
        capture_output=True,
    )
    with subprocess.Popen(
        [*module, "--config-path", str(config)],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            servers.wait_for_port(port, process, seconds=90)
            yield Homeserver(f"http://127.0.0.1:{port}", folder)
        finally:
            process.kill()


def _config(path: Path, folder: Path, port: int) -> Path:
    free = "{per_second: 10000, burst_count: 10000}"
    limits = "\n".join(f"{name}: {free}" for name in _LIMITS)
    path.write_text(f"""
server_name: tawny.test
pid_file: {folder}/synapse.pid
listeners:
  - {{port: {port}, type: http, tls: false, bind_addresses: ["127.0.0.1"], resources: [{{names: [client, media]}}]}}
database: {{name: sqlite3, args: {{database: {folder}/homeserver.db}}}}
media_store_path: {folder}/media
signing_key_path: {folder}/signing.key
registration_shared_secret: secret
macaroon_secret_key: secret
form_secret: secret
enable_registration: true
enable_registration_without_verification: true
report_stats: false
bcrypt_rounds: 4
caches: {{sync_response_cache_duration: 0s}}
trusted_key_servers: []
suppress_key_server_warning: true
{limits}
rc_joins: {{local: {free}, remote: {free}}}
rc_invites: {{per_room: {free}, per_user: {free}, per_issuer: {free}}}
rc_login: {{address: {free}, account: {free}, failed_attempts: {free}}}
""")
    return path
