"""Files as a source of events: made, changed, gone – also while nobody was looking."""

import asyncio
from collections.abc import AsyncIterator, Callable
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from tawny.domain.automations import On
from tawny.domain.tasks import Json
from tawny.errors import TemporaryError
from tawny.sources.listening.host import Desk, Event, Listener

_DEBOUNCE = 50
_STEP = 10
_MOST = 5000
"""A folder with more files than that is not compared with what it was before."""

Snapshot = dict[str, list[int]]


def files(workspace: Path) -> Listener:
    """Listens to a folder (or one file) in the workspace, or of an absolute path."""

    async def listen(on: On, desk: Desk) -> None:
        root = workspace / on.path
        if not root.exists():
            raise TemporaryError(f"{on.path} is not there", hint="make the folder, or mend on.path")
        before = desk.cursor.get("files")
        now = await asyncio.to_thread(_look, root)
        known = cast("Snapshot", before) if isinstance(before, dict) else now
        await desk.take(_compare(on, root, known, now), {"files": now})
        async for _ in changes(root):
            known, now = now, await asyncio.to_thread(_look, root)
            await desk.take(_compare(on, root, known, now), {"files": now})
            if not root.exists():
                raise TemporaryError(f"{on.path} is gone", hint="make the folder, or mend on.path")

    return listen


def changes(path: Path, *, until: asyncio.Event | None = None) -> AsyncIterator[Any]:
    """Comes round whenever something in the folder has changed, until the event is set."""
    library: Any = import_module("watchfiles")  # loaded with the first automation that watches files
    return library.awatch(path, debounce=_DEBOUNCE, step=_STEP, stop_event=until)


def _look(root: Path) -> Snapshot:
    """Name → time of the last change (ns) and size."""
    found: Snapshot = {}
    paths = [root] if root.is_file() else root.rglob("*")
    for path in paths:
        try:
            facts = path.stat()
        except OSError:
            continue
        if path.is_file():
            found[str(path.relative_to(root)) if path != root else path.name] = [
                facts.st_mtime_ns,
                facts.st_size,
            ]
        if len(found) >= _MOST:
            break
    return found


def _compare(on: On, root: Path, before: Snapshot, now: Snapshot) -> list[Event]:
    event = _maker(on, root)
    made = [event("made", name, now[name]) for name in sorted(now.keys() - before.keys())]
    changed = [
        event("changed", name, now[name])
        for name in sorted(now.keys() & before.keys())
        if list(before[name]) != now[name]
    ]
    gone = [event("gone", name, before[name]) for name in sorted(before.keys() - now.keys())]
    return made + changed + gone


def _maker(on: On, root: Path) -> Callable[[str, str, list[int]], Event]:
    def make(change: str, name: str, facts: list[int]) -> Event:
        stamp, size = int(facts[0]), int(facts[1])
        path = root if root.is_file() else root / name
        data: dict[str, Json] = {
            "watched": on.path,
            "change": change,
            "name": Path(name).name,
            "path": str(path),
            "size": size,
        }
        return Event(event_id=f"{path}:{change}:{stamp}:{size}", data=data)

    return make
