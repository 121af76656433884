"""Messages owed to people and machines: put in the transaction of what they tell, settled by a receipt.

A line is `pending`, `sending`, and ends `delivered`, `unknown`, `failed`, `expired` or `suppressed`; `deliveries.py`
moves it along.
suppressed: kept for the record, never sent (an incident already told, a policy changed to silent).
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from tawny.clock import DAY, MINUTE, Instant, iso
from tawny.domain import notify
from tawny.domain.messages import Attachment, Outgoing, Receipt
from tawny.domain.tasks import Notify, Task
from tawny.errors import Conflict, NotFound
from tawny.ids import new_id
from tawny.ledger import audit, events
from tawny.ledger.database import Row, Tx

RESULT_LIFETIME = DAY
"""How long a result is worth bringing; after that it lies in the inbox."""
CHANGE_LIFETIME = 15 * MINUTE
INCIDENT_WINDOW = DAY
_encode = msgspec.json.Encoder().encode
_message = msgspec.json.Decoder(Outgoing).decode
_receipt = msgspec.json.Decoder(Receipt).decode


IN_DOUBT = "in_doubt"
"""In the detail of a receipt: since when the next piece may have arrived (an instant)."""
KEPT_IN = f"CASE WHEN receipt LIKE '%\"{IN_DOUBT}\"%' THEN 'unknown' ELSE 'suppressed' END"
"""SQL: what becomes of a pending line that is not sent any more."""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One message owed. Times are instants; `receipt` of an unfinished line holds the chunks that arrived."""

    delivery_id: str
    task_id: str | None
    transition: str
    target: str
    generation: int
    conversation: str
    status: str
    severity: str
    message: Outgoing
    attempts: int
    next_at: Instant | None
    expires_at: Instant | None
    receipt: Receipt
    error: str | None
    incident: str | None
    at_least_once: bool
    held_until: Instant | None
    bundle: str | None
    fallback_of: str | None
    sent_to: str | None
    created_at: Instant
    updated_at: Instant
    read_at: Instant | None = None

    def document(self) -> dict[str, Any]:
        """The line as on the wire."""
        return {
            "delivery_id": self.delivery_id,
            "task_id": self.task_id,
            "transition": self.transition,
            "target": self.target,
            "status": self.status,
            "attempts": self.attempts,
            "error": self.error,
            "receipt": list(self.receipt.ids),
            "fallback_of": self.fallback_of,
            "next_attempt_at": None if self.next_at is None else iso(self.next_at),
            "held_until": None if self.held_until is None else iso(self.held_until),
            "created_at": iso(self.created_at),
            "updated_at": iso(self.updated_at),
        }


def put(
    tx: Tx,
    *,
    task_id: str | None,
    transition: str,
    target: str,
    message: Outgoing,
    conversation: str = "",
    severity: str = "normal",
    incident: str | None = None,
    at_least_once: bool = False,
    lifetime: int | None = None,
    fallback_of: str | None = None,
) -> str | None:
    """Owe a message; its delivery id, `None` where this transition of the task is owed to the target already.

    Messages of one `conversation` (the target unless told) keep their order. One `incident` is told once a target
    and day: what comes after is kept as `suppressed`. `lifetime` is in microseconds.
    """
    delivery_id = new_id("dlv", tx.now)
    told = incident is not None and _is_told(tx, incident, target)
    if lifetime is None:
        is_change = transition.startswith("task.") and transition not in notify.ENDINGS
        lifetime = CHANGE_LIFETIME if is_change else RESULT_LIFETIME
    added = tx.execute(
        "INSERT INTO outbox (delivery_id, task_id, transition, target, conversation, status, severity, message,"
        " next_at, expires_at, incident, at_least_once, fallback_of, error, created_at, updated_at)"
        " VALUES (:id, :task_id, :transition, :target, :conversation, :status, :severity, :message,"
        " :now, :expires_at, :incident, :at_least_once, :fallback_of, :error, :now, :now)"
        " ON CONFLICT DO NOTHING",
        id=delivery_id,
        task_id=task_id,
        transition=transition,
        target=target,
        conversation=conversation or target,
        status="suppressed" if told else "pending",
        severity=severity,
        message=_encode(msgspec.structs.replace(message, key=delivery_id)).decode(),
        expires_at=tx.now + lifetime,
        incident=incident,
        at_least_once=int(at_least_once),
        fallback_of=fallback_of,
        error="this incident has been told" if told else None,
        now=tx.now,
    )
    if not added:
        return None
    if not told:
        tx.wake("outbox")
    return delivery_id


def _is_told(tx: Tx, incident: str, target: str) -> bool:
    return (
        tx.one(
            "SELECT delivery_id FROM outbox WHERE incident = :incident AND target = :target"
            " AND status IN ('pending', 'sending', 'delivered', 'unknown') AND created_at > :since LIMIT 1",
            incident=incident,
            target=target,
            since=tx.now - INCIDENT_WINDOW,
        )
        is not None
    )


