"""Once a day: lets go of what is older than it has to be. Commits only where there is something.

What is old is told by the wall clock, and that may be wrong. A leap of more than a day between two rounds is believed
only when everything that was there has lain as long as it is kept: what ended yesterday is not a year old because
somebody set the clock.
"""

import shutil
from pathlib import Path

import msgspec

from tawny.clock import DAY, HOUR, SECOND, Clock, format_duration, sleep
from tawny.errors import StorageError
from tawny.ledger import retention
from tawny.ledger.database import Ledger
from tawny.log import Log

_log = Log("engine.housekeeping")


class Housekeeping:
    """The daily round."""

    def __init__(
        self, ledger: Ledger, clock: Clock, *, keep: retention.Keep, artifacts_root: Path, leads: bool = True
    ) -> None:
        """One process `leads` and lets go of records; the others only of the files on their machines."""
        self._ledger = ledger
        self._clock = clock
        self._keep = keep
        self._root = artifacts_root
        self._leads = leads
        self._wall, self._steady = clock.now(), clock.steady()
        self._leaps: list[tuple[int, int]] = []  # when by the steady clock, and how far the wall clock leapt

    async def run(self) -> None:
        """Run until cancelled: the first round an hour after the start, then one a day."""
        wait = HOUR
        while True:
            await sleep(self._clock, wait / SECOND)
            try:
                await self.round()
            except StorageError as error:
                _log.warning("housekeeping waits for tomorrow", error=error.message)
            wait = DAY

    async def round(self) -> int:
        """Let go of everything that is due; how many tasks went."""
        gone = 0
        if not self._leads:
            await self._sweep_files()
            return gone
        keep = self._longer()
        while await self._ledger.read(lambda tx: retention.due(tx, keep)):
            counts = await self._ledger.write(lambda tx: retention.prune(tx, keep))
            if not counts["tasks"]:
                break
            gone += counts["tasks"]
        if gone:
            await self._sweep_files()
            _log.info("old tasks let go", tasks=gone)
        return gone

    def _longer(self) -> retention.Keep:
        """How long things are kept by this round: longer by what the wall clock has leapt ahead."""
        keep = self._keep
        now, steady = self._clock.now(), self._clock.steady()
        leap = (now - self._wall) - (steady - self._steady)
        self._wall, self._steady = now, steady
        if abs(leap) > DAY:
            self._leaps.append((steady, leap))
            _log.warning(
                "the clock was set, or the machine slept for long; what is kept now is kept that much longer",
                ahead=f"{'-' if leap < 0 else ''}{format_duration(abs(leap) // HOUR * HOUR)}",
            )
        longest = max(keep.details, keep.results, keep.events)
        self._leaps = [(at, far) for at, far in self._leaps if steady - at < longest]
        more = max(0, sum(far for _, far in self._leaps))
        return msgspec.structs.replace(
            keep, details=keep.details + more, results=keep.results + more, events=keep.events + more
        )

    async def _sweep_files(self) -> None:
        owned = await self._ledger.read(retention.artifact_folders)
        for folder in self._root.iterdir():
            if folder.is_dir() and folder.name.startswith("task_") and folder.name not in owned:
                shutil.rmtree(folder, ignore_errors=True)
