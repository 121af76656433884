"""The account behind the channel: its token, its device's keys, and one request at a time through matrix-nio.

The library repeats a request that timed out by itself; that is switched off. A repeat of ours carries the same
transaction, so the server drops it, although the same words are encrypted anew.
"""

import asyncio
import importlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from tawny.api import (
    AmbiguousSend,
    ChannelDown,
    Instant,
    PermanentError,
    TawnyError,
    TemporaryError,
    failure,
    wait_asked,
)
from tawny.channels.matrix import signing

_log = logging.getLogger("tawny.matrix")
# Its log lines hold what people wrote.
logging.getLogger("nio").setLevel(logging.CRITICAL + 1)

_SYNC_SECONDS = 30
_MOST_PAGES = 20
_BAD_TOKEN = ("M_UNKNOWN_TOKEN", "M_MISSING_TOKEN")
_FILTER: dict[str, Any] = {
    "presence": {"types": []},
    "account_data": {"types": []},
    "room": {
        "ephemeral": {"types": []},
        "account_data": {"types": []},
        # Every member, not only who speaks: keys go to those who are there, and to nobody who has left.
        "state": {"types": ["m.room.member", "m.room.encryption"]},
        "timeline": {
            "limit": 100,
            "types": ["m.room.message", "m.room.encrypted", "m.room.member", "m.room.encryption"],
        },
    },
}


