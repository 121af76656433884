"""The event log: appended facts with a gapless sequence; every reader goes at its own pace."""

from collections.abc import Sequence
from typing import Any

import msgspec

from tawny.clock import Instant, iso
from tawny.ledger.database import Tx

PAGE = 500
"""How many events are read at once; a page that is not full is the end of the log."""
_encode = msgspec.json.Encoder().encode
_INSERT = (
    "INSERT INTO events (seq, time, type, task_id, session, data)"
    " VALUES (:seq, :time, :type, :task_id, :session, :data)"
)


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


def append(
    tx: Tx,
    type: str,
    data: dict[str, Any],
    *,
    task_id: str | None = None,
    session: str | None = None,
) -> int:
    """Append a fact and ring `events`; its sequence number."""
    seq = tx.numbers.take("event")[0] + 1
    tx.numbers.put("event", seq)
    row = {
        "seq": seq,
        "time": tx.now,
        "type": type,
        "task_id": task_id,
        "session": session,
        "data": _encode(data).decode(),
    }
    tx.later("events", _INSERT, row)
    tx.wake("events")
    return seq


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


def revision(tx: Tx, task_id: str) -> int:
    """A number that grows with every change of a task: its newest event's, 0 where there is none."""
    return int(tx.value("SELECT MAX(seq) AS seq FROM events WHERE task_id = :id", id=task_id) or 0)


def _events(rows: Sequence[Any]) -> list[Event]:
    return [
        Event(
            row["seq"],
            row["time"],
            row["type"],
            row["task_id"],
            row["session"],
            msgspec.json.decode(row["data"]),
        )
        for row in rows
    ]
