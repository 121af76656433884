"""The tool `automations`: what happens later, again and again, or when something happens."""

from typing import Annotated, Any, Literal

import msgspec

from tawny.clock import iso, parse_time
from tawny.domain.origin import inherit
from tawny.domain.tasks import Effect, Json
from tawny.engine import automations as orders
from tawny.engine import settlement
from tawny.engine.kinds import Kinds
from tawny.errors import InvalidInput
from tawny.ledger import automations, starts
from tawny.ledger.database import Ledger, Tx
from tawny.tools.agents import Agents
from tawny.tools.once import once
from tawny.tools.registry import CHANGE, READ, SENSITIVE, Operation, Tool, ToolContext

_EXAMPLE = (
    '{"name": "Standup", "schedule": {"type": "cron", "expression": "0 9 * * 1-5"}, '
    '"action": {"type": "agent_turn", "parameters": {"message": "…"}}}'
)


class Automations(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`add` or `edit` with a `document`; `next_check` says when the automation that runs now should run again."""

    action: Literal[
        "add", "edit", "list", "show", "remove", "run", "pause", "resume", "preview", "next_check"
    ]
    document: Annotated[
        dict[str, Any], msgspec.Meta(description=f"add, edit, preview: such as {_EXAMPLE}")
    ] = {}
    lookup: Annotated[str, msgspec.Meta(description="which one: id or name")] = ""
    at: Annotated[str, msgspec.Meta(description="next_check: a time or a duration such as 2h")] = ""


_LOOKING = frozenset({"list", "show", "preview"})


def automations_tool(ledger: Ledger, kinds: Kinds, timezone: str, *, agents: Agents) -> Tool:
    async def run(scope: ToolContext, params: Automations) -> Json:
        if params.action in _LOOKING:
            return await ledger.read(lambda tx: _look(tx, params, timezone))
        return await once(
            ledger,
            scope,
            lambda tx: _change(tx, scope, params, kinds=kinds, timezone=timezone, agents=agents),
        )

    return Tool(
        name="automations",
        description="Standing orders: add, edit, list, show, remove, run now, pause, resume, preview, next_check.",
        params=Automations,
        rows=("automations.read", "automations.change", "automations.run", "automations.delete"),
        operation=_operation,
        run=run,
        effect=lambda params: Effect.PURE if params.action in _LOOKING else Effect.IDEMPOTENT,
    )


def _operation(params: Automations) -> Operation:
    name = str(params.document.get("name") or params.lookup)
    if params.action in _LOOKING or params.action == "next_check":
        return Operation(name="automations.read", operation="read", level=READ)
    if params.action == "remove":
        return Operation(name="automations.delete", operation="delete", level=SENSITIVE, subjects=(name,))
    if params.action == "run":
        return Operation(name="automations.run", operation="create", level=CHANGE, subjects=(name,))
    text = msgspec.json.encode(params.document).decode()
    return Operation(
        name="automations.change",
        operation="create" if params.action == "add" else "update",
        level=CHANGE,
        subjects=(name,),
        text=(text,),
    )


def _look(tx: Tx, params: Automations, timezone: str) -> dict[str, Any]:
    if params.action == "list":
        return {"items": [_brief(one, tx) for one in automations.page(tx).items]}
    if params.action == "show":
        return orders.document_of(automations.find(tx, params.lookup), now=tx.now)
    parsed = orders.check(params.document, kinds=None, now=tx.now, timezone=timezone)
    return {"valid": True, "name": parsed.spec.name}


def _brief(one: automations.Automation, tx: Tx) -> dict[str, Any]:
    document = orders.document_of(one, now=tx.now)
    return {
        key: document.get(key) for key in ("id", "name", "type", "schedule", "status", "next_run", "last_run")
    }


def _bound(tx: Tx, scope: ToolContext, document: dict[str, Any], agents: Agents) -> dict[str, Any]:
    """The document with its turns by the agent that asks, as far as that can be told before it is checked."""
    try:
        action = msgspec.convert(document.get("action"), dict[str, Any])
        given = msgspec.convert(action.get("parameters"), dict[str, Any])
    except msgspec.ValidationError:
        return document
    if action.get("type") != "agent_turn":
        return document
    return {**document, "action": {**action, "parameters": agents.turn_params(tx, scope, given)}}


def _change(
    tx: Tx, scope: ToolContext, params: Automations, *, kinds: Kinds, timezone: str, agents: Agents
) -> dict[str, Any]:
    task = scope.run.task
    document = _bound(tx, scope, params.document, agents)
    match params.action:
        case "add":
            origin = inherit(task.origin, task.params, by="model")
            made = orders.add(tx, document, kinds=kinds, timezone=timezone, actor="model", origin=origin)
            return orders.document_of(made, now=tx.now)
        case "edit":
            origin = inherit(task.origin, task.params, by="model")
            made = orders.edit(
                tx, params.lookup, document, kinds=kinds, timezone=timezone, actor="model", origin=origin
            )
            return orders.document_of(made, now=tx.now)
        case "remove":
            found = automations.find(tx, params.lookup)
            automations.remove(tx, found.automation_id, actor="model")
            return {"removed": found.automation_id}
        case "run":
            started = orders.run_now(tx, params.lookup, actor="model")
            if started is None:
                return {"looking": params.lookup}
            shown = {"task_id": started.task_id, "title": started.title, "status": started.status}
            return {**shown, **starts.notice(tx, started)}
        case "pause":
            return orders.document_of(orders.stop(tx, params.lookup, "paused", actor="model"), now=tx.now)
        case "resume":
            return orders.document_of(orders.resume(tx, params.lookup, actor="model"), now=tx.now)
        case _:
            if task.automation_id is None:
                raise InvalidInput("next_check: this run belongs to no automation", hint="use add")
            try:
                due = parse_time(params.at, now=tx.now)
            except ValueError as error:
                raise InvalidInput(f"at: {error}") from error
            return {"next_run": iso(settlement.next_check(tx, task.task_id, due))}
