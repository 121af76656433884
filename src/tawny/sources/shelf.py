"""The door to everything that is read: one method per noun; identical reads in flight are one read."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import msgspec

from tawny import config
from tawny.clock import DAY, Instant
from tawny.domain.calendar import CalendarEvent, within
from tawny.domain.contacts import Contact
from tawny.domain.feeds import FeedEntry
from tawny.domain.mail import Mail
from tawny.domain.todos import Todo
from tawny.domain.weather import Weather
from tawny.errors import NotFound, PermanentError, TawnyError
from tawny.sources.place import (
    CalendarQuery,
    ContactQuery,
    DocumentQuery,
    EntriesQuery,
    FeedQuery,
    Handful,
    MailQuery,
    MessageQuery,
    NewEvent,
    NewMail,
    NewTodo,
    PickQuery,
    Place,
    Reading,
    SourceKind,
    TextQuery,
    TodoQuery,
    WeatherQuery,
    split,
)
from tawny.sources.workers import Workers

T = TypeVar("T")
NOUNS = ("calendar", "todo", "mail", "feed", "weather", "contacts")

_GATHER = 0.15
"""Seconds a calendar read waits for others, so that today, tomorrow and this week become one request."""
_NAPS = 5
"""How often it waits again when others came meanwhile."""
_WIDEST = 62 * DAY


class Shelf:
    """The configured sources by noun and name.

    Args:
        settings: the `[[sources.*]]` tables.
        zone: the name of the owner's time zone.
        root: what relative paths start from (the home).
        secret: turns a reference such as `env:NAME` into the secret.
        kinds: further schemes, from plugins.
    """

    def __init__(
        self,
        settings: config.Sources,
        *,
        zone: str = "UTC",
        root: Path | None = None,
        secret: Callable[[str], str] = str,
        workers: Workers | None = None,
        kinds: Iterable[SourceKind] = (),
    ) -> None:
        self._zone = zone
        self._root = str(root or "")
        self._secret = secret
        self._workers = workers or Workers()
        self._kinds = {(kind.noun, kind.scheme): kind for kind in kinds}
        self._settings: dict[str, Mapping[str, config.Source]] = {
            noun: _named(noun, getattr(settings, noun)) for noun in NOUNS
        }
        self._flights: dict[tuple[str, str, bytes], asyncio.Future[Any]] = {}
        self._spans: dict[str, _Span] = {}
        self._writing = asyncio.Lock()

    @property
    def zone(self) -> ZoneInfo:
        """The owner's time zone."""
        return ZoneInfo(self._zone)

    def names(self, noun: str) -> tuple[str, ...]:
        """The names of the sources of a noun, in the order of the configuration."""
        return tuple(self._settings[noun])

    async def calendar(self, name: str, start: Instant, end: Instant) -> Reading[CalendarEvent]:
        """The events of a calendar that touch [start, end). Reads that come together become one wider read.

        Raises:
            TawnyError: the source does not answer, or cannot be read.
        """
        span = self._spans.get(name)
        if span is None or not span.take(start, end):
            span = _Span(start, end)
            self._spans[name] = span
            span.result = self._fly(
                ("calendar", name, b"span%d" % id(span)), lambda: self._read_span(name, span)
            )
        whole = await asyncio.shield(span.result)
        return msgspec.structs.replace(whole, items=within(whole.items, start, end))

    async def _read_span(self, name: str, span: "_Span") -> Reading[CalendarEvent]:
        try:
            for _ in range(_NAPS):
                seen = span.callers
                await asyncio.sleep(_GATHER)
                if span.callers == seen:
                    break
            span.open = False
            query = CalendarQuery(span.start, span.end)
            return await self._ask("calendar", name, query, Reading[CalendarEvent])
        finally:
            if self._spans.get(name) is span:
                del self._spans[name]

    async def todos(self, name: str, *, done: bool = False) -> Reading[Todo]:
        """The open to-dos of a list, the finished ones too where asked."""
        return await self._read("todo", name, TodoQuery(done), Reading[Todo])

    async def mail(self, name: str, query: MailQuery) -> Reading[Mail]:
        """The newest messages of an account that fit."""
        key = ("mail", name, msgspec.json.encode(query))
        return await asyncio.shield(self._fly(key, lambda: self._mail(name, query)))

    async def _mail(self, name: str, query: MailQuery) -> Reading[Mail]:
        """By the handful, until enough of them fit."""
        place = self.place("mail", name)
        if ("mail", split(place).scheme) in self._kinds:
            return await self._ask("mail", name, query, Reading[Mail])
        found: list[Mail] = []
        problems: list[str] = []
        while True:
            handful = msgspec.convert(await self._workers.read("mail", place, query), Handful)
            # Where one came in meanwhile, the last of the handful before is the first of this one.
            found += [mail for mail in handful.items if mail not in found] if query.skip else handful.items
            problems += handful.problems
            if handful.next is None or len(found) >= query.limit * 2:
                break
            query = msgspec.structs.replace(query, skip=handful.next)
        found.sort(key=lambda mail: mail.time or 0, reverse=True)
        return Reading(name, tuple(found[: query.limit]), tuple(dict.fromkeys(problems))[:20])

    async def feed(self, name: str, query: FeedQuery) -> Reading[FeedEntry]:
        """The newest entries of a feed."""
        return await self._read("feed", name, query, Reading[FeedEntry])

    async def weather(self, name: str, day: date) -> Reading[Weather]:
        """The forecast for a day: one item."""
        return await self._read("weather", name, WeatherQuery(day), Reading[Weather])

    async def contacts(self, name: str) -> Reading[Contact]:
        """All contacts of an address book."""
        return await self._read("contacts", name, ContactQuery(), Reading[Contact])

    async def document(self, path: Path, *, limit: int = 2_000_000) -> str:
        """The text of a document file.

        Raises:
            PermanentError: it cannot be read; says why and what would help.
        """
        place = Place(noun="document", name=path.name, url=str(path), zone=self._zone, root=self._root)
        text: str = await self._workers.read("document", place, DocumentQuery(limit))
        return text

    async def page_text(self, url: str, html: str) -> str:
        """The words of a page that has been fetched from `url`."""
        place = Place(noun="page", name=url, url=url)
        text: str = await self._workers.ask("page.text", place, TextQuery(html))
        return text

    async def pick(self, label: str, query: PickQuery) -> Any:
        """A value out of a page that has been fetched.

        Raises:
            PermanentError: nothing is there.
        """
        return await self._workers.ask("page.pick", Place(noun="page", name=label, url=label), query)

    async def entries(self, url: str, body: bytes, *, media_type: str = "") -> Reading[FeedEntry]:
        """The entries of a feed that has been fetched from `url`."""
        place = Place(noun="feed", name=url, url=url)
        answer = await self._workers.ask("feed.entries", place, EntriesQuery(body, media_type))
        return msgspec.convert(answer, Reading[FeedEntry])

    async def parse_mail(self, account: str, data: bytes) -> Mail:
        """A message that has been fetched."""
        place = Place(noun="mail", name=account, url="")
        return msgspec.convert(await self._workers.ask("mail.message", place, MessageQuery(data)), Mail)

    async def add_event(self, new: NewEvent, *, name: str = "") -> str:
        """Write an event into the named calendar, else the first; the same uid replaces. Returns the uid."""
        place = self.place("calendar", name or self._first("calendar"))
        async with self._writing:
            before = await self._workers.do("calendar.before", place, new)
            text = await self._workers.do("calendar.write", place, new, before)
            written = await self._workers.do("calendar.put", place, new, text, again=False)
        return msgspec.json.decode(written, type=str)

    async def add_todo(self, new: NewTodo, *, name: str = "") -> str:
        """Write a to-do into the named list, else the first; the same uid does not make a second. Returns the uid."""
        place = self.place("todo", name or self._first("todo"))
        uid: str = await self._workers.ask("todo.add", place, new, again=False)
        return uid

    async def send_mail(self, new: NewMail, *, name: str = "") -> str:
        """Send a mail from the named account, else the first that has `smtp`. Returns the Message-ID.

        Raises:
            TemporaryError: certainly not sent, trying again may help.
            PermanentError: certainly not sent, and never will be.
            Uncertain: nobody can know.
        """
        accounts = {key: source for key, source in self._settings["mail"].items() if source.smtp}
        chosen = accounts.get(name) if name else next(iter(accounts.values()), None)
        if chosen is None:
            raise NotFound(
                f"no mail account {name!r} can send" if name else "no mail account can send",
                hint='add smtp = "smtps://user@host" to [[sources.mail]]',
            )
        from tawny.sources import smtp  # noqa: PLC0415 - its library is only loaded where a mail is sent

        return await smtp.send(
            new, chosen.smtp, password=self._secret(chosen.password) if chosen.password else ""
        )

    async def close(self) -> None:
        """End the children."""
        await self._workers.close()

    async def _read(self, noun: str, name: str, query: msgspec.Struct, shape: type[T]) -> T:
        key = (noun, name, msgspec.json.encode(query))
        return await asyncio.shield(self._fly(key, lambda: self._ask(noun, name, query, shape)))

    async def _ask(self, noun: str, name: str, query: msgspec.Struct, shape: type[T]) -> T:
        """One read: by the plugin whose scheme the address has, else in a child process."""
        place = self.place(noun, name)
        kind = self._kinds.get((noun, split(place).scheme))
        if kind is None:
            return msgspec.convert(await self._workers.read(noun, place, query), shape)
        try:
            return msgspec.convert(msgspec.to_builtins(await kind.read(place, query)), shape)
        except TawnyError:
            raise
        except Exception as error:
            # A plugin is a stranger's code: what it raises costs its own source alone.
            raise PermanentError(
                f"{place.label} cannot be read: {type(error).__name__}: {error}", hint="see the plugin's page"
            ) from error

    def _fly(self, key: tuple[str, str, bytes], read: Callable[[], Awaitable[T]]) -> "asyncio.Future[T]":
        """The read under way for the key, else a new one. It outlives a caller who gives up: others may share it."""
        flight = self._flights.get(key)
        if flight is None:
            flight = asyncio.ensure_future(read())  # noqa: TID251 - owned by `_flights`, ended by the workers' limits
            self._flights[key] = flight
            flight.add_done_callback(lambda done: self._landed(key, done))
        return flight

    def _landed(self, key: tuple[str, str, bytes], done: "asyncio.Future[Any]") -> None:
        self._flights.pop(key, None)
        if not done.cancelled():
            done.exception()  # looked at, so that nobody having waited is no warning

    def place(self, noun: str, name: str) -> Place:
        """A configured source, its secret resolved.

        Raises:
            NotFound: none has that name.
        """
        source = self._settings[noun].get(name)
        if source is None:
            known = ", ".join(self._settings[noun]) or "none"
            raise NotFound(f"there is no {noun} {name!r}", hint=f"configured: {known}")
        return Place(
            noun=noun,
            name=name,
            url=source.url,
            password=self._secret(source.password) if source.password else "",
            zone=self._zone,
            root=self._root,
            latitude=source.latitude,
            longitude=source.longitude,
        )

    def _first(self, noun: str) -> str:
        name = next(iter(self._settings[noun]), None)
        if name is None:
            raise NotFound(f"no {noun} is configured", hint=f"add [[sources.{noun}]] to config.toml")
        return name


class _Span:
    """One read of a calendar under way, and the range it covers; it may grow until the request goes out."""

    def __init__(self, start: Instant, end: Instant) -> None:
        self.start = start
        self.end = end
        self.open = True
        self.callers = 1
        self.result: asyncio.Future[Reading[CalendarEvent]]

    def take(self, start: Instant, end: Instant) -> bool:
        """Whether this read answers [start, end) too, grown where it still may."""
        first, last = min(self.start, start), max(self.end, end)
        fits = (first, last) == (self.start, self.end)
        if not fits and (not self.open or last - first > _WIDEST):
            return False
        self.start, self.end = first, last
        self.callers += 1
        return True


def _named(noun: str, sources: Iterable[config.Source]) -> Mapping[str, config.Source]:
    """By name: the one given, else the noun, numbered from the second on."""
    named: dict[str, config.Source] = {}
    for source in sources:
        base = source.name or noun
        name, number = base, 2
        while name in named:
            name, number = f"{base}-{number}", number + 1
        named[name] = source
    return named
