"""Which database a home has."""

from importlib import import_module

from tawny.config import Config, Home
from tawny.errors import ConfigError
from tawny.ledger.database import Store
from tawny.ledger.sqlite import SqliteStore


def open_store(home: Home, config: Config) -> Store:
    """The database that `[ledger] url` names; SQLite in the home where it names none.

    Raises:
        ConfigError: the URL is none we know, or its driver is not installed.
    """
    url = config.ledger.url
    if not url:
        return SqliteStore(home.database)
    if not url.startswith(("postgresql://", "postgres://")):
        raise ConfigError(
            f"[ledger] url: {url!r} is none we know", hint="give postgresql://…, or leave it out"
        )
    try:
        module = import_module("tawny.ledger.postgres")
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"[ledger] url: the PostgreSQL driver is missing ({error.name})",
            hint="pip install 'tawny[postgres]'",
        ) from error
    store: Store = module.PostgresStore(url)
    return store
