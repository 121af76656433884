"""What the ledger needs of a database: connections that speak one SQL, and a store that opens them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

Row = Mapping[str, Any]


class Connection(Protocol):
    """One connection to a database, SQLite's or PostgreSQL's, both speaking the same SQL."""

    dialect: str

    def execute(self, sql: str, params: Mapping[str, Any] | None = None) -> int:
        """Run a statement; the number of rows it changed."""
        ...

    def fetch(self, sql: str, params: Mapping[str, Any] | None = None) -> Sequence[Row]: ...

    def send(self, sql: str, params: Mapping[str, Any] | None = None) -> None:
        """Run a statement without waiting for its outcome; it fails, if it does, with a later one or the commit."""
        ...

    def execute_many(self, sql: str, params: Iterable[Mapping[str, Any]]) -> None: ...

    def begin(self) -> None: ...

    def announce(self, topics: set[str]) -> None:
        """Tell other processes on the same database, with this commit, what it changes."""
        ...

    def commit(self) -> None: ...

    def rollback(self) -> None: ...

    def savepoint(self) -> AbstractContextManager[None]: ...

    def close(self) -> None: ...


class Store(Protocol):
    """Opens connections to one database; `sqlite.py` and `postgres.py` are the two."""

    def connect(self, *, read_only: bool = False) -> Connection: ...

    def hold(self, *, name: str = "") -> None:
        """Take the database for this gateway, which others know by `name`; `Conflict` where another has it."""
        ...

    def let_go(self) -> None: ...

    def listen(self, ring: Callable[[set[str]], None]) -> Callable[[], None]:
        """Call `ring`, from any thread, with what others committed; the result ends it."""
        ...