def close_incident(tx: Tx, incident: str) -> None:
    """The incident is over: the next one of its name is told again."""
    tx.execute("UPDATE outbox SET incident = NULL WHERE incident = :incident", incident=incident)


def announce(
    tx: Tx, task: Task, event: str, document: dict[str, Any], *, kept: Sequence[Attachment] = ()
) -> str:
    """Owe everybody concerned the news of `task` (as it is after the change); the delivery status it has now.

    `document` is the task as on the wire; webhooks get it whole. `kept` are the files of an unfinished run.
    """
    if event == "task.succeeded" and task.automation_id:
        close_incident(tx, f"failing:{task.automation_id}")
    owed = notify.owed(task, event, document, kept=kept)
    for line in owed:
        put(
            tx,
            task_id=task.task_id,
            transition=line.transition,
            target=line.target,
            message=line.message,
            severity=line.severity,
            incident=line.incident,
            at_least_once=line.at_least_once,
        )
    return refresh(tx, task.task_id) if owed else task.delivery_status


def get(tx: Tx, delivery_id: str) -> Line:
    """The line of that id.

    Raises:
        NotFound: there is none.
    """
    row = tx.one("SELECT * FROM outbox WHERE delivery_id = :id", id=delivery_id)
    if row is None:
        raise NotFound(f"there is no delivery {delivery_id}", hint="see them with 'tawny channels queue'")
    return from_row(row)


def page(tx: Tx, *, statuses: Sequence[str] = (), target: str | None = None, limit: int = 50) -> list[Line]:
    """Deliveries, newest first."""
    marks = {f"s{index}": status for index, status in enumerate(statuses)}
    conditions = [f"status IN ({', '.join(':' + name for name in marks)})"] if marks else []
    parameters: dict[str, Any] = dict(marks)
    if target is not None:
        conditions.append("target = :target")
        parameters["target"] = target
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    rows = tx.all(
        f"SELECT * FROM outbox{where} ORDER BY delivery_id DESC LIMIT :limit", limit=limit, **parameters
    )
    return [from_row(row) for row in rows]


def of_task(tx: Tx, task_id: str) -> list[Line]:
    """Everything owed for a task, oldest first."""
    rows = tx.all("SELECT * FROM outbox WHERE task_id = :task_id ORDER BY delivery_id", task_id=task_id)
    return [from_row(row) for row in rows]


def targets(tx: Tx, task_id: str) -> list[dict[str, Any]]:
    """The `delivery.targets` of a task's document."""
    return [line.document() for line in of_task(tx, task_id)]


def inbox(tx: Tx, *, unread: bool = False, limit: int = 50) -> list[Line]:
    """What lies in the inbox, newest first."""
    condition = " AND read_at IS NULL" if unread else ""
    rows = tx.all(
        f"SELECT * FROM outbox WHERE target = 'inbox' AND status = 'delivered'{condition}"
        " ORDER BY delivery_id DESC LIMIT :limit",
        limit=limit,
    )
    return [from_row(row) for row in rows]


def mark_read(tx: Tx, delivery_id: str) -> None:
    """The person has seen it; every device hears so, once."""
    row = tx.one(
        "UPDATE outbox SET read_at = :now WHERE delivery_id = :id AND read_at IS NULL RETURNING task_id, target",
        id=delivery_id,
        now=tx.now,
    )
    if row is not None and row["target"] == "inbox":
        events.append(tx, "delivery.read", {"delivery_id": delivery_id}, task_id=row["task_id"])


def asked_in(tx: Tx, sent_to: str, *, limit: int = 5) -> list[Line]:
    """The newest unanswered messages of the last day at an address that carry buttons: what a reply may mean."""
    rows = tx.all(
        "SELECT * FROM outbox WHERE sent_to = :sent_to AND status IN ('delivered', 'unknown')"
        " AND read_at IS NULL AND created_at > :since ORDER BY delivery_id DESC LIMIT 50",
        sent_to=sent_to,
        since=tx.now - DAY,
    )
    return [line for line in map(from_row, rows) if line.message.buttons][:limit]


def answered(tx: Tx, delivery_id: str) -> None:
    """The question in it has been answered; a later number does not mean it any more."""
    mark_read(tx, delivery_id)


