"""Automations as rows: adding, editing, finding, listing. Where each stands: `standing`; its history: `revisions`."""

from typing import Any

import msgspec

from tawny.clock import Instant, iso
from tawny.domain.automations import Spec, Status
from tawny.domain.tasks import Json, Origin
from tawny.errors import Conflict, NotFound
from tawny.ids import new_id, secret_token
from tawny.ledger import audit, events, revisions
from tawny.ledger.database import Row, Tx
from tawny.ledger.standing import TOPIC as TOPIC
from tawny.ledger.standing import Timing
from tawny.ledger.tasks import MAX_LIMIT, Page, to_json

SOURCES_TOPIC = "sources"
"""Rung when other places may have to be listened to: far rarer than a change of a due time."""
_spec = msgspec.json.Decoder(Spec).decode
_origin = msgspec.json.Decoder(Origin).decode
_state = msgspec.json.Decoder(dict[str, Any]).decode


class Automation(msgspec.Struct, frozen=True, kw_only=True):
    """An automation and where it stands. Times are instants; `state` is a watch's or expectation's memory."""

    automation_id: str
    name: str
    owner: str
    spec: Spec
    status: Status
    reason: str
    hook: str | None
    version: int
    handled_slot: Instant
    next_slot: Instant | None
    due_at: Instant | None
    retry_at: Instant | None
    last_run: Instant | None
    last_task: str | None
    failures: int
    alerted_at: Instant | None
    alert_cause: str | None
    state: dict[str, Json]
    origin: Origin
    created_at: Instant
    updated_at: Instant

    def document(self) -> dict[str, Any]:
        """The automation as on the wire."""
        document = {
            "id": self.automation_id,
            **self.spec.document(),
            "status": self.status,
            "reason": self.reason,
            "failures": self.failures,
            "version": self.version,
            "created_at": iso(self.created_at),
            "updated_at": iso(self.updated_at),
            "last_run": None if self.last_run is None else iso(self.last_run),
            "next_run": None if self.due_at is None or self.status != "active" else iso(self.due_at),
        }
        if self.hook and self.spec.expect is not None:
            document["ping_url"] = f"/hooks/{self.hook}"
        return document


