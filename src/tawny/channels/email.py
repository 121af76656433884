"""E-mail: out by SMTP with stable Message-IDs and threads, in by IMAP IDLE; a reply acts.

A sender's address can be forged. Where the mail server checks (`authenticated_by` is its name in
Authentication-Results), only mail it vouches for counts; a numbered answer counts only as a reply to our own mail.
"""

import asyncio
import contextlib
import email.utils
import hashlib
import importlib
import re
import socket
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from email.message import EmailMessage
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import msgspec

from tawny.api import (
    SECOND,
    Accept,
    AmbiguousSend,
    Attachment,
    Channel,
    ChannelDown,
    ChannelHost,
    ChatSettings,
    ConfigError,
    Inbound,
    OneWay,
    Outgoing,
    PermanentError,
    Receipt,
    TemporaryError,
    channel,
)

T = TypeVar("T")
_OURS = "dlv_"
_IDLE_SECONDS = 240
_LARGEST_TEXT = 200_000
_LARGEST_FILE = 20_000_000
_QUOTE = re.compile(
    r"^(>|On .{0,200}wrote:$|Am .{0,200}schrieb.{0,100}:$|-{2,} ?(Original|Forwarded) |_{10,}$)", re.I
)
_ID = re.compile(r"<[^<>\s]+>")
# RFC 5530: the password may be right, the server is not well.
_NOT_NOW = ("[UNAVAILABLE]", "[INUSE]", "[LIMIT]", "[SERVERBUG]", "[CONTACTADMIN]")
_UNSAFE = re.compile(r"[^\w.\- ]+")