def resend(tx: Tx, delivery_id: str) -> str:
    """A person wants it sent again, knowing it may have arrived; the id of the new delivery.

    Raises:
        Conflict: it is still on its way, or has arrived.
    """
    line = get(tx, delivery_id)
    if line.status not in ("unknown", "failed", "expired"):
        raise Conflict(
            f"delivery {delivery_id} is {line.status}", hint="only unknown, failed or expired ones"
        )
    fresh = new_id("dlv", tx.now)
    message = msgspec.structs.replace(line.message, key=fresh)
    tx.execute(
        "INSERT INTO outbox (delivery_id, task_id, transition, target, generation, conversation, status, severity,"
        " message, next_at, expires_at, at_least_once, planned, created_at, updated_at)"
        " SELECT :fresh, task_id, transition, target,"
        " (SELECT MAX(o.generation) + 1 FROM outbox o WHERE o.transition = outbox.transition"
        "  AND o.target = outbox.target AND (o.task_id = outbox.task_id OR o.delivery_id = outbox.delivery_id)),"
        " conversation, 'pending', severity, :message, :now, :expires_at, at_least_once, 1, :now, :now"
        " FROM outbox WHERE delivery_id = :id",
        fresh=fresh,
        message=_encode(message).decode(),
        expires_at=tx.now + RESULT_LIFETIME,
        id=delivery_id,
        now=tx.now,
    )
    audit.append(
        tx, "delivery.resend", actor="owner", task_id=line.task_id, detail={"delivery_id": delivery_id}
    )
    if line.task_id:
        refresh(tx, line.task_id)
    tx.wake("outbox")
    return fresh


def hush(tx: Tx, task_id: str, policy: Notify) -> int:
    """The task tells less from now on: of its news, what has not gone out and is no longer wanted stays in; how much.

    Questions about the task are no news, and a message that carries other tasks' news too goes out whole.
    """
    rows = tx.all(
        "SELECT delivery_id, transition FROM outbox WHERE task_id = :task_id AND status = 'pending'"
        " AND bundle IS NULL AND transition LIKE 'task.%' AND NOT EXISTS"
        " (SELECT 1 FROM outbox rider WHERE rider.bundle = outbox.delivery_id AND rider.status = 'pending')",
        task_id=task_id,
    )
    unwanted = [
        row["delivery_id"]
        for row in rows
        if not notify.is_wanted(policy, row["transition"].partition("@")[0])
    ]
    for delivery_id in unwanted:
        tx.execute(
            f"UPDATE outbox SET status = {KEPT_IN}, error = :why, next_at = NULL, updated_at = :now"
            " WHERE delivery_id = :id",
            why=f"the task was set to {policy}",
            id=delivery_id,
            now=tx.now,
        )
    if unwanted:
        refresh(tx, task_id)
    return len(unwanted)


def refresh(tx: Tx, task_id: str) -> str:
    """Make the task's own word about its delivery true again; that word."""
    rows = tx.all(
        "SELECT delivery_id, transition, target, generation, status, fallback_of FROM outbox"
        " WHERE task_id = :task_id ORDER BY delivery_id",
        task_id=task_id,
    )
    word = _word(rows)
    tx.execute(
        "UPDATE tasks SET delivery_status = :word WHERE task_id = :task_id AND delivery_status <> :word",
        word=word,
        task_id=task_id,
    )
    return word


def _word(rows: Sequence[Row]) -> str:
    # Questions and alarms that concern the task are no deliveries of its result.
    rows = [row for row in rows if row["transition"].startswith("task.") or row["transition"] == "reply"]
    ends = any(row["transition"] in notify.ENDINGS for row in rows)
    latest: dict[tuple[str, str], Row] = {}
    for row in rows:
        if row["fallback_of"] is None and row["target"] != notify.MONITORS:
            if ends and row["transition"] not in notify.ENDINGS:
                continue
            latest[row["transition"], row["target"]] = row
    below: dict[str, list[Row]] = {}
    for row in rows:
        if row["fallback_of"] is not None:
            below.setdefault(row["fallback_of"], []).append(row)

    def is_rescued(delivery_id: str) -> bool:
        return any(
            row["status"] == "delivered" or is_rescued(row["delivery_id"])
            for row in below.get(delivery_id, ())
        )

    return notify.overall(
        [(row["target"], row["status"], is_rescued(row["delivery_id"])) for row in latest.values()]
    )


def from_row(row: Row) -> Line:
    """The line in a row of the table."""
    return Line(
        delivery_id=row["delivery_id"],
        task_id=row["task_id"],
        transition=row["transition"],
        target=row["target"],
        generation=row["generation"],
        conversation=row["conversation"],
        status=row["status"],
        severity=row["severity"],
        message=_message(row["message"]),
        attempts=row["attempts"],
        next_at=row["next_at"],
        expires_at=row["expires_at"],
        receipt=_receipt(row["receipt"]) if row["receipt"] else Receipt(),
        error=row["error"],
        incident=row["incident"],
        at_least_once=bool(row["at_least_once"]),
        held_until=row["held_until"],
        bundle=row["bundle"],
        fallback_of=row["fallback_of"],
        sent_to=row["sent_to"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        read_at=row["read_at"],
    )
