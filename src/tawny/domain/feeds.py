"""Entries of feeds."""

import msgspec

from tawny.clock import Instant


class FeedEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One entry of an RSS or Atom feed. `id` is the feed's own, else the link; `feed` is the feed's title."""

    id: str
    title: str
    link: str = ""
    time: Instant | None = None
    summary: str = ""
    feed: str = ""
