"""A database of an older version is brought up to date once, with a copy taken before; one of a newer is left alone."""

from tawny.clock import Clock, iso
from tawny.config import Home
from tawny.errors import Conflict
from tawny.ledger import backup
from tawny.ledger.database import Store
from tawny.ledger.homelock import HomeLock
from tawny.ledger.migrations import migrate, outdated
from tawny.ledger.sqlite import SqliteStore
from tawny.log import Log

_log = Log("ledger.upgrade")


def prepare_store(home: Home, store: Store, clock: Clock) -> None:
    """Bring the database up to date, with a copy of it taken before anything changes."""
    if isinstance(store, SqliteStore):
        backup.check(store.path)
        store.rewrite_log()
    if isinstance(store, SqliteStore) and store.path.exists() and (missing := outdated(store)):
        stamp = iso(clock.now()).replace(":", "")
        copy = home.root / f"state.db.before-{missing[0]}.{stamp}"
        backup.copy_database(store.path, copy)
        _log.info("database copied before migration", copy=str(copy))
    for name in migrate(store, clock):
        _log.info("migration applied", name=name)


def catch_up(home: Home, store: SqliteStore, clock: Clock) -> None:
    """Let a command use a database that is not current only as this version knows it.

    Raises:
        Conflict: a gateway of another version works on it.
        PermanentError: a newer version made it.
    """
    lock = HomeLock(home)
    try:
        lock.acquire()
    except Conflict as error:
        raise Conflict(
            f"{store.path} is of an older version, and {error.message}", hint="tawny gateway restart"
        ) from error
    try:
        prepare_store(home, store, clock)
    finally:
        lock.release()
