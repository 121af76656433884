"""Delivers what a home owes over a real channel, and kills itself at the commit it is told. Run as a program.

channel_sender.py HOME FUSE CHANNELS   CHANNELS: the `channels` tables as JSON; FUSE: commits to live through, 0: all
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import httpx

from tawny import plugins
from tawny.clock import SystemClock
from tawny.delivery.dispatcher import Dispatcher
from tawny.delivery.host import Host
from tawny.delivery.opening import open_all
from tawny.ledger.database import Ledger
from tawny.ledger.sqlite import SqliteStore


class MortalLedger(Ledger):
    left = 0

    async def write(self, fn):  # type: ignore[no-untyped-def]
        self.burn()
        result = await super().write(fn)
        self.burn()
        return result

    def burn(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


async def main(home: Path, fuse: int, tables: dict[str, Any]) -> None:
    clock = SystemClock()
    async with MortalLedger(SqliteStore(home / "state.db"), clock) as ledger:

        def host(name: str) -> Host:
            return Host(
                name,
                ledger=ledger,
                clock=clock,
                home=home,
                secrets=str,
                within_list=lambda timeout: httpx.AsyncClient(timeout=timeout),
                say=lambda *_: "",
            )

        roster = open_all(tables, plugins.installed().channels, host, built_in=["inbox"])
        assert not roster.disabled, roster.disabled
        ledger.left = fuse
        try:
            await Dispatcher(ledger, clock, roster).run_until_idle()
        finally:
            for channel in roster.channels.values():
                with contextlib.suppress(OSError):
                    await channel.close()
    sys.stdout.write("idle\n")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])))
