"""PostgreSQL's protocol in batches: an order whose answer nobody waits for travels with the next that is waited for.

psycopg connects, adapts values and names the errors; what it does for one statement alone (a cursor, a query object, a
generator, a way there and back) would cost four times as much as this, and the writer's statements are most of a task.
"""

import re
import select
from collections import deque
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import pq
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import error_from_result

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult

_PARAMETER = re.compile(r"(?<![:\w]):([a-z_][a-z0-9_]*)")
_MOST_PREPARED = 400
_GOOD = (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK, pq.ExecStatus.EMPTY_QUERY)
_STALE_PLAN = "0A000"
_SYNC, _ANSWER = object(), object()
_Key = tuple[str, tuple[int, ...]]


@lru_cache(maxsize=2048)
def translate(sql: str) -> tuple[bytes, tuple[str, ...]]:
    """Our `:name` parameters as PostgreSQL's `$1`, and their names in that order."""
    names: dict[str, int] = {}

    def numbered(match: re.Match[str]) -> str:
        return f"${names.setdefault(match.group(1), len(names) + 1)}"

    return _PARAMETER.sub(numbered, sql).encode(), tuple(names)


class Pipeline:
    """The orders of one connection, in their order. Used by one thread at a time."""

    def __init__(self, connection: "psycopg.Connection[Any]") -> None:
        self._raw = connection.pgconn
        self._adapt = Transformer.from_context(connection)
        self._encoding = connection.info.encoding
        self._expected: deque[object] = deque()
        """What the server still has to answer, the oldest first: `_SYNC`, `_ANSWER`, or the key of what it prepares."""
        self._ignored = 0
        """How many of the next answers may be errors: what they belong to is undone."""
        self._prepared: dict[_Key, bytes] = {}
        self._seen: set[_Key] = set()
        self._count = 0
        self._names: dict[str, tuple[str, ...]] = {}
        self._ready = select.poll()
        self._ready.register(self._raw.socket, select.POLLIN)
        self._raw.nonblocking = 1
        self._raw.enter_pipeline_mode()
        self.is_owing = False
        """Whether something was sent of which nobody knows yet how it went."""
        self.trips = 0
        """How often the server's answer was waited for."""

    def send(self, sql: str, params: Mapping[str, Any] | None = None) -> None:
        """Let an order go along with whatever is waited for next; then it fails, if it does."""
        query, names = translate(sql)
        values = self._adapt.dump_sequence(
            [params[name] for name in names] if params else (), (PyFormat.AUTO,) * len(names)
        )
        types = self._adapt.types or ()
        key = (sql, types)
        prepared = self._prepared.get(key)
        if prepared is None and key in self._seen:
            # Whoever comes twice will come again.
            prepared = self._prepared[key] = b"t%d" % self._count
            self._count += 1
            self._raw.send_prepare(prepared, query, types)
            self._expected.append(key)
        if prepared is None:
            self._seen.add(key)
            self._raw.send_query_params(query, values, types, self._adapt.formats)
        else:
            self._raw.send_query_prepared(prepared, values, self._adapt.formats)
        self._expected.append(_ANSWER)
        self.is_owing = True

    def settle(self) -> "PGresult | None":
        """Wait for all that is under way; the last order's result.

        Raises:
            psycopg.Error: the first of them that went wrong.
        """
        self.sync()
        self._flush()
        self.trips += 1
        return self._drain()

    def sync(self) -> None:
        """What comes from here on is done whether or not what was before has failed."""
        self._raw.pipeline_sync()
        self._expected.append(_SYNC)

    def undo(self, sql: str) -> None:
        """Send an order that undoes what is under way: how that went is of no interest any more."""
        if self._expected:
            self.sync()
            self._ignored = len(self._expected)
        self.send(sql)

    def part(self) -> None:
        """Send what there is and wait for nothing; the answers are read with the next that is waited for."""
        self.sync()
        self._flush()
        self._ignored = len(self._expected)
        self.is_owing = False

    def rows(self, sql: str, result: "PGresult") -> list[dict[str, Any]]:
        """The rows of a result, by the names of their columns."""
        count = result.ntuples
        if not count:
            return []
        names = self._names.get(sql)
        if names is None or len(names) != result.nfields:
            if len(self._names) >= _MOST_PREPARED:
                self._names.clear()
            names = self._names[sql] = tuple((result.fname(n) or b"").decode() for n in range(result.nfields))
        self._adapt.set_pgresult(result)
        columns = names
        return self._adapt.load_rows(0, count, lambda row: dict(zip(columns, row, strict=True)))

    def script(self, sql: str) -> None:
        """Run several orders given as one text.

        Raises:
            psycopg.Error: one of them went wrong.
        """
        if self._expected:
            self.settle()
        self._raw.exit_pipeline_mode()
        try:
            result = self._raw.exec_(sql.encode())
            if result.status not in _GOOD:
                raise self._error(result)
        finally:
            self._raw.enter_pipeline_mode()

    def tidy(self) -> None:
        """Forget what was prepared where that has become too much; between two transactions."""
        if len(self._prepared) < _MOST_PREPARED and len(self._seen) < 5 * _MOST_PREPARED:
            return
        self._prepared.clear()
        self._seen.clear()
        self.send("DEALLOCATE ALL")

    # --- the wire

    def _flush(self) -> None:
        while self._raw.flush():
            self._ready.modify(self._raw.socket, select.POLLIN | select.POLLOUT)
            try:
                self._ready.poll()
            finally:
                self._ready.modify(self._raw.socket, select.POLLIN)
            self._raw.consume_input()

    def _drain(self) -> "PGresult | None":
        last: PGresult | None = None
        error: psycopg.Error | None = None
        while self._expected:
            result = self._next()
            expected = self._expected.popleft()
            ignored = self._ignored > 0
            self._ignored -= ignored
            if result is None:
                raise self._gone()
            if expected is _SYNC:
                continue
            if result.status not in _GOOD:
                if isinstance(expected, tuple):
                    self._prepared.pop(expected, None)  # pyright: ignore[reportUnknownArgumentType]
                if result.status == pq.ExecStatus.FATAL_ERROR and error is None and not ignored:
                    error = self._error(result)
            elif expected is _ANSWER:
                last = result
            # Each answer is followed by the sign of its end.
            if self._next() is not None:
                raise self._gone()
        self.is_owing = False
        if error is not None:
            raise error
        return last

    def _next(self) -> "PGresult | None":
        while self._raw.is_busy():
            self._ready.poll()
            self._raw.consume_input()
        return self._raw.get_result()

    def _error(self, result: "PGresult") -> psycopg.Error:
        if self._raw.status == pq.ConnStatus.BAD:
            return self._gone(result.get_error_message(self._encoding))
        error = error_from_result(result, self._encoding)
        if error.sqlstate == _STALE_PLAN:
            # A table has been changed under what was prepared.
            self._prepared.clear()
            self._seen.clear()
        return error

    def _gone(self, reason: str = "") -> psycopg.Error:
        """The connection is of no use any more, whoever ended it."""
        reason = reason or self._raw.get_error_message(self._encoding)
        self._expected.clear()
        self._ignored = 0
        self._raw.finish()
        return psycopg.OperationalError(reason)


def changed(result: "PGresult") -> int:
    """How many rows an order has changed or found."""
    return result.command_tuples or 0
