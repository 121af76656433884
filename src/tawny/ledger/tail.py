"""Reading the event log; and its newest part, kept in memory once for all who follow it in this process."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from tawny.clock import Instant, iso
from tawny.ledger.transaction import Tx

PAGE = 500
"""How many events are read at once; a page that is not full is the end of the log."""
_KEPT = 1024
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Event(msgspec.Struct, frozen=True):
    """A fact, past tense: `task.started`. `time` is an instant."""

    seq: int
    time: Instant
    type: str
    task_id: str | None
    session: str | None
    data: dict[str, Any]

    def document(self) -> dict[str, Any]:
        """The event as on the wire."""
        return {
            "seq": self.seq,
            "time": iso(self.time),
            "type": self.type,
            "task_id": self.task_id,
            "session": self.session,
            "data": self.data,
        }


def after(tx: Tx, seq: int, *, limit: int = PAGE, task_id: str | None = None) -> list[Event]:
    """The events after `seq`, oldest first."""
    condition = " AND task_id = :task_id" if task_id else ""
    parameters: dict[str, Any] = {"task_id": task_id} if task_id else {}
    return _events(
        tx.all(
            "SELECT seq, time, type, task_id, session, data FROM events"
            f" WHERE seq > :seq{condition} ORDER BY seq LIMIT :limit",
            seq=seq,
            limit=limit,
            **parameters,
        )
    )


def last_seq(tx: Tx) -> int:
    """The sequence number of the newest event, 0 where there is none."""
    return int(tx.value("SELECT value FROM counters WHERE name = 'event'"))


def _events(rows: Sequence[Mapping[str, Any]]) -> list[Event]:
    return [
        Event(
            row["seq"],
            row["time"],
            row["type"],
            row["task_id"],
            row["session"],
            _decode(row["data"]),
        )
        for row in rows
    ]


class Tail:
    """The newest events. What this process commits is here without being read; what others commit is read once.

    `read` runs a function on a reader's connection. `rung` is set whenever somebody, anybody, has written events.
    """

    def __init__(self, read: Callable[[Callable[[Tx], Any]], Awaitable[Any]], rung: asyncio.Event) -> None:
        self._read = read
        self._rung = rung
        self._rung.set()
        self._kept: deque[Event] = deque(maxlen=_KEPT)
        self._last: int | None = None
        self._catching_up = asyncio.Lock()

    @property
    def is_sure(self) -> bool:
        """Whether it has everything that it has heard of."""
        return not self._rung.is_set()

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Take what this process has committed, unless something of others stands before it: then it has to be read."""
        if self._last is None or rows[0]["seq"] != self._last + 1:
            self._rung.set()
            return
        self._kept.extend(_events(rows))
        self._last = rows[-1]["seq"]
        self._rung.clear()

    async def after(self, seq: int, *, limit: int = PAGE) -> list[Event]:
        """The events after `seq`, oldest first, at most `limit`; from memory where they are there.

        Raises:
            StorageError: they had to be read, and the disk refused.
        """
        if self._rung.is_set() or self._catching_up.locked():
            await self._catch_up()
        assert self._last is not None
        missing = self._last - seq
        if missing <= 0:
            return []
        first = len(self._kept) - missing
        if first < 0:
            found: list[Event] = await self._read(lambda tx: after(tx, seq, limit=limit))
            return found
        return [self._kept[index] for index in range(first, min(first + limit, len(self._kept)))]

    async def _catch_up(self) -> None:
        async with self._catching_up:
            while self._rung.is_set():
                self._rung.clear()
                try:
                    await self._read_on()
                except BaseException:
                    self._rung.set()
                    raise

    async def _read_on(self) -> None:
        if self._last is None:
            self._last = int(await self._read(last_seq))
            return
        start = self._last
        page: list[Event] = await self._read(lambda tx: after(tx, start))
        # What was committed here meanwhile may be there already.
        fresh = [event for event in page if event.seq > self._last]
        if not fresh:
            return
        if fresh[0].seq != self._last + 1:
            # Old ones were cleared away before they were read.
            self._kept.clear()
        self._kept.extend(fresh)
        self._last = fresh[-1].seq
        if len(page) >= PAGE:
            self._rung.set()