class Account:
    """One device of one account. The keys lie in `folder`, which must be this process's alone."""

    def __init__(self, homeserver: str, token: str, *, folder: Path) -> None:
        self._nio = importlib.import_module("nio")
        self._aiohttp = importlib.import_module("aiohttp")
        self._homeserver = homeserver.rstrip("/")
        self._folder = folder
        self.token = token
        self._client: Any = None
        self._opening = asyncio.Lock()
        self._sharing = asyncio.Lock()
        self._asked: set[str] = set()
        """Rooms whose encryption the server was asked about; from then on the sync keeps us told."""

    async def open(self) -> None:
        """Log in and publish the device's keys, once."""
        async with self._opening:
            if self._client is not None:
                self._client.access_token = self.token
                return
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            nio = self._nio
            store = importlib.import_module("nio.store").SqliteStore
            config = nio.AsyncClientConfig(
                store=store,
                store_name="keys.db",
                encryption_enabled=True,
                max_limit_exceeded=0,
                max_timeouts=0,
                request_timeout=_SYNC_SECONDS,
            )
            client = nio.AsyncClient(self._homeserver, store_path=str(self._folder), config=config)
            client.access_token = self.token
            try:
                who = await self._ask(client.whoami)
                if not who.device_id:
                    raise ChannelDown(
                        "the access token belongs to no device", hint="log in for a token of its own"
                    )
                client.restore_login(who.user_id, who.device_id, self.token)
                (self._folder / "keys.db").chmod(0o600)
                await self._publish_keys(client)
                await signing.sign_device(client, self._folder / "signing.json", self._plain)
            except BaseException:
                await client.close()
                raise
            self._client = client

    async def _publish_keys(self, client: Any) -> None:
        if not client.should_upload_keys:
            return
        try:
            await self._ask(client.keys_upload)
        except PermanentError as error:
            # It has other keys of this device: their folder was lost, or another program uses the token.
            raise ChannelDown(
                f"the homeserver refuses this device's keys: {error.message}",
                hint="log in again for a new token, and delete the old device",
            ) from None

    @property
    def me(self) -> str:
        return str(self._client.user_id)

    async def _ask(self, call: Callable[[], Awaitable[Any]]) -> Any:
        """Make a call; its failures sorted into not done, never will be, nobody knows."""
        try:
            answer = await call()
        except TawnyError:
            raise
        except self._aiohttp.ClientConnectorError as error:
            raise TemporaryError(f"the homeserver cannot be reached: {error}") from None
        except (self._aiohttp.ClientError, TimeoutError, OSError) as error:
            raise AmbiguousSend(f"the homeserver gave no answer: {error or type(error).__name__}") from None
        except self._nio.LocalProtocolError as error:
            raise TemporaryError(f"not sent: {error}") from None
        except (ValueError, RecursionError) as error:
            # The library reads the answer, and takes it for the JSON it should be.
            raise AmbiguousSend(f"the answer is no homeserver's: {type(error).__name__}") from None
        if isinstance(answer, self._nio.ErrorResponse):
            raise self._refusal(answer)
        return answer

    def _refusal(self, answer: Any) -> Exception:
        code, status = str(answer.status_code or ""), int(answer.transport_response.status)
        if code in _BAD_TOKEN:
            return ChannelDown("the homeserver refuses the access token", hint="log in again")
        if 200 <= status < 300:
            return AmbiguousSend("the homeserver's answer is no Matrix")
        asked = wait_asked(answer.transport_response.headers.get("retry-after"))
        if asked is None and answer.retry_after_ms:
            asked = answer.retry_after_ms / 1000
        return failure(status, f"the homeserver answered {status}: {answer.message}", retry_after=asked)

    async def _plain(
        self, client: Any, method: str, path: str, body: dict[str, Any] | None = None
    ) -> tuple[int, Any]:
        """A request the library has no words for; status and answer."""
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        data = None if body is None else self._nio.Api.to_json(body)

        async def call() -> tuple[int, Any]:
            response = await client.send(method, path, data, headers)
            return response.status, await client.parse_body(response)

        return await self._ask(call)

    # --- out

    async def put(self, room: str, transaction: str, content: dict[str, Any]) -> str:
        """Say something in a room, encrypted where the room is; the event's id."""
        await self.open()
        if await self.is_encrypted(room):
            await self._share_keys(room)
        answer = await self._ask(
            lambda: self._client.room_send(
                room, "m.room.message", content, tx_id=transaction, ignore_unverified_devices=True
            )
        )
        return str(answer.event_id)

    async def own(self, room: str, since: Instant) -> AsyncIterator[dict[str, Any]]:
        """What this account has said in a room since then, newest first, in clear.

        Raises:
            AmbiguousSend: there is something it cannot read, or more than it would go through.
        """
        await self.open()
        client = self._client
        wanted = {"senders": [self.me], "types": ["m.room.message", "m.room.encrypted"]}
        query = {"dir": "b", "limit": "100", "filter": json.dumps(wanted)}
        for _ in range(_MOST_PAGES):
            path = f"/_matrix/client/v3/rooms/{quote(room, safe='')}/messages?{urlencode(query)}"
            page = await self._look(client, path)
            for event in page["chunk"]:
                if int(event["origin_server_ts"]) * 1000 < since:
                    return
                opened = self._opened(room, event)
                if opened is None:
                    raise AmbiguousSend("a message of this account's own cannot be read")
                yield opened
            if not page.get("end"):
                return
            query["from"] = page["end"]
        raise AmbiguousSend("too much was said since")

    async def _look(self, client: Any, path: str) -> Any:
        """A page the homeserver shows us. Not to get it says nothing about what stands there."""
        try:
            status, page = await self._plain(client, "GET", path)
        except AmbiguousSend as error:
            raise TemporaryError(str(error)) from error
        if status == 200:
            return page
        if page.get("errcode") in _BAD_TOKEN:
            raise ChannelDown("the homeserver refuses the access token", hint="log in again")
        error = failure(status, f"the homeserver answered {status} to what was said")
        raise AmbiguousSend(error.message) if isinstance(error, PermanentError) else error

    def _opened(self, room: str, event: dict[str, Any]) -> dict[str, Any] | None:
        if not event["content"]:
            # Somebody took it back, and what it said with it.
            return None
        if event["type"] != "m.room.encrypted":
            return event
        sealed = self._nio.Event.parse_encrypted_event(event)
        if not isinstance(sealed, self._nio.MegolmEvent):
            return None
        sealed.room_id = room
        try:
            return {**event, "content": self._client.decrypt_event(sealed).source["content"]}
        except self._nio.EncryptionError:
            return None

    async def is_encrypted(self, room: str) -> bool:
        """Whether a room is encrypted; once it was, it is for ever, whatever the server says later."""
        client = self._client
        known = client.rooms.get(room)
        if known is None or (room not in self._asked and not known.encrypted):
            encrypted = room in client.encrypted_rooms
            try:
                await self._ask(lambda: client.room_get_state_event(room, "m.room.encryption"))
                encrypted = True
            except PermanentError as error:
                if "404" not in error.message:
                    raise
            if known is None:
                known = client.rooms[room] = self._nio.MatrixRoom(room, client.user_id, encrypted)
            if encrypted:
                known.encrypted = True
                client.encrypted_rooms.add(room)
                client.store.save_encrypted_rooms({room})
            self._asked.add(room)
        return bool(known.encrypted)

    async def _share_keys(self, room: str) -> None:
        """See that every device in the room can read what comes next; the library sends on where one got no key."""
        client = self._client
        async with self._sharing:
            known = client.rooms[room]
            if not known.members_synced:
                await self._ask(lambda: client.joined_members(room))
            if client.should_query_keys:
                await self._ask(client.keys_query)
            if not client.olm.should_share_group_session(room):
                return
            await self._ask(lambda: client.share_group_session(room, ignore_unverified_devices=True))
            session = client.olm.outbound_group_sessions[room]
            reached = session.users_shared_with | session.users_ignored
            for user in known.users:
                for device in client.device_store.active_user_devices(user):
                    has_way = client.olm.session_store.get(device.curve25519) is not None
                    if has_way and (user, device.id) not in reached:
                        client.invalidate_outbound_session(room)
                        raise TemporaryError(
                            f"device {device.id} of {user} did not get the key to this message"
                        )

    async def upload(self, data: bytes, *, name: str, kind: str, encrypted: bool) -> dict[str, Any]:
        """Put a file on the server; the part of a message that points at it."""

        async def pieces() -> AsyncIterator[bytes]:
            yield data

        def whole(refusals: int, timeouts: int) -> AsyncIterator[bytes]:
            del refusals, timeouts
            return pieces()

        async def call() -> Any:
            answer, keys = await self._client.upload(
                whole,
                content_type=kind,
                filename=None if encrypted else name,
                encrypt=encrypted,
                filesize=len(data),
            )
            answer.keys = keys
            return answer

        try:
            answer = await self._ask(call)
        except AmbiguousSend as error:
            # An upload nobody refers to is seen by nobody.
            raise TemporaryError(str(error)) from error
        if encrypted:
            return {"file": {"url": answer.content_uri, **answer.keys}}
        return {"url": answer.content_uri}

    # --- in

    async def sync(self, since: str | None) -> Any:
        """What has happened since; the keys that came along are put away, and those asked for are fetched."""
        client = self._client
        # An answer it has seen before would not be looked at again, and what we had not kept would be lost.
        client.next_batch = ""
        timeout = 0 if since is None else _SYNC_SECONDS * 1000
        answer = await self._ask(
            lambda: client.sync(timeout=timeout, sync_filter=_FILTER, since=since, full_state=since is None)
        )
        if since is None:
            self._asked.update(client.rooms)
        await self._publish_keys(client)
        if client.should_query_keys:
            await self._ask(client.keys_query)
        if client.should_claim_keys:
            await self._ask(lambda: client.keys_claim(client.get_users_for_key_claiming()))
        if client.outgoing_to_device_messages:
            await client.send_to_device_messages()
        return answer

    def was_encrypted(self) -> frozenset[str]:
        """The rooms known to be encrypted by now."""
        return frozenset(self._client.encrypted_rooms)

    def read(self, room: str, event: dict[str, Any]) -> dict[str, Any] | None:
        """An encrypted event in clear; `None` while its key is missing, or where its sender is not who sealed it."""
        sealed = self._nio.Event.parse_encrypted_event(event)
        if not isinstance(sealed, self._nio.MegolmEvent):
            return None
        sealed.room_id = room
        try:
            opened = self._client.decrypt_event(sealed)
        except self._nio.EncryptionError:
            return None
        return dict(opened.source) if self.is_theirs(opened) else None

    def is_theirs(self, opened: Any) -> bool:
        """Whether a decrypted event was sealed by a device of the one the server names as its sender."""
        session = self._client.olm.inbound_group_store.get(
            opened.room_id, opened.sender_key, opened.session_id
        )
        return session is not None and any(
            device.curve25519 == opened.sender_key and device.ed25519 == session.ed25519
            for device in self._client.device_store.active_user_devices(opened.sender)
        )

    async def members(self, room: str) -> int:
        """How many are in a room."""
        answer = await self._ask(lambda: self._client.joined_members(room))
        return len(answer.members)

    async def join(self, room: str) -> None:
        await self._ask(lambda: self._client.join(room))

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
            if self._client.store is not None:
                self._client.store.database.close()
