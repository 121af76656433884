"""Mail: maildir, mbox, and IMAP. Runs in the child that fetches; nothing is ever marked as read."""

import imaplib
import ipaddress
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Any, cast
from urllib.parse import SplitResult

from imap_tools import AND, BaseMailBox, MailBox, MailBoxStartTls, MailBoxUnencrypted
from imap_tools.errors import ImapToolsError

from tawny.clock import Instant, to_datetime
from tawny.errors import PermanentError, TemporaryError
from tawny.sources.fetch import TIMEOUT, path_of
from tawny.sources.place import Letter, Letters, MailQuery, Place, credentials, folder_of, split

_READ_BYTES = 512 * 1024
_MBOX_TAIL = 32 * 1024 * 1024
_BATCH = 20
_MOST_LOOKED_AT = 500
_HANDFUL = 100
_HANDFUL_BYTES = 16 * 1024 * 1024


def collect(place: Place, query: MailQuery) -> Letters:
    """The next messages of the place, newest first.

    Raises:
        TawnyError: the mailbox is not there, does not answer, or does not let us in.
    """
    parts = split(place)
    reader = _READERS.get(parts.scheme)
    if reader is None:
        raise PermanentError(
            f"{place.label}: {parts.scheme}:// is no mailbox",
            hint="use imaps://user@host, maildir:///path or mbox:///path",
        )
    letters: list[Letter] = []
    problems: list[str] = []
    size = 0
    most = query.limit * 2 if query.skip == 0 else max(query.limit * 2, _HANDFUL)
    found = reader(place, parts, query)
    # What lies in files is found again and passed over; what a server has is not asked for again.
    for position, raw in enumerate(
        found if reader is _imap else islice(found, query.skip, None), query.skip + 1
    ):
        if isinstance(raw, str):
            problems.append(raw)
            continue
        letters.append(raw)
        size += len(raw.data)
        if len(letters) >= most or size > _HANDFUL_BYTES:
            return Letters(letters, problems, next=position)
    return Letters(letters, problems)


# --- maildir ---


def _maildir(place: Place, parts: SplitResult, query: MailQuery) -> Iterator[Letter | str]:
    """The messages; of one that cannot be read, the line that says so."""
    root = path_of(place, parts)
    if not any((root / name).is_dir() for name in ("cur", "new")):
        raise PermanentError(
            f"{place.label}: {root} is no maildir (it has neither cur nor new)",
            hint=f"correct url in [[sources.{place.noun}]]",
        )
    files: list[tuple[float, Path, bool]] = []
    for folder in (root / "new", root / "cur"):
        for file in folder.iterdir() if folder.is_dir() else ():
            try:
                if file.is_file():
                    files.append((file.stat().st_mtime, file, folder.name == "new"))
            except OSError as error:
                yield _unread(place, file, error)
    files.sort(key=lambda entry: (entry[0], entry[1].name), reverse=True)
    for _, file, is_new in files[:_MOST_LOOKED_AT]:
        flags = file.name.rpartition(":2,")[2] if ":2," in file.name else ""
        if query.unread and "S" in flags:
            continue
        try:
            with file.open("rb") as stream:
                data = stream.read(_READ_BYTES)
        except OSError as error:
            yield _unread(place, file, error)
            continue
        yield Letter(data, is_new or "S" not in flags, "F" in flags, "R" in flags)


def _unread(place: Place, file: Path, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{place.label}: {file} was moved while it was read; the next reading finds it"
    return f"{place.label}: {file} cannot be read: {error.strerror or error}; check its permissions"


# --- mbox ---

_FROM_LINE = re.compile(rb"^From [^\n]*\d{4}[^\n]*\r?\n", re.MULTILINE)


def _mbox(place: Place, parts: SplitResult, query: MailQuery) -> Iterator[Letter]:
    path = path_of(place, parts)
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(0, size - _MBOX_TAIL))
            data = stream.read()
    except OSError as error:
        raise PermanentError(
            f"{place.label}: {path} cannot be read: {error.strerror or error}",
            hint=f"correct url in [[sources.{place.noun}]]",
        ) from error
    starts = list(_FROM_LINE.finditer(data))
    if data.strip() and not starts:
        raise PermanentError(
            f"{place.label}: {path} is no mbox file (no line begins with 'From ')",
            hint="export the folder as mbox",
        )
    ends = [match.start() for match in starts[1:]] + [len(data)]
    for match, end in reversed(list(zip(starts, ends, strict=True))[-_MOST_LOOKED_AT:]):
        body = data[match.end() : min(end, match.end() + _READ_BYTES)].replace(b"\n>From ", b"\nFrom ")
        head = re.split(rb"\r?\n\r?\n", body, maxsplit=1)[0]
        status = b"".join(re.findall(rb"(?im)^(?:X-)?Status:[ \t]*(\w*)", head))
        raw = Letter(body, b"R" not in status, b"F" in status, b"A" in status)
        if raw.unread or not query.unread:
            yield raw


# --- IMAP ---


