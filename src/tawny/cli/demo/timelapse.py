"""`python -m tawny.cli.demo.timelapse HOME PORT`: the demo's gateway, whole and real, on a clock that can be moved on.

A line `forward 6h` on standard input moves it, and the end of standard input ends the gateway: the show is over.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

from tawny import config, log
from tawny.app import App
from tawny.cli import gateway
from tawny.clock import Instant, SystemClock, parse_duration
from tawny.config import Home

_GLANCE = 0.01


class TimelapseClock(SystemClock):
    """The machine's clocks, the wall clock ahead by what it was moved on; the steady one is left alone.

    `file` keeps that over a kill, as time never goes back.
    """

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file
        self._ahead = int(file.read_text(encoding="ascii")) if file.exists() else 0

    def now(self) -> Instant:
        return super().now() + self._ahead

    def forward(self, micros: int) -> None:
        """Move on; whatever is due by then rings now."""
        self._ahead += micros
        fresh = self._file.with_suffix(".new")
        fresh.write_text(str(self._ahead), encoding="ascii")
        fresh.replace(self._file)
        self.leapt()


async def _obey(clock: TimelapseClock, app: "asyncio.Future[App]") -> None:
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        verb, duration = line.decode().split()
        assert verb == "forward"
        # A look that the clock overtook would be one look less.
        while (await app).scheduler.is_looking:
            await asyncio.sleep(_GLANCE)
        clock.forward(parse_duration(duration))
    os.kill(os.getpid(), signal.SIGTERM)


async def _run(home: Home, port: int) -> int:
    clock = TimelapseClock(home.run / "timelapse")
    opened: asyncio.Future[App] = asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as group:
        obeying = group.create_task(_obey(clock, opened))
        code = await gateway.serve(home, config.load(home), port, clock=clock, opened=opened.set_result)
        obeying.cancel()
    return code


def main() -> int:
    """Serve until told to end."""
    home = Home(Path(sys.argv[1]))
    home.prepare()
    log.to_file(home.logs)
    return asyncio.run(_run(home, int(sys.argv[2])))


if __name__ == "__main__":
    sys.exit(main())
