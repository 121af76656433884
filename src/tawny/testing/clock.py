"""A clock that stands still until it is moved."""

import asyncio
import heapq
import itertools
from collections.abc import Callable
from datetime import datetime

from tawny.clock import DAY, Cancel, Instant, from_datetime, iso, parse_duration

_Sleeper = tuple[int, int, Callable[[], None]]


class FakeClock:
    """Time under the test's hand: starts at `start` (ISO 8601 with zone) and moves by `advance` alone.

    `advance` is time that passes, on the wall and on the steady clock; `set` is somebody who sets the wall clock.
    """

    def __init__(self, start: str = "2026-03-02T08:00:00Z") -> None:
        self._now = from_datetime(datetime.fromisoformat(start))
        self._steady = 5 * DAY  # the machine has been up for a while
        self._sleepers: list[_Sleeper] = []
        self._steady_sleepers: list[_Sleeper] = []
        self._order = itertools.count()

    def now(self) -> Instant:
        return self._now

    def steady(self) -> int:
        return self._steady

    def call_at(self, due: Instant, callback: Callable[[], None]) -> Cancel:
        return self._call(self._sleepers, due - self._now, due, callback)

    def call_steady(self, due: int, callback: Callable[[], None]) -> Cancel:
        return self._call(self._steady_sleepers, due - self._steady, due, callback)

    def _call(self, sleepers: list[_Sleeper], left: int, due: int, callback: Callable[[], None]) -> Cancel:
        if left <= 0:
            return asyncio.get_running_loop().call_soon(callback).cancel
        entry = (due, next(self._order), callback)
        heapq.heappush(sleepers, entry)

        def cancel() -> None:
            if entry in sleepers:
                sleepers.remove(entry)
                heapq.heapify(sleepers)

        return cancel

    async def sleep_until(self, due: Instant) -> None:
        reached = asyncio.Event()
        cancel = self.call_at(due, reached.set)
        try:
            await reached.wait()
        finally:
            cancel()

    def next_due(self) -> Instant | None:
        """When, by the wall clock, the earliest sleeper wakes if nobody sets it; `None` where nobody sleeps."""
        dues: list[Instant] = []
        if self._sleepers:
            dues.append(self._sleepers[0][0])
        if self._steady_sleepers:
            dues.append(self._now + self._steady_sleepers[0][0] - self._steady)
        return min(dues, default=None)

    def set(self, now: Instant) -> None:
        """Set the wall clock to `now`, waking whoever is due by it; backwards is allowed. No time passes."""
        self._now = now
        self._wake()

    def pass_to(self, now: Instant) -> None:
        """Let time pass until `now` at once, waking whoever is due by then.

        Raises:
            ValueError: that is in the past.
        """
        if now < self._now:
            raise ValueError(
                f"time does not pass backwards, from {iso(self._now)} to {iso(now)}; set the clock"
            )
        self._steady += now - self._now
        self._now = now
        self._wake()

    def _wake(self) -> None:
        while (due := self.next_due()) is not None and due <= self._now:
            is_wall = bool(self._sleepers) and self._sleepers[0][0] == due
            heapq.heappop(self._sleepers if is_wall else self._steady_sleepers)[2]()

    async def advance(self, duration: str | float) -> None:
        """Move on by `90s`, `2h` or seconds, stopping at every sleeper's time so that each sees its own."""
        target = self._now + parse_duration(duration)
        while (due := self.next_due()) is not None and due <= target:
            self.pass_to(max(due, self._now))
            await self.settle()
        self.pass_to(max(target, self._now))
        await self.settle()

    async def settle(self, rounds: int = 50) -> None:
        """Let everything that is ready run, the ledger's threads included."""
        for _ in range(rounds):
            await asyncio.sleep(0)
        await asyncio.sleep(1 / 1000)
        for _ in range(rounds):
            await asyncio.sleep(0)
