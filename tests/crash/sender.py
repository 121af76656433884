"""Delivers what a home owes, over a socket to the test, and kills itself at the point it is told. Run as a program."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from tawny.clock import SystemClock
from tawny.delivery.channel import AmbiguousSend, OneWay
from tawny.delivery.dispatcher import Dispatcher
from tawny.delivery.roster import Roster
from tawny.domain.messages import Outgoing, Receipt
from tawny.ledger.database import Ledger
from tawny.ledger.sqlite import SqliteStore


class Fuse:
    """Burns down by one at every point; at nought the process is gone."""

    def __init__(self, length: int) -> None:
        self.left = length

    def burn(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


class MortalLedger(Ledger):
    fuse = Fuse(0)

    async def write(self, fn):  # type: ignore[no-untyped-def]
        self.fuse.burn()
        result = await super().write(fn)
        self.fuse.burn()
        return result


class SocketChannel(OneWay):
    """A line out, a line back. Nobody at the other end knows a key, unless `idempotent`."""

    kind = "socket"
    name = "socket"
    home_address = ""
    text_limit = 40
    can_edit = False
    has_buttons = False

    def __init__(self, port: int, fuse: Fuse, *, idempotent: bool) -> None:
        self.idempotent = idempotent
        self._port = port
        self._fuse = fuse

    async def send(self, message: Outgoing, /) -> Receipt:
        self._fuse.burn()
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._fuse.burn()
        writer.write(f"{message.to} {message.key} {message.text}\n".encode())
        await writer.drain()
        self._fuse.burn()
        answer = await reader.readline()
        writer.close()
        self._fuse.burn()
        if not answer:
            raise AmbiguousSend("no answer")
        return Receipt(ids=(answer.decode().strip(),))


async def main(home: Path, port: int, length: int, idempotent: bool) -> None:
    fuse = Fuse(length)
    clock = SystemClock()
    async with MortalLedger(SqliteStore(home / "state.db"), clock) as ledger:
        ledger.fuse = fuse
        channel = SocketChannel(port, fuse, idempotent=idempotent)
        await Dispatcher(ledger, clock, Roster([channel])).run_until_idle()
    sys.stdout.write(f"idle {fuse.left}\n")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "idempotent"))
