"""The parts of the house that run, and a process's part in a team."""

from typing import Protocol

import msgspec


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A process's part in the work on one ledger.

    A gateway leads: it fires automations, delivers and listens, and there is one; with `standby` it waits for its turn.
    A worker (`leads = False`) runs background tasks only: of the `kinds` named, or of all where none is.
    """

    leads: bool = True
    standby: bool = False
    kinds: frozenset[str] = frozenset()


class Part(Protocol):
    """Something that runs until it is cancelled."""

    async def run(self) -> None: ...
