"""What became of each slot of each automation: one row a slot, never two."""

import msgspec

from tawny.clock import DAY, Instant
from tawny.domain.occurrences import Occurrence
from tawny.ledger.database import Row, Tx
from tawny.ledger.tasks import ACTIVE, Page, position

KEEP = 30 * DAY
KEEP_MOST = 2000


class Ended(msgspec.Struct, frozen=True):
    """A slot whose task has ended and that has not been told so yet."""

    automation_id: str
    slot: Instant
    task_id: str


def _from_row(row: Row) -> Occurrence:
    return Occurrence(
        automation_id=row["automation_id"],
        slot=row["slot"],
        status=row["status"],
        task_id=row["task_id"],
        reason=row["reason"],
        merged_into=row["merged_into"],
        outcome=row["outcome"],
    )


def record(tx: Tx, occurrence: Occurrence) -> bool:
    """Write a slot down; `False` where it was there already."""
    return bool(
        tx.execute(
            "INSERT INTO occurrences (automation_id, slot, status, task_id, reason, merged_into, outcome, created_at)"
            " VALUES (:automation_id, :slot, :status, :task_id, :reason, :merged_into, :outcome, :now)"
            " ON CONFLICT DO NOTHING",
            automation_id=occurrence.automation_id,
            slot=occurrence.slot,
            status=occurrence.status,
            task_id=occurrence.task_id,
            reason=occurrence.reason,
            merged_into=occurrence.merged_into,
            outcome=occurrence.outcome,
            now=tx.now,
        )
    )


def attach(tx: Tx, automation_id: str, slot: Instant, task_id: str) -> None:
    """The slot's work is this task."""
    tx.execute(
        "UPDATE occurrences SET task_id = :task_id WHERE automation_id = :id AND slot = :slot",
        id=automation_id,
        slot=slot,
        task_id=task_id,
    )


def give_up(tx: Tx, automation_id: str, slot: Instant, reason: str) -> None:
    """The slot was to run, and its work could not even be handed in."""
    tx.execute(
        "UPDATE occurrences SET status = 'skipped', reason = :reason WHERE automation_id = :id AND slot = :slot",
        reason=reason,
        id=automation_id,
        slot=slot,
    )


def free_slot(tx: Tx, automation_id: str, slot: Instant) -> Instant:
    """`slot`, or the first microsecond after it that is not taken: for runs without a schedule."""
    taken = {
        row["slot"]
        for row in tx.all(
            "SELECT slot FROM occurrences WHERE automation_id = :id AND slot >= :slot AND slot < :end",
            id=automation_id,
            slot=slot,
            end=slot + 100_000,
        )
    }
    while slot in taken:
        slot += 1
    return slot


_VERIFIER = "verify:"


def verifier_key(task_id: str) -> str:
    """What a run's verifier is known by among its children."""
    return _VERIFIER + task_id


def verifier_of(tx: Tx, task_id: str) -> str | None:
    """The task that verifies a run, once it has been started."""
    return tx.value(
        "SELECT task_id FROM tasks WHERE parent_id = :id AND dedupe_key = :key",
        id=task_id,
        key=verifier_key(task_id),
    )


def ended(tx: Tx, *, limit: int = 200) -> list[Ended]:
    """Slots whose task has ended since, and their verifier with it: their outcome is to be settled."""
    rows = tx.all(
        "SELECT o.automation_id, o.slot, o.task_id FROM occurrences o JOIN tasks t ON t.task_id = o.task_id"
        f" WHERE o.task_id IS NOT NULL AND o.outcome IS NULL AND t.status NOT IN {ACTIVE}"
        " AND NOT EXISTS (SELECT 1 FROM tasks v WHERE v.parent_id = o.task_id"
        f" AND v.dedupe_key = '{_VERIFIER}' || o.task_id AND v.status IN {ACTIVE})"
        " ORDER BY t.ended_at, o.slot LIMIT :limit",
        limit=limit,
    )
    return [Ended(row["automation_id"], row["slot"], row["task_id"]) for row in rows]


def settle(tx: Tx, automation_id: str, slot: Instant, outcome: str) -> bool:
    """Write the outcome once; `False` where it was settled before."""
    return bool(
        tx.execute(
            "UPDATE occurrences SET outcome = :outcome"
            " WHERE automation_id = :id AND slot = :slot AND outcome IS NULL",
            id=automation_id,
            slot=slot,
            outcome=outcome,
        )
    )


def get(tx: Tx, automation_id: str, slot: Instant) -> Occurrence | None:
    """What became of a slot."""
    row = tx.one(
        "SELECT * FROM occurrences WHERE automation_id = :id AND slot = :slot", id=automation_id, slot=slot
    )
    return None if row is None else _from_row(row)


def between(tx: Tx, automation_id: str, start: Instant, end: Instant) -> list[Occurrence]:
    """The slots in [start, end), oldest first."""
    rows = tx.all(
        "SELECT * FROM occurrences WHERE automation_id = :id AND slot >= :start AND slot < :end ORDER BY slot",
        id=automation_id,
        start=start,
        end=end,
    )
    return [_from_row(row) for row in rows]


def page(
    tx: Tx, automation_id: str, *, limit: int = 50, cursor: str | None = None, status: str | None = None
) -> Page[Occurrence]:
    """The slots, newest first; the cursor is a slot."""
    limit = max(1, min(limit, 500))
    rows = tx.all(
        "SELECT * FROM occurrences WHERE automation_id = :id AND slot < :before"
        + (" AND status = :status" if status else "")
        + " ORDER BY slot DESC LIMIT :limit",
        id=automation_id,
        before=position(cursor),
        limit=limit + 1,
        **({"status": status} if status else {}),
    )
    items = [_from_row(row) for row in rows[:limit]]
    return Page(items, str(items[-1].slot) if len(rows) > limit else None)


def active_task(tx: Tx, automation_id: str) -> str | None:
    """The newest task of the automation that has not ended."""
    return tx.value(
        f"SELECT task_id FROM tasks WHERE automation_id = :id AND status IN {ACTIVE} AND parent_id IS NULL"
        " ORDER BY task_id DESC LIMIT 1",
        id=automation_id,
    )


def prune(tx: Tx, automation_id: str) -> None:
    """Forget slots over 30 days old, and more than the newest 2,000."""
    tx.execute(
        "DELETE FROM occurrences WHERE automation_id = :id AND slot < :old"
        " AND (outcome IS NOT NULL OR task_id IS NULL)",
        id=automation_id,
        old=tx.now - KEEP,
    )
    oldest = tx.value(
        "SELECT slot FROM occurrences WHERE automation_id = :id ORDER BY slot DESC LIMIT 1 OFFSET :most",
        id=automation_id,
        most=KEEP_MOST,
    )
    if oldest is not None:
        tx.execute(
            "DELETE FROM occurrences WHERE automation_id = :id AND slot <= :oldest"
            " AND (outcome IS NOT NULL OR task_id IS NULL)",
            id=automation_id,
            oldest=oldest,
        )
