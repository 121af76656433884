"""Somebody who speaks Matrix end-to-end encrypted, from a client of their own with keys of its own.

It runs in a thread with its own event loop, so that a test can look at the world in plain calls.
"""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

import nio
import nio.store

from homeserver import Person

T = TypeVar("T")


class SealedPerson:
    """`heard` is every event of every room as this person's client shows it, `sealed` those it could not open."""

    def __init__(self, person: Person) -> None:
        self.id = person.id
        self.heard: dict[str, list[Any]] = {}
        self._person = person
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.client = self.run(self._log_in())
        self.sync()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    async def do(self, work: Coroutine[Any, Any, T]) -> T:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    async def _log_in(self) -> nio.AsyncClient:
        # In the thread that will use it: the keys lie in memory, and a database in memory is one thread's own.
        config = nio.AsyncClientConfig(store=nio.store.SqliteMemoryStore, encryption_enabled=True)
        client = nio.AsyncClient(self._person.url, config=config)
        client.restore_login(self._person.id, self._person.device, self._person.token)
        return client

    async def _log_out(self) -> None:
        await self.client.close()
        self.client.store.database.close()

    def sync(self) -> None:
        self.run(self._sync())

    async def _sync(self) -> None:
        answer = await self.client.sync(timeout=0, full_state=not self.heard)
        assert isinstance(answer, nio.SyncResponse), answer
        if self.client.should_upload_keys:
            await self.client.keys_upload()
        if self.client.should_query_keys:
            await self.client.keys_query()
        if self.client.should_claim_keys:
            await self.client.keys_claim(self.client.get_users_for_key_claiming())
        await self.client.send_to_device_messages()
        for room, content in answer.rooms.join.items():
            self.heard.setdefault(room, []).extend(content.timeline.events)

    def messages(self, room: str) -> list[Any]:
        """All that was said in a room, opened where this client has the key."""
        self.sync()
        kinds = (nio.RoomMessage, nio.MegolmEvent, nio.RoomEncryptedMedia)
        return [event for event in self.heard.get(room, ()) if isinstance(event, kinds)]

    async def room(self, *guests: Person) -> str:
        """A new encrypted room in which all the guests are."""
        made = await self._person.call(
            "POST",
            "/createRoom",
            json={
                "invite": [guest.id for guest in guests],
                "initial_state": [
                    {
                        "type": "m.room.encryption",
                        "state_key": "",
                        "content": {"algorithm": "m.megolm.v1.aes-sha2"},
                    }
                ],
            },
        )
        for guest in guests:
            await guest.call("POST", f"/join/{made['room_id']}", json={})
        await self.do(self._sync())
        return made["room_id"]

    async def say(self, room: str, text: str, *, transaction: str, **content: Any) -> str:
        async def send() -> Any:
            await self._sync()
            return await self.client.room_send(
                room,
                "m.room.message",
                {"msgtype": "m.text", "body": text, **content},
                tx_id=transaction,
                ignore_unverified_devices=True,
            )

        answer = await self.do(send())
        assert isinstance(answer, nio.RoomSendResponse), answer
        return answer.event_id

    def close(self) -> None:
        self.run(self._log_out())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@contextlib.contextmanager
def sealed(person: Person) -> Iterator[SealedPerson]:
    made = SealedPerson(person)
    try:
        yield made
    finally:
        made.close()
