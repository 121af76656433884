"""How those who follow the ledger outlive a database that is away: they say so, wait a moment, and look again.

None of them has to tell an outage from damage: `Ledger.until_damaged` ends the house, whoever has met it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tawny.clock import SECOND, Clock, Instant, sleep, wait_for, wait_steady
from tawny.errors import StorageError
from tawny.log import Log

T = TypeVar("T")
_log = Log("ledger.outages")
_PAUSE = 1.0


async def rounds(
    clock: Clock, bell: asyncio.Event, look: Callable[[], Awaitable[Instant | None]], *, name: str
) -> None:
    """Look whenever `bell` rings and when the time has come that the last look named, until cancelled."""
    while True:
        try:
            due = await look()
        except StorageError as error:
            _log.warning("waits for the database", part=name, error=error.message)
            await wait_steady(bell, clock, clock.steady() + int(_PAUSE * SECOND))
        else:
            await wait_for(bell, clock, due)


async def outlast(clock: Clock, work: Callable[[], Awaitable[T]], *, name: str, pause: float = _PAUSE) -> T:
    """Do something, and again until the database lets it through."""
    told = False
    while True:
        try:
            return await work()
        except StorageError as error:
            if not told:
                _log.warning("waits for the database", part=name, error=error.message)
                told = True
            await sleep(clock, pause)


async def enduring(run: Callable[[], Awaitable[None]], *, name: str) -> None:
    """Run a part of the house until cancelled; where a database was away for too long for it, run it again."""
    while True:
        try:
            await run()
        except StorageError as error:
            reason = error
        except BaseExceptionGroup as group:
            if group.split(StorageError)[1] is not None:
                raise
            reason = group
        else:
            return
        _log.error("begins again when the database is back", part=name, error=str(reason))
        await asyncio.sleep(_PAUSE)
