"""The account: hands mail over by SMTP, waits for mail by IMAP IDLE, looks into the sent folder."""

import asyncio
import contextlib
import email.utils
import importlib
import logging
import socket
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import msgspec

from tawny.api import (
    Accept,
    AmbiguousSend,
    ChannelDown,
    ChannelHost,
    ConfigError,
    Inbound,
    OneWay,
    Outgoing,
    PermanentError,
    Receipt,
    TemporaryError,
)
from tawny.channels.email import EmailSettings
from tawny.channels.email.letter import compose, message_id, understand

T = TypeVar("T")
_log = logging.getLogger("tawny.email")
_IDLE_SECONDS = 240
# RFC 5530: the password may be right, the server is not well.
_NOT_NOW = ("[UNAVAILABLE]", "[INUSE]", "[LIMIT]", "[SERVERBUG]", "[CONTACTADMIN]")


class Server(msgspec.Struct, frozen=True):
    """A mail server and the account on it."""

    host: str
    port: int
    tls: bool
    user: str
    password: str

    @classmethod
    def parse(cls, url: str, password: str) -> "Server":
        parts = urlsplit(url)
        tls = parts.scheme.endswith("s")
        ports = {"smtp": 25, "smtps": 465, "imap": 143, "imaps": 993}
        if not parts.hostname:
            raise ConfigError(
                f"{url!r} names no mail server", hint="write it like smtps://me@mail.example.org"
            )
        return cls(
            parts.hostname,
            parts.port or ports[parts.scheme],
            tls,
            unquote(parts.username or ""),
            password or unquote(parts.password or ""),
        )


