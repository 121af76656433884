"""Standing grants as durable rows: a yes to exactly one call that holds for a while and so many times.

made by an answer with "always" → used, counted → used up │ lapsed │ revoked, each with its audit row.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from tawny.domain.approvals import GRANT_LIFETIME, GRANT_USES, Approval, Grant, fingerprint
from tawny.domain.tasks import Json
from tawny.errors import NotFound
from tawny.ids import new_id
from tawny.ledger import audit
from tawny.ledger.database import Row, Tx

_encode = msgspec.json.Encoder(order="sorted").encode


def create(tx: Tx, approval: Approval, *, by: str) -> None:
    """Make a yes a standing one: for exactly the arguments it was given to."""
    arguments, print_ = approval.arguments, approval.fingerprint
    if approval.answered_arguments is not None:
        arguments = approval.answered_arguments
        print_ = fingerprint(approval.tool, approval.operation, arguments)
    grant_id = new_id("grant", tx.now)
    tx.execute(
        "INSERT INTO grants (grant_id, approval_id, tool, operation, arguments, fingerprint, granted_by, created_at,"
        " expires_at, uses_left) VALUES (:grant_id, :approval_id, :tool, :operation, :arguments, :fingerprint, :by,"
        " :now, :expires_at, :uses)",
        grant_id=grant_id,
        approval_id=approval.approval_id,
        tool=approval.tool,
        operation=approval.operation,
        arguments=_encode(arguments).decode(),
        fingerprint=print_,
        by=by,
        now=tx.now,
        expires_at=tx.now + GRANT_LIFETIME,
        uses=GRANT_USES,
    )
    audit.append(
        tx,
        "grant.create",
        actor=by,
        task_id=approval.task_id,
        detail={"grant_id": grant_id, "approval_id": approval.approval_id, "operation": approval.operation},
        decision="allow",
    )


def use(
    tx: Tx,
    *,
    task_id: str,
    tool: str,
    operation: str,
    arguments: Mapping[str, Json],
    bound: Sequence[str] = (),
) -> Grant | None:
    """Use a standing yes to exactly this call, if there is one; it counts as used when this commits."""
    print_ = fingerprint(tool, operation, arguments, bound)
    row = tx.one(
        "SELECT * FROM grants WHERE fingerprint = :fingerprint AND revoked_at IS NULL AND uses_left > 0"
        " AND expires_at > :now ORDER BY created_at LIMIT 1",
        fingerprint=print_,
        now=tx.now,
    )
    if row is None:
        return None
    grant = _grant_of(row)
    tx.execute(
        "UPDATE grants SET uses_left = uses_left - 1, uses = uses + 1, last_used_at = :now WHERE grant_id = :grant_id",
        now=tx.now,
        grant_id=grant.grant_id,
    )
    audit.append(
        tx,
        "grant.use",
        actor=f"task:{task_id}",
        task_id=task_id,
        detail={"grant_id": grant.grant_id, "tool": tool, "operation": operation, "fingerprint": print_},
        decision="allow",
    )
    return grant


def bind(tx: Tx, approval_id: str, *, bound: Sequence[str]) -> None:
    """Bind the standing yes that came with edited arguments to what those name now; without this it serves nothing."""
    row = tx.one("SELECT * FROM grants WHERE approval_id = :approval_id", approval_id=approval_id)
    if row is not None:
        grant = _grant_of(row)
        tx.execute(
            "UPDATE grants SET fingerprint = :fingerprint WHERE grant_id = :grant_id",
            fingerprint=fingerprint(grant.tool, grant.operation, grant.arguments, bound),
            grant_id=grant.grant_id,
        )


def standing(tx: Tx, *, active: bool = True) -> list[Grant]:
    """Standing grants, newest first."""
    condition = " WHERE revoked_at IS NULL AND uses_left > 0 AND expires_at > :now" if active else ""
    parameters: dict[str, Any] = {"now": tx.now} if active else {}
    rows = tx.all(f"SELECT * FROM grants{condition} ORDER BY grant_id DESC LIMIT 500", **parameters)
    return [_grant_of(row) for row in rows]


def revoke(tx: Tx, grant_id: str, *, by: str) -> Grant:
    """Take a standing grant back.

    Raises:
        NotFound: there is none of that id.
    """
    changed = tx.execute(
        "UPDATE grants SET revoked_at = :now WHERE grant_id = :grant_id AND revoked_at IS NULL",
        now=tx.now,
        grant_id=grant_id,
    )
    row = tx.one("SELECT * FROM grants WHERE grant_id = :grant_id", grant_id=grant_id)
    if row is None:
        raise NotFound(f"there is no grant {grant_id}", hint="see them with 'tawny approvals grants'")
    if changed:
        audit.append(tx, "grant.revoke", actor=by, detail={"grant_id": grant_id})
    return _grant_of(row)


def _grant_of(row: Row) -> Grant:
    return Grant(
        grant_id=row["grant_id"],
        approval_id=row["approval_id"],
        tool=row["tool"],
        operation=row["operation"],
        arguments=msgspec.json.decode(row["arguments"]),
        granted_by=row["granted_by"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        uses_left=row["uses_left"],
        uses=row["uses"],
        last_used_at=row["last_used_at"],
        revoked_at=row["revoked_at"],
    )
