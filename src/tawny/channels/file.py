"""Messages at the end of a file in the workspace: `file:notes/results.md`. A `.jsonl` file gets one document a line."""

import asyncio
import errno
import json
import os
from pathlib import Path
from typing import Any

from tawny.api import (
    Channel,
    ChannelHost,
    ChannelSettings,
    Clock,
    NotFound,
    OneWay,
    Outgoing,
    PermanentError,
    Receipt,
    Refused,
    Root,
    TawnyError,
    TemporaryError,
    channel,
    iso,
)


class FileChannel(OneWay):
    """Appends; each entry carries its key, so that none is written twice."""

    kind = "file"
    home_address = "results.md"
    text_limit = 10_000_000
    can_edit = False
    has_buttons = False
    idempotent = True

    def __init__(self, name: str, root: Path, clock: Clock) -> None:
        self.name = name
        self._root = root
        self._clock = clock

    def path(self, message: Outgoing) -> Path:
        """The file the message goes to.

        Raises:
            Refused: it lies outside the workspace.
        """
        wanted = message.to or self.home_address
        try:
            root = self._root.resolve()
            path = Path(os.path.normpath(root / wanted))
        except (OSError, ValueError) as error:
            raise PermanentError(f"file:{wanted!r} is no path: {error}") from error
        if "\0" in wanted or not path.is_relative_to(root) or path == root:
            raise Refused(f"file:{wanted} lies outside the workspace", hint="name a file within it")
        return path

    def places(self, path: Path) -> tuple[Path, ...]:
        """Where a message now bound for that file may have been written already."""
        return (path,)

    async def send(self, message: Outgoing, /) -> Receipt:
        path = self.path(message)
        await asyncio.to_thread(self._append, path, message)
        return Receipt(ids=(f"{path}#{message.key}",), detail={"path": str(path)})

    def _append(self, path: Path, message: Outgoing) -> None:
        try:
            self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not any(self._has(place, message) for place in self.places(path)):
                # Commands write into the workspace too: a link of theirs leads this nowhere.
                Root(self._root).append(str(path), self._entry(path, message).encode())
        except (TawnyError, OSError) as error:
            cause = error if isinstance(error, OSError) else error.__cause__
            if isinstance(cause, OSError) and cause.errno in (
                errno.ENOSPC,
                errno.EDQUOT,
                errno.EIO,
                errno.EMFILE,
            ):
                raise TemporaryError(f"file:{path.name}: {cause.strerror}") from error
            raise

    def _has(self, path: Path, message: Outgoing) -> bool:
        try:
            return message.key.encode() in Root(self._root).read(str(path))
        except (NotFound, FileNotFoundError):
            return False

    def _entry(self, path: Path, message: Outgoing) -> str:
        when = iso(self._clock.now())
        if path.suffix == ".jsonl":
            entry = {"key": message.key, "time": when, "title": message.title, "text": message.text}
            return json.dumps({**entry, **message.document}, ensure_ascii=False) + "\n"
        title = message.title or "Message"
        return f"\n## {title} ({when})\n<!-- {message.key} -->\n\n{message.text}\n"

    async def reconcile(self, message: Outgoing, /) -> Receipt | None:
        for path in self.places(self.path(message)):
            if await asyncio.to_thread(self._has, path, message):
                return Receipt(ids=(f"{path}#{message.key}",), detail={"path": str(path)})
        return None


@channel("file", settings=ChannelSettings, description="A file in the workspace.", built_in=True)
def file(settings: Any, host: ChannelHost) -> Channel:
    return FileChannel(settings.name or "file", host.home / "workspace", host.clock)


CHANNELS = {"file": file}
