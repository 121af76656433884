"""One process at a time works on a home."""

import fcntl
import os
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
                f"{self._path.parent} is in use by {holder}", hint="stop that gateway, or give another --home"
            ) from error
        file.truncate(0)
        file.write(f"process {os.getpid()}")
        file.flush()
        self._file = file

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