def from_row(row: Row) -> Automation:
    """The automation in a row."""
    return Automation(
        automation_id=row["automation_id"],
        name=row["name"],
        owner=row["owner"],
        spec=_spec(row["spec"]),
        status=row["status"],
        reason=row["reason"],
        hook=row["hook"],
        version=row["version"],
        handled_slot=row["handled_slot"],
        next_slot=row["next_slot"],
        due_at=row["due_at"],
        retry_at=row["retry_at"],
        last_run=row["last_run"],
        last_task=row["last_task"],
        failures=row["failures"],
        alerted_at=row["alerted_at"],
        alert_cause=row["alert_cause"],
        state=_state(row["state"]),
        origin=_origin(row["origin"]),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def add(
    tx: Tx,
    spec: Spec,
    timing: Timing,
    *,
    automation_id: str | None = None,
    status: Status = "active",
    owner: str = "owner",
    actor: str = "owner",
    origin: Origin | None = None,
    created_at: Instant | None = None,
) -> Automation:
    """Add an automation.

    Raises:
        Conflict: there is one with that id.
    """
    automation_id = automation_id or new_id("auto", tx.now)
    rows = tx.all(
        "INSERT INTO automations (automation_id, name, owner, type, source, hook, spec, status, reason, version,"
        " handled_slot, next_slot, due_at, state, origin, created_at, updated_at)"
        " VALUES (:id, :name, :owner, :type, :source, :hook, :spec, :status, '', 1,"
        " :handled_slot, :next_slot, :due_at, '{}', :origin, :created_at, :now)"
        " ON CONFLICT DO NOTHING RETURNING *",
        id=automation_id,
        name=spec.name,
        owner=owner,
        type=spec.type,
        source=spec.on.source if spec.on else None,
        hook=_hook(spec),
        spec=to_json(spec),
        status=status,
        handled_slot=timing.handled_slot,
        next_slot=timing.next_slot,
        due_at=timing.due_at,
        origin=to_json(origin or Origin()),
        created_at=created_at or tx.now,
        now=tx.now,
    )
    if not rows:
        raise Conflict(
            f"there is an automation {automation_id!r} already", hint="'tawny automations edit' changes it"
        )
    revisions.record(tx, automation_id, 1, actor, spec)
    tell(tx, automation_id, "created", {"name": spec.name, "type": spec.type})
    audit.append(
        tx, "automation.create", actor=actor, detail={"automation_id": automation_id, "name": spec.name}
    )
    _ring(tx, spec)
    return from_row(rows[0])


def _ring(tx: Tx, *specs: Spec) -> None:
    tx.wake(TOPIC)
    if any(spec.on is not None for spec in specs):
        tx.wake(SOURCES_TOPIC)


def _hook(spec: Spec) -> str | None:
    """The last part of `/hooks/…`: the name a webhook has, or a ping's secret."""
    if spec.expect is not None:
        return f"ping-{secret_token()}"
    if spec.on is not None and spec.on.source == "webhook":
        return spec.on.name
    return None


def edit(
    tx: Tx,
    automation_id: str,
    spec: Spec,
    timing: Timing,
    *,
    actor: str = "owner",
    origin: Origin | None = None,
) -> Automation:
    """Change the definition, and the origin where one is given; history, failures and a ping's address stay."""
    before = get(tx, automation_id)
    hook = before.hook if spec.expect is not None and before.spec.expect is not None else _hook(spec)
    rows = tx.all(
        "UPDATE automations SET name = :name, type = :type, source = :source, hook = :hook, spec = :spec,"
        " version = version + 1, handled_slot = :handled_slot, next_slot = :next_slot, due_at = :due_at,"
        " origin = :origin, updated_at = :now WHERE automation_id = :id RETURNING *",
        id=automation_id,
        name=spec.name,
        type=spec.type,
        source=spec.on.source if spec.on else None,
        hook=hook,
        spec=to_json(spec),
        handled_slot=timing.handled_slot,
        next_slot=timing.next_slot,
        due_at=timing.due_at,
        origin=to_json(origin or before.origin),
        now=tx.now,
    )
    after = from_row(rows[0])
    revisions.record(tx, automation_id, after.version, actor, spec)
    tell(tx, automation_id, "edited", {"name": spec.name, "version": after.version})
    audit.append(
        tx, "automation.edit", actor=actor, detail={"automation_id": automation_id, "version": after.version}
    )
    _ring(tx, before.spec, spec)
    return after


def set_status(
    tx: Tx,
    automation_id: str,
    status: Status,
    *,
    reason: str = "",
    actor: str = "owner",
    timing: Timing | None = None,
) -> Automation:
    """Change the status, and with it where the schedule stands (unchanged where `timing` is none)."""
    before = get(tx, automation_id)
    timing = timing or Timing(
        handled_slot=before.handled_slot, next_slot=before.next_slot, due_at=before.due_at
    )
    rows = tx.all(
        "UPDATE automations SET status = :status, reason = :reason, handled_slot = :handled_slot,"
        " next_slot = :next_slot, due_at = :due_at, retry_at = :retry_at, updated_at = :now,"
        " failures = CASE WHEN :status = 'active' THEN 0 ELSE failures END"
        " WHERE automation_id = :id RETURNING *",
        id=automation_id,
        status=status,
        reason=reason,
        handled_slot=timing.handled_slot,
        next_slot=timing.next_slot,
        due_at=timing.due_at,
        retry_at=timing.retry_at,
        now=tx.now,
    )
    if before.status != status:
        word = {"active": "enabled"}.get(status, status)
        tell(tx, automation_id, word, {"name": before.name, "reason": reason, "by": actor})
        audit.append(
            tx,
            f"automation.{word}",
            actor=actor,
            detail={"automation_id": automation_id, "reason": reason},
        )
    _ring(tx, before.spec)
    return from_row(rows[0])


def remove(tx: Tx, automation_id: str, *, actor: str = "owner") -> None:
    """Take it away with its occurrences; the tasks it made stay."""
    gone = get(tx, automation_id)
    for table in ("occurrences", "automation_edits", "automations"):
        tx.execute(f"DELETE FROM {table} WHERE automation_id = :id", id=automation_id)
    tell(tx, automation_id, "removed", {"name": gone.name})
    audit.append(
        tx, "automation.remove", actor=actor, detail={"automation_id": automation_id, "name": gone.name}
    )
    _ring(tx, gone.spec)


def tell(tx: Tx, automation_id: str, what: str, data: dict[str, Any]) -> None:
    """Append the fact `automation.<what>`."""
    events.append(tx, f"automation.{what}", {"automation_id": automation_id, **data})


def get(tx: Tx, automation_id: str) -> Automation:
    """The automation with this id.

    Raises:
        NotFound: there is none.
    """
    row = tx.one("SELECT * FROM automations WHERE automation_id = :id", id=automation_id)
    if row is None:
        raise NotFound(
            f"there is no automation {automation_id!r}", hint="'tawny automations list' shows what there is"
        )
    return from_row(row)


def exists(tx: Tx, automation_id: str) -> bool:
    """Whether there is one with this id."""
    return tx.one("SELECT 1 AS one FROM automations WHERE automation_id = :id", id=automation_id) is not None


def find(tx: Tx, lookup: str) -> Automation:
    """The automation meant by an id, a name, or a unique prefix of an id (with or without `auto_`).

    Raises:
        NotFound: nothing matches.
        Conflict: several match; the message names them.
    """
    rows = (
        tx.all("SELECT * FROM automations WHERE automation_id = :lookup", lookup=lookup)
        or tx.all(
            "SELECT * FROM automations WHERE name = :lookup ORDER BY automation_id LIMIT 3", lookup=lookup
        )
        or _by_prefix(tx, lookup)
        or _by_prefix(tx, f"auto_{lookup}")
    )
    if not rows:
        raise NotFound(
            f"there is no automation {lookup!r}", hint="'tawny automations list' shows what there is"
        )
    if len(rows) > 1:
        names = ", ".join(row["automation_id"] for row in rows)
        raise Conflict(f"{lookup!r} could be several automations: {names}", hint="give more of the id")
    return from_row(rows[0])


def _by_prefix(tx: Tx, prefix: str) -> Any:
    return tx.all(
        "SELECT * FROM automations WHERE automation_id >= :low AND automation_id < :high LIMIT 3",
        low=prefix,
        high=prefix + "~",
    )


def page(
    tx: Tx,
    *,
    status: str | None = None,
    type: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page[Automation]:
    """Automations, newest first."""
    conditions, values = ["1 = 1"], dict[str, Any]()
    for column, value in {"status": status, "type": type}.items():
        if value:
            conditions.append(f"{column} = :{column}")
            values[column] = value
    if cursor is not None:
        conditions.append("automation_id < :cursor")
        values["cursor"] = cursor
    limit = max(1, min(limit, MAX_LIMIT))
    rows = tx.all(
        f"SELECT * FROM automations WHERE {' AND '.join(conditions)} ORDER BY automation_id DESC LIMIT :limit",
        limit=limit + 1,
        **values,
    )
    items = [from_row(row) for row in rows[:limit]]
    return Page(items, items[-1].automation_id if len(rows) > limit else None)


def next_due(tx: Tx) -> Instant | None:
    """The earliest moment any active automation is to be acted on."""
    return tx.value(
        "SELECT due_at FROM automations WHERE status = 'active' AND due_at IS NOT NULL ORDER BY due_at LIMIT 1"
    )


def count_due(tx: Tx, now: Instant) -> int:
    """How many active automations are to be acted on by `now`."""
    return int(
        tx.value(
            "SELECT COUNT(*) AS n FROM automations WHERE status = 'active' AND due_at IS NOT NULL AND due_at <= :now",
            now=now,
        )
    )


def due(tx: Tx, now: Instant, *, limit: int) -> list[Automation]:
    """The active automations to act on by `now`, longest due first."""
    rows = tx.all(
        "SELECT * FROM automations WHERE status = 'active' AND due_at IS NOT NULL AND due_at <= :now"
        " ORDER BY due_at, automation_id LIMIT :limit",
        now=now,
        limit=limit,
    )
    return [from_row(row) for row in rows]


def of_source(tx: Tx, source: str) -> list[Automation]:
    """The active automations that listen to a source."""
    rows = tx.all(
        "SELECT * FROM automations WHERE source = :source AND status = 'active' ORDER BY automation_id",
        source=source,
    )
    return [from_row(row) for row in rows]


def watching(tx: Tx) -> list[Automation]:
    """The active automations that look again and again."""
    rows = tx.all(
        "SELECT * FROM automations WHERE type = 'continuous' AND status = 'active' ORDER BY automation_id"
    )
    return [from_row(row) for row in rows]


def of_hook(tx: Tx, hook: str) -> Automation | None:
    """The automation behind `/hooks/<hook>`."""
    row = tx.one("SELECT * FROM automations WHERE hook = :hook ORDER BY automation_id LIMIT 1", hook=hook)
    return None if row is None else from_row(row)


def counts(tx: Tx) -> dict[str, int]:
    """How many there are, by status."""
    rows = tx.all("SELECT status, COUNT(*) AS n FROM automations GROUP BY status")
    return {row["status"]: int(row["n"]) for row in rows}
