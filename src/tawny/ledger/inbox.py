"""Events from outside: stored before they are acknowledged, each once, for thirty days."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from tawny.clock import DAY, Instant, iso
from tawny.domain.tasks import Json
from tawny.ledger import events
from tawny.ledger.database import Row, Tx
from tawny.ledger.tasks import Page, position, to_json

TOPIC = "inbox"
SOURCES_TOPIC = "event_sources"
KEEP = 30 * DAY
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class InboxEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event from outside. `time` is when it happened, `received_at` when it came in (instants).

    `trust` is `owner` (his own token or machine), `contact`, or `untrusted`.
    """

    seq: int
    source: str
    event_id: str
    time: Instant
    received_at: Instant
    trust: str
    data: dict[str, Json]
    status: str
    tasks: list[str]

    def names(self) -> dict[str, Json]:
        """What a filter and an action's texts may use: the keys of `data`, and `event` with all of it."""
        whole: dict[str, Json] = {
            "source": self.source,
            "event_id": self.event_id,
            "time": iso(self.time),
            "data": self.data,
        }
        return {"source": self.source, "event_id": self.event_id, **self.data, "event": whole}

    def document(self) -> dict[str, Any]:
        """The event as on the wire."""
        return {
            "source": self.source,
            "event_id": self.event_id,
            "time": iso(self.time),
            "received_at": iso(self.received_at),
            "trust": self.trust,
            "data": self.data,
            "status": self.status,
            "tasks": self.tasks,
        }


def accept(
    tx: Tx,
    source: str,
    event_id: str,
    data: dict[str, Json],
    *,
    time: Instant | None = None,
    trust: str = "untrusted",
) -> bool:
    """Store an event; only then may it be acknowledged. `False` where it was seen within 30 days."""
    row = tx.one(
        "SELECT seq FROM inbox WHERE source = :source AND event_id = :id", source=source, id=event_id
    )
    if row is not None:
        return False
    seq = tx.value("UPDATE counters SET value = value + 1 WHERE name = 'inbox' RETURNING value")
    tx.execute(
        "INSERT INTO inbox (seq, source, event_id, time, received_at, trust, data, status, tasks)"
        " VALUES (:seq, :source, :id, :time, :now, :trust, :data, 'new', '[]')",
        seq=seq,
        source=source,
        id=event_id,
        time=time if time is not None else tx.now,
        now=tx.now,
        trust=trust,
        data=to_json(data),
    )
    tx.execute("DELETE FROM inbox WHERE received_at < :old AND status <> 'new'", old=tx.now - KEEP)
    events.append(tx, "system.event_received", {"source": source, "event_id": event_id})
    tx.wake(TOPIC)
    return True


def has_new(tx: Tx) -> bool:
    """Whether anything waits to be matched."""
    return tx.one("SELECT seq FROM inbox WHERE status = 'new' LIMIT 1") is not None


def new(tx: Tx, *, limit: int = 50) -> list[InboxEvent]:
    """What waits to be matched, oldest first."""
    rows = tx.all("SELECT * FROM inbox WHERE status = 'new' ORDER BY seq LIMIT :limit", limit=limit)
    return [_from_row(row) for row in rows]


def settle(tx: Tx, event: InboxEvent, status: str, tasks: list[str]) -> None:
    """Say what became of it."""
    tx.execute(
        "UPDATE inbox SET status = :status, tasks = :tasks WHERE seq = :seq",
        status=status,
        tasks=to_json(tasks),
        seq=event.seq,
    )


def newest(tx: Tx, source: str, wanted: Callable[[Mapping[str, Json]], bool]) -> InboxEvent | None:
    """The newest event of a source whose data is wanted."""
    cursor: str | None = None
    while True:
        found = page(tx, source=source, limit=100, cursor=cursor)
        for event in found.items:
            if wanted(event.data):
                return event
        if found.next_cursor is None:
            return None
        cursor = found.next_cursor


def between(tx: Tx, source: str, start: Instant, end: Instant, *, most: int = 100) -> list[InboxEvent]:
    """The events of a source that came in within [start, end), oldest first."""
    rows = tx.all(
        "SELECT * FROM inbox WHERE source = :source AND received_at >= :start AND received_at < :end"
        " ORDER BY seq LIMIT :most",
        source=source,
        start=start,
        end=end,
        most=most,
    )
    return [_from_row(row) for row in rows]


