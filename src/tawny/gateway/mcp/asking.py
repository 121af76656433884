"""Asking the person at the client: an approval that a waited-for task needs, where the client can put questions.

It is one more place to answer, beside the panel and the channels: the approval is as durable as ever, the first
answer anywhere wins, and a question that was answered elsewhere is taken back. Who may not answer is not asked.
"""

import asyncio
import secrets
from typing import Any

from tawny.clock import iso
from tawny.domain.approvals import Approval, describe
from tawny.errors import TawnyError, first_of
from tawny.gateway.feed import filter_of
from tawny.gateway.mcp.caller import Caller, Json
from tawny.gateway.principal import APPROVALS, READ
from tawny.ledger import approvals

PATIENCE = 300.0
"""Seconds for which a person is waited for at the client; the approval waits on elsewhere."""


async def pending(caller: Caller, document: Json) -> Approval | None:
    """The question a task waits for, if the person at this client may be asked it."""
    waiting: Json | None = document["waiting_for"]
    if waiting is None or waiting.get("kind") != "approval":
        return None
    if not (caller.can("elicitation") and caller.may(APPROVALS) and caller.may(READ)):
        return None
    id: str = document["task_id"]
    found, _ = await caller.site.ledger.read(
        lambda tx: approvals.page(tx, status="pending", task_id=id, limit=1)
    )
    return found[0] if found else None


async def put(caller: Caller, approval: Approval) -> bool:
    """Ask; whether the question is settled now, here or elsewhere."""
    id = f"tawny-{secrets.token_hex(8)}"
    try:
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(caller.ask(id, "elicitation/create", _question(approval)))
            elsewhere = group.create_task(_settled(caller, approval.approval_id))
            leaving = group.create_task(caller.gone())
            waits: list[asyncio.Task[Any]] = [asking, elsewhere, leaving]
            await asyncio.wait(waits, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
    except ExceptionGroup as group:
        raise first_of(group, TawnyError) or group from None
    if asking.cancelled():
        await caller.take_back(id)
        return not elsewhere.cancelled()
    return await _answer(caller, approval, asking.result())


def _question(approval: Approval) -> Json:
    text = describe(approval, until=iso(approval.expires_at))
    decision = {
        "type": "string",
        "title": "Decision",
        "description": "approve does it once, just so; deny does not",
        "enum": ["approve", "deny"],
    }
    note = {"type": "string", "title": "Note", "description": "A word along with it", "maxLength": 1000}
    return {
        "message": f"{text}\n\n{approval.approval_id}",
        "requestedSchema": {
            "type": "object",
            "properties": {"decision": decision, "note": note},
            "required": ["decision"],
        },
    }


async def _settled(caller: Caller, approval_id: str) -> None:
    """Wait until it is answered anywhere, or has lapsed."""
    feed = caller.site.feed
    filter = filter_of("approval.answered,approval.expired")
    async with feed.device(after=feed.last_seq, filter=filter) as device:
        while (await caller.perform("approvals.get", {"id": approval_id}))["status"] == "pending":
            while not await device.frames():
                if device.closed:
                    return


async def _answer(caller: Caller, approval: Approval, message: Json) -> bool:
    result = message.get("result")
    if not isinstance(result, dict) or result.get("action") != "accept":  # pyright: ignore[reportUnknownMemberType]
        return False  # closed, put off, or not understood: it waits for its answer in the other places
    content: Any = result.get("content")  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    decision: Any = content.get("decision") if isinstance(content, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    if decision not in ("approve", "deny"):
        return False
    said: Any = content.get("note")  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    answer = {"id": approval.approval_id, "note": said[:1000] if isinstance(said, str) else ""}
    try:
        await caller.perform(f"approvals.{decision}", answer)
    except TawnyError as error:
        await caller.log("warning", {"approval_id": approval.approval_id, "message": error.message})
    return True
