"""Bytes of a message to a `Mail`: encoded words, multipart, any charset. Never fails on a malformed one."""

import email
import email.errors
import email.message
import re
from collections.abc import Iterator
from datetime import UTC
from email.header import decode_header
from email.utils import getaddresses, parsedate_to_datetime
from typing import cast

from tawny.clock import Instant, from_datetime
from tawny.domain.charsets import decoded, is_utf8
from tawny.domain.mail import Address, Mail, MailAttachment
from tawny.sources.markup import text_of

TEXT_LIMIT = 20_000
_MOST_PARTS = 200
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_BULK = frozenset({"bulk", "list", "junk"})
_FOLD = re.compile(r"\r?\n(?=[ \t])")


def mail_of(data: bytes, *, account: str, folder: str = "", unread: bool = True, flagged: bool = False,
            answered: bool = False) -> Mail:  # fmt: skip
    """The message; what cannot be decoded is replaced, what is missing is empty."""
    message = email.message_from_bytes(data)
    senders = addresses(message, "From") or addresses(message, "Sender")
    plain, html, attachments = _parts(message)
    return Mail(
        message_id=header(message, "Message-ID").strip("<> "),
        sender=senders[0] if senders else Address("", "unknown sender"),
        subject=header(message, "Subject") or "(no subject)",
        to=tuple(addresses(message, "To")),
        cc=tuple(addresses(message, "Cc")),
        time=_time(message),
        text=(plain.strip() or text_of(html))[:TEXT_LIMIT],
        unread=unread,
        flagged=flagged,
        answered=answered,
        bulk=_is_bulk(message),
        automatic=_is_automatic(message),
        importance=_importance(message),
        attachments=tuple(attachments),
        in_reply_to=header(message, "In-Reply-To").strip("<> "),
        folder=folder,
        account=account,
    )


def header(message: email.message.Message, name: str) -> str:
    """A header in readable words, on one line; empty where there is none."""
    hint = _first_charset(message)
    return next((_clean(_words(raw, hint)) for raw in _raw(message, name)), "")


def _first_charset(message: email.message.Message) -> str | None:
    """The charset of the first part that names one: raw bytes in headers are in it as a rule."""
    return next((charset for part in _leaves(message) if (charset := _charset(part))), None)


def _raw(message: email.message.Message, name: str) -> Iterator[str]:
    """A header's values as they came, eight-bit bytes as surrogates."""
    wanted = name.lower()
    for key, value in message.raw_items():
        if key.lower() == wanted:
            yield str(value)


def _words(text: str, hint: str | None) -> str:
    """Encoded words decoded; raw eight-bit bytes too, whatever they are."""
    if not text.isascii():
        raw = text.encode("utf-8", "surrogateescape")
        # UTF-8 is never hit by chance: it counts before what the body is written in.
        return decoded(raw, "utf-8" if is_utf8(raw) else hint)
    text = _FOLD.sub("", text)
    try:
        pieces = decode_header(text)
    except (ValueError, IndexError, TypeError, AttributeError, LookupError, email.errors.MessageError):
        return decoded(text.encode("utf-8", "surrogateescape"))
    out: list[str] = []
    for piece, charset in pieces:
        data = piece if isinstance(piece, bytes) else piece.encode("utf-8", "surrogateescape")
        out.append(decoded(data, charset))
    return "".join(out)


def addresses(message: email.message.Message, name: str) -> list[Address]:
    """The mailboxes in a header; names decoded, addresses in lower case."""
    try:
        raw = list(_raw(message, name))
        hint = _first_charset(message)
        pairs = getaddresses(raw, strict=False) if _LENIENT else getaddresses(raw)
    except (ValueError, IndexError, TypeError, AttributeError, LookupError):
        return []
    found: list[Address] = []
    for shown, address in pairs[:100]:
        plain = _clean(_words(address, hint)).lower()
        if plain:
            words = _clean(_words(shown, hint))
            found.append(Address(plain, "" if words.lower() == plain else words[:200]))
    return found


# Python 3.11.10 and later refuse odd address lists altogether unless told otherwise.
_LENIENT = "strict" in getaddresses.__code__.co_varnames


def _clean(text: str) -> str:
    return " ".join(_CONTROL.sub(" ", text.replace("\n", " ").replace("\t", " ")).split())[:2_000]


def _time(message: email.message.Message) -> Instant | None:
    for name in ("Date", "Received"):
        value = header(message, name)
        if name == "Received":
            value = value.rpartition(";")[2]
        try:
            moment = parsedate_to_datetime(value)
            return from_datetime(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
    return None


def _is_bulk(message: email.message.Message) -> bool:
    if any(
        message.get(name) is not None
        for name in ("List-Id", "List-Unsubscribe", "List-Post", "X-Campaign-Id")
    ):
        return True
    return header(message, "Precedence").lower() in _BULK


def _is_automatic(message: email.message.Message) -> bool:
    submitted = header(message, "Auto-Submitted").lower()
    if submitted and submitted != "no":
        return True
    sender = header(message, "From").lower()
    return bool(re.search(r"\b(no-?reply|do-?not-?reply|mailer-daemon|postmaster|notifications?)@", sender))


def _importance(message: email.message.Message) -> str:
    said = header(message, "Importance").lower() or header(message, "X-MSMail-Priority").lower()
    rank = header(message, "X-Priority")[:1]
    if said == "high" or rank in ("1", "2") or header(message, "Priority").lower() == "urgent":
        return "high"
    return "low" if said == "low" or rank in ("4", "5") else "normal"


def _parts(message: email.message.Message) -> tuple[str, str, list[MailAttachment]]:
    plain: list[str] = []
    html: list[str] = []
    named: list[str] = []
    attachments: list[MailAttachment] = []
    for number, part in enumerate(_leaves(message)):
        if number >= _MOST_PARTS:
            break
        kind = part.get_content_type()
        name = _filename(part)
        body = _payload(part)
        disposition = str(part.get("Content-Disposition", "")).lower()
        if name or disposition.startswith("attachment") or not kind.startswith("text/"):
            attachments.append(MailAttachment(name or kind, kind, len(body)))
            if kind == "text/plain" and not disposition.startswith("attachment"):
                named.append(decoded(body, _charset(part)))
        elif kind == "text/html":
            html.append(decoded(body, _charset(part)))
        else:
            plain.append(decoded(body, _charset(part)))
    # Some programs give the text itself a file's name; shown in place, it is what was written.
    return "\n".join(plain or ([] if html else named)), "\n".join(html), attachments


def _leaves(message: email.message.Message) -> Iterator[email.message.Message]:
    queue: list[email.message.Message] = [message]
    while queue:
        part = queue.pop(0)
        payload = part.get_payload()
        if part.is_multipart() and isinstance(payload, list):
            children = cast(list[object], payload)[:_MOST_PARTS]
            queue[:0] = [child for child in children if isinstance(child, email.message.Message)]
        else:
            yield part


def _payload(part: email.message.Message) -> bytes:
    try:
        data = part.get_payload(decode=True)
    except (ValueError, IndexError, TypeError, AttributeError, LookupError):
        data = None
    return data if isinstance(data, bytes) else b""


def _charset(part: email.message.Message) -> str | None:
    try:
        return part.get_content_charset()
    except (ValueError, IndexError, TypeError, AttributeError, LookupError):
        return None


def _filename(part: email.message.Message) -> str:
    try:
        return _clean(_words(part.get_filename() or "", None))[:200]
    except (ValueError, IndexError, TypeError, AttributeError, LookupError):
        return ""
