"""The assistant's memory: a message becomes part of the day's notes, where later turns find it."""

from pathlib import Path
from typing import Any

from tawny.api import SECOND, Channel, ChannelHost, ChannelSettings, Clock, Instant, Outgoing, channel, iso
from tawny.channels.file import FileChannel

_DAY = 86_400 * SECOND


class MemoryNotes(FileChannel):
    """Appends to `workspace/memory/YYYY-MM-DD.md`, whatever the address says."""

    kind = "memory"
    home_address = ""

    def __init__(self, name: str, root: Path, clock: Clock) -> None:
        super().__init__(name, root, clock)
        self._days = clock

    def path(self, message: Outgoing) -> Path:
        del message  # the day alone decides
        return self._of(self._days.now())

    def places(self, path: Path) -> tuple[Path, ...]:
        # A message is tried for a day at most, and what was written before midnight may be asked after it.
        return (path, self._of(self._days.now() - _DAY))

    def _of(self, when: Instant) -> Path:
        return self._root.resolve() / f"{iso(when)[:10]}.md"


@channel("memory", settings=ChannelSettings, description="The assistant's own notes.", built_in=True)
def memory(settings: Any, host: ChannelHost) -> Channel:
    return MemoryNotes(settings.name or "memory", host.home / "workspace" / "memory", host.clock)


CHANNELS = {"memory": memory}
