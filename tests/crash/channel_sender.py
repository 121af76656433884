"""Delivers what a home owes over a real channel, and kills itself at the commit it is told. Run as a program.

channel_sender.py HOME FUSE CHANNELS   CHANNELS: the `channels` tables as JSON; FUSE: commits to live through, 0: all
channel_sender.py --serve              the same for each line `[HOME, FUSE, CHANNELS, PRINTS]` of its input, each in a
                                       fork of its own: its process id is printed, then the status it ended with;
                                       PRINTS is the file for what it writes to the terminal
"""

import asyncio
import contextlib
import importlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import httpx

from tawny import plugins
from tawny.app import _say
from tawny.clock import SystemClock
from tawny.delivery.dispatcher import Dispatcher
from tawny.delivery.host import Host
from tawny.delivery.opening import open_all
from tawny.ledger.database import Ledger
from tawny.ledger.sqlite import SqliteStore

_SLOW_TO_IMPORT = ("aiosmtplib", "apprise", "nio", "nio.store", "tawny.channels.telegram.bot")


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
                say=_say,
            )

        built_in = plugins.BUILT_IN_CHANNELS
        roster = open_all(tables, plugins.installed().channels, host, built_in=built_in)
        assert not roster.disabled, roster.disabled
        ledger.left = fuse
        try:
            await Dispatcher(ledger, clock, roster).run_until_idle()
        finally:
            for channel in roster.channels.values():
                with contextlib.suppress(OSError):
                    await channel.close()


def serve() -> None:
    for name in _SLOW_TO_IMPORT:
        importlib.import_module(name)
    plugins.installed()
    for order in sys.stdin:
        home, fuse, tables, prints = json.loads(order)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                os.dup2(os.open(prints, os.O_WRONLY | os.O_CREAT | os.O_APPEND), sys.stderr.fileno())
                asyncio.run(main(Path(home), fuse, tables))
                status = 0
            finally:
                os._exit(status)
        _tell(child)
        _tell(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


def _tell(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        serve()
    else:
        asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3])))
        sys.stdout.write("idle\n")
