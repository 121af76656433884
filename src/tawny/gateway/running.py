"""Where the gateway of a home listens, written down for the command line while it runs."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from tawny.config import Home


class Running(msgspec.Struct, frozen=True):
    """A gateway's process and its `http://HOST:PORT`."""

    pid: int
    address: str


def running(home: Home) -> Running | None:
    """What the gateway of this home wrote down, `None` where none did. It may have died since."""
    try:
        return msgspec.json.decode(_file(home).read_bytes(), type=Running)
    except (OSError, msgspec.DecodeError):
        return None


@contextmanager
def announced(home: Home, address: str) -> Generator[None]:
    """Have it written down until left."""
    file = _file(home)
    fresh = file.with_suffix(".new")
    fresh.write_bytes(msgspec.json.encode(Running(os.getpid(), address)))
    fresh.replace(file)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def _file(home: Home) -> Path:
    return home.run / "gateway.json"
