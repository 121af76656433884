"""These suites run on SQLite and on PostgreSQL."""

from tests.both import config

__all__ = ["config"]
