"""What a service manager of the platform must be able to do; systemd and launchd are the two."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec

from tawny.errors import PermanentError

Run = Callable[[list[str]], tuple[int, str]]
"""Runs a program; its exit code and what it printed."""


class Service(msgspec.Struct, frozen=True):
    """What is to be kept running: a program with its arguments, for one home."""

    argv: tuple[str, ...]
    home: Path
    name: str = "tawny"


class ServiceManager(Protocol):
    """Keeps the gateway running, also after logging out and after a restart of the machine."""

    def file(self, service: Service) -> Path:
        """Where the service is written down."""
        ...

    def text(self, service: Service) -> str:
        """What is written there."""
        ...

    def install(self, service: Service) -> list[str]:
        """Write it down and start it; what was done, in words."""
        ...

    def uninstall(self, service: Service) -> list[str]: ...

    def order(self, verb: str, service: Service) -> str:
        """`start`, `stop`, `restart` or `status`."""
        ...


def gateway_service(home: Path) -> Service:
    """The gateway of a home, run by this very Python."""
    return Service((sys.executable, "-m", "tawny", "--home", str(home), "gateway", "run"), home)


def must(run: Run, argv: list[str]) -> str:
    """Run a program that must succeed.

    Raises:
        PermanentError: it failed, or is not there; says what it printed.
    """
    code, output = run(argv)
    if code != 0:
        raise PermanentError(f"{' '.join(argv)} failed ({code}): {output.strip() or 'no output'}")
    return output
