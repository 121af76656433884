"""Approvals: what waits for a person's yes. The first answer wins; later ones get the outcome."""

from typing import Annotated, Any, Literal

import msgspec

from tawny.errors import Conflict
from tawny.gateway.documents import Page, Time
from tawny.gateway.errors import Settled
from tawny.gateway.operation import Call, Nothing, Operation
from tawny.gateway.principal import APPROVALS, READ
from tawny.ledger import approvals, grants
from tawny.ledger.database import Tx

Note = Annotated[str, msgspec.Meta(max_length=2000)]


class Approval(msgspec.Struct):
    """A question with its whole content; `read` is what the asking run has read."""

    approval_id: str
    task_id: str
    status: Literal["pending", "approved", "denied", "expired"]
    tool: str
    operation: str
    arguments: dict[str, Any]
    level: int
    reason: str
    origin: dict[str, Any]
    read: list[Any]
    created_at: Time
    expires_at: Time
    answered_by: str | None
    answered_at: Time | None
    note: str


class Listing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which approvals, newest first; without a status, those that wait and then the rest."""

    status: Literal["pending", "approved", "denied", "expired"] | None = None
    task_id: str | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=500)] = 50
    cursor: str | None = None


class Approve(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A yes. `arguments` replace the whole; `always` also grants exactly these arguments for the future."""

    always: bool = False
    arguments: dict[str, Any] | None = None
    note: Note = ""


class Deny(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A no; the asking run gets to read the note."""

    note: Note = ""


class Grant(msgspec.Struct):
    """A standing yes to exactly one operation with exactly these arguments."""

    grant_id: str
    approval_id: str
    tool: str
    operation: str
    arguments: dict[str, Any]
    granted_by: str
    created_at: Time
    expires_at: Time


def page(tx: Tx, call: Call[Listing, Nothing]) -> dict[str, Any]:
    query = call.query
    found, cursor = approvals.page(
        tx, status=query.status, task_id=query.task_id, limit=query.limit, cursor=query.cursor
    )
    if query.status is None:
        found = sorted(found, key=lambda entry: entry.status != "pending")
    return {"items": [entry.document() for entry in found], "next_cursor": cursor}


def get(tx: Tx, call: Call[Nothing, Nothing]) -> dict[str, Any]:
    return approvals.get(tx, call.id).document()


def approve(tx: Tx, call: Call[Nothing, Approve]) -> dict[str, Any]:
    body = call.body
    return _answer(tx, call, "approved", note=body.note, arguments=body.arguments, always=body.always)


def deny(tx: Tx, call: Call[Nothing, Deny]) -> dict[str, Any]:
    return _answer(tx, call, "denied", note=call.body.note)


def _answer(tx: Tx, call: Call[Nothing, Any], status: str, **how: Any) -> dict[str, Any]:
    approvals.get(tx, call.id)
    try:
        return approvals.answer(tx, call.id, status=status, by=call.principal.actor, **how).document()
    except Conflict as error:
        outcome = approvals.get(tx, call.id)
        raise Settled(error.message, hint=error.hint, document={"approval": outcome.document()}) from None


def _grants(tx: Tx, _: Call[Nothing, Nothing]) -> dict[str, Any]:
    return {"items": [grant.document() for grant in grants.standing(tx)], "next_cursor": None}


def _revoke(tx: Tx, call: Call[Nothing, Nothing]) -> dict[str, Any]:
    return grants.revoke(tx, call.id, by=call.principal.actor).document()


def _answering(name: str, body: type[msgspec.Struct], change: Any, summary: str) -> Operation:
    return Operation(
        name=f"approvals.{name}",
        method="POST",
        path="/v1/approvals/{id}/" + name,
        scope=APPROVALS,
        summary=summary,
        body=body,
        answer=Approval,
        errors=(404, 409),
        change=change,
    )


OPERATIONS = (
    Operation(
        name="approvals.list",
        method="GET",
        path="/v1/approvals",
        scope=READ,
        summary="What waits for a yes, then what was answered",
        query=Listing,
        answer=Page[Approval],
        read=page,
    ),
    Operation(
        name="approvals.get",
        method="GET",
        path="/v1/approvals/{id}",
        scope=READ,
        summary="One approval, whole",
        answer=Approval,
        errors=(404,),
        read=get,
    ),
    _answering("approve", Approve, approve, "Say yes, once or always, perhaps with edited arguments"),
    _answering("deny", Deny, deny, "Say no"),
    Operation(
        name="grants.list",
        method="GET",
        path="/v1/grants",
        scope=READ,
        summary="Standing grants",
        answer=Page[Grant],
        read=_grants,
    ),
    Operation(
        name="grants.revoke",
        method="DELETE",
        path="/v1/grants/{id}",
        scope=APPROVALS,
        summary="Take a standing grant back",
        answer=Grant,
        errors=(404,),
        change=_revoke,
    ),
)
