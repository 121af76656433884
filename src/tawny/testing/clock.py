"""A clock that stands still until it is moved."""

import asyncio
import heapq
import itertools
from collections.abc import Callable
from datetime import datetime

from tawny.clock import Cancel, Instant, from_datetime, parse_duration


class FakeClock:
    """Time under the test's hand: starts at `start` (ISO 8601 with zone) and moves by `advance` alone."""

    def __init__(self, start: str = "2026-03-02T08:00:00Z") -> None:
        self._now = from_datetime(datetime.fromisoformat(start))
        self._sleepers: list[tuple[Instant, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def now(self) -> Instant:
        return self._now

    def call_at(self, due: Instant, callback: Callable[[], None]) -> Cancel:
        if due <= self._now:
            return asyncio.get_running_loop().call_soon(callback).cancel
        entry = (due, next(self._order), callback)
        heapq.heappush(self._sleepers, entry)

        def cancel() -> None:
            if entry in self._sleepers:
                self._sleepers.remove(entry)
                heapq.heapify(self._sleepers)

        return cancel

    async def sleep_until(self, due: Instant) -> None:
        reached = asyncio.Event()
        cancel = self.call_at(due, reached.set)
        try:
            await reached.wait()
        finally:
            cancel()

    def next_due(self) -> Instant | None:
        """When the earliest sleeper wants to wake, `None` where nobody sleeps."""
        return self._sleepers[0][0] if self._sleepers else None

    def set(self, now: Instant) -> None:
        """Jump to `now`, waking whoever is due; backwards is allowed (a changed wall clock)."""
        self._now = now
        while self._sleepers and self._sleepers[0][0] <= now:
            heapq.heappop(self._sleepers)[2]()

    async def advance(self, duration: str | float) -> None:
        """Move on by `90s`, `2h` or seconds, stopping at every sleeper's time so that each sees its own."""
        target = self._now + parse_duration(duration)
        while (due := self.next_due()) is not None and due <= target:
            self.set(max(due, self._now))
            await self.settle()
        self.set(target)
        await self.settle()

    async def settle(self, rounds: int = 50) -> None:
        """Let everything that is ready run, the ledger's threads included."""
        for _ in range(rounds):
            await asyncio.sleep(0)
        await asyncio.sleep(1 / 1000)
        for _ in range(rounds):
            await asyncio.sleep(0)