def page(
    tx: Tx, *, source: str | None = None, limit: int = 50, cursor: str | None = None
) -> Page[InboxEvent]:
    """Events, newest first."""
    condition = " AND source = :source" if source else ""
    rows = tx.all(
        f"SELECT * FROM inbox WHERE seq < :before{condition} ORDER BY seq DESC LIMIT :limit",
        before=position(cursor),
        limit=limit + 1,
        **({"source": source} if source else {}),
    )
    items = [_from_row(row) for row in rows[:limit]]
    return Page(items, str(items[-1].seq) if len(rows) > limit else None)


def _from_row(row: Row) -> InboxEvent:
    return InboxEvent(
        seq=row["seq"],
        source=row["source"],
        event_id=row["event_id"],
        time=row["time"],
        received_at=row["received_at"],
        trust=row["trust"],
        data=_decode(row["data"]),
        status=row["status"],
        tasks=msgspec.json.decode(row["tasks"]),
    )


class Wait(msgspec.Struct, frozen=True):
    """A task that waits for an event."""

    task_id: str
    key: str
    filter: str


def wait(tx: Tx, task_id: str, key: str, source: str, filter: str) -> None:
    """A task waits for an event of that source."""
    tx.execute(
        "INSERT INTO event_waits (task_id, wait_key, source, filter, created_at)"
        " VALUES (:task_id, :key, :source, :filter, :now) ON CONFLICT (task_id, wait_key) DO NOTHING",
        task_id=task_id,
        key=key,
        source=source,
        filter=filter,
        now=tx.now,
    )


def waits(tx: Tx, source: str) -> list[Wait]:
    """The tasks that wait for events of that source."""
    rows = tx.all("SELECT * FROM event_waits WHERE source = :source ORDER BY created_at", source=source)
    return [Wait(row["task_id"], row["wait_key"], row["filter"]) for row in rows]


def end_wait(tx: Tx, task_id: str, key: str) -> None:
    """It waits no longer."""
    tx.execute(
        "DELETE FROM event_waits WHERE task_id = :task_id AND wait_key = :key", task_id=task_id, key=key
    )


class SourceState(msgspec.Struct, frozen=True, kw_only=True):
    """Where a source of events stands. `failures` in a row; `cursor` is the source's own."""

    source: str
    cursor: dict[str, Json]
    seen_at: Instant | None
    failures: int
    error: str | None


def source_state(tx: Tx, source: str) -> SourceState:
    """Where a source stands; an empty cursor where it was never read."""
    row = tx.one("SELECT * FROM event_sources WHERE source = :source", source=source)
    if row is None:
        return SourceState(source=source, cursor={}, seen_at=None, failures=0, error=None)
    return SourceState(
        source=source,
        cursor=_decode(row["cursor"]),
        seen_at=row["seen_at"],
        failures=row["failures"],
        error=row["error"],
    )


def source_states(tx: Tx) -> list[SourceState]:
    """Every source that was ever read."""
    rows = tx.all("SELECT source FROM event_sources ORDER BY source")
    return [source_state(tx, row["source"]) for row in rows]


def keep_source(
    tx: Tx, source: str, *, cursor: dict[str, Json], failures: int = 0, error: str | None = None
) -> None:
    """Keep where a source stands; without an error it has just answered."""
    tx.execute(
        "INSERT INTO event_sources (source, cursor, seen_at, failures, error, updated_at)"
        " VALUES (:source, :cursor, :seen, :failures, :error, :now)"
        " ON CONFLICT (source) DO UPDATE SET cursor = excluded.cursor, failures = excluded.failures,"
        " error = excluded.error, updated_at = excluded.updated_at,"
        " seen_at = COALESCE(excluded.seen_at, event_sources.seen_at)",
        source=source,
        cursor=to_json(cursor),
        seen=tx.now if error is None else None,
        failures=failures,
        error=None if error is None else error[:500],
        now=tx.now,
    )
    tx.wake(SOURCES_TOPIC)
