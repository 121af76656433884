"""Whether this process has proved stable: in a restart storm only what is interactive starts before it has."""

import asyncio

from tawny.clock import SECOND, Clock, iso, sleep
from tawny.errors import StorageError
from tawny.ledger import starts
from tawny.ledger.database import Ledger
from tawny.ledger.outages import outlast
from tawny.log import Log

_log = Log("engine.stability")


class Stability:
    """Notes this start, and its end in order. `is_held` while a storm holds back what is not interactive."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self.is_held = False

    async def begin(self) -> None:
        """Note the start, before anything is taken up again."""
        try:
            storm = await self._ledger.write(starts.begin)
        except StorageError as error:
            _log.warning("this start could not be noted", error=error.message)
            return
        if storm is not None:
            self.is_held = True
            _log.warning("restart storm: only what is interactive starts", until=iso(storm.until))

    async def run(self) -> None:
        """Let work go on once the process has lived for long enough. An end in order does not count as a crash."""
        try:
            if self.is_held:
                await sleep(self._clock, starts.STABLE / SECOND)
                self.is_held = False
                await outlast(
                    self._clock, lambda: self._ledger.write(starts.settled), name="the end of a storm"
                )
            await asyncio.Event().wait()
        finally:
            self._ledger.note(starts.end)
