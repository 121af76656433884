"""Sending, as the ledger sees it: a message is claimed (the intent), then settled (what came of it).

pending ─claim→ sending ─→ delivered        a receipt is there
   ▲               ├─────→ unknown          nobody can know; never repeated unasked
   └── retry ──────┼─────→ failed           it never will; one rung down the ladder
                   └─────→ expired          too old to be told

One that is tried again although it may have arrived (the other side drops a repeat, or it was asked for) never ends
as failed or expired, which would say that it is not there: it ends as unknown.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from tawny.clock import Instant, iso
from tawny.domain import notify
from tawny.domain.messages import Outgoing, Receipt
from tawny.ledger import audit, events, outbox
from tawny.ledger.database import Tx
from tawny.ledger.outbox import Line, from_row

_encode = msgspec.json.Encoder().encode


def in_doubt_since(receipt: Receipt) -> Instant:
    """When a piece was first tried of which nobody knows what came; 0 where there is none."""
    return int(receipt.detail.get(outbox.IN_DOUBT, 0))


class Head(msgspec.Struct, frozen=True):
    """The first unsent message of a conversation, and when its next step is due."""

    conversation: str
    status: str
    next_at: Instant


def heads(tx: Tx) -> tuple[list[Head], Instant | None]:
    """The head of each conversation's line, and when the next held message joins one."""
    rows = tx.all(
        "SELECT o.conversation, o.status, o.next_at, o.created_at FROM outbox o JOIN"
        " (SELECT conversation, MIN(delivery_id) AS head FROM outbox"
        "  WHERE status IN ('pending', 'sending') AND bundle IS NULL"
        "  AND (held_until IS NULL OR held_until <= :now) GROUP BY conversation) h"
        " ON o.delivery_id = h.head",
        now=tx.now,
    )
    held = tx.value(
        "SELECT MIN(held_until) AS due FROM outbox WHERE status = 'pending' AND held_until > :now", now=tx.now
    )
    lines = [Head(row["conversation"], row["status"], row["next_at"] or row["created_at"]) for row in rows]
    return lines, held


Plan = Callable[[Line, Instant], Instant | None]
"""Until when a message is held back (quiet hours, digest); `None` sends it now."""


Resolve = Callable[[str], str | None]
"""The address a target leads to with everything filled in, `None` where nobody knows yet."""


def claim(
    tx: Tx, conversation: str, *, sender: str, plan: Plan, resolve: Resolve | None = None
) -> Line | None:
    """Write the intent to send the next due message of a conversation; `None` where none is due.

    What has expired on the way is settled as such, what `plan` holds back leaves the line until then. News that two
    targets bring to one and the same address is told there once.
    """
    while True:
        row = tx.one(
            "SELECT * FROM outbox WHERE conversation = :conversation AND status IN ('pending', 'sending')"
            " AND bundle IS NULL AND (held_until IS NULL OR held_until <= :now)"
            " ORDER BY delivery_id LIMIT 1",
            conversation=conversation,
            now=tx.now,
        )
        if row is None or row["status"] == "sending" or (row["next_at"] or 0) > tx.now:
            return None
        line = from_row(row)
        if line.expires_at is not None and line.expires_at <= tx.now:
            expire(tx, line)
            continue
        if not row["planned"]:
            until = plan(line, tx.now)
            _mark(tx, line.delivery_id, planned=1, held_until=until)
            if until is not None and until > tx.now:
                continue
        sent_to = resolve(line.target) if resolve is not None else None
        if sent_to is not None and _is_told_there(tx, line, sent_to):
            suppress(tx, line, f"told at {sent_to} already")
            continue
        message = _gather(tx, line) if line.held_until is not None and line.attempts == 0 else line.message
        tx.execute(
            "UPDATE outbox SET status = 'sending', attempts = attempts + 1, sender = :sender, updated_at = :now,"
            " sent_to = :sent_to WHERE delivery_id = :id OR bundle = :id",
            sender=sender,
            sent_to=sent_to,
            id=line.delivery_id,
            now=tx.now,
        )
        return msgspec.structs.replace(line, message=message, attempts=line.attempts + 1, status="sending")


