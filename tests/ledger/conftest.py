"""These suites run on SQLite and on PostgreSQL; and a meter of what SQLite does for one call."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.both import config

from tawny.ledger.database import Tx
from tawny.ledger.migrations import migrate
from tawny.ledger.sqlite import SqliteConnection, SqliteStore
from tawny.testing import FakeClock

__all__ = ["config"]


class Meter:
    """A transaction on a database of its own, which is taken back in the end."""

    def __init__(self, connection: SqliteConnection, tx: Tx) -> None:
        self._connection = connection
        self.tx = tx

    def hundreds_of_instructions(self, do: Callable[[], Any]) -> int:
        """How much SQLite has done for the call, in hundreds of its instructions."""
        ticks: list[int] = []
        raw = self._connection._raw
        raw.set_progress_handler(lambda: ticks.append(1), 100)
        do()
        raw.set_progress_handler(None, 0)
        return len(ticks)

    def statements(self, do: Callable[[], Any]) -> int:
        """How many statements SQLite has been given for the call."""
        seen: list[str] = []
        self._connection._raw.set_trace_callback(seen.append)
        do()
        self._connection._raw.set_trace_callback(None)
        return len(seen)


@pytest.fixture
def meter(tmp_path: Path) -> Iterator[Meter]:
    clock = FakeClock()
    store = SqliteStore(tmp_path / "metered.db")
    migrate(store, clock)
    connection = store.connect()
    connection.begin()
    yield Meter(connection, Tx(connection, clock.now()))
    connection.rollback()
    connection.close()