class EmailSettings(
    ChatSettings, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"sender": "from"}
):
    """`[[channels.email]]`. `smtp` and `imap` are like `smtps://user@host:465`; the password a reference.

    `to` is where messages go by default; `allow` holds the addresses that may speak, `to` among them.
    """

    sender: str
    smtp: str
    to: str = ""
    password: str = ""
    imap: str = ""
    imap_password: str = ""
    folder: str = "INBOX"
    sent_folder: str = "Sent"
    authenticated_by: str = ""
    pairing: bool = False

    def __post_init__(self) -> None:
        for name, address in (("from", self.sender), ("to", self.to)):
            if address and ("@" not in address or any(char in address for char in "\r\n")):
                raise ValueError(f"{name}: {address!r} is no mail address")
        if urlsplit(self.smtp).scheme not in ("smtp", "smtps"):
            raise ValueError("smtp: it must begin with smtp:// or smtps://")
        if self.imap and urlsplit(self.imap).scheme not in ("imap", "imaps"):
            raise ValueError("imap: it must begin with imap:// or imaps://")


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
        self._domain = settings.sender.rpartition("@")[2].strip("> ")
        self._boxes: set[Any] = set()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"mail-{settings.name}")

    # --- out

    async def send(self, message: Outgoing, /) -> Receipt:
        aiosmtplib = importlib.import_module("aiosmtplib")
        mail = self._compose(message)
        client = aiosmtplib.SMTP(
            hostname=self._smtp.host, port=self._smtp.port, use_tls=self._smtp.tls, timeout=30
        )
        to = email.utils.parseaddr(mail["To"])[1]
        try:
            await self._hand_over(aiosmtplib, client, to)
            try:
                await client.data(mail.as_bytes(policy=mail.policy.clone(linesep="\r\n")))
            except aiosmtplib.SMTPResponseException as error:
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

    def _compose(self, message: Outgoing) -> EmailMessage:
        to = message.to or self.home_address
        if "@" not in to or any(char in to for char in "\r\n,;"):
            raise PermanentError(
                f"{to!r} is no mail address" if to else "the e-mail channel has nobody to write to"
            )
        mail = EmailMessage()
        mail["From"] = self._settings.sender
        mail["To"] = to
        mail["Subject"] = _one_line(
            message.title or message.text.strip().partition("\n")[0][:80] or "Message"
        )
        mail["Message-ID"] = self.message_id(message.key)
        mail["Date"] = email.utils.formatdate(self._host.clock.now() / SECOND)
        # Machines must not answer this; without it two assistants would write to each other for ever.
        mail["Auto-Submitted"] = "auto-generated"
        if message.thread and _ID.fullmatch(message.thread):
            mail["In-Reply-To"] = message.thread
            mail["References"] = message.thread
        mail.set_content(message.text)
        for file in message.attachments:
            data = self._file(file).read_bytes()
            kind, _, subkind = file.media_type.partition("/")
            mail.add_attachment(
                data, maintype=kind or "application", subtype=subkind or "octet-stream", filename=file.name
            )
        return mail

    def message_id(self, key: str) -> str:
        """The Message-ID of a delivery: the same for every resend."""
        return f"<{key}@{self._domain}>"

    def _file(self, file: Attachment) -> Path:
        home = self._host.home.resolve()
        path = (home / file.path).resolve()
        if not file.path or not path.is_relative_to(home) or not path.is_file():
            raise PermanentError(f"the file {file.name!r} is not in the home any more")
        if path.stat().st_size > _LARGEST_FILE:
            raise PermanentError(f"the file {file.name!r} is over 20 MB")
        return path

    async def reconcile(self, message: Outgoing, /) -> Receipt | None:
        """Where the server keeps a copy of what is sent, look there. That there is none proves nothing."""
        wanted = self.message_id(message.key)
        if self._imap is not None:
            try:
                if await self._in_thread(lambda: self._is_in_sent(wanted)):
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
                for uid in await self._in_thread(lambda: self._waiting(box)):
                    inbound = await self._in_thread(lambda uid=uid: self._read(box, uid))
                    if inbound is not None:
                        await accept(inbound)
                    # Only what the house has stored is marked as read; the rest comes again.
                    await self._in_thread(lambda uid=uid: box.flag([uid], "\\Seen", value=True))
                await self._in_thread(lambda: box.idle.wait(timeout=_IDLE_SECONDS))
        finally:
            self._drop(box)

    def _drop(self, box: Any) -> None:
        self._boxes.discard(box)
        _hang_up(box)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """Run in the account's own thread; IMAP's errors become ours."""
        imap_tools = importlib.import_module("imap_tools")
        imaplib = importlib.import_module("imaplib")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except imap_tools.MailboxLoginError as error:
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
        imap_tools = importlib.import_module("imap_tools")
        return list(box.uids(imap_tools.AND(seen=False)))

    def _read(self, box: Any, uid: str) -> Inbound | None:
        """The mail as a message; `None` where a machine wrote it, or nobody can read it."""
        imap_tools = importlib.import_module("imap_tools")
        try:
            mails = list(box.fetch(imap_tools.AND(uid=uid), mark_seen=False, bulk=False))
            return self._understand(mails[0], uid) if mails else None
        except (imap_tools.ImapToolsError, OSError):
            raise
        except Exception:  # noqa: BLE001 - a mail can be malformed in any way, and must not stop the next
            return None

    def _understand(self, mail: Any, uid: str) -> Inbound | None:
        headers = {name.lower(): values for name, values in mail.headers.items()}
        sender = mail.from_values.email.strip().lower() if mail.from_values else ""
        own = email.utils.parseaddr(self._settings.sender)[1].lower()
        if not sender or sender == own or _is_automatic(headers) or not self._is_vouched_for(headers):
            return None
        message_id = _first_id(headers, "message-id")
        root = _first_id(headers, "references") or _first_id(headers, "in-reply-to") or message_id
        answered = _last_id(headers, "in-reply-to")
        text = own_words(mail.text or _text_of(mail.html or ""))[:_LARGEST_TEXT]
        subject = _one_line(mail.subject or "")
        if subject and not answered:
            text = f"{subject}\n\n{text}".strip()
        return Inbound(
            channel=self.name,
            event_id=hashlib.sha256(f"{message_id or uid} {sender}".encode()).hexdigest()[:40],
            sender=sender,
            sender_name=_one_line(mail.from_values.name or ""),
            text=text,
            conversation=sender,
            thread="" if root.startswith(f"<{_OURS}") else root,
            reply_to=answered,
            attachments=self._files(mail, uid, sender),
            time=int(mail.date.timestamp()) * SECOND if mail.date.year > 1970 else 0,
        )

    def _is_vouched_for(self, headers: dict[str, Any]) -> bool:
        wanted = self._settings.authenticated_by
        if not wanted:
            return True
        # The topmost one is the receiving server's own; those below it anybody may have written.
        first = str(next(iter(headers.get("authentication-results", ())), ""))
        name, _, results = first.partition(";")
        return name.strip().split(" ")[0].lower() == wanted.lower() and "dmarc=pass" in results.lower()

    def _files(self, mail: Any, uid: str, sender: str) -> tuple[Attachment, ...]:
        if sender not in {str(entry).lower() for entry in self._settings.allow}:
            return ()
        kept: list[Attachment] = []
        for number, file in enumerate(mail.attachments[:20]):
            if not file.payload or len(file.payload) > _LARGEST_FILE:
                continue
            name = _UNSAFE.sub("_", Path(file.filename or f"file-{number}").name)[-80:] or f"file-{number}"
            path = self._host.folder / f"{uid}-{number}-{name}"
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.write_bytes(file.payload)
            kept.append(
                Attachment(name, path=str(path.relative_to(self._host.home)), media_type=file.content_type)
            )
        return tuple(kept)

    async def close(self) -> None:
        for box in list(self._boxes):
            self._drop(box)
        self._thread.shutdown(wait=False, cancel_futures=True)


