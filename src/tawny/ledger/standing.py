"""Where an automation stands: its slots and due time, a watch's memory, how its last work ended."""

import msgspec

from tawny.clock import Instant
from tawny.domain.tasks import Json
from tawny.ledger.database import Tx
from tawny.ledger.tasks import to_json

TOPIC = "automations"
"""Rung when a due time has changed."""


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """Where a schedule stands: see the columns in `schema/0002_automations.sql`."""

    handled_slot: Instant
    next_slot: Instant | None
    due_at: Instant | None
    retry_at: Instant | None = None


def set_timing(tx: Tx, automation_id: str, timing: Timing) -> None:
    """Say where the schedule stands, without a wake-up: the scheduler itself does this."""
    tx.execute(
        "UPDATE automations SET handled_slot = :handled_slot, next_slot = :next_slot, due_at = :due_at,"
        " retry_at = :retry_at WHERE automation_id = :id",
        id=automation_id,
        handled_slot=timing.handled_slot,
        next_slot=timing.next_slot,
        due_at=timing.due_at,
        retry_at=timing.retry_at,
    )


def set_due(tx: Tx, automation_id: str, due_at: Instant | None, *, retry_at: Instant | None = None) -> None:
    """Move the moment of acting, and wake the scheduler for it."""
    tx.execute(
        "UPDATE automations SET due_at = :due_at, retry_at = :retry_at WHERE automation_id = :id",
        id=automation_id,
        due_at=due_at,
        retry_at=retry_at,
    )
    tx.wake(TOPIC)


def choose_slot(tx: Tx, automation_id: str, slot: Instant) -> None:
    """The next slot is this, whatever the schedule says."""
    tx.execute(
        "UPDATE automations SET next_slot = :slot, due_at = :slot, retry_at = NULL WHERE automation_id = :id",
        id=automation_id,
        slot=slot,
    )
    tx.wake(TOPIC)


def set_state(tx: Tx, automation_id: str, state: dict[str, Json]) -> None:
    """Keep a watch's memory."""
    tx.execute(
        "UPDATE automations SET state = :state WHERE automation_id = :id",
        id=automation_id,
        state=to_json(state),
    )


def note_run(tx: Tx, automation_id: str, task_id: str) -> None:
    """It has started work."""
    tx.execute(
        "UPDATE automations SET last_run = :now, last_task = :task_id WHERE automation_id = :id",
        id=automation_id,
        task_id=task_id,
        now=tx.now,
    )


def note_outcome(
    tx: Tx,
    automation_id: str,
    *,
    failures: int,
    alerted_at: Instant | None = None,
    alert_cause: str | None = None,
) -> None:
    """Its work has ended so many times in a row badly."""
    tx.execute(
        "UPDATE automations SET failures = :failures, alerted_at = :alerted_at, alert_cause = :cause"
        " WHERE automation_id = :id",
        id=automation_id,
        failures=failures,
        alerted_at=alerted_at,
        cause=alert_cause,
    )
