"""What was said to sessions: kept once, taken up by one turn, answered."""

from collections.abc import Sequence

import msgspec

from tawny.clock import Instant
from tawny.domain.tasks import Json
from tawny.ids import new_id
from tawny.ledger import events
from tawny.ledger.database import Row, Tx
from tawny.ledger.sessions import Entry
from tawny.ledger.tasks import to_json

_decode = msgspec.json.Decoder().decode


class Input(msgspec.Struct, frozen=True, kw_only=True):
    """Something said to a session. `status` is queued, taken, answered, dropped."""

    input_id: str
    session: str
    source: str
    event_id: str
    text: str
    detail: dict[str, Json]
    task_id: str | None
    taken_by: str | None
    status: str
    reply: str
    created_at: Instant


def _input(row: Row) -> Input:
    fields = {name: row[name] for name in Input.__struct_fields__ if name != "detail"}
    return Input(**fields, detail=_decode(row["detail"]))


def receive(
    tx: Tx, session: str, *, source: str, event_id: str, text: str, detail: dict[str, Json] | None = None
) -> Input | None:
    """Keep something that was said; `None` where the same event of the source was kept before."""
    rows = tx.all(
        "INSERT INTO session_inputs (input_id, session, source, event_id, text, detail, status, created_at)"
        " VALUES (:id, :session, :source, :event_id, :text, :detail, 'queued', :now)"
        " ON CONFLICT (source, event_id) DO NOTHING RETURNING *",
        id=new_id("msg", tx.now),
        session=session,
        source=source,
        event_id=event_id,
        text=text,
        detail=to_json(detail or {}),
        now=tx.now,
    )
    if not rows:
        return None
    kept = _input(rows[0])
    events.append(
        tx,
        "message.received",
        {"session": session, "role": "user", "text": text, "message_id": kept.input_id, "source": source},
        session=session,
    )
    return kept


def seen(tx: Tx, source: str, event_id: str) -> Input | None:
    """The input an event became."""
    row = tx.one(
        "SELECT * FROM session_inputs WHERE source = :source AND event_id = :event_id",
        source=source,
        event_id=event_id,
    )
    return None if row is None else _input(row)


def start_turn(tx: Tx, input_id: str, task_id: str) -> None:
    """The turn `task_id` was started for an input."""
    tx.execute(
        "UPDATE session_inputs SET task_id = :task_id WHERE input_id = :input_id",
        task_id=task_id,
        input_id=input_id,
    )


def settle(tx: Tx, input_id: str, status: str, *, reply: str = "") -> None:
    tx.execute(
        "UPDATE session_inputs SET status = :status, reply = :reply WHERE input_id = :input_id",
        status=status,
        reply=reply,
        input_id=input_id,
    )


def queued(tx: Tx, session: str) -> list[Input]:
    """What was said and no turn has taken up, oldest first."""
    rows = tx.all(
        "SELECT * FROM session_inputs WHERE session = :session AND status = 'queued' ORDER BY input_id",
        session=session,
    )
    return [_input(row) for row in rows]


def take(tx: Tx, input_ids: Sequence[str], run_id: str) -> None:
    """The run has taken these inputs up."""
    for input_id in input_ids:
        tx.execute(
            "UPDATE session_inputs SET status = 'taken', taken_by = :run_id WHERE input_id = :input_id"
            " AND status = 'queued'",
            run_id=run_id,
            input_id=input_id,
        )


def answer(tx: Tx, run_id: str, reply: str) -> None:
    """The run has answered every input it was started for or has taken up."""
    tx.execute(
        "UPDATE session_inputs SET status = 'answered', reply = :reply, taken_by = COALESCE(taken_by, :run_id)"
        " WHERE (task_id = :run_id AND status = 'queued') OR (taken_by = :run_id AND status = 'taken')",
        reply=reply,
        run_id=run_id,
    )


def unanswered(tx: Tx, session: str) -> list[Entry]:
    """What was said and is not in the transcript yet, as it belongs to a turn under way or waiting."""
    rows = tx.all(
        "SELECT * FROM session_inputs WHERE session = :session AND status IN ('queued', 'taken')"
        " ORDER BY input_id LIMIT 100",
        session=session,
    )
    return [
        Entry(role="user", text=one.text, run_id=one.task_id or "", time=one.created_at)
        for one in map(_input, rows)
    ]


def of_task(tx: Tx, task_id: str) -> Input | None:
    """The input a turn was started for."""
    row = tx.one("SELECT * FROM session_inputs WHERE task_id = :task_id", task_id=task_id)
    return None if row is None else _input(row)