def _imap(place: Place, parts: SplitResult, query: MailQuery) -> Iterator[Letter]:
    host = parts.hostname or ""
    user, password = credentials(place, parts)
    try:
        box = open_box(place, parts)
        with sign_in(box, user, password):
            select(box, folder_of(place, query))
            yield from _newest(box, query)
    except ImapToolsError as error:
        said = str(error).upper()
        if "UNAVAILABLE" in said or "TEMPORARY" in said:
            raise TemporaryError(f"{place.label}: {host} cannot let anybody in at the moment") from error
        if "login" in type(error).__name__.lower():
            raise PermanentError(
                f"{place.label}: {host} does not let {user or 'us'} in",
                hint="check user and password of the source",
            ) from error
        raise PermanentError(
            f"{place.label}: {host} answers: {_line(error)}", hint="check the folder's name"
        ) from error
    except ssl.SSLCertVerificationError as error:
        raise PermanentError(
            f"{place.label}: the certificate of {host} is not valid: {error.verify_message}",
            hint="check the host's name; for a certificate of your own set SSL_CERT_FILE",
        ) from error
    except (imaplib.IMAP4.error, OSError) as error:
        raise TemporaryError(
            f"{place.label}: {host} does not answer as an IMAP server does: {_line(error)}",
            hint="check the address and the network",
        ) from error


def sign_in(box: BaseMailBox, user: str, password: str) -> BaseMailBox:
    """Log in, whatever letters user and password are written in; a context manager that logs out."""
    login = box.login if (user + password).isascii() else box.login_utf8
    return login(user, password, initial_folder=None)


def select(box: BaseMailBox, folder: str) -> None:
    """Open a folder."""
    if "ID" in box.client.capabilities:
        # Some servers (163.com) show no folder to a client that does not say who it is.
        box.client.xatom("ID", '("name" "tawny")')
    box.folder.set(folder)  # pyright: ignore[reportUnknownMemberType]


def open_box(place: Place, parts: SplitResult) -> BaseMailBox:
    """Connect: TLS for imaps; for imap STARTTLS, and in the clear only to a private address."""
    host = parts.hostname or ""
    if parts.scheme == "imaps":
        return MailBox(host, parts.port or 993, timeout=TIMEOUT, ssl_context=_verified())
    port = parts.port or 143
    plain = MailBoxUnencrypted(host, port, timeout=TIMEOUT)
    capabilities = {str(name).upper() for name in plain.client.capabilities}
    private = _is_private(plain.client.sock)
    if private and ("STARTTLS" not in capabilities or "LOGINDISABLED" not in capabilities):
        return plain
    plain.client.shutdown()
    if "STARTTLS" not in capabilities:
        raise PermanentError(
            f"{place.label}: {host} offers no encryption",
            hint="use imaps://, the password would go in the clear",
        )
    return MailBoxStartTls(host, port, timeout=TIMEOUT, ssl_context=_verified())


def _verified() -> ssl.SSLContext:
    """Certificates are checked: without a context of ours, Python's IMAP client checks none."""
    return ssl.create_default_context()


def _is_private(connection: socket.socket) -> bool:
    return not ipaddress.ip_address(str(connection.getpeername()[0])).is_global


def _newest(box: BaseMailBox, query: MailQuery) -> Iterator[Letter]:
    criteria: list[Any] = []
    if query.since is not None:
        # SINCE compares days in the server's zone: a day earlier misses nothing, `_fits` is exact.
        criteria.append(AND(date_gte=_day(query.since)))
    if query.unread:
        criteria.append(AND(seen=False))
    if query.text and query.text.isascii():
        criteria.append(AND(text=query.text))
    uids = box.uids(AND(*criteria) if criteria else "ALL")
    newest = [uid for uid in reversed(uids) if uid][query.skip : _MOST_LOOKED_AT]
    for first in range(0, len(newest), _BATCH):
        batch = ",".join(newest[first : first + _BATCH])
        kind, answer = box.client.uid("fetch", batch, f"(UID FLAGS BODY.PEEK[]<0.{_READ_BYTES}>)")
        if kind != "OK":
            raise imaplib.IMAP4.error(f"FETCH was answered {kind}")
        yield from reversed(list(_answers(answer)))


def _answers(answer: list[Any]) -> Iterator[Letter]:
    """Pairs of (head, body), and what follows each: flags may stand before or after."""
    for position, item in enumerate(answer):
        if isinstance(item, tuple):
            first, body = cast(tuple[bytes, bytes], item)[:2]
            after = answer[position + 1] if position + 1 < len(answer) else b""
            flags = (first + (after if isinstance(after, bytes) else b"")).upper()
            yield Letter(body, b"\\SEEN" not in flags, b"\\FLAGGED" in flags, b"\\ANSWERED" in flags)


def _day(since: Instant) -> Any:
    return (to_datetime(since) - timedelta(days=1)).date()


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


_READERS: dict[str, Callable[[Place, SplitResult, MailQuery], Iterator[Letter | str]]] = {
    "maildir": _maildir,
    "mbox": _mbox,
    "imap": _imap,
    "imaps": _imap,
}
