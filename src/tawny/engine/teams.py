"""How a process belongs to its ledger: alone on it, or one of several on several machines."""

import asyncio
import os
from typing import Protocol

from tawny.clock import Clock
from tawny.config import Home
from tawny.engine.dispatcher import Dispatcher, LocalDispatcher
from tawny.engine.members import Member, Part
from tawny.errors import InvalidInput, PermanentError
from tawny.ids import new_id
from tawny.ledger.database import Ledger, Store
from tawny.ledger.homelock import node_name
from tawny.ledger.migrations import outdated
from tawny.ledger.sqlite import SqliteStore


class Team(Protocol):
    """The processes on one ledger, as one of them sees it."""

    worker: str
    lost: asyncio.Event
    parts: tuple[Part, ...]

    async def join(self) -> None:
        """Take this process's place; `Conflict` where another has it."""
        ...

    def dispatcher(self, local: LocalDispatcher, ledger: Ledger) -> Dispatcher:
        """The dispatcher for a process of this team."""
        ...

    def leave(self) -> None: ...


class Alone:
    """The only process on its ledger, which the home's lock sees to."""

    def __init__(self, clock: Clock) -> None:
        self.worker = new_id("worker", clock.now())
        self.lost = asyncio.Event()
        self.parts: tuple[Part, ...] = ()

    async def join(self) -> None:
        """Nobody to wait for."""

    def dispatcher(self, local: LocalDispatcher, ledger: Ledger) -> Dispatcher:
        del ledger
        return local

    def leave(self) -> None:
        """Nobody to tell."""


def team_of(home: Home, store: Store, clock: Clock, member: Member) -> Team:
    """The team that goes with a store.

    Raises:
        InvalidInput: a worker or a standby on a database that others cannot reach.
    """
    if isinstance(store, SqliteStore):
        if not member.leads or member.standby:
            raise InvalidInput(
                "this home's ledger is a file of its own, which no other process can share",
                hint='set [ledger] url = "postgresql://…", the same on every machine',
            )
        return Alone(clock)
    from tawny.engine.procrastinate import Shared  # noqa: PLC0415 - heavy, and an extra; one machine does without
    from tawny.ledger.postgres import PostgresStore  # noqa: PLC0415

    assert isinstance(store, PostgresStore)
    return Shared(store, node=node_name(home), boot=os.urandom(4).hex(), member=member)


def check_version(store: Store) -> None:
    """A worker changes no tables.

    Raises:
        PermanentError: the database is of another version of Tawny.
    """
    if missing := outdated(store):
        raise PermanentError(
            f"the database has not had {missing[0]} yet",
            hint="start the gateway of this version first; it brings the database up to date",
        )
