"""The audit trail: who did what, with what outcome and resources; hash-chained, in the transaction of the change."""

import hashlib
from collections.abc import Iterator
from typing import Any

import msgspec

from tawny.clock import Instant, iso
from tawny.ledger.database import Row, Tx
from tawny.ledger.tasks import position

GENESIS = "0" * 64
_BATCH = 1000
_encode = msgspec.json.Encoder(order="sorted").encode
_INSERT = (
    "INSERT INTO audit (seq, time, actor, action, task_id, detail, usage, decision, hash, previous)"
    " VALUES (:seq, :time, :actor, :action, :task_id, :detail, :usage, :decision, :hash, :previous)"
)


def append(
    tx: Tx,
    action: str,
    *,
    actor: str,
    task_id: str | None = None,
    detail: dict[str, Any] | None = None,
    usage: dict[str, Any] | None = None,
    decision: str | None = None,
) -> int:
    """Append a row (`task.create`, `task.run`, `task.effect`, `task.result`, …); its sequence number.

    Nothing secret may be in `detail`: give names and hashes of what was used, not the thing.
    """
    last, head = tx.numbers.take("audit")
    seq, previous = last + 1, head or GENESIS
    row = tx.later(
        "audit",
        _INSERT,
        {
            "seq": seq,
            "time": tx.now,
            "actor": actor,
            "action": action,
            "task_id": task_id,
            "detail": _encode(detail or {}).decode(),
            "usage": None if usage is None else _encode(usage).decode(),
            "decision": decision,
            "previous": previous,
        },
    )
    # Over what will be stored, which is clean.
    row["hash"] = digest(row)
    tx.numbers.put("audit", seq, row["hash"])
    return seq


def digest(row: dict[str, Any]) -> str:
    """The SHA-256 over a row's fields and its predecessor's hash."""
    fields = [
        row[name] for name in ("seq", "time", "actor", "action", "task_id", "detail", "usage", "decision")
    ]
    return hashlib.sha256(_encode([*fields, row["previous"]])).hexdigest()


class AuditRow(msgspec.Struct, frozen=True):
    """One row of the trail. `time` is an instant."""

    seq: int
    time: Instant
    actor: str
    action: str
    task_id: str | None
    detail: dict[str, Any]
    usage: dict[str, Any] | None
    decision: str | None
    hash: str
    previous: str

    def document(self) -> dict[str, Any]:
        """The row as on the wire."""
        return {**msgspec.structs.asdict(self), "time": iso(self.time)}


class Verification(msgspec.Struct, frozen=True):
    """What a look over the chain found. `head` is the newest row's hash; `broken_at` the first row that is wrong."""

    ok: bool
    rows: int
    head: str
    broken_at: int | None = None
    problem: str = ""


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows; `after` and `before` are instants."""

    action: str | None = None
    actor: str | None = None
    task_id: str | None = None
    after: Instant | None = None
    before: Instant | None = None


def page(
    tx: Tx, chosen: Filter | None = None, *, limit: int = 50, cursor: str | None = None
) -> tuple[list[AuditRow], str | None]:
    """Rows, newest first, and the cursor of the next page."""
    where, parameters = _where(chosen or Filter())
    if cursor is not None:
        where += " AND seq < :cursor"
        parameters["cursor"] = position(cursor)
    rows = tx.all(
        f"SELECT * FROM audit WHERE {where} ORDER BY seq DESC LIMIT :limit", limit=limit + 1, **parameters
    )
    found = [_row(row) for row in rows[:limit]]
    return found, str(found[-1].seq) if len(rows) > limit else None


def denied(tx: Tx, task_id: str) -> list[str]:
    """The operations that were denied to a task and what it started, each once, in their order."""
    rows = tx.all(
        "SELECT detail FROM audit WHERE action = 'tool.call' AND decision = 'deny' AND (task_id = :id OR task_id IN"
        " (SELECT task_id FROM tasks WHERE parent_id = :id)) ORDER BY seq LIMIT 50",
        id=task_id,
    )
    names = [str(msgspec.json.decode(row["detail"]).get("operation", "")) for row in rows]
    return list(dict.fromkeys(name for name in names if name))


def export(tx: Tx, chosen: Filter | None = None) -> Iterator[AuditRow]:
    """All rows, oldest first, a thousand at a time."""
    where, parameters = _where(chosen or Filter())
    seq = 0
    while rows := tx.all(
        f"SELECT * FROM audit WHERE {where} AND seq > :seq ORDER BY seq LIMIT {_BATCH}", seq=seq, **parameters
    ):
        for row in rows:
            yield _row(row)
        seq = rows[-1]["seq"]


def head(tx: Tx) -> str:
    """The newest row's hash: kept elsewhere, it shows later whether the end was cut off."""
    return str(tx.value("SELECT hash FROM audit ORDER BY seq DESC LIMIT 1") or GENESIS)


def verify(tx: Tx, *, known_head: str | None = None) -> Verification:
    """Look over the whole chain: every row's hash, every link, no gap, and that the end is still there.

    `known_head` is a hash that `export` or `verify` printed before: the chain must still contain it.
    """
    previous, expected, seen = GENESIS, 1, known_head in (None, GENESIS)
    while rows := tx.all(f"SELECT * FROM audit WHERE seq >= :seq ORDER BY seq LIMIT {_BATCH}", seq=expected):
        for row in rows:
            problem = _problem(row, expected, previous)
            if problem:
                return Verification(
                    ok=False, rows=expected - 1, head=previous, broken_at=expected, problem=problem
                )
            previous, expected = row["hash"], expected + 1
            seen = seen or previous == known_head
    count = expected - 1
    promised = int(tx.value("SELECT value FROM counters WHERE name = 'audit'"))
    if promised != count:
        return Verification(
            ok=False,
            rows=count,
            head=previous,
            broken_at=expected,
            problem=f"the end was cut off: {promised} rows were written, {count} are here",
        )
    if not seen:
        return Verification(
            ok=False,
            rows=count,
            head=previous,
            broken_at=expected,
            problem="the end was cut off or rewritten: the given head is not in the chain",
        )
    return Verification(ok=True, rows=count, head=previous)


def _problem(row: Row, expected: int, previous: str) -> str:
    if row["seq"] != expected:
        return f"row {expected} is missing"
    if row["previous"] != previous:
        return f"row {expected} does not follow the one before it"
    if digest(dict(row)) != row["hash"]:
        return f"row {expected} was changed"
    return ""


def _where(chosen: Filter) -> tuple[str, dict[str, Any]]:
    conditions, parameters = ["1 = 1"], dict[str, Any]()
    for name in ("action", "actor", "task_id"):
        if (value := getattr(chosen, name)) is not None:
            conditions.append(f"{name} = :{name}")
            parameters[name] = value
    if chosen.after is not None:
        conditions.append("time >= :after")
        parameters["after"] = chosen.after
    if chosen.before is not None:
        conditions.append("time < :before")
        parameters["before"] = chosen.before
    return " AND ".join(conditions), parameters


def _row(row: Row) -> AuditRow:
    return AuditRow(
        seq=row["seq"],
        time=row["time"],
        actor=row["actor"],
        action=row["action"],
        task_id=row["task_id"],
        detail=msgspec.json.decode(row["detail"]),
        usage=None if row["usage"] is None else msgspec.json.decode(row["usage"]),
        decision=row["decision"],
        hash=row["hash"],
        previous=row["previous"],
    )
