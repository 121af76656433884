"""The two databases a benchmark runs on: SQLite in the home, and a PostgreSQL server of its own with fsync on."""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent.parent / "tests"))

import servers

SQLITE = "SQLite WAL synchronous=FULL"
Fresh = Callable[[], AbstractContextManager[str]]
"""Makes a database without a table; the URL, empty for the file in the home."""


@contextmanager
def databases() -> Iterator[dict[str, Fresh]]:
    """Both, by name; where no PostgreSQL is installed, that is said and SQLite is measured alone."""
    both: dict[str, Fresh] = {SQLITE: lambda: nullcontext("")}
    with ExitStack() as stack:
        try:
            maintenance = stack.enter_context(servers.postgres(fsync=True))
            both["PostgreSQL fsync=on"] = lambda: servers.database(maintenance)
        except pytest.skip.Exception as reason:
            print(reason, file=sys.stderr)
        yield both
