"""The tool `sessions`: other conversations, their history, and saying something there."""

from typing import Annotated, Literal, cast

import msgspec

from tawny.domain.origin import remembered
from tawny.domain.shorten import shorten
from tawny.domain.tasks import Effect, Json, Origin
from tawny.errors import InvalidInput
from tawny.ledger import sessions
from tawny.ledger.database import Ledger, Tx
from tawny.tools.once import once
from tawny.tools.registry import CHANGE, READ, Operation, Tool, ToolContext


class Sessions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`list` conversations, read the `history` of one, or `send` a note its next turn will read."""

    action: Literal["list", "history", "send"]
    session: str = ""
    text: Annotated[str, msgspec.Meta(max_length=20_000)] = ""
    limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 20


def sessions_tool(ledger: Ledger) -> Tool:
    async def run(scope: ToolContext, params: Sessions) -> Json:
        if params.action == "list":
            page = await ledger.read(lambda tx: sessions.page(tx, limit=params.limit))
            return {"items": [one.document() for one in page.items]}
        key = params.session or scope.session or ""
        if params.action == "history":
            return await ledger.read(lambda tx: _history(tx, key, params.limit))
        if not params.text:
            raise InvalidInput("text: there is nothing to send", hint="give the words")

        def send(tx: Tx) -> Json:
            sessions.get(tx, key)
            sessions.note(
                tx, key, f"From session {scope.session}: {params.text}", task_id=scope.run.task.task_id
            )
            return {"sent_to": key}

        return await once(ledger, scope, send)

    return Tool(
        name="sessions",
        description="Other conversations: list, history, send (a note for its next turn).",
        params=Sessions,
        rows=("sessions.read", "sessions.send"),
        operation=lambda params: (
            Operation(name="sessions.send", operation="send", level=CHANGE, text=(params.text,))
            if params.action == "send"
            else Operation(name="sessions.read", operation="read", level=READ)
        ),
        run=run,
        effect=lambda params: Effect.IDEMPOTENT if params.action == "send" else Effect.PURE,
        origin=_reading,
    )


def _history(tx: Tx, key: str, limit: int) -> Json:
    found = sessions.entries(tx, key, limit=limit, newest=True)
    items: list[Json] = [{"role": one.role, "text": shorten(one.text, 2000)} for one in found]
    document: dict[str, Json] = {"session": key, "items": items}
    held = sessions.find(tx, key)
    if held is not None and "read" in held.settings:
        document["read"] = held.settings["read"]
    return document


def _reading(_: object, answer: Json) -> Origin | None:
    """What was read in a conversation is read again with its history."""
    found = cast(dict[str, Json], answer) if isinstance(answer, dict) else {}
    return remembered(found.get("read"))
