"""One process at a time works on a home."""

import fcntl
import json
import os
import platform
import re
from pathlib import Path
from typing import IO

from tawny.config import Home
from tawny.errors import Conflict


class HomeLock:
    """Keeps a second process off the same home; gone with the process, however it dies."""

    def __init__(self, home: Home) -> None:
        self._path: Path = home.root / "gateway.lock"
        self._file: IO[str] | None = None

    def acquire(self) -> None:
        """Take the home.

        Raises:
            Conflict: another process has it.
        """
        file = self._path.open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            holder = file.read().strip() or "another process"
            file.close()
            raise Conflict(
                f"{self._path.parent} is in use by {holder}",
                hint="stop that gateway, or give another --home; if it has only just begun, try again",
            ) from error
        file.truncate(0)
        file.write(f"process {os.getpid()}")
        file.flush()
        self._file = file

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def node_name(home: Home) -> str:
    """The home's lasting name among the machines of a team; only who has its lock may go by it.

    A home that was copied to another machine gets a name of its own there.
    """
    file = home.root / "node"
    machine = _machine()
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
        if known["machine"] == machine and known["home"] == str(home.root):
            return str(known["name"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # none yet, or unreadable: a new one
    host = re.sub(r"[^a-z0-9]+", "-", platform.node().lower()).strip("-")[:20] or "home"
    name = f"{host}-{os.urandom(4).hex()}"
    fresh = file.with_name(".node.part")
    fresh.write_text(json.dumps({"name": name, "machine": machine, "home": str(home.root)}), encoding="utf-8")
    fresh.replace(file)
    return name


def _machine() -> str:
    try:
        return f"{platform.node()} {Path('/etc/machine-id').read_text(encoding='utf-8').strip()}"
    except OSError:
        return platform.node()
