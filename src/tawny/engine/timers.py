"""The engine's one timer: held tasks become runnable, timed waits end, lost work is called lost."""

from collections.abc import Callable

from tawny.clock import MINUTE, Clock, Instant, wait_for
from tawny.errors import StorageError
from tawny.ledger import queue, recovery
from tawny.ledger.database import Ledger, Tx
from tawny.log import Log

LOST_GRACE = 5 * MINUTE
_log = Log("engine.timers")


class Timers:
    """Sleeps until the next due time of anything in the ledger, and no further: nothing is polled."""

    def __init__(
        self, ledger: Ledger, clock: Clock, *, known: Callable[[], set[str]], lost_grace: int = LOST_GRACE
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._known = known
        self._lost_grace = lost_grace
        self.lost_watch: Instant | None = None

    async def run(self) -> None:
        """Run until cancelled."""
        changed = self._ledger.bell.subscribe("timers")
        while True:
            due = await self._pass()
            await wait_for(changed, self._clock, due)

    async def _pass(self) -> Instant | None:
        """Do what is due; the next due time."""
        try:
            due = await self._ledger.read(queue.next_due)
            if due is not None and due <= self._clock.now():
                await self._ledger.write(queue.release_due)
                due = await self._ledger.read(queue.next_due)
            if self.lost_watch is not None and self.lost_watch <= self._clock.now():
                await self._ledger.write(self._expire)
                self.lost_watch = None
        except StorageError as error:
            _log.warning("timers wait for the disk", error=error.message)
            return self._clock.now() + MINUTE // 60
        dues = [instant for instant in (due, self.lost_watch) if instant is not None]
        return min(dues) if dues else None

    def _expire(self, tx: Tx) -> None:
        recovery.expire_lost(tx, before=tx.now, known=self._known())

    def watch_lost(self) -> None:
        """Some work has no backing here: look again when the grace has passed."""
        self.lost_watch = self._clock.now() + self._lost_grace
