"""Channels and the inbox: how each stands, a test message, what is kept for the person."""

from typing import Annotated, Any

import msgspec

from tawny.clock import iso
from tawny.delivery.opening import default_of
from tawny.domain.messages import Outgoing
from tawny.errors import NotFound
from tawny.gateway.documents import Page, Time
from tawny.gateway.operation import Call, Nothing, Operation
from tawny.gateway.principal import READ, WRITE
from tawny.ledger import channels, outbox
from tawny.ledger.database import Tx
from tawny.ledger.outbox import Line


class Channel(msgspec.Struct):
    """A channel's health. `status` is up, down (its last word was an error) or off (disabled)."""

    name: str
    kind: str
    status: str
    detail: str | None
    disabled: str | None
    queued: int
    errors: int
    last_error: str | None
    last_sent: Time | None
    last_sent_at: Time | None
    last_received_at: Time | None
    last_error_at: Time | None
    can: list[str]


class KeptMessage(msgspec.Struct):
    """A message in the inbox."""

    delivery_id: str
    task_id: str | None
    title: str
    text: str
    severity: str
    created_at: Time
    read_at: Time | None


class Listing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which messages, newest first."""

    unread: bool = False
    limit: Annotated[int, msgspec.Meta(ge=1, le=500)] = 50


def page(tx: Tx, call: Call[Nothing, Nothing]) -> dict[str, Any]:
    items = [
        {
            **state.document(),
            "status": "off" if state.disabled else "down" if state.errors else "up",
            "detail": state.disabled or (state.last_error if state.errors else None),
            "last_sent": state.document()["last_sent_at"],
            "can": call.site.abilities(state.name),
        }
        for state in channels.states(
            tx, default=default_of(call.site.config.channels, call.site.config.delivery.default)
        )
    ]
    return {"items": items, "next_cursor": None}


def test(tx: Tx, call: Call[Nothing, Nothing]) -> dict[str, Any]:
    name = call.id
    if all(state.name != name for state in channels.states(tx)):
        raise NotFound(f"there is no channel {name!r}", hint="see GET /v1/channels")
    made = outbox.put(
        tx,
        task_id=None,
        transition="test",
        target=name,
        message=Outgoing(
            key="", title="Test", text="This is a test from Tawny. This channel works.", severity="high"
        ),
        severity="high",
    )
    assert made is not None, "a message without a task is always put"
    return outbox.get(tx, made).document()


def kept(line: Line) -> dict[str, Any]:
    """A message of the inbox as on the wire."""
    return {
        **line.document(),
        "title": line.message.title,
        "text": line.message.text,
        "severity": line.severity,
        "read_at": None if line.read_at is None else iso(line.read_at),
    }


def inbox(tx: Tx, call: Call[Listing, Nothing]) -> dict[str, Any]:
    lines = outbox.inbox(tx, unread=call.query.unread, limit=call.query.limit)
    return {"items": [kept(line) for line in lines], "next_cursor": None}


def mark_read(tx: Tx, call: Call[Nothing, Nothing]) -> dict[str, Any]:
    outbox.get(tx, call.id)
    outbox.mark_read(tx, call.id)
    return kept(outbox.get(tx, call.id))


OPERATIONS = (
    Operation(
        name="channels.list",
        method="GET",
        path="/v1/channels",
        scope=READ,
        summary="How each channel stands",
        answer=Page[Channel],
        read=page,
    ),
    Operation(
        name="channels.test",
        method="POST",
        path="/v1/channels/{id}/test",
        scope=WRITE,
        summary="Send a test message; its delivery",
        status=202,
        errors=(404,),
        change=test,
    ),
    Operation(
        name="inbox.list",
        method="GET",
        path="/v1/inbox",
        scope=READ,
        summary="Messages kept for you, newest first",
        query=Listing,
        answer=Page[KeptMessage],
        read=inbox,
    ),
    Operation(
        name="inbox.read",
        method="POST",
        path="/v1/inbox/{id}/read",
        scope=WRITE,
        summary="Mark a message as read, on every device",
        answer=KeptMessage,
        errors=(404,),
        change=mark_read,
    ),
)
