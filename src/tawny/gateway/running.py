"""Where the gateway of a home listens, written down for the command line while it runs."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from tawny.config import Home


class Running(msgspec.Struct, frozen=True):
    """A gateway's process, and where this machine reaches it."""

    pid: int
    host: str
    port: int


def running(home: Home) -> Running | None:
    """What the gateway of this home wrote down, `None` where none did. It may have died since."""
    try:
        return msgspec.json.decode(_file(home).read_bytes(), type=Running)
    except (OSError, msgspec.DecodeError):
        return None


@contextmanager
def announced(home: Home, host: str, port: int) -> Generator[None]:
    """Have it written down until left. A gateway on all addresses is reached by loopback."""
    near = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    file = _file(home)
    fresh = file.with_suffix(".new")
    fresh.write_bytes(msgspec.json.encode(Running(os.getpid(), near, port)))
    fresh.replace(file)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def _file(home: Home) -> Path:
    return home.run / "gateway.json"
