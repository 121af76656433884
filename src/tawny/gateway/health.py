"""Whether it lives, and whether it accepts work."""

from typing import Any

from tawny.engine import scheduler
from tawny.gateway.errors import HttpError
from tawny.gateway.operation import Call, Nothing, Operation
from tawny.gateway.principal import READ
from tawny.ledger import events
from tawny.ledger.database import Tx


async def healthz(_: Call[Nothing, Nothing]) -> dict[str, str]:
    return {"status": "ok"}


def readyz(tx: Tx, call: Call[Nothing, Nothing]) -> dict[str, Any]:
    """Ready once the engine runs and the ledger answers."""
    seq = events.last_seq(tx)
    if not call.site.ready:
        raise HttpError(503, "not_ready", "the gateway is starting or ending", headers={"retry-after": "1"})
    if problems := scheduler.problems(tx):
        raise HttpError(503, "not_ready", problems[0], headers={"retry-after": "1"})
    return {"status": "ready", "seq": seq}


OPERATIONS = (
    Operation(
        name="healthz",
        method="GET",
        path="/healthz",
        scope=None,
        summary="Whether the process lives",
        answer=dict[str, str],
        act=healthz,
    ),
    Operation(
        name="readyz",
        method="GET",
        path="/readyz",
        scope=READ,
        summary="Whether it accepts work",
        answer=dict[str, Any],
        errors=(503,),
        read=readyz,
    ),
)
