"""Files and names that survive a power cut: a new file or folder is sure only once its folder is synced."""

import os
import tempfile
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """What was created, renamed or removed in `folder` is on the disk when this returns."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path, *, mode: int = 0o700) -> None:
    """Make a folder and what is missing above it, for sure; nothing is done where it is there."""
    if folder.is_dir():
        return
    if folder.parent != folder:
        make_folder(folder.parent, mode=mode)
    folder.mkdir(exist_ok=True, mode=mode)
    sync_folder(folder.parent)


def replace(fresh: Path, target: Path) -> None:
    """Put a file, already synced, in the place of another, for sure."""
    fresh.replace(target)
    sync_folder(target.parent)


def write_text(target: Path, text: str) -> None:
    """Write beside and rename: no reader ever sees half a file."""
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    replace(Path(name), target)
