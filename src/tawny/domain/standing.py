"""Which files of the workspace steer later work: they are read as the owner's, so who writes them speaks for him."""

from pathlib import PurePosixPath

FILES = ("AGENTS.md", "MEMORY.md", "HEARTBEAT.md")
FOLDERS = ("memory", "skills", "flows", "orders")


def steers(path: str) -> bool:
    """Whether what stands at the path, relative to the workspace or to an agent's own part of it, steers later work."""
    parts = [part for part in PurePosixPath(path).parts if part not in (".", "/")]
    return bool(parts) and (parts[-1] in FILES or any(part in FOLDERS for part in parts))
