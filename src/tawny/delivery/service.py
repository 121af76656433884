"""The delivery as the rest of the house sees it: one object that runs, and takes in what comes in."""

import asyncio
from datetime import tzinfo
from pathlib import Path

from tawny.clock import Clock, parse_duration
from tawny.delivery.channel import Accept
from tawny.delivery.dispatcher import Dispatcher, Manners
from tawny.delivery.listeners import Listeners
from tawny.delivery.live import Live
from tawny.delivery.roster import Roster
from tawny.domain import notify
from tawny.ledger import channels
from tawny.ledger.database import Ledger, Tx
from tawny.ledger.outages import enduring


def manners(*, quiet_hours: str, digest: str, breaks: str, zone: tzinfo) -> Manners:
    """The owner's wishes from the configuration, which has checked them."""
    return Manners(
        quiet=notify.parse_quiet_hours(quiet_hours),
        digest=parse_duration(digest) if digest else 0,
        breaks=breaks,
        zone=zone,
    )


class Delivery:
    """Sends, listens, keeps progress messages current."""

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        roster: Roster,
        manners: Manners,
        *,
        accept: Accept,
        artifacts_root: Path,
    ) -> None:
        self._ledger = ledger
        self.roster = roster
        self.dispatcher = Dispatcher(ledger, clock, roster, manners, artifacts_root=artifacts_root)
        self._listeners = Listeners(ledger, clock, roster, accept, shut=self.dispatcher.shut)
        self._live = Live(ledger, clock, roster)

    async def run(self) -> None:
        """Run until cancelled."""
        await self._ledger.write(self._note_channels)
        async with asyncio.TaskGroup() as group:
            for part in (self.dispatcher, self._listeners, self._live):
                group.create_task(enduring(part.run, name=type(part).__name__))

    def _note_channels(self, tx: Tx) -> None:
        known = {state.name for state in channels.states(tx)}
        for name, channel in self.roster.channels.items():
            if name in self.roster.settings:
                channels.opened(tx, name, channel.kind)
        for name, kind in self.roster.unopened.items():
            channels.opened(tx, name, kind, disabled=self.roster.disabled[name])
        for name in known - {*self.roster.channels, *self.roster.unopened}:
            channels.removed(tx, name)
