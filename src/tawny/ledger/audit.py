"""The audit trail: who did what, with what outcome and resources; hash-chained, in the transaction of the change."""

import hashlib
from typing import Any

import msgspec

from tawny.ledger.database import Tx

GENESIS = "0" * 64
_encode = msgspec.json.Encoder(order="sorted").encode


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
    row: dict[str, Any] = {
        "seq": seq,
        "time": tx.now,
        "actor": actor,
        "action": action,
        "task_id": task_id,
        "detail": _encode(detail or {}).decode(),
        "usage": None if usage is None else _encode(usage).decode(),
        "decision": decision,
        "previous": previous,
    }
    row["hash"] = digest(row)
    tx.numbers.put("audit", seq, row["hash"])
    tx.execute(
        "INSERT INTO audit (seq, time, actor, action, task_id, detail, usage, decision, hash, previous)"
        " VALUES (:seq, :time, :actor, :action, :task_id, :detail, :usage, :decision, :hash, :previous)",
        **row,
    )
    return seq


def digest(row: dict[str, Any]) -> str:
    """The SHA-256 over a row's fields and its predecessor's hash."""
    fields = [
        row[name] for name in ("seq", "time", "actor", "action", "task_id", "detail", "usage", "decision")
    ]
    return hashlib.sha256(_encode([*fields, row["previous"]])).hexdigest()
