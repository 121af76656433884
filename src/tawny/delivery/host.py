"""What the house lends each channel."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tawny.clock import Clock
from tawny.domain.messages import Outgoing
from tawny.ledger import channels
from tawny.ledger.database import Ledger, Tx

if TYPE_CHECKING:
    import httpx

Secrets = Callable[[str], str]
Client = Callable[[float], "httpx.AsyncClient"]
Say = Callable[[Tx, str, Outgoing], str]


class Host:
    """One channel's view of the house; see `ChannelHost`."""

    def __init__(
        self,
        name: str,
        *,
        ledger: Ledger,
        clock: Clock,
        home: Path,
        secrets: Secrets,
        within_list: Client,
        say: Say,
    ) -> None:
        """`within_list` makes a client under the network list, for a timeout in seconds."""
        self.clock = clock
        self.home = home
        self.folder = home / "channels" / name
        self._name = name
        self._ledger = ledger
        self._secrets = secrets
        self._within_list = within_list
        self._say = say

    def secret(self, reference: str) -> str:
        return self._secrets(reference)

    def client(self, *, named_by_owner: bool = True, timeout: float = 30.0) -> "httpx.AsyncClient":
        if named_by_owner:
            return importlib.import_module("httpx").AsyncClient(
                timeout=timeout, follow_redirects=False, trust_env=False
            )
        return self._within_list(timeout)

    async def note(self, name: str, value: str) -> None:
        await self._ledger.write(lambda tx: channels.note(tx, self._name, name, value))

    async def recall(self, name: str) -> str | None:
        return await self._ledger.read(lambda tx: channels.recall(tx, self._name, name))

    async def knows(self, sender: str) -> bool:
        return await self._ledger.read(lambda tx: channels.is_paired(tx, self._name, sender))

    async def say(self, session: str, message: Outgoing) -> str:
        return await self._ledger.write(lambda tx: self._say(tx, session, message))
