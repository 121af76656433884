"""How commands reach the ledger: straight, whether the gateway runs or not; then they ring its bell."""

from collections.abc import Callable
from typing import TypeVar

from tawny import config
from tawny.clock import SystemClock
from tawny.config import Home
from tawny.ledger.database import Store, Tx, read_now, write_now
from tawny.ledger.migrations import is_current, migrate
from tawny.ledger.sqlite import SqliteStore
from tawny.ledger.stores import open_store
from tawny.secrets import learn_secrets

T = TypeVar("T")


def store_of(home: Home) -> Store:
    """The home's database; made where it is missing."""
    settings = config.load(home)
    learn_secrets(home, settings)
    store = open_store(home, settings)
    if not isinstance(store, SqliteStore) or not store.path.exists():
        home.prepare()
        migrate(store, SystemClock())
    elif not is_current(store):
        from tawny.ledger.upgrade import catch_up  # noqa: PLC0415 - once after an update, and never again

        catch_up(home, store, SystemClock())
    return store


def read(home: Home, fn: Callable[[Tx], T]) -> T:
    """Read what is committed."""
    return read_now(store_of(home), SystemClock(), fn)


def write(home: Home, fn: Callable[[Tx], T]) -> T:
    """Write in one transaction, and wake the gateway if it runs; else it takes effect when it starts."""
    store = store_of(home)
    topics: set[str] = set()

    def noted(tx: Tx) -> T:
        result = fn(tx)
        topics.update(tx.topics)
        return result

    result = write_now(store, SystemClock(), noted)
    if topics:
        from tawny.cli import remote  # noqa: PLC0415 - who only reads rings nobody, and needs no HTTP

        remote.wake(home, topics)
    return result
