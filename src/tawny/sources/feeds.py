"""Feeds: RSS and Atom. Runs in the child that parses."""

import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urljoin

import fastfeedparser  # pyright: ignore[reportMissingTypeStubs]
import feedparser  # pyright: ignore[reportMissingTypeStubs]

from tawny.clock import Instant, from_datetime
from tawny.domain.feeds import FeedEntry
from tawny.errors import PermanentError
from tawny.sources.markup import text_of
from tawny.sources.place import Content, EntriesQuery, FeedQuery, Place, Reading

_SUMMARY = 1_000
_CHARSET = re.compile(r"""charset\s*=\s*["']?([\w.:-]+)""", re.IGNORECASE)
_ENCODING = re.compile(r"""\s*(?:\xef\xbb\xbf)?<\?xml[^>]*?encoding\s*=\s*["']([\w.:-]+)""")
# What only the tolerant parser reads as it is meant: HTML's names and bare ampersands (the fast one drops the rest of
# the text), Windows' letters in the place of control characters, markup or base64 as text, base addresses, `&#X41;`.
_LOOSE = re.compile(
    rb"&(?!(?:amp|lt|gt|quot|apos);|#)|&#X|&#(?:1[2-5]\d|x[89]\w);|\xc2[\x80-\x9f]"
    rb"|xml:base|xhtml|base64|\smode\s*=|<title>\s*<(?!!)"
)
_BARE = re.compile(rb"<!\[CDATA\[.*?\]\]>|&(?!\w+;|#\d+;|#[xX][0-9a-fA-F]+;)", re.DOTALL)
_PLAIN_CHARSETS = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})


def read(place: Place, query: FeedQuery, content: Content) -> Reading[FeedEntry]:
    """The newest entries, newest first.

    Raises:
        PermanentError: it is no feed.
    """
    title, entries, problems = parse(content, place)
    fresh = [
        entry for entry in entries if query.since is None or entry.time is None or entry.time >= query.since
    ]
    # Sorting keeps the feed's own order where times are missing or equal.
    fresh.sort(key=lambda entry: -(entry.time or 0))
    return Reading(title or place.name, tuple(fresh[: query.limit]), tuple(problems))


def entries(place: Place, query: EntriesQuery) -> Reading[FeedEntry]:
    """The entries of a feed that has been fetched, in its own order."""
    title, found, problems = parse(Content(query.body, query.media_type, place.url), place)
    return Reading(title or place.name, tuple(found), tuple(problems))


def parse(content: Content, place: Place) -> tuple[str, list[FeedEntry], list[str]]:
    """A feed's title, its entries, and what was wrong with it.

    Raises:
        PermanentError: it is no feed.
    """
    quick = _quickly(content)
    if quick is not None and quick.entries:
        return _title(quick, place), _entries(quick, place, content.url), []
    slow: Any = feedparser
    # Only the charset counts of what the server says: many serve a sound feed as text/html or text/plain.
    said = _CHARSET.search(content.media_type)
    kind = f"application/xml; charset={said[1]}" if said else "application/xml"
    found = slow.parse(
        _escaped(content.data), response_headers={"content-type": kind, "content-location": content.url}
    )
    overruled = isinstance(found.get("bozo_exception"), slow.CharacterEncodingOverride)
    is_broken = bool(found.bozo) and not overruled
    if not found.entries and quick is not None:
        return _title(quick, place), [], []
    if not found.entries and not found.get("version"):
        raise PermanentError(
            f"{place.label}: this is no RSS or Atom feed",
            hint="give the address of the feed itself, not of its page",
        )
    problem = f"{place.label}: the feed is malformed{_where(found, content)} and was read as far as it goes"
    return _title(found, place), _entries(found, place, content.url), [problem] if is_broken else []


def _where(found: Any, content: Content) -> str:
    """The line that the tolerant parser stumbled over, where it knows one; it adds a declaration to what has none."""
    line = getattr(found.get("bozo_exception"), "getLineNumber", lambda: None)()
    if line is None:
        return ""
    return f" in line {line if content.data.lstrip().startswith(b'<?xml') else max(1, line - 1)}"


def _quickly(content: Content) -> Any:
    """What the fast parser makes of it, `None` where it is not to be asked or does not understand."""
    fast: Any = fastfeedparser
    if not _is_plain(content):
        return None
    try:
        return fast.parse(content.data)
    except Exception:  # noqa: BLE001 - a stranger's parser on a stranger's bytes; the tolerant one is asked next
        return None


def _is_plain(content: Content) -> bool:
    """Whether the fast parser reads it right: it knows UTF-8 and strict XML alone."""
    said = _CHARSET.search(content.media_type) or _ENCODING.match(content.data[:200].decode("latin-1"))
    if said and said[1].lower() not in _PLAIN_CHARSETS:
        return False
    is_json = content.data[:100].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{")
    if not is_json and _LOOSE.search(content.data):
        return False
    try:
        content.data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _escaped(data: bytes) -> bytes:
    """With `&` written out where it stands for itself: the tolerant parser reads `R&D for all` as `R&D; for all`."""
    if b"\0" in data:
        return data  # in two bytes a letter; not ours to patch
    return _BARE.sub(lambda match: b"&amp;" if match[0] == b"&" else match[0], data)


def _title(found: Any, place: Place) -> str:
    return _words(found.feed.get("title")) or place.name


def _entries(found: Any, place: Place, base: str) -> list[FeedEntry]:
    title = _title(found, place)
    return [_entry(entry, title, base) for entry in found.entries[:500]]


def _entry(entry: Any, feed: str, base: str) -> FeedEntry:
    link, name = str(entry.get("link") or ""), str(entry.get("id") or "")
    if not link and name.startswith(("http://", "https://")):
        link = name
    return FeedEntry(
        id=name or link or str(entry.get("title") or ""),
        title=_words(entry.get("title")) or "(no title)",
        link=_absolute(link, base),
        time=_time(entry),
        summary=_words(entry.get("summary") or entry.get("description") or _content(entry))[:_SUMMARY],
        feed=feed,
    )


def _content(entry: Any) -> object:
    """The whole text, where a feed has no summaries."""
    return next((part.get("value") for part in entry.get("content") or ()), "")


def _absolute(link: str, base: str) -> str:
    """The link as it is followed from the feed's own address; nothing comes of one that is no address."""
    try:
        return urljoin(base, link) if link else ""
    except ValueError:
        return ""


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
