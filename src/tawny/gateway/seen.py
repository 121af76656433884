"""What has been seen on one device is seen on all."""

from typing import Annotated, Any

import msgspec

from tawny.clock import DAY, iso
from tawny.gateway.documents import Page, Time
from tawny.gateway.operation import Call, Nothing, Operation
from tawny.gateway.principal import READ
from tawny.ledger import seen
from tawny.ledger.database import Tx

Item = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=r"^[!-~]+$")]


class Seen(msgspec.Struct):
    item: str
    seen_at: Time


class Mark(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Ids of tasks, approvals and deliveries, or `session:KEY`, which may be seen again and again."""

    items: Annotated[list[Item], msgspec.Meta(max_length=500)]


class Marked(msgspec.Struct):
    """Those that had not been seen; the event `system.seen` tells the other devices."""

    items: list[str]


def mark(tx: Tx, call: Call[Nothing, Mark]) -> dict[str, Any]:
    return {"items": seen.mark(tx, call.body.items)}


def page(tx: Tx, _: Call[Nothing, Nothing]) -> dict[str, Any]:
    found = seen.since(tx, tx.now - 30 * DAY)
    return {"items": [{"item": item, "seen_at": iso(at)} for item, at in found], "next_cursor": None}


OPERATIONS = (
    Operation(
        name="seen.list",
        method="GET",
        path="/v1/seen",
        scope=READ,
        summary="What was seen within thirty days, on whatever device",
        answer=Page[Seen],
        read=page,
    ),
    Operation(
        name="seen.mark",
        method="POST",
        path="/v1/seen",
        scope=READ,
        summary="Mark as seen, on all devices",
        body=Mark,
        answer=Marked,
        change=mark,
    ),
)
