"""Approvals as durable rows: asked once, answered once, expiring.

pending → approved │ denied │ expired, each in one transaction with the task's wait, the event and the audit row. The
first answer wins, from whatever device.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from tawny.clock import Instant, iso
from tawny.domain.approvals import (
    LIFETIME,
    Answer,
    Approval,
    Question,
    describe,
    fingerprint,
    may_answer,
    remind_at,
)
from tawny.domain.messages import Button, Outgoing
from tawny.domain.tasks import Json, Origin
from tawny.errors import Conflict, InvalidInput, NotFound, Refused
from tawny.ids import new_id
from tawny.ledger import audit, events, grants, outbox
from tawny.ledger.database import Row, Tx
from tawny.ledger.tasks import get as get_task
from tawny.ledger.transitions import wake
from tawny.ledger.withdrawals import hold_back

_encode = msgspec.json.Encoder(order="sorted").encode


def request(
    tx: Tx,
    *,
    task_id: str,
    key: str,
    question: Question,
    expires_in: int = LIFETIME,
    approvers: Sequence[str] = (),
) -> Approval:
    """Ask. The same wait of a task asks once; what was asked before is returned.

    The question goes to where the work was asked for, and to every listed approver; durations are microseconds.
    """
    known = tx.one(
        "SELECT * FROM approvals WHERE task_id = :task_id AND wait_key = :key", task_id=task_id, key=key
    )
    if known is not None:
        return _approval(known)
    approval_id = new_id("appr", tx.now)
    expires_at = tx.now + (question.expires_in if question.expires_in is not None else expires_in)
    print_ = fingerprint(question.tool, question.operation, question.arguments, question.bound)
    tx.execute(
        "INSERT INTO approvals (approval_id, task_id, wait_key, status, tool, operation, arguments, fingerprint,"
        " level, reason, origin, approvers, created_at, expires_at, remind_at)"
        " VALUES (:approval_id, :task_id, :key, 'pending', :tool, :operation, :arguments, :fingerprint,"
        " :level, :reason, :origin, :approvers, :now, :expires_at, :remind_at)",
        approval_id=approval_id,
        task_id=task_id,
        key=key,
        tool=question.tool,
        operation=question.operation,
        arguments=_encode(question.arguments).decode(),
        fingerprint=print_,
        level=question.level,
        reason=question.reason,
        origin=_encode(question.origin).decode(),
        approvers=_encode([*approvers, *question.may_confirm]).decode(),
        now=tx.now,
        expires_at=expires_at,
        remind_at=remind_at(tx.now, expires_at, 0),
    )
    approval = get(tx, approval_id)
    events.append(tx, "approval.requested", approval.document(), task_id=task_id)
    audit.append(
        tx,
        "approval.request",
        actor=f"task:{task_id}",
        task_id=task_id,
        detail=_facts(approval),
        decision="ask",
    )
    _tell(tx, approval, "approval", "")
    tx.wake("approvals")
    return approval


def answer(
    tx: Tx,
    approval_id: str,
    *,
    status: str,
    by: str,
    note: str = "",
    arguments: dict[str, Json] | None = None,
    always: bool = False,
) -> Approval:
    """Settle a question: `status` is approved or denied; the task goes on.

    Args:
        tx: the transaction.
        approval_id: which one.
        status: `approved` or `denied`.
        by: the immutable id of who answers: `owner`, `device:…`, `telegram:12345`.
        note: a word along with it; the asking run gets to read it.
        arguments: edited arguments; they replace the whole, and are checked again before anything runs.
        always: with a yes, also a standing grant for exactly these arguments.

    Raises:
        Conflict: it is settled already; the message says how and by whom.
        Refused: this one may not answer.
        InvalidInput: the status is no answer, or arguments come with a no.
    """
    if status not in ("approved", "denied"):
        raise InvalidInput(f"{status!r} is no answer", hint="answer approved or denied")
    if status == "denied" and (arguments is not None or always):
        raise InvalidInput("a no takes neither arguments nor 'always'", hint="leave them out")
    approval = get(tx, approval_id)
    if not may_answer(by, approval.approvers):
        audit.append(
            tx,
            "approval.refused",
            actor=by,
            task_id=approval.task_id,
            detail={"approval_id": approval_id},
            decision="deny",
        )
        raise Refused(
            f"{by} may not answer {approval_id}", hint="only the owner and [approvals] approvers may"
        )
    if approval.status == "pending" and tx.now >= approval.expires_at:
        approval = _settle(tx, approval, status="expired", by=None, note="", arguments=None)
    if approval.status != "pending":
        who = f" by {approval.answered_by}" if approval.answered_by else ""
        raise Conflict(
            f"{approval_id} is {approval.status}{who} already",
            hint=f"see it with 'tawny approvals show {approval_id}'",
        )
    settled = _settle(tx, approval, status=status, by=by, note=note, arguments=arguments)
    if always:
        grants.create(tx, settled, by=by)
    return settled


def expire_due(tx: Tx) -> int:
    """Settle every question whose time has run out; how many."""
    rows = tx.all(
        "SELECT * FROM approvals WHERE status = 'pending' AND expires_at <= :now ORDER BY expires_at LIMIT 500",
        now=tx.now,
    )
    for row in rows:
        _settle(tx, _approval(row), status="expired", by=None, note="", arguments=None)
    return len(rows)


def remind_due(tx: Tx) -> int:
    """Remind of every question that is due for it; how many."""
    rows = tx.all(
        "SELECT * FROM approvals WHERE status = 'pending' AND remind_at <= :now ORDER BY remind_at LIMIT 500",
        now=tx.now,
    )
    for row in rows:
        approval = _approval(row)
        tx.execute(
            "UPDATE approvals SET reminders = reminders + 1, remind_at = :next WHERE approval_id = :approval_id",
            next=remind_at(approval.created_at, approval.expires_at, approval.reminders + 1),
            approval_id=approval.approval_id,
        )
        _tell(tx, approval, f"approval_reminder_{approval.reminders + 1}", "Still waiting for you. ")
    return len(rows)


def next_due(tx: Tx) -> Instant | None:
    """When the next question lapses or is to be recalled."""
    dues = [
        tx.value("SELECT MIN(expires_at) AS due FROM approvals WHERE status = 'pending'"),
        tx.value(
            "SELECT MIN(remind_at) AS due FROM approvals WHERE status = 'pending' AND remind_at IS NOT NULL"
        ),
    ]
    known = [int(due) for due in dues if due is not None]
    return min(known) if known else None


def get(tx: Tx, approval_id: str) -> Approval:
    """The approval of that id.

    Raises:
        NotFound: there is none.
    """
    row = tx.one("SELECT * FROM approvals WHERE approval_id = :approval_id", approval_id=approval_id)
    if row is None:
        raise NotFound(f"there is no approval {approval_id}", hint="see them with 'tawny approvals list'")
    return _approval(row)


def find(tx: Tx, lookup: str) -> Approval:
    """The approval with that id, or the only one whose id starts so; also the pending one of a task's id.

    Raises:
        NotFound: there is none, or several.
    """
    prefix = lookup if lookup.startswith(("appr_", "task_")) else f"appr_{lookup}"
    rows = _starting(tx, prefix)
    if len(rows) == 1:
        return _approval(rows[0])
    if rows:
        raise NotFound(f"{lookup!r} means several approvals", hint="give more of its id")
    raise NotFound(f"there is no approval {lookup!r}", hint="see them with 'tawny approvals list'")


def page(
    tx: Tx,
    *,
    status: str | None = None,
    task_id: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> tuple[list[Approval], str | None]:
    """Approvals, newest first, and the cursor of the next page."""
    conditions, parameters = ["1 = 1"], dict[str, Any]()
    for name, value in (("status", status), ("task_id", task_id)):
        if value is not None:
            conditions.append(f"{name} = :{name}")
            parameters[name] = value
    if cursor is not None:
        conditions.append("approval_id < :cursor")
        parameters["cursor"] = cursor
    rows = tx.all(
        f"SELECT * FROM approvals WHERE {' AND '.join(conditions)} ORDER BY approval_id DESC LIMIT :limit",
        limit=limit + 1,
        **parameters,
    )
    found = [_approval(row) for row in rows[:limit]]
    return found, found[-1].approval_id if len(rows) > limit else None


# ---- inside


def _settle(
    tx: Tx, approval: Approval, *, status: str, by: str | None, note: str, arguments: dict[str, Json] | None
) -> Approval:
    changed = tx.execute(
        "UPDATE approvals SET status = :status, answered_by = :by, answered_at = :now, note = :note,"
        " answered_arguments = :arguments, remind_at = NULL WHERE approval_id = :approval_id AND status = 'pending'",
        status=status,
        by=by,
        now=tx.now,
        note=note,
        arguments=None if arguments is None else _encode(arguments).decode(),
        approval_id=approval.approval_id,
    )
    if not changed:
        raise Conflict(f"{approval.approval_id} is settled already")
    settled = get(tx, approval.approval_id)
    outcome = Answer(
        status=status,
        arguments=settled.arguments if arguments is None else arguments,
        approval_id=approval.approval_id,
        answered_by=by,
        note=note,
        fingerprint=approval.fingerprint,
    )
    wake(tx, approval.task_id, approval.key, msgspec.to_builtins(outcome))
    event = "approval.expired" if status == "expired" else "approval.answered"
    events.append(tx, event, settled.document(), task_id=approval.task_id)
    audit.append(
        tx,
        f"approval.{'expire' if status == 'expired' else 'answer'}",
        actor=by or "engine",
        task_id=approval.task_id,
        detail={**_facts(approval), "edited": arguments is not None},
        decision={"approved": "allow", "denied": "deny", "expired": "deny"}[status],
    )
    hold_back(tx, approval.approval_id)
    tx.wake("approvals")
    return settled


def _tell(tx: Tx, approval: Approval, transition: str, lead: str) -> None:
    task = get_task(tx, approval.task_id)
    text = describe(approval, until=iso(approval.expires_at))
    message = Outgoing(
        key="",
        text=f"{lead}{text}\n\n{approval.approval_id}",
        format="plain",
        title=f"{task.title}: may I?",
        severity="high",
        buttons=(
            Button("Approve", f"approve:{approval.approval_id}"),
            Button("Always for exactly this", f"always:{approval.approval_id}"),
            Button("Deny", f"deny:{approval.approval_id}"),
        ),
        document={"type": "approval.requested", "approval": approval.document()},
    )
    asked = task.origin.reply_to or next(iter(task.delivery.channels), "default")
    for target in dict.fromkeys([asked, *approval.approvers]):
        outbox.put(
            tx,
            task_id=approval.task_id,
            transition=f"{transition}:{approval.approval_id}",
            target=target,
            message=message,
            severity="high",
            lifetime=max(1, approval.expires_at - tx.now),
        )


def _facts(approval: Approval) -> dict[str, Any]:
    """What the audit trail keeps of a question: names and the fingerprint, not the arguments."""
    return {
        "approval_id": approval.approval_id,
        "tool": approval.tool,
        "operation": approval.operation,
        "fingerprint": approval.fingerprint,
        "level": approval.level,
        "untrusted": not approval.origin.trusted,
    }


def _starting(tx: Tx, prefix: str) -> Sequence[Row]:
    # A range instead of LIKE: ids hold underscores, and the index serves it.
    column = "task_id" if prefix.startswith("task_") else "approval_id"
    pending = " AND status = 'pending'" if column == "task_id" else ""
    return tx.all(
        f"SELECT * FROM approvals WHERE {column} >= :low AND {column} < :high{pending} ORDER BY approval_id LIMIT 2",
        low=prefix,
        high=prefix + "~",
    )


def _approval(row: Row) -> Approval:
    edited = row["answered_arguments"]
    return Approval(
        approval_id=row["approval_id"],
        task_id=row["task_id"],
        key=row["wait_key"],
        status=row["status"],
        tool=row["tool"],
        operation=row["operation"],
        arguments=msgspec.json.decode(row["arguments"]),
        fingerprint=row["fingerprint"],
        level=row["level"],
        reason=row["reason"],
        origin=msgspec.json.decode(row["origin"], type=Origin),
        approvers=tuple(msgspec.json.decode(row["approvers"], type=list[str])),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        remind_at=row["remind_at"],
        reminders=row["reminders"],
        answered_by=row["answered_by"],
        answered_at=row["answered_at"],
        answered_arguments=None if edited is None else msgspec.json.decode(edited),
        note=row["note"],
    )