class EmailChannel(OneWay):
    """One account."""

    kind = "email"
    text_limit = 5_000_000
    can_edit = False
    has_buttons = False
    idempotent = False

    def __init__(
        self, settings: EmailSettings, host: ChannelHost, *, smtp: Server, imap: Server | None
    ) -> None:
        self.name = settings.name
        self.home_address = settings.to
        self._settings = settings
        self._host = host
        self._smtp = smtp
        self._imap = imap
        self._boxes: set[Any] = set()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"mail-{settings.name}")
        # Of its own: the other one waits for mail most of the time.
        self._asking = ThreadPoolExecutor(1, thread_name_prefix=f"sent-{settings.name}")

    # --- out

    async def send(self, message: Outgoing, /) -> Receipt:
        aiosmtplib = importlib.import_module("aiosmtplib")
        mail = compose(message, self._settings, home=self._host.home, now=self._host.clock.now())
        client = aiosmtplib.SMTP(
            hostname=self._smtp.host, port=self._smtp.port, use_tls=self._smtp.tls, timeout=30
        )
        to = email.utils.parseaddr(mail["To"])[1]
        try:
            await self._hand_over(aiosmtplib, client, to)
            try:
                await client.data(mail.as_bytes(policy=mail.policy.clone(linesep="\r\n")))
            except aiosmtplib.SMTPResponseException as error:
                if not 400 <= error.code < 600:
                    raise AmbiguousSend(f"the mail server's answer is no SMTP: {error.message}") from None
                raise _refusal(error.code, f"the mail server refuses the message: {error.message}") from None
            except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
                raise AmbiguousSend(f"the mail server broke off after the message: {error}") from None
        finally:
            with contextlib.suppress(Exception):
                client.close()
        return Receipt(ids=(str(mail["Message-ID"]),))

    async def _hand_over(self, aiosmtplib: Any, client: Any, to: str) -> None:
        """All that comes before the message itself: failing here means that nothing was sent."""
        try:
            await client.connect()
            if self._smtp.user:
                await client.login(self._smtp.user, self._smtp.password)
            await client.mail(email.utils.parseaddr(self._settings.sender)[1])
            await client.rcpt(to)
        except aiosmtplib.SMTPAuthenticationError as error:
            if error.code < 500:
                raise TemporaryError(
                    f"the mail server cannot check the password now ({error.code})"
                ) from None
            raise ChannelDown(
                f"the mail server refuses the password: {error.code}", hint="check it"
            ) from None
        except aiosmtplib.SMTPResponseException as error:
            raise _refusal(error.code, f"the mail server: {error.message}") from None
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            raise TemporaryError(f"{self._smtp.host} cannot be reached: {error}") from None

    async def reconcile(self, message: Outgoing, /) -> Receipt | None:
        """Where the server keeps a copy of what is sent, look there. That there is none proves nothing."""
        wanted = message_id(message.key, self._settings)
        if self._imap is not None:
            try:
                if await self._in_thread(lambda: self._is_in_sent(wanted), thread=self._asking):
                    return Receipt(ids=(wanted,), detail={"reconciled": True})
            except (OSError, TemporaryError, ChannelDown) as error:
                raise AmbiguousSend(f"the sent folder cannot be read: {error}") from error
        raise AmbiguousSend("mail cannot be asked back")

    def _is_in_sent(self, message_id: str) -> bool:
        imap_tools = importlib.import_module("imap_tools")
        box = self._connect(self._settings.sent_folder)
        try:
            return bool(box.uids(imap_tools.AND(header=imap_tools.H("Message-ID", message_id))))
        finally:
            self._drop(box)

    # --- in

    async def listen(self, accept: Accept, /) -> None:
        if self._imap is None:
            return
        box = await self._in_thread(lambda: self._connect(self._settings.folder))
        try:
            while True:
                done: set[str] = set()
                while waiting := set(await self._in_thread(lambda: self._waiting(box))) - done:
                    for uid in sorted(waiting, key=int):
                        inbound = await self._in_thread(lambda uid=uid: self._read(box, uid))
                        if inbound is not None:
                            await accept(inbound)
                        # Only what the house has stored is marked as read; the rest comes again.
                        await self._in_thread(lambda uid=uid: box.flag([uid], "\\Seen", value=True))
                        done.add(uid)
                await self._in_thread(lambda: box.idle.wait(timeout=_IDLE_SECONDS))
        finally:
            self._drop(box)

    def _drop(self, box: Any) -> None:
        self._boxes.discard(box)
        _hang_up(box)

    async def _in_thread(self, work: Callable[[], T], *, thread: ThreadPoolExecutor | None = None) -> T:
        """Run in a thread of the account, unless told the one that listens; IMAP's errors become ours."""
        imap_tools = importlib.import_module("imap_tools")
        imaplib = importlib.import_module("imaplib")
        try:
            return await asyncio.get_running_loop().run_in_executor(thread or self._thread, work)
        except imap_tools.MailboxLoginError as error:
            if any(code in str(error).upper() for code in _NOT_NOW):
                raise TemporaryError(f"IMAP: no login now: {error}") from None
            raise ChannelDown(f"the mail server refuses the password: {error}", hint="check it") from None
        except (imap_tools.ImapToolsError, imaplib.IMAP4.error, OSError, EOFError) as error:
            raise TemporaryError(f"IMAP: {error}") from None

    def _connect(self, folder: str) -> Any:
        imap_tools = importlib.import_module("imap_tools")
        imap = self._imap
        assert imap is not None, "only called where there is an account to read"
        if imap.tls:
            # Without a context of ours Python's IMAP client would check no certificate.
            checked = ssl.create_default_context()
            box = imap_tools.MailBox(imap.host, imap.port, timeout=30, ssl_context=checked)
        else:
            box = imap_tools.MailBoxUnencrypted(imap.host, imap.port, timeout=30)
        try:
            box.login(imap.user, imap.password, initial_folder=folder)
        except BaseException:
            _hang_up(box)
            raise
        self._boxes.add(box)
        return box

    def _waiting(self, box: Any) -> list[str]:
        """What is unread. Nothing is passed over that comes in just now.

        A server tells of new mail with the answer to any command, this search among them, and what it has told it
        does not tell again in IDLE: that would then wait for the next mail to come.
        """
        imap_tools = importlib.import_module("imap_tools")
        while True:
            box.client.response("EXISTS")
            found = list(box.uids(imap_tools.AND(seen=False)))
            if found or box.client.response("EXISTS")[1] == [None]:
                return found

    def _read(self, box: Any, uid: str) -> Inbound | None:
        """The mail as a message; `None` where a machine wrote it, or nobody can read it."""
        imap_tools = importlib.import_module("imap_tools")
        try:
            mails = list(box.fetch(imap_tools.AND(uid=uid), mark_seen=False, bulk=False))
            return understand(mails[0], uid, settings=self._settings, host=self._host) if mails else None
        except (imap_tools.ImapToolsError, OSError):
            raise
        except Exception:  # noqa: BLE001 - a mail can be malformed in any way, and must not stop the next
            _log.exception("mail not understood", extra={"facts": {"channel": self.name, "uid": uid}})
            return None

    async def close(self) -> None:
        for box in list(self._boxes):
            self._drop(box)
        for thread in (self._thread, self._asking):
            thread.shutdown(wait=False, cancel_futures=True)


def _refusal(code: int, text: str) -> Exception:
    """5xx is for good; 4xx is for now, and so is what is no SMTP."""
    return PermanentError(f"{text} ({code})") if 500 <= code < 600 else TemporaryError(f"{text} ({code})")


def _hang_up(box: Any) -> None:
    """Cut the connection; a thread that waits on it wakes up with an error."""
    with contextlib.suppress(Exception):
        box.client.sock.shutdown(socket.SHUT_RDWR)
    with contextlib.suppress(Exception):
        box.client.shutdown()
