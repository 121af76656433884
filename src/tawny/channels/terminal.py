"""The terminal the gateway runs in: lines out, lines in; a numbered reply where others tap."""

import asyncio
import sys
from typing import Any, Protocol

from tawny.api import (
    Accept,
    Channel,
    ChannelHost,
    ChannelSettings,
    Clock,
    Inbound,
    OneWay,
    Outgoing,
    Receipt,
    channel,
)


class Lines(Protocol):
    """Where lines come from: an `asyncio.StreamReader`, say."""

    async def readline(self) -> bytes: ...


class Paper(Protocol):
    """What is written on: a text stream."""

    def write(self, text: str, /) -> object: ...

    def flush(self) -> object: ...


class TerminalChannel(OneWay):
    """Whoever sits at the machine is the owner."""

    kind = "terminal"
    home_address = "main"
    text_limit = 1_000_000
    can_edit = False
    has_buttons = False
    idempotent = False

    def __init__(self, name: str, clock: Clock, *, out: Paper, lines: Lines | None = None) -> None:
        self.name = name
        self._clock = clock
        self._out = out
        self._lines = lines
        self._count = 0

    async def send(self, message: Outgoing, /) -> Receipt:
        title = f"[{message.title}] " if message.title else ""
        printable = "".join(char for char in message.text if char.isprintable() or char in "\n\t")
        self._out.write(f"\r{title}{printable}\n")
        self._out.flush()
        return Receipt(ids=(message.key,))

    async def listen(self, accept: Accept, /) -> None:
        if self._lines is None:
            return
        while line := await self._lines.readline():
            self._count += 1
            now = self._clock.now()
            text = line.decode("utf-8", errors="replace").strip()
            if text:
                await accept(
                    Inbound(
                        channel=self.name,
                        event_id=f"{now}-{self._count}",
                        sender="owner",
                        text=text,
                        conversation="main",
                        time=now,
                    )
                )


class _Stdin:
    """The process's standard input as lines, connected at the first read."""

    def __init__(self) -> None:
        self._reader: asyncio.StreamReader | None = None

    async def readline(self) -> bytes:
        if self._reader is None:
            self._reader = asyncio.StreamReader()
            protocol = asyncio.StreamReaderProtocol(self._reader)
            await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
        return await self._reader.readline()


class TerminalSettings(ChannelSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[[channels.terminal]]`; `listen = false` only prints."""

    listen: bool = True


@channel("terminal", settings=TerminalSettings, description="The terminal of `tawny gateway run`.")
def terminal(settings: Any, host: ChannelHost) -> Channel:
    lines = _Stdin() if settings.listen and sys.stdin is not None and sys.stdin.isatty() else None
    return TerminalChannel(settings.name, host.clock, out=sys.stderr, lines=lines)


CHANNELS = {"terminal": terminal}
