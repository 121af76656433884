"""Where something is read, what was asked for, and what came of it: the values that cross to the child process."""

from collections.abc import Awaitable, Callable
from datetime import date, datetime
from typing import Any, Generic, NamedTuple, TypeVar
from urllib.parse import SplitResult, unquote, urlsplit

import msgspec

from tawny import errors
from tawny.clock import Instant
from tawny.domain.mail import Mail
from tawny.errors import ConfigError

T = TypeVar("T")


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """One configured source, its secret resolved. `zone` is the owner's; `root` resolves relative paths."""

    noun: str
    name: str
    url: str
    password: str = msgspec.field(default="")
    zone: str = "UTC"
    root: str = ""
    latitude: float | None = None
    longitude: float | None = None

    def __repr__(self) -> str:
        return f"Place({self.noun}:{self.name})"

    @property
    def label(self) -> str:
        """What errors call it: `calendar "work"`."""
        return f'{self.noun} "{self.name}"'


class Content(NamedTuple):
    """What was fetched; `media_type` is the server's Content-Type as it says it, `url` where it came from at last."""

    data: bytes
    media_type: str = ""
    url: str = ""


class Letter(NamedTuple):
    """A message as it was found, and what its mailbox says of it."""

    data: bytes
    unread: bool = True
    flagged: bool = False
    answered: bool = False


class Letters(msgspec.Struct, frozen=True):
    """A handful of messages, newest first; `problems` name those that could not be fetched.

    `next` is what to `skip` for the next handful, where there may be one.
    """

    letters: list[Letter]
    problems: list[str] = []
    next: int | None = None


class Handful(msgspec.Struct, frozen=True):
    """The messages of a handful that fit what was asked for."""

    items: list[Mail]
    problems: list[str] = []
    next: int | None = None


class Reading(msgspec.Struct, Generic[T], frozen=True):
    """What a source gave. `problems` name, one line each, what could not be read and how to mend it."""

    source: str
    items: tuple[T, ...] = ()
    problems: tuple[str, ...] = ()


Read = Callable[[Place, Any], Awaitable[Reading[Any]]]


class SourceKind(msgspec.Struct, frozen=True):
    """A plugin's way to read a noun (`calendar`, `todo`, `mail`, …) from addresses with a scheme of its own.

    `read` runs in the gateway's process: it must not block, and parses what it gets with care.
    """

    noun: str
    scheme: str
    read: Read


def source(noun: str, scheme: str) -> Callable[[Read], SourceKind]:
    """Make a kind of source of a coroutine function that takes the place and the query."""
    return lambda read: SourceKind(noun, scheme, read)


class CalendarQuery(msgspec.Struct, frozen=True):
    """The span [start, end)."""

    start: Instant
    end: Instant


class TodoQuery(msgspec.Struct, frozen=True):
    """Open to-dos; the finished ones too where asked."""

    done: bool = False


class MailQuery(msgspec.Struct, frozen=True):
    """The newest `limit` messages since `since`; `text` must stand in sender, subject or body.

    `skip` is how many have been looked at before: a mailbox is read by the handful.
    """

    since: Instant | None = None
    unread: bool = False
    text: str = ""
    folder: str = ""
    limit: int = 100
    skip: int = 0


class FeedQuery(msgspec.Struct, frozen=True):
    """The newest `limit` entries since `since`; entries without a date count as new."""

    since: Instant | None = None
    limit: int = 20


class PickQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What to pick out of a page: by one of `jsonpath`, `css`, `xpath`, `ldjson`; then `regex`; then as a `price`."""

    body: bytes
    charset: str = ""
    css: str = ""
    attribute: str = ""
    xpath: str = ""
    jsonpath: str = ""
    ldjson: str = ""
    regex: str = ""
    price: bool = False
    all: bool = False


class TextQuery(msgspec.Struct, frozen=True):
    """A page of HTML that has been fetched."""

    html: str


class MessageQuery(msgspec.Struct, frozen=True):
    """A message that has been fetched already."""

    body: bytes


class EntriesQuery(msgspec.Struct, frozen=True):
    """A feed that has been fetched already; `media_type` is the Content-Type it came with."""

    body: bytes
    media_type: str = ""


class WeatherQuery(msgspec.Struct, frozen=True):
    """The forecast for one day."""

    day: date


class ContactQuery(msgspec.Struct, frozen=True):
    """All contacts."""


class DocumentQuery(msgspec.Struct, frozen=True):
    """A document's text, at most `limit` characters of it."""

    limit: int = 2_000_000


class NewEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event to be written. `uid` is the same for every attempt, so that writing it twice makes one."""

    uid: str
    title: str
    start: Instant
    end: Instant
    all_day: bool = False
    location: str = ""
    description: str = ""


class NewTodo(msgspec.Struct, frozen=True, kw_only=True):
    """A to-do to be written. `uid` is the same for every attempt; `created` a day in the owner's zone."""

    uid: str
    title: str
    due: date | None = None
    priority: str = ""
    created: date | None = None


class Uncertain(errors.Uncertain):
    """The connection broke after the message had gone out: it may or may not arrive. Never repeat it blindly."""


class NewMail(msgspec.Struct, frozen=True, kw_only=True):
    """A mail to be sent. `message_id` (without brackets) is the same for every attempt; `time` is its Date header."""

    message_id: str
    sender: str
    to: tuple[str, ...]
    subject: str
    body: str
    time: datetime | None = None
    in_reply_to: str = ""


def split(place: Place) -> SplitResult:
    """The parts of the place's address; a bare path counts as a file.

    Raises:
        ConfigError: it is no address.
    """
    url = place.url
    if "://" not in url:
        return SplitResult("file", "", url, "", "")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise ConfigError(
            f"{place.label}: {url!r} is no address: {error}",
            hint="write it like file:///path or https://host/path",
        ) from error
    return parts


def credentials(place: Place, parts: SplitResult) -> tuple[str, str]:
    """The user in the address and the password that belongs to the place; empty where there is none."""
    return unquote(parts.username or ""), place.password or unquote(parts.password or "")


def folder_of(place: Place, query: MailQuery) -> str:
    """The folder of a mailbox that is read."""
    parts = split(place)
    named = unquote(parts.path.strip("/")) if parts.scheme.startswith("imap") else ""
    return query.folder or named or "INBOX"


def bare(place: Place) -> Place:
    """The place as a parser may know it: without password, user and what else in its address may open a door."""
    return msgspec.structs.replace(place, password="", url=shown(place))


def shown(place: Place) -> str:
    """The place's address without user and password."""
    scheme, separator, rest = place.url.partition("://")
    if not separator:
        return place.url
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path.partition('?')[0]}"
