"""What each scope has used, and by how much its budget was raised; whoever waits for a raise is woken."""

from typing import Any

import msgspec

from tawny.clock import Instant, iso
from tawny.domain.budgets import Use
from tawny.domain.messages import Outgoing
from tawny.ledger import audit, events, outbox, transitions
from tawny.ledger.database import Tx
from tawny.ledger.tasks import from_row, to_json

_decode = msgspec.json.Decoder(Use).decode


class Account(msgspec.Struct, frozen=True):
    """One scope: `turn:ID`, `task:ID`, `automation:ID`, `session:KEY`, `owner:NAME` or `day:OWNER:DATE`."""

    scope: str
    used: Use = Use()
    raised: Use = Use()
    warned: bool = False
    updated_at: Instant = 0

    def document(self) -> dict[str, Any]:
        """The account as people and scripts see it; money in US dollars."""
        return {
            "scope": self.scope,
            "used": _document(self.used),
            "raised": _document(self.raised),
            "updated_at": iso(self.updated_at),
        }


def _document(use: Use) -> dict[str, Any]:
    return {
        "tokens": use.tokens,
        "cost": use.micro_usd / 1_000_000,
        "model_calls": use.model_calls,
        "tool_calls": use.tool_calls,
        "seconds": use.milliseconds / 1000,
    }


def get(tx: Tx, scope: str) -> Account:
    """The account of a scope; an empty one where nothing was used."""
    row = tx.one("SELECT * FROM budget_use WHERE scope = :scope", scope=scope)
    return Account(scope) if row is None else _account(row)


def recent(tx: Tx, *, limit: int = 50) -> list[Account]:
    """The accounts used last, newest first."""
    rows = tx.all("SELECT * FROM budget_use ORDER BY updated_at DESC LIMIT :limit", limit=limit)
    return [_account(row) for row in rows]


def add(tx: Tx, scope: str, more: Use) -> Account:
    """Book what was used."""
    return _put(tx, msgspec.structs.replace(held := get(tx, scope), used=held.used.plus(more)))


def warn(tx: Tx, scope: str, text: str) -> bool:
    """Say once that a budget is nearly used up; whether this was the first time."""
    held = get(tx, scope)
    if held.warned:
        return False
    _put(tx, msgspec.structs.replace(held, warned=True))
    events.append(tx, "system.budget_warning", {"scope": scope, "text": text})
    outbox.put(
        tx,
        task_id=None,
        transition=f"budget:{scope}",
        target="inbox",
        message=Outgoing(key="", title="Budget nearly used up", text=f"{scope}: {text}."),
        severity="high",
        incident=f"budget:{scope}",
    )
    return True


def grant(tx: Tx, scope: str, more: Use, *, by: str) -> Account:
    """Raise a budget; the tasks that wait for it go on."""
    held = get(tx, scope)
    after = _put(tx, msgspec.structs.replace(held, raised=held.raised.plus(more), warned=False))
    audit.append(tx, "budget.raise", actor=by, detail={"scope": scope, "more": _document(more)})
    for task_id, key in waiting(tx, scope):
        transitions.wake(tx, task_id, key, {"raised": scope})
    tx.wake("budgets")
    return after


def waiting(tx: Tx, scope: str) -> list[tuple[str, str]]:
    """The tasks that wait for a scope's budget, with the key they wait under."""
    rows = tx.all("SELECT * FROM tasks WHERE status = 'waiting' AND waiting_for LIKE '%\"budget\"%'")
    tasks = [from_row(row) for row in rows]
    return [
        (task.task_id, task.waiting_for.key)
        for task in tasks
        if task.waiting_for is not None
        and task.waiting_for.kind == "budget"
        and task.waiting_for.detail.get("scope") == scope
    ]


def _put(tx: Tx, account: Account) -> Account:
    tx.execute(
        "INSERT INTO budget_use (scope, used, raised, warned, updated_at)"
        " VALUES (:scope, :used, :raised, :warned, :now) ON CONFLICT (scope) DO UPDATE SET"
        " used = excluded.used, raised = excluded.raised, warned = excluded.warned, updated_at = excluded.updated_at",
        scope=account.scope,
        used=to_json(account.used),
        raised=to_json(account.raised),
        warned=int(account.warned),
        now=tx.now,
    )
    return msgspec.structs.replace(account, updated_at=tx.now)


def _account(row: Any) -> Account:
    return Account(
        row["scope"], _decode(row["used"]), _decode(row["raised"]), bool(row["warned"]), row["updated_at"]
    )
