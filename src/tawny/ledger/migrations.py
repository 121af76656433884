"""Numbered migrations: each file of `schema/` in its own transaction, once; a backup is taken before."""

import re
from importlib import resources

from tawny.clock import Clock
from tawny.errors import PermanentError
from tawny.ledger.database import Connection, Store, Tx
from tawny.ledger.sqlite import SqliteStore


def migrations() -> list[tuple[int, str, str]]:
    """All migrations as (number, name, SQL), in order."""
    return sorted(
        (int(match.group(1)), match.group(2), entry.read_text(encoding="utf-8"))
        for entry in resources.files("tawny.ledger").joinpath("schema").iterdir()
        if (match := re.fullmatch(r"(\d{4})_(\w+)\.sql", entry.name))
    )


def is_current(store: Store) -> bool:
    """Whether the database has had exactly what this version knows; cheap, for it is asked by every command.

    Raises:
        PermanentError: the database is newer than this program.
    """
    connection = store.connect(read_only=True)
    try:
        if not connection.fetch("SELECT name FROM sqlite_master WHERE name = 'migrations'"):
            return False
        done = {int(row["number"]) for row in connection.fetch("SELECT number FROM migrations")}
    finally:
        connection.close()
    known = _numbers()
    _refuse_newer(done, known)
    return done == known


def _numbers() -> set[int]:
    folder = resources.files("tawny.ledger").joinpath("schema")
    return {int(entry.name[:4]) for entry in folder.iterdir() if entry.name.endswith(".sql")}


def _refuse_newer(done: set[int], known: set[int]) -> None:
    if unknown := done - known:
        raise PermanentError(
            f"the database has migration {max(unknown)}, which this version of Tawny does not know",
            hint="run the newer version, or restore a backup made by this one",
        )


def statements(sql: str) -> list[str]:
    """The statements of a script; a semicolon at a line's end parts them."""
    bare = "\n".join(line for line in sql.splitlines() if not line.lstrip().startswith("--"))
    return [part.strip() for part in re.split(r";\s*(?:\n|$)", bare) if part.strip()]


def pending(connection: Connection) -> list[tuple[int, str, str]]:
    """The migrations this database has not had.

    Raises:
        PermanentError: the database is newer than this program.
    """
    connection.execute(
        "CREATE TABLE IF NOT EXISTS migrations"
        " (number INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at BIGINT NOT NULL)"
    )
    done = {int(row["number"]) for row in connection.fetch("SELECT number FROM migrations")}
    known = migrations()
    _refuse_newer(done, {number for number, _, _ in known})
    return [entry for entry in known if entry[0] not in done]


def migrate(store: Store, clock: Clock) -> list[str]:
    """Bring the database up to date; the names of what was applied."""
    applied: list[str] = []
    if isinstance(store, SqliteStore) and not store.path.exists():
        store.create(lambda fresh: applied.extend(_apply(fresh, clock)))
    return applied + _apply(store, clock)


def _apply(store: Store, clock: Clock) -> list[str]:
    connection = store.connect()
    applied: list[str] = []
    try:
        for number, name, sql in pending(connection):
            connection.begin()
            try:
                for statement in statements(sql):
                    connection.execute(statement)
                tx = Tx(connection, clock.now())
                tx.execute(
                    "INSERT INTO migrations (number, name, applied_at) VALUES (:number, :name, :now)",
                    number=number,
                    name=name,
                    now=tx.now,
                )
            except BaseException:
                connection.rollback()
                raise
            connection.commit()
            applied.append(f"{number:04d}_{name}")
    finally:
        connection.close()
    return applied


def outdated(store: Store) -> list[str]:
    """The names of migrations an existing database has not had."""
    connection = store.connect()
    try:
        return [f"{number:04d}_{name}" for number, name, _ in pending(connection)]
    finally:
        connection.close()
