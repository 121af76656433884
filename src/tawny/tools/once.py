"""Makes a change of the ledger once per tool call, also when the process dies before the call is journaled."""

import hashlib
from collections.abc import Callable
from typing import TypeVar

import msgspec

from tawny.domain.tasks import Json
from tawny.ledger.database import Ledger, Tx
from tawny.ledger.tasks import to_json
from tawny.tools.registry import ToolContext

T = TypeVar("T")
_SCOPE = "tool"


async def once(ledger: Ledger, scope: ToolContext, change: Callable[[Tx], Json]) -> Json:
    """Run `change` and keep its result in the same transaction, under task and call; a second time give that."""
    key = f"{scope.run.task.task_id}:{scope.call_id}"

    def write(tx: Tx) -> Json:
        held = tx.value(
            "SELECT response FROM idempotency WHERE scope = :scope AND key = :key", scope=_SCOPE, key=key
        )
        if held is not None:
            return msgspec.json.decode(held)
        result = change(tx)
        tx.execute(
            "INSERT INTO idempotency (scope, key, body_hash, status, response, created_at)"
            " VALUES (:scope, :key, '', 200, :response, :now)",
            scope=_SCOPE,
            key=key,
            response=to_json(result),
            now=tx.now,
        )
        return msgspec.to_builtins(result)

    return await ledger.write(write)


def digest(value: Json) -> str:
    """A short hash of a JSON value, the same whatever the order of its keys."""
    return hashlib.sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()[:24]
