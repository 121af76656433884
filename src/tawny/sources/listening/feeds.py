"""Feeds as a source of events: each entry once, asked politely (ETag, Last-Modified)."""

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, cast

from tawny.clock import parse_duration
from tawny.domain.automations import On
from tawny.domain.feeds import FeedEntry
from tawny.domain.tasks import Json
from tawny.errors import PermanentError, TemporaryError
from tawny.sources.listening.host import Desk, Event, Listener
from tawny.sources.shelf import Shelf

_KEPT = 500
"""So many seen entries are remembered: more than a feed shows at once."""


class Answer(Protocol):
    """What a fetch brings."""

    status: int
    headers: dict[str, str]
    body: bytes


Fetch = Callable[[str, Mapping[str, str]], Awaitable[Any]]
"""GETs a URL with headers, within the network list; brings an `Answer`."""


def feeds(shelf: Shelf, fetch: Fetch) -> Listener:
    """Reads a feed every `on.every`; what stands in it at the first look is no news."""

    async def listen(on: On, desk: Desk) -> None:
        while True:
            await _look(on, desk, shelf, fetch)
            await desk.clock.sleep_until(desk.clock.now() + parse_duration(on.every))

    return listen


async def _look(on: On, desk: Desk, shelf: Shelf, fetch: Fetch) -> None:
    cursor = desk.cursor
    headers = {
        name: str(cursor[key])
        for name, key in (("if-none-match", "etag"), ("if-modified-since", "modified"))
        if cursor.get(key)
    }
    answer = await fetch(on.url, headers)
    if answer.status == 304:
        await desk.take([])
        return
    if answer.status >= 400:
        failure = PermanentError if answer.status in (404, 410) else TemporaryError
        raise failure(f"{on.url} answered {answer.status}")
    reading = await shelf.entries(on.url, answer.body, media_type=answer.headers.get("content-type", ""))
    seen = cursor.get("seen")
    known = [str(entry) for entry in cast("list[Json]", seen)] if isinstance(seen, list) else []
    fresh = [(identity(entry), entry) for entry in reading.items if identity(entry) not in known]
    events = [] if seen is None else [_event(on, one, entry) for one, entry in reversed(fresh)]
    kept: dict[str, Json] = {
        "seen": ([one for one, _ in fresh] + known)[:_KEPT],
        "etag": answer.headers.get("etag", ""),
        "modified": answer.headers.get("last-modified", ""),
    }
    await desk.take(events, kept)


def identity(entry: FeedEntry) -> str:
    """What tells an entry from others, short."""
    own = entry.id or entry.link
    # RSS lets an entry be nothing but its description
    return hashlib.sha256((own or entry.summary or entry.title).encode()).hexdigest()[:16]


def _event(on: On, one: str, entry: FeedEntry) -> Event:
    data: dict[str, Json] = {
        "url": on.url,
        "title": entry.title,
        "link": entry.link,
        "summary": entry.summary,
        "feed": entry.feed,
    }
    return Event(event_id=f"{on.url}:{one}", data=data)
