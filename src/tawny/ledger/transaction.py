"""One transaction, as the functions of the ledger see it."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from tawny.clock import Instant
from tawny.ledger.additions import Appended, Numbers
from tawny.ledger.connection import Connection, Row
from tawny.log import redact


class Tx:
    """One transaction: SQL with `:name` parameters, the time it happens at, and wake-ups for after the commit.

    No known secret gets into the ledger: every value passes the redactor. So do those that are asked for, as what is
    looked up was stored clean.
    """

    __slots__ = ("_appended", "_connection", "changed", "dialect", "now", "numbers", "ran", "told", "topics")

    def __init__(
        self,
        connection: Connection,
        now: Instant,
        numbers: Numbers | None = None,
        appended: Appended | None = None,
    ) -> None:
        self._connection = connection
        self._appended = appended or Appended(connection)
        self.numbers = numbers or Numbers(connection)
        self.now = now
        self.dialect = connection.dialect
        self.topics: set[str] = set()
        self.told: list[dict[str, Any]] = []
        """The rows of events that this adds."""
        self.changed = False
        self.ran: tuple[str, int] | None = None
        """The task whose own run writes this, and how long it has run by the steady clock."""

    def execute(self, sql: str, **params: Any) -> int:
        """Run a statement; the number of rows it changed."""
        self.changed = True
        self._appended.write_before(sql)
        return self._connection.execute(sql, redact.values(params))

    def execute_many(self, sql: str, params: Iterable[dict[str, Any]]) -> None:
        self.changed = True
        self._appended.write_before(sql)
        self._connection.execute_many(sql, [redact.values(row) for row in params])

    def insert(self, table: str, row: dict[str, Any]) -> dict[str, Any]:
        """Insert a row, given by its columns; the row as it is stored. `None` is left to the table."""
        self.changed = True
        clean = redact.values(row)
        given = {name: value for name, value in clean.items() if value is not None}
        self._connection.send(_insertion(table, tuple(given)), given)
        return clean

    def later(self, table: str, sql: str, row: dict[str, Any]) -> dict[str, Any]:
        """Run a statement on `table`, at the latest before the commit; the values as they will be stored."""
        self.changed = True
        clean = redact.values(row)
        self._appended.add(table, sql, clean)
        return clean

    def all(self, sql: str, **params: Any) -> Sequence[Row]:
        self.changed = self.changed or not sql.startswith("SELECT")
        self._appended.write_before(sql)
        return self._connection.fetch(sql, redact.values(params))

    def one(self, sql: str, **params: Any) -> Row | None:
        rows = self.all(sql, **params)
        return rows[0] if rows else None

    def value(self, sql: str, **params: Any) -> Any:
        """The first column of the first row, `None` where there is none."""
        rows = self.all(sql, **params)
        return next(iter(rows[0].values())) if rows else None

    def wake(self, topic: str) -> None:
        """Ring `topic` once this transaction is committed. Ring only for what changed."""
        self.topics.add(topic)

    def write_out(self) -> None:
        """Write what has gathered; the commit comes next."""
        self._appended.write()
        self.numbers.write_back()


@lru_cache(64)
def _insertion(table: str, columns: tuple[str, ...]) -> str:
    values = ", ".join(f":{name}" for name in columns)
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({values})"
