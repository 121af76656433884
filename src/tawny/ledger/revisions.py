"""What an automation's definition has been: every version, by whom and since when."""

from typing import Any

import msgspec

from tawny.clock import Instant, iso
from tawny.domain.automations import Spec
from tawny.ledger.database import Tx
from tawny.ledger.tasks import to_json

_KEEP = 50
_spec = msgspec.json.Decoder(Spec).decode


def record(tx: Tx, automation_id: str, version: int, actor: str, spec: Spec) -> None:
    """Keep the definition of a version; the oldest beyond the fiftieth are forgotten."""
    tx.execute(
        "INSERT INTO automation_edits (automation_id, version, time, actor, spec)"
        " VALUES (:id, :version, :now, :actor, :spec)",
        id=automation_id,
        version=version,
        now=tx.now,
        actor=actor,
        spec=to_json(spec),
    )
    tx.execute(
        "DELETE FROM automation_edits WHERE automation_id = :id AND version <= :old",
        id=automation_id,
        old=version - _KEEP,
    )


def edits(tx: Tx, automation_id: str) -> list[dict[str, Any]]:
    """The history of the definition, newest first."""
    rows = tx.all(
        "SELECT version, time, actor, spec FROM automation_edits WHERE automation_id = :id ORDER BY version DESC",
        id=automation_id,
    )
    return [
        {
            "version": row["version"],
            "time": iso(row["time"]),
            "actor": row["actor"],
            "definition": _spec(row["spec"]).document(),
        }
        for row in rows
    ]


def versions(tx: Tx, automation_id: str) -> list[tuple[int, Instant, Spec]]:
    """The definitions it has had, newest first: version, since when, definition."""
    rows = tx.all(
        "SELECT version, time, spec FROM automation_edits WHERE automation_id = :id ORDER BY version DESC",
        id=automation_id,
    )
    return [(row["version"], row["time"], _spec(row["spec"])) for row in rows]
