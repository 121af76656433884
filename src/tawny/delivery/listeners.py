"""Listens on every channel, over crashes of each, until cancelled."""

import asyncio
from collections.abc import Awaitable, Callable

from tawny.clock import Clock, sleep
from tawny.delivery.channel import Accept, Channel, ChannelDown
from tawny.delivery.door import Door
from tawny.delivery.opening import may_speak
from tawny.delivery.roster import Roster
from tawny.ledger import channels
from tawny.ledger.database import Ledger
from tawny.log import Log

_log = Log("delivery")
_PAUSES = (1, 2, 5, 10, 30, 60)

Shut = Callable[[Channel, ChannelDown], Awaitable[None]]


class Listeners:
    """One listener a channel, each with its door. `shut` takes a channel out of service."""

    def __init__(self, ledger: Ledger, clock: Clock, roster: Roster, accept: Accept, *, shut: Shut) -> None:
        self._ledger = ledger
        self._clock = clock
        self._roster = roster
        self._accept = accept
        self._shut = shut

    async def run(self) -> None:
        """Listen until cancelled, then close every channel."""
        try:
            async with asyncio.TaskGroup() as group:
                for channel in self._roster.channels.values():
                    group.create_task(self._listen(channel))
        finally:
            for channel in self._roster.channels.values():
                try:
                    await channel.close()
                except Exception as error:  # noqa: BLE001 - a stranger's code; the others still want closing
                    _log.warning("channel did not close", channel=channel.name, error=str(error))

    async def _listen(self, channel: Channel) -> None:
        door = Door(self._ledger, channel, may_speak(self._roster.settings.get(channel.name)), self._accept)
        failures = 0
        while channel.name not in self._roster.disabled:
            began = self._clock.steady()
            try:
                await channel.listen(door)
            except ChannelDown as error:
                await self._shut(channel, error)
                return
            except Exception as error:  # noqa: BLE001 - a channel is a stranger's code; it is started again
                why = f"{type(error).__name__}: {error}"
                _log.warning("channel stopped listening", channel=channel.name, error=why)
                await self._note(channel.name, why)
            else:
                return
            failures = 0 if self._clock.steady() - began > 300_000_000 else failures
            await sleep(self._clock, _PAUSES[min(failures, len(_PAUSES) - 1)])
            failures += 1

    async def _note(self, name: str, why: str) -> None:
        await self._ledger.write(lambda tx: channels.troubled(tx, name, why))
