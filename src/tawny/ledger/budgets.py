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


class _Raise(Use, frozen=True, kw_only=True):
    """By how much a budget was raised, and when: where a scope begins anew, so does its bound."""

    at: Instant = 0


_decode_raise = msgspec.json.Decoder(_Raise).decode


class Account(msgspec.Struct, frozen=True):
    """One scope: `turn:ID`, `task:ID`, `automation:ID`, `session:KEY`, `owner:NAME` or `day:OWNER:DATE`."""

    scope: str
    used: Use = Use()
    raised: Use = Use()
    warned: bool = False
    updated_at: Instant = 0
    raised_at: Instant = 0

    def since(self, start: Instant) -> "Account":
        """What of it counts in a window that began at `start`."""
        return msgspec.structs.replace(
            self,
            used=self.used if self.updated_at >= start else Use(),
            raised=self.raised if self.raised_at >= start else Use(),
            warned=self.warned and self.updated_at >= start,
        )

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


def add(tx: Tx, scope: str, more: Use, *, since: Instant = 0, at: Instant | None = None) -> Account:
    """Book what was used by `at` (now), in the window that began at `since`: what was used before it is over."""
    held = get(tx, scope).since(since)
    when = max(held.updated_at, tx.now if at is None else at)
    return _put(tx, msgspec.structs.replace(held, used=held.used.plus(more), updated_at=when))


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


def grant(tx: Tx, scope: str, more: Use, *, by: str, since: Instant = 0) -> Account:
    """Raise a budget for the window that began at `since`; the tasks that wait for it go on."""
    held = get(tx, scope).since(since)
    after = _put(
        tx,
        msgspec.structs.replace(
            held,
            raised=held.raised.plus(more),
            raised_at=tx.now,
            warned=False,
            # When it was used last says which window its use belongs to.
            updated_at=held.updated_at or tx.now,
        ),
    )
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
        raised=to_json(_Raise(**msgspec.structs.asdict(account.raised), at=account.raised_at)),
        warned=int(account.warned),
        now=account.updated_at,
    )
    return account


def _account(row: Any) -> Account:
    raised = _decode_raise(row["raised"])
    return Account(
        row["scope"],
        _decode(row["used"]),
        Use(**{name: getattr(raised, name) for name in Use.__struct_fields__}),
        bool(row["warned"]),
        row["updated_at"],
        raised.at,
    )
