"""Feeds: RSS and Atom from a file or over http(s). Runs in the child process."""

from datetime import UTC, datetime
from typing import Any

import fastfeedparser  # pyright: ignore[reportMissingTypeStubs]
import feedparser  # pyright: ignore[reportMissingTypeStubs]

from tawny.clock import Instant, from_datetime
from tawny.domain.feeds import FeedEntry
from tawny.errors import PermanentError
from tawny.sources.fetch import fetch
from tawny.sources.markup import text_of
from tawny.sources.place import EntriesQuery, FeedQuery, Place, Reading

_SUMMARY = 1_000


def read(place: Place, query: FeedQuery) -> Reading[FeedEntry]:
    """The newest entries, newest first.

    Raises:
        TawnyError: the feed does not answer, or is no feed.
    """
    title, entries, problems = parse(fetch(place), place)
    fresh = [
        entry for entry in entries if query.since is None or entry.time is None or entry.time >= query.since
    ]
    # Sorting keeps the feed's own order where times are missing or equal.
    fresh.sort(key=lambda entry: -(entry.time or 0))
    return Reading(title or place.name, tuple(fresh[: query.limit]), tuple(problems))


def entries(place: Place, query: EntriesQuery) -> Reading[FeedEntry]:
    """The entries of a feed that has been fetched, in its own order."""
    title, found, problems = parse(query.body, place)
    return Reading(title or place.name, tuple(found), tuple(problems))


def parse(data: bytes, place: Place) -> tuple[str, list[FeedEntry], list[str]]:
    """A feed's title, its entries, and what was wrong with it.

    Raises:
        PermanentError: it is no feed.
    """
    fast: Any = fastfeedparser
    slow: Any = feedparser
    try:
        found = fast.parse(data)
        return _title(found, place), _entries(found, place), []
    except Exception:  # noqa: BLE001 - a stranger's parser on a stranger's bytes; the tolerant one is asked next
        found = slow.parse(data)
    if not found.entries and (found.bozo or not found.get("version")):
        raise PermanentError(
            f"{place.label}: this is no RSS or Atom feed",
            hint="give the address of the feed itself, not of its page",
        )
    problems = [f"{place.label}: the feed is malformed and was read as far as it goes"] if found.bozo else []
    return _title(found, place), _entries(found, place), problems


def _title(found: Any, place: Place) -> str:
    return _words(found.feed.get("title")) or place.name


def _entries(found: Any, place: Place) -> list[FeedEntry]:
    title = _title(found, place)
    return [_entry(entry, title) for entry in found.entries[:500]]


def _entry(entry: Any, feed: str) -> FeedEntry:
    link = str(entry.get("link") or "")
    return FeedEntry(
        id=str(entry.get("id") or link or entry.get("title") or ""),
        title=_words(entry.get("title")) or "(no title)",
        link=link,
        time=_time(entry),
        summary=_words(entry.get("summary") or entry.get("description"))[:_SUMMARY],
        feed=feed,
    )


def _words(value: object) -> str:
    return " ".join(text_of(str(value or "")).split())


def _time(entry: Any) -> Instant | None:
    for name in ("published", "updated"):
        parsed = entry.get(f"{name}_parsed")
        try:
            if parsed:
                return from_datetime(datetime(*parsed[:6], tzinfo=UTC))
            value = str(entry.get(name) or "")
            if value:
                moment = datetime.fromisoformat(value)
                return from_datetime(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
        except (ValueError, TypeError, OverflowError):
            continue
    return None
