"""What a channel is lent, kept in a dictionary."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from tawny.api import ConfigError
from tawny.testing import FakeClock


class House:
    def __init__(self, home: Path) -> None:
        self.clock = FakeClock()
        self.home = home
        self.folder = home / "channels" / "x"
        self.notes: dict[str, str] = {}
        self.said: list[tuple[str, Any]] = []
        self.clients: list[bool] = []
        self.paired: set[str] = set()

    def secret(self, reference: str) -> str:
        if reference.startswith("env:"):
            raise ConfigError(f"the environment has no {reference[4:]}")
        return reference

    def client(self, *, named_by_owner: bool = True, timeout: float = 30.0) -> httpx.AsyncClient:
        self.clients.append(named_by_owner)
        return httpx.AsyncClient(timeout=min(timeout, 5), trust_env=False)

    async def note(self, name: str, value: str) -> None:
        self.notes[name] = value

    async def recall(self, name: str) -> str | None:
        return self.notes.get(name)

    async def knows(self, sender: str) -> bool:
        return sender in self.paired

    async def say(self, session: str, message: Any) -> str:
        if all(earlier.key != message.key for _, earlier in self.said):
            self.said.append((session, message))
        return message.key


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)