def _is_told_there(tx: Tx, line: Line, sent_to: str) -> bool:
    if line.task_id is None:
        return False
    return (
        tx.one(
            "SELECT delivery_id FROM outbox WHERE task_id = :task_id AND transition = :transition"
            " AND generation = :generation AND sent_to = :sent_to AND delivery_id <> :own"
            " AND status IN ('sending', 'delivered', 'unknown') LIMIT 1",
            task_id=line.task_id,
            transition=line.transition,
            generation=line.generation,
            sent_to=sent_to,
            own=line.delivery_id,
        )
        is not None
    )


def _gather(tx: Tx, leader: Line) -> Outgoing:
    """The leader's message with those of the other held ones that are due; from now on they travel in it."""
    if not notify.may_be_bundled(leader.message) or leader.message.document.get("type") == "digest":
        return leader.message
    rows = tx.all(
        "SELECT * FROM outbox WHERE conversation = :conversation AND status = 'pending' AND bundle IS NULL"
        " AND held_until <= :now AND delivery_id > :leader AND expires_at > :now"
        " ORDER BY delivery_id LIMIT 500",
        conversation=leader.conversation,
        leader=leader.delivery_id,
        now=tx.now,
    )
    riders = list(itertools.takewhile(lambda line: notify.may_be_bundled(line.message), map(from_row, rows)))
    if not riders:
        return leader.message
    for rider in riders:
        _mark(tx, rider.delivery_id, bundle=leader.delivery_id)
    message = notify.digest([leader.message, *(rider.message for rider in riders)])
    _mark(tx, leader.delivery_id, message=_encode(message).decode())
    return message


def arrived_in_part(tx: Tx, delivery_id: str, receipt: Receipt) -> None:
    """Some chunks have arrived: they are not sent again."""
    _mark(tx, delivery_id, receipt=_encode(receipt).decode())


def delivered(tx: Tx, line: Line, receipt: Receipt, *, sent_to: str) -> None:
    """The receipt is there."""
    for each in _together(tx, line):
        _mark(
            tx,
            each.delivery_id,
            status="delivered",
            receipt=_encode(receipt).decode(),
            sent_to=sent_to,
            error=None,
            next_at=None,
        )
        _tell(tx, "delivery.sent", each, status="delivered", receipt=list(receipt.ids), sent_to=sent_to)


def retry(tx: Tx, line: Line, error: str, *, at: Instant, counts: bool = True) -> None:
    """Nothing was sent: try again at `at`. A wait the other side asked for does not count as an attempt."""
    for each in _together(tx, line):
        attempts = each.attempts if counts else max(0, each.attempts - 1)
        _mark(tx, each.delivery_id, status="pending", error=error, next_at=at, attempts=attempts, sender=None)
        facts = {"delivery_id": each.delivery_id, "target": each.target, "transition": each.transition}
        events.append(
            tx, "delivery.retry_scheduled", {**facts, "error": error, "at": iso(at)}, task_id=each.task_id
        )
    tx.wake("outbox")


def unknown(tx: Tx, line: Line, error: str, *, receipt: Receipt | None = None, sent_to: str = "") -> None:
    """It may have arrived: it stands there as unknown, and only a person has it sent again.

    A result is put into the inbox besides, so that it is not lost either way.
    """
    kept = line.receipt if receipt is None else receipt
    for each in _together(tx, line):
        _mark(
            tx,
            each.delivery_id,
            status="unknown",
            error=error,
            receipt=_encode(kept).decode(),
            sent_to=sent_to or None,
            next_at=None,
        )
        if each.bundle is None and each.transition in notify.ENDINGS:
            _step_down(tx, each, notify.INBOX)
        _tell(tx, "delivery.unknown", each, status="unknown", error=error)


