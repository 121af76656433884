"""The event log: appended facts with a gapless sequence; every reader goes at its own pace. `tail.py` reads it."""

from typing import Any

import msgspec

from tawny.ledger.database import Tx
from tawny.ledger.tail import PAGE as PAGE
from tawny.ledger.tail import Event as Event
from tawny.ledger.tail import after as after
from tawny.ledger.tail import last_seq as last_seq

_encode = msgspec.json.Encoder().encode
_INSERT = (
    "INSERT INTO events (seq, time, type, task_id, session, data)"
    " VALUES (:seq, :time, :type, :task_id, :session, :data)"
)


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
    row = tx.later(
        "events",
        _INSERT,
        {
            "seq": seq,
            "time": tx.now,
            "type": type,
            "task_id": task_id,
            "session": session,
            "data": _encode(data).decode(),
        },
    )
    tx.told.append(row)
    tx.wake("events")
    return seq


def revision(tx: Tx, task_id: str) -> int:
    """A number that grows with every change of a task: its newest event's, also where that is kept no more."""
    newest = tx.value("SELECT MAX(seq) AS seq FROM events WHERE task_id = :id", id=task_id)
    if newest is None:
        newest = tx.value("SELECT last_event FROM tasks WHERE task_id = :id", id=task_id)
    return int(newest or 0)
