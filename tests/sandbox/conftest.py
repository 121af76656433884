"""A sandbox switched off, for showing that a probe can tell the difference; and the parts the tests share."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tawny.sandbox.bubblewrap import Bubblewrap
from tawny.sandbox.commands import Commands
from tawny.sandbox.order import Order, Wrapped

needs_bubblewrap = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")


class NoSandbox:
    """Runs an order with no protection at all, as a careless program would; only the tests have it."""

    name = "none"

    def __init__(self, env: dict[str, str] | None = None) -> None:
        self.env = env or {}

    def check(self) -> None:
        return

    def wrap(self, order: Order) -> Wrapped:
        env = {"PATH": "/usr/bin:/bin", **self.env, **order.env}
        return Wrapped(argv=order.argv, env=env, cwd=order.cwd)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "home" / "workspace"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def commands(tmp_path: Path) -> Commands:
    return Commands(tmp_path / "run", Bubblewrap())


@pytest.fixture
def shell(workspace: Path) -> Callable[..., Order]:
    """An order for a line of shell in the workspace."""

    def make(line: str, **more: Any) -> Order:
        return Order(argv=("/bin/sh", "-c", line), cwd=str(workspace), writable=(str(workspace),), **more)

    return make
