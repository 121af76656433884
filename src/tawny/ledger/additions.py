"""What a group of transactions adds at the end of things: running numbers, and rows of tables that only grow."""

from typing import Any

from tawny.ledger.connection import Connection

_COUNTERS = "SELECT name, value, note FROM counters"
_WRITE_BACK = "UPDATE counters SET value = :value, note = :note WHERE name = :name"


class Numbers:
    """Running numbers and the texts that go with them, taken once a group and written back before the commit.

    Writers take turns on both databases, so nobody takes the same number meanwhile, and there are no gaps.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._taken: dict[str, tuple[int, str]] = {}
        self._written: dict[str, tuple[int, str]] = {}

    def take(self, name: str) -> tuple[int, str]:
        """The last number and text under a name."""
        if name not in self._taken:
            # All in one look: who writes an event writes an audit row, nearly always.
            for row in self._connection.fetch(_COUNTERS):
                self._written[row["name"]] = (int(row["value"]), row["note"])
            self._taken = {**self._written, **self._taken}
        return self._taken[name]

    def put(self, name: str, value: int, note: str = "") -> None:
        """The new last number and text."""
        self._taken[name] = (value, note)

    def snapshot(self) -> dict[str, tuple[int, str]]:
        return dict(self._taken)

    def restore(self, snapshot: dict[str, tuple[int, str]]) -> None:
        """Forget what a function took that has failed."""
        self._taken = {name: snapshot.get(name, self._written[name]) for name in self._taken}

    @property
    def are_changed(self) -> bool:
        """Whether there is something to write back."""
        return self._taken != self._written

    def write_back(self) -> None:
        changed = [
            {"value": value, "note": note, "name": name}
            for name, (value, note) in self._taken.items()
            if self._written[name] != (value, note)
        ]
        if changed:
            self._connection.execute_many(_WRITE_BACK, changed)


class Appended:
    """Writes whose outcome nobody waits for: gathered, and made in one go before the commit.

    Two thirds of what a task writes are events, audit rows and the record of its execution, and a row of many costs
    a third of a row alone. Whoever looks at such a table within the group has them written first.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._takes_nul = connection.dialect == "sqlite"
        self._batches: dict[str, list[_Batch]] = {}

    def add(self, table: str, statement: str, row: dict[str, Any]) -> None:
        """Take a row for `table`; the statements of one table keep their order.

        Raises:
            ValueError: it has a text that no database takes; later this would fail the others of the group too.
        """
        for value in row.values():
            if type(value) is str:
                if not value.isascii():
                    value.encode()
                if not self._takes_nul and "\0" in value:
                    raise ValueError(f"{table}: a text with a NUL character cannot be stored")
        batches = self._batches.setdefault(table, [])
        if not batches or batches[-1].statement != statement:
            batches.append(_Batch(statement))
        batches[-1].rows.append(row)

    def snapshot(self) -> "_Snapshot":
        return {
            table: [(batch, len(batch.rows)) for batch in batches] for table, batches in self._batches.items()
        }

    def restore(self, snapshot: "_Snapshot") -> None:
        """Forget what a function added that has failed; what it had written early is undone and waits again."""
        self._batches = {}
        for table, batches in snapshot.items():
            for batch, length in batches:
                del batch.rows[length:]
            self._batches[table] = [batch for batch, _ in batches]

    def write_before(self, statement: str) -> None:
        """Write what belongs to the tables that a statement names."""
        for table in [name for name, batches in self._batches.items() if batches and name in statement]:
            self._write(table)

    def write(self) -> None:
        """Write everything."""
        for table in list(self._batches):
            self._write(table)

    def _write(self, table: str) -> None:
        # A new list: a snapshot may have to bring the old one back.
        batches, self._batches[table] = self._batches[table], []
        for batch in batches:
            self._connection.execute_many(batch.statement, batch.rows)


class _Batch:
    """Rows for one statement."""

    __slots__ = ("rows", "statement")

    def __init__(self, statement: str) -> None:
        self.statement = statement
        self.rows: list[dict[str, Any]] = []


_Snapshot = dict[str, list[tuple[_Batch, int]]]