def failed(tx: Tx, line: Line, error: str, *, fallback: str | None) -> None:
    """It never will arrive there; `fallback` is the next rung of the ladder."""
    if _ends_unknown(tx, line, error):
        return
    for each in _together(tx, line):
        _mark(tx, each.delivery_id, status="failed", error=error, next_at=None)
        if fallback is not None and each.bundle is None:
            _step_down(tx, each, fallback)
        _tell(tx, "delivery.failed", each, status="failed", error=error, fallback=fallback)


def expire(tx: Tx, line: Line) -> None:
    """Too old to be told; a result still goes to the inbox, where it bothers nobody."""
    if _ends_unknown(tx, line, f"{line.error or 'no answer'}; too old to be sent again"):
        return
    for each in _together(tx, line):
        _mark(tx, each.delivery_id, status="expired", next_at=None)
        fallback = notify.INBOX if each.transition in notify.ENDINGS and each.target != notify.INBOX else None
        if fallback and each.bundle is None:
            _step_down(tx, each, fallback)
        _tell(tx, "delivery.failed", each, status="expired", error=each.error or "expired", fallback=fallback)


def suppress(tx: Tx, line: Line, reason: str) -> None:
    """Keep the line for the record and send nothing."""
    if _ends_unknown(tx, line, reason):
        return
    _mark(tx, line.delivery_id, status="suppressed", error=reason, next_at=None)
    if line.task_id:
        outbox.refresh(tx, line.task_id)


def fan_out(tx: Tx, line: Line, names: Sequence[str]) -> None:
    """A line for `failures` becomes one for each channel that wants failures only."""
    for name in names:
        _step_down(tx, line, name)
    suppress(tx, line, f"told to {', '.join(names)}" if names else "no channel is named for failures")


def _step_down(tx: Tx, line: Line, target: str) -> None:
    outbox.put(
        tx,
        task_id=line.task_id,
        transition=line.transition,
        target=target,
        message=line.message,
        severity=line.severity,
        at_least_once=line.at_least_once,
        fallback_of=line.delivery_id,
    )


def stranded(tx: Tx, sender: str) -> list[Line]:
    """What another, dead process was sending, leaders only."""
    rows = tx.all(
        "SELECT * FROM outbox WHERE status = 'sending' AND bundle IS NULL"
        " AND (sender IS NULL OR sender <> :sender) ORDER BY delivery_id",
        sender=sender,
    )
    return [from_row(row) for row in rows]


def _ends_unknown(tx: Tx, line: Line, why: str) -> bool:
    """Settle a line that may have arrived as unknown; whether it is one."""
    stored = outbox.get(tx, line.delivery_id)
    if not in_doubt_since(stored.receipt):
        return False
    unknown(tx, line, why, receipt=stored.receipt, sent_to=stored.sent_to or "")
    return True


def _together(tx: Tx, line: Line) -> list[Line]:
    """The line as it is stored now, and those that travel in it."""
    rows = tx.all(
        "SELECT * FROM outbox WHERE delivery_id = :id OR bundle = :id ORDER BY delivery_id",
        id=line.delivery_id,
    )
    return [from_row(row) for row in rows if row["status"] in ("sending", "pending")]


def _mark(tx: Tx, delivery_id: str, **changes: Any) -> None:
    sets = ", ".join(f"{name} = :{name}" for name in changes)
    tx.execute(
        f"UPDATE outbox SET {sets}, updated_at = :changed_at WHERE delivery_id = :delivery_id",
        delivery_id=delivery_id,
        changed_at=tx.now,
        **changes,
    )


def _tell(tx: Tx, event: str, line: Line, **facts: Any) -> None:
    data = {
        "delivery_id": line.delivery_id,
        "target": line.target,
        "transition": line.transition,
        **facts,
    }
    events.append(tx, event, data, task_id=line.task_id)
    audit.append(tx, event, actor="delivery", task_id=line.task_id, detail=data)
    if line.task_id:
        outbox.refresh(tx, line.task_id)
