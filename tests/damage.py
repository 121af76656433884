"""What can become of a database: damage, and being away for a while."""

import sqlite3
from pathlib import Path

from tawny.errors import StorageError
from tawny.ledger.sqlite import SqliteConnection, SqliteStore


def spoil(database: Path) -> None:
    """Write rubbish over everything but the first page, and make every connection look again."""
    other = sqlite3.connect(database)
    other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    other.execute("PRAGMA user_version = 7")
    with database.open("r+b") as file:
        size = file.seek(0, 2)
        file.seek(4096)
        file.write(b"\xa5" * (size - 4096))
    other.close()


class Remote(SqliteStore):
    """A database that can be away: then it neither reads nor writes."""

    is_away = False

    def connect(self, *, read_only: bool = False) -> SqliteConnection:
        connection = super().connect(read_only=read_only)
        begin = connection.begin

        def begun() -> None:
            if self.is_away:
                raise StorageError("state.db: the disk does not answer", hint="check the disk")
            begin()

        connection.begin = begun  # type: ignore[method-assign]
        return connection
