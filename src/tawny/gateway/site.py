"""What the routes work on: the parts the composition root has built, and nothing global."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tawny.agent.inbox import Inbox
from tawny.agent.live import Live
from tawny.clock import Clock
from tawny.config import Config, Home
from tawny.domain.network import Rules
from tawny.engine.kinds import Kind
from tawny.gateway.auth import Keyring
from tawny.gateway.feed import Feed
from tawny.ledger.database import Ledger
from tawny.ledger.submission import Limits


@dataclass(slots=True, kw_only=True)
class Site:
    """The parts behind the gateway. `config` is replaced as a whole when the configuration is read again."""

    home: Home
    config: Config
    ledger: Ledger
    clock: Clock
    keyring: Keyring
    feed: Feed
    kinds: Mapping[str, Kind]
    limits: Limits
    apply: Callable[[Config], None]
    """Have a changed configuration take effect, as far as it can without a restart."""
    abilities: Callable[[str], list[str]]
    """What a channel of that name can do: send, edit, buttons."""
    inbox: Inbox | None = None
    live: Live | None = None
    push_rules: Rules = field(default_factory=Rules)
    """Which push services may be reached."""
    address: str = ""
    """`http://HOST:PORT` once it listens."""
    started_at: int = 0
    ready: bool = False
    describe: Callable[[], dict[str, Any]] = dict
    """`openapi.json`."""
    problems: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """What the owner should know: `severity`, `message`, `hint`."""
    _busy: dict[str, tuple[asyncio.Lock, int]] = field(default_factory=dict[str, Any])

    @property
    def public_address(self) -> str:
        """Where other devices reach it: the first further name of the configuration, by TLS, else its own address."""
        names = self.config.gateway.allowed_hosts
        return f"https://{names[0]}" if names else self.address

    @asynccontextmanager
    async def doing(self, what: str) -> AsyncGenerator[None]:
        """Keep a second request of the same key waiting until the first is done."""
        lock, users = self._busy.get(what, (asyncio.Lock(), 0))
        self._busy[what] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._busy.pop(what)
            if users > 1:
                self._busy[what] = (lock, users - 1)
