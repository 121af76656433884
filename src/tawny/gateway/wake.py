"""`POST /v1/wake`: the command line has written to the ledger and rings our bell."""

import msgspec

from tawny.gateway.operation import Call, Nothing, Operation
from tawny.gateway.principal import WRITE

TOPICS = ("queue", "timers", "intents", "events", "outbox", "credentials", "config", "approvals")


class Wake(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which topics rang; all where empty."""

    topics: list[str] = []


async def wake(call: Call[Nothing, Wake]) -> None:
    call.site.ledger.bell.ring(call.body.topics or TOPICS)


OPERATION = Operation(
    name="wake",
    method="POST",
    path="/v1/wake",
    scope=WRITE,
    summary="Look again: something was written to the ledger by another process",
    body=Wake,
    answer=None,
    status=204,
    act=wake,
)
