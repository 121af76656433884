"""A mail as a message, and a message as a mail."""

import email.utils
import hashlib
import re
from collections.abc import Mapping, Sequence
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from tawny.api import SECOND, Attachment, ChannelHost, Inbound, Instant, Outgoing, PermanentError, attached
from tawny.channels.email import EmailSettings
from tawny.channels.email.sender import is_vouched_for, lower, sender_of
from tawny.channels.email.words import own_words, text_of

_OURS = "dlv_"
_LARGEST_TEXT = 200_000
_LARGEST_FILE = 20_000_000
_ID = re.compile(r"<[^<>\s]+>")
_UNSAFE = re.compile(r"[^\w.\- ]+")


def message_id(key: str, settings: EmailSettings) -> str:
    """The Message-ID of a delivery: the same for every resend."""
    return f"<{key}@{settings.sender.rpartition('@')[2].strip('> ')}>"


def compose(message: Outgoing, settings: EmailSettings, *, home: Path, now: Instant) -> EmailMessage:
    """The mail that carries a message.

    Raises:
        PermanentError: nobody to write to, or a file that is not there.
    """
    to = message.to or settings.to
    if "@" not in to or any(char in to for char in "\r\n,;"):
        raise PermanentError(
            f"{to!r} is no mail address" if to else "the e-mail channel has nobody to write to"
        )
    mail = EmailMessage()
    mail["From"] = settings.sender
    mail["To"] = to
    mail["Subject"] = _one_line(message.title or message.text.strip().partition("\n")[0][:80] or "Message")
    mail["Message-ID"] = message_id(message.key, settings)
    mail["Date"] = email.utils.formatdate(now / SECOND)
    # Machines must not answer this; without it two assistants would write to each other for ever.
    mail["Auto-Submitted"] = "auto-generated"
    if message.thread and _ID.fullmatch(message.thread):
        mail["In-Reply-To"] = message.thread
        mail["References"] = message.thread
    mail.set_content(message.text)
    for file in message.attachments:
        data = attached(home, file, limit=_LARGEST_FILE)
        kind, _, subkind = file.media_type.partition("/")
        mail.add_attachment(
            data, maintype=kind or "application", subtype=subkind or "octet-stream", filename=file.name
        )
    return mail


def understand(mail: Any, uid: str, *, settings: EmailSettings, host: ChannelHost) -> Inbound | None:
    """The message in a mail (one of imap_tools'); `None` where a machine wrote it, or nobody vouches for it."""
    headers = {name.lower(): values for name, values in mail.headers.items()}
    sender = sender_of(_all(headers, "from"))
    own = lower(email.utils.parseaddr(settings.sender)[1])
    wanted = settings.authenticated_by
    if (
        not sender
        or sender == own
        or _is_automatic(headers)
        or (wanted and not is_vouched_for(_all(headers, "authentication-results"), by=wanted, sender=sender))
    ):
        return None
    letter_id = _ids(headers, "message-id")[:1]
    root = (*_ids(headers, "references")[:1], *_ids(headers, "in-reply-to")[:1], *letter_id, "")[0]
    answered = (*_ids(headers, "in-reply-to")[-1:], "")[0]
    text = own_words(mail.text or text_of(mail.html or ""))[:_LARGEST_TEXT]
    subject = _one_line(mail.subject or "")
    if subject and not answered:
        text = f"{subject}\n\n{text}".strip()
    return Inbound(
        channel=settings.name,
        event_id=hashlib.sha256(f"{(*letter_id, uid)[0]} {sender}".encode()).hexdigest()[:40],
        sender=sender,
        sender_name=_one_line(mail.from_values.name if mail.from_values else ""),
        text=text,
        conversation=sender,
        thread="" if root.startswith(f"<{_OURS}") else root,
        reply_to=answered,
        attachments=_files(mail, uid, host) if sender in settings.allow else (),
        time=int(mail.date.timestamp()) * SECOND if mail.date.year > 1970 else 0,
    )


def _all(headers: Mapping[str, Sequence[str]], name: str) -> list[str]:
    # What is not in ASCII comes as the bytes it was; since RFC 6532 it is UTF-8.
    return [
        str(value).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        for value in headers.get(name, ())
    ]


def _files(mail: Any, uid: str, host: ChannelHost) -> tuple[Attachment, ...]:
    kept: list[Attachment] = []
    for number, file in enumerate(mail.attachments[:20]):
        if not file.payload or len(file.payload) > _LARGEST_FILE:
            continue
        name = _UNSAFE.sub("_", Path(file.filename or f"file-{number}").name)[-80:] or f"file-{number}"
        path = host.folder / f"{uid}-{number}-{name}"
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_bytes(file.payload)
        kept.append(Attachment(name, path=str(path.relative_to(host.home)), media_type=file.content_type))
    return tuple(kept)


def _one_line(text: str) -> str:
    return " ".join(text.split())[:200]


def _ids(headers: Mapping[str, Sequence[str]], name: str) -> tuple[str, ...]:
    return tuple(_ID.findall(" ".join(_all(headers, name))))


def _is_automatic(headers: Mapping[str, Sequence[str]]) -> bool:
    """Whether a machine wrote it: a bounce, an out-of-office, a list. Such mail is no order."""

    def value(name: str) -> str:
        return next(iter(_all(headers, name)), "").strip().lower()

    return (
        value("auto-submitted") not in ("", "no")
        or value("precedence") in ("bulk", "list", "junk", "auto_reply")
        or bool(value("list-id"))
        or value("return-path") == "<>"
    )
