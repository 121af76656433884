"""One lasting IMAP connection that waits in IDLE, and tells each new message once.

The connection lives in a thread of its own; messages are read apart in the child process. What lies in the mailbox
at the first look is no news. A changed UIDVALIDITY means that all numbers are new: that is a first look again. A server
need not say so to who has the old folder open (Cyrus does not): it is asked each time IDLE is renewed.
"""

import asyncio
import imaplib
import re
import threading
from collections.abc import Callable
from typing import Any, cast

from imap_tools.errors import ImapToolsError

from tawny.domain.automations import On
from tawny.domain.mail import Mail
from tawny.domain.tasks import Json
from tawny.errors import PermanentError, TemporaryError
from tawny.sources.fetch import TIMEOUT
from tawny.sources.listening.host import Desk, Event
from tawny.sources.mailboxes import open_box, select, sign_in
from tawny.sources.place import Place, credentials, split
from tawny.sources.shelf import Shelf

_IDLE_SECONDS = 25 * 60
"""IDLE is renewed before servers end it (29 minutes)."""
_SETTLE_SECONDS = 2
"""After something has come we look once more: servers overlook what comes in the instant before IDLE begins."""
_READ_BYTES = 256 * 1024
_MOST_AT_ONCE = 50

Raw = tuple[int, bytes]


class Connection:
    """One connection, its thread, and what goes between."""

    def __init__(
        self,
        on: On,
        desk: Desk,
        shelf: Shelf,
        place: Place,
        *,
        settle: float = _SETTLE_SECONDS,
        renew: float = _IDLE_SECONDS,
    ) -> None:
        self._on = on
        self._desk = desk
        self._shelf = shelf
        self._place = place
        self._stop = threading.Event()
        self._settle = settle
        self._renew = renew
        self._box: Any = None

    async def run(self) -> None:
        """Until the connection breaks, which raises."""
        loop = asyncio.get_running_loop()

        def report(validity: int, uid: int, messages: list[Raw]) -> None:
            """From the thread: returns once what was heard is stored."""
            asyncio.run_coroutine_threadsafe(self._store(validity, uid, messages), loop).result()

        work = asyncio.ensure_future(asyncio.to_thread(self._listen, report))  # noqa: TID251 - awaited below
        try:
            await asyncio.shield(work)
        finally:
            self._stop.set()
            self._hang_up()

    def _hang_up(self) -> None:
        box = self._box
        if box is not None:
            try:
                box.client.shutdown()
            except OSError:
                return

    async def _store(self, validity: int, uid: int, messages: list[Raw]) -> None:
        events: list[Event] = []
        for number, data in messages:
            message = await self._shelf.parse_mail(self._place.name, data)
            events.append(self._event(message, validity, number, data))
        await self._desk.take(events, {"validity": validity, "uid": uid})

    def _event(self, message: Mail, validity: int, uid: int, raw: bytes) -> Event:
        data: dict[str, Json] = {
            "account": self._on.account,
            "mailbox": self._on.mailbox,
            "sender": message.sender.address,
            "sender_name": message.sender.name,
            "subject": message.subject,
            "text": message.text,
            "message_id": message.message_id,
            "bulk": message.bulk,
            "automatic": message.automatic,
            "importance": message.importance,
            "attachments": [attachment.name for attachment in message.attachments],
            "verified": is_verified(raw, message.sender.address),
        }
        return Event(
            event_id=f"{self._place.name}:{self._on.mailbox}:{validity}:{uid}", data=data, time=message.time
        )

    # --- in the thread

    def _listen(self, report: Callable[[int, int, list[Raw]], None]) -> None:
        parts = split(self._place)
        user, password = credentials(self._place, parts)
        try:
            self._box = open_box(self._place, parts)
            with sign_in(self._box, user, password):
                select(self._box, self._on.mailbox)
                self._follow(report)
        except ImapToolsError as error:
            raise PermanentError(
                f"{self._place.label}: {error}", hint="check user, password and folder"
            ) from error
        except (imaplib.IMAP4.error, OSError, AttributeError) as error:
            if self._stop.is_set():
                return
            raise TemporaryError(f"{self._place.label}: the connection broke: {error}") from error

    def _follow(self, report: Callable[[int, int, list[Raw]], None]) -> None:
        validity, following = self._numbers()
        cursor = self._desk.cursor
        last = cursor.get("uid") if cursor.get("validity") == validity else None
        if not isinstance(last, int):
            last = following - 1
        report(validity, last, [])
        patience = self._settle
        while not self._stop.is_set():
            while fresh := self._fetch(last):
                last = fresh[-1][0]
                report(validity, last, fresh)
                patience = self._settle
            self._wait(patience)
            if patience == self._renew and self._numbers()[0] != validity:
                raise TemporaryError(f"{self._place.label}: {self._on.mailbox} was made anew")
            patience = self._renew

    def _numbers(self) -> tuple[int, int]:
        """UIDVALIDITY of the folder that has the name now, and the number its next message gets."""
        status = self._box.folder.status(self._on.mailbox, ("UIDVALIDITY", "UIDNEXT"))
        return int(status["UIDVALIDITY"]), int(status["UIDNEXT"])

    def _wait(self, seconds: float) -> None:
        """Wait in IDLE until the server says something.

        What it says in one breath with the start of IDLE lies in the library's buffer already, where waiting for
        the socket would never see it.
        """
        client: Any = self._box.client
        with self._box.idle as idle:
            client.sock.settimeout(0)
            try:
                said_already = bool(client.file.peek(1))
            except (OSError, ValueError):
                said_already = False
            finally:
                client.sock.settimeout(TIMEOUT)
            if not said_already:
                idle.poll(timeout=seconds)

    def _waiting(self, last: int) -> list[int]:
        """The numbers after that one, the lowest first.

        A server tells of new mail with the answer to any command, this search among them, and what it has told it
        does not tell again in IDLE: then we search again.
        """
        while True:
            self._box.client.response("EXISTS")
            uids = sorted(int(uid) for uid in self._box.uids(f"UID {last + 1}:*") if int(uid) > last)
            if uids or self._box.client.response("EXISTS")[1] == [None]:
                return uids[:_MOST_AT_ONCE]

    def _fetch(self, last: int) -> list[Raw]:
        """The messages after the one with that number, oldest first."""
        found: list[Raw] = []
        for uid in self._waiting(last):
            _, answer = self._box.client.uid("fetch", str(uid), f"(BODY.PEEK[]<0.{_READ_BYTES}>)")
            for item in cast("list[Any]", answer):
                if isinstance(item, tuple):
                    found.append((uid, bytes(cast("tuple[bytes, bytes]", item)[1])))
                    break
            else:
                found.append((uid, b""))  # gone meanwhile; its number is passed all the same
        return found


_RESULT = re.compile(rb"^Authentication-Results:(.*?)(?=^\S|\Z)", re.MULTILINE | re.DOTALL | re.IGNORECASE)


def is_verified(raw: bytes, address: str) -> bool:
    """Whether the mailbox's own server found the sender's domain proven (DMARC), by its topmost word on it."""
    head = raw.partition(b"\r\n\r\n")[0] if b"\r\n\r\n" in raw else raw.partition(b"\n\n")[0]
    match = _RESULT.search(head.replace(b"\r\n", b"\n"))
    if match is None:
        return False
    word = match.group(1).decode("utf-8", "replace").lower()
    domain = address.rpartition("@")[2].lower()
    passed = re.search(r"dmarc\s*=\s*pass", word) is not None
    return passed and re.search(rf"header\.from\s*=\s*{re.escape(domain)}\b", word) is not None
