"""The engine's one timer: held tasks become runnable, timed waits end, lost work is called lost."""

from tawny.clock import Clock, Instant
from tawny.ledger import queue, recovery
from tawny.ledger.database import Ledger
from tawny.ledger.outages import rounds


class Timers:
    """Sleeps until the next due time of anything in the ledger, and no further: nothing is polled."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock

    async def run(self) -> None:
        """Run until cancelled."""
        changed = self._ledger.bell.subscribe("timers")
        await rounds(self._clock, changed, self._pass, name="timers")

    async def _pass(self) -> Instant | None:
        """Do what is due; the next due time."""
        due = await self._ledger.read(queue.next_due)
        if due is not None and due <= self._clock.now():
            await self._ledger.write(queue.release_due)
            due = await self._ledger.read(queue.next_due)
        lost = await self._ledger.read(recovery.next_lost)
        if lost is not None and lost <= self._clock.now():
            await self._ledger.write(recovery.expire_lost)
            lost = await self._ledger.read(recovery.next_lost)
        dues = [instant for instant in (due, lost) if instant is not None]
        return min(dues) if dues else None