def _refusal(code: int, text: str) -> Exception:
    """4xx is for now, 5xx for good."""
    return TemporaryError(f"{text} ({code})") if 400 <= code < 500 else PermanentError(f"{text} ({code})")


def _hang_up(box: Any) -> None:
    """Cut the connection; a thread that waits on it wakes up with an error."""
    with contextlib.suppress(Exception):
        box.client.sock.shutdown(socket.SHUT_RDWR)
    with contextlib.suppress(Exception):
        box.client.shutdown()


def _one_line(text: str) -> str:
    return " ".join(text.split())[:200]


def _first_id(headers: dict[str, Any], name: str) -> str:
    found = _ID.findall(" ".join(map(str, headers.get(name, ()))))
    return found[0] if found else ""


def _last_id(headers: dict[str, Any], name: str) -> str:
    found = _ID.findall(" ".join(map(str, headers.get(name, ()))))
    return found[-1] if found else ""


def _is_automatic(headers: dict[str, Any]) -> bool:
    """Whether a machine wrote it: a bounce, an out-of-office, a list. Such mail is no order."""

    def value(name: str) -> str:
        return str(next(iter(headers.get(name, ())), "")).strip().lower()

    return (
        value("auto-submitted") not in ("", "no")
        or value("precedence") in ("bulk", "list", "junk", "auto_reply")
        or bool(value("list-id"))
        or value("return-path") == "<>"
    )


def own_words(text: str) -> str:
    """The text without what it quotes."""
    kept: list[str] = []
    for line in text.replace("\r\n", "\n").split("\n"):
        if line.rstrip() == "--" or line == "-- ":
            break
        if _QUOTE.match(line.strip()):
            if line.lstrip().startswith(">"):
                continue
            break
        kept.append(line)
    return "\n".join(kept).strip()


class _Words(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        if tag in ("script", "style", "head", "blockquote"):
            self._hidden += 1
        elif tag in ("br", "p", "div", "li", "tr"):
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style", "head", "blockquote"):
            self._hidden = max(0, self._hidden - 1)

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.parts.append(data)


def _text_of(html: str) -> str:
    words = _Words()
    words.feed(html[:_LARGEST_TEXT])
    words.close()
    return "".join(words.parts)


@channel("email", settings=EmailSettings, description="Mail out by SMTP, in by IMAP; a reply acts.")
def mail(settings: Any, host: ChannelHost) -> Channel:
    password = host.secret(settings.password) if settings.password else ""
    imap_password = host.secret(settings.imap_password) if settings.imap_password else password
    return EmailChannel(
        settings,
        host,
        smtp=Server.parse(settings.smtp, password),
        imap=Server.parse(settings.imap, imap_password) if settings.imap else None,
    )


CHANNELS = {"email": mail}
