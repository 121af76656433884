"""Once a day: lets go of what is older than it has to be. Commits only where there is something."""

import shutil
from pathlib import Path

from tawny.clock import DAY, HOUR, Clock
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

    async def run(self) -> None:
        """Run until cancelled: the first round an hour after the start, then one a day."""
        due = self._clock.now() + HOUR
        while True:
            await self._clock.sleep_until(due)
            try:
                await self.round()
            except StorageError as error:
                _log.warning("housekeeping waits for tomorrow", error=error.message)
            due = self._clock.now() + DAY

    async def round(self) -> int:
        """Let go of everything that is due; how many tasks went."""
        gone = 0
        if not self._leads:
            await self._sweep_files()
            return gone
        while await self._ledger.read(lambda tx: retention.due(tx, self._keep)):
            counts = await self._ledger.write(lambda tx: retention.prune(tx, self._keep))
            if not counts["tasks"]:
                break
            gone += counts["tasks"]
        if gone:
            await self._sweep_files()
            _log.info("old tasks let go", tasks=gone)
        return gone

    async def _sweep_files(self) -> None:
        owned = await self._ledger.read(retention.artifact_folders)
        for folder in self._root.iterdir():
            if folder.is_dir() and folder.name.startswith("task_") and folder.name not in owned:
                shutil.rmtree(folder, ignore_errors=True)
