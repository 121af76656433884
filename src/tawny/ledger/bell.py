"""Who waits for what, and the ringing that wakes them."""

import asyncio
from collections.abc import Iterable

EVERYTHING = "*"
"""Rings every topic: nobody knows what was missed."""


class Bell:
    """Wakes whoever waits for a topic. One asyncio loop; `ring` is called on it."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = {}

    def subscribe(self, *topics: str) -> asyncio.Event:
        """An event that is set whenever one of the topics rings; clear it before looking."""
        event = asyncio.Event()
        for topic in topics:
            self._waiting.setdefault(topic, set()).add(event)
        return event

    def heed(self, event: asyncio.Event, topic: str, *, wanted: bool) -> None:
        """Let a further topic set the event from now on, or no more; what rang before is not known, so it is set."""
        waiting = self._waiting.setdefault(topic, set())
        if not wanted:
            waiting.discard(event)
        elif event not in waiting:
            waiting.add(event)
            event.set()

    def unsubscribe(self, event: asyncio.Event) -> None:
        for waiting in self._waiting.values():
            waiting.discard(event)

    def ring(self, topics: Iterable[str]) -> None:
        for topic in topics:
            for known in list(self._waiting) if topic == EVERYTHING else [topic]:
                for event in self._waiting.get(known, ()):
                    event.set()
