"""A real Matrix homeserver (Synapse) on loopback, with its limits off, for as long as a block lasts."""

import base64
import contextlib
import itertools
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import httpx
import pytest

import servers
from fake_http import FakeHttp, Request, Response
from tawny.testing.channel_contract import OWNER, Seen

counted = itertools.count()
"""For names and transactions that no other test has."""


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

    @property
    def name(self) -> str:
        """What they log in with."""
        return self.id.partition(":")[0][1:]

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
    config = _config(folder / "homeserver.yaml", folder, port)
    # Half the cost of a start is importing it: it is not also run to make its key.
    seed = base64.b64encode(os.urandom(32)).decode().rstrip("=")
    (folder / "signing.key").write_text(f"ed25519 a_test {seed}\n")
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "synapse.app.homeserver", "--config-path", str(config)],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            servers.wait_for_port(port, process, seconds=240)
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


@contextlib.contextmanager
def in_a_folder() -> Iterator[Homeserver]:
    """A homeserver in a folder of its own, which is cleared away."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, synapse(Path(folder)) as made:
        yield made


def is_message(request: Request) -> bool:
    return request.method == "PUT" and "/send/m.room" in request.path


@contextlib.asynccontextmanager
async def line_to(homeserver: Homeserver) -> AsyncIterator[FakeHttp]:
    """The way to the homeserver, which can be cut, and which remembers every byte that went over it."""
    client = httpx.AsyncClient(base_url=homeserver.url, trust_env=False, timeout=60)

    async def forward(request: Request) -> Response:
        kept = {
            name: value
            for name, value in request.headers.items()
            if name in ("authorization", "content-type")
        }
        answer = await client.request(request.method, request.target, headers=kept, content=request.body)
        return Response(answer.status_code, answer.content, {"content-type": answer.headers["content-type"]})

    proxy = FakeHttp(forward)
    proxy.applies = is_message
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.stop()
        await client.aclose()


@dataclass
class Place:
    """Two rooms: one where the owner is alone with the assistant, one with others."""

    alone: str
    group: str


class Speaker(Protocol):
    async def say(self, room: str, text: str, *, transaction: str, **content: Any) -> str: ...


def voice(place: Place, *, to: str, owner: Speaker, stranger: Speaker) -> Callable[..., Any]:
    """The `say` of a rig: somebody speaks in one of the rooms to the account `to`."""
    transactions: dict[int, str] = {}

    async def say(text: str, *, sender: str = OWNER, event: int | None = None, **more: Any) -> None:
        who = owner if sender == OWNER else stranger
        room = place.group if more.get("group") or sender != OWNER else place.alone
        transaction = (
            transactions.setdefault(event, f"e{next(counted)}") if event is not None else f"t{next(counted)}"
        )
        content: dict[str, Any] = {}
        if more.get("mention") or sender != OWNER:
            content["m.mentions"] = {"user_ids": [to]}
        if more.get("thread"):
            content["m.relates_to"] = {"rel_type": "m.thread", "event_id": more["thread"]}
        await who.say(room, text, transaction=transaction, **content)

    return say


def shown(said: Iterable[tuple[str, dict[str, Any]]]) -> list[Seen]:
    """What a client shows of messages (event id and content, oldest first): edits applied."""
    edits: dict[str, str] = {}
    found: list[tuple[str, Seen]] = []
    for event_id, content in said:
        relation = content.get("m.relates_to", {})
        if relation.get("rel_type") == "m.replace":
            edits[relation["event_id"]] = content["m.new_content"]["body"]
            continue
        is_file = content["msgtype"] == "m.file"
        thread = relation.get("event_id", "") if relation.get("rel_type") == "m.thread" else ""
        files = (content["body"],) if is_file else ()
        found.append((event_id, Seen("" if is_file else content["body"], "", thread, (), files)))
    for event_id, message in found:
        message.text = edits.get(event_id, message.text)
    return [message for _, message in found]
