"""`POST /v1/events/{source}`: something has happened outside; automations and waiting tasks may want to know."""

from typing import Annotated, Any

import msgspec

from tawny.clock import parse_time
from tawny.errors import InvalidInput
from tawny.gateway.documents import Page, Time
from tawny.gateway.operation import Call, Nothing, Operation
from tawny.gateway.principal import READ, WRITE
from tawny.ids import new_id
from tawny.ledger import inbox
from tawny.ledger.database import Tx


class EventIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An outside event. `event_id`, or the Idempotency-Key in its place, makes it once-only for thirty days."""

    data: dict[str, Any] = {}
    event_id: Annotated[str, msgspec.Meta(max_length=255)] = ""
    time: str | None = None


class Accepted(msgspec.Struct):
    """It is stored; `duplicate` when it was known already."""

    event_id: str
    source: str
    duplicate: bool


class Received(msgspec.Struct):
    source: str
    event_id: str
    time: Time
    received_at: Time
    trust: str
    data: dict[str, Any]
    status: str
    tasks: list[str]


class Listing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    source: str | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=500)] = 50
    cursor: Annotated[str, msgspec.Meta(pattern="^[0-9]{1,18}$")] | None = None


def accept(tx: Tx, call: Call[Nothing, EventIn]) -> dict[str, Any]:
    """What the owner's token says counts as his word; what a guest says is untrusted."""
    source, body = call.path["source"], call.body
    if len(source) > 100 or not source.isprintable():
        raise InvalidInput("source: at most 100 printable characters")
    event_id = body.event_id or call.key or new_id("evt", tx.now)
    try:
        time = None if body.time is None else parse_time(body.time, now=tx.now)
    except (ValueError, OverflowError) as error:
        raise InvalidInput(f"time: {error}") from None
    trust = "owner" if call.principal.is_owner else "untrusted"
    fresh = inbox.accept(tx, source, event_id, body.data, time=time, trust=trust)
    return {"event_id": event_id, "source": source, "duplicate": not fresh}


def page(tx: Tx, call: Call[Listing, Nothing]) -> dict[str, Any]:
    query = call.query
    found = inbox.page(tx, source=query.source, limit=query.limit, cursor=query.cursor)
    return {"items": [entry.document() for entry in found.items], "next_cursor": found.next_cursor}


OPERATIONS = (
    Operation(
        name="events.accept",
        method="POST",
        path="/v1/events/{source}",
        scope=WRITE,
        summary="Something has happened outside",
        body=EventIn,
        answer=Accepted,
        status=202,
        change=accept,
    ),
    Operation(
        name="events.received",
        method="GET",
        path="/v1/events",
        scope=READ,
        summary="Outside events, newest first, and what became of them",
        query=Listing,
        answer=Page[Received],
        read=page,
    ),
)
