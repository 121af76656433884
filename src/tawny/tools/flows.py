"""The tool `flows`: several steps that may wait, branch, fan out, ask and undo."""

from typing import Annotated, Any, Literal

import msgspec

from tawny.domain.origin import inherit
from tawny.domain.tasks import Delivery, Effect, Json
from tawny.engine.flows import check_flow
from tawny.engine.kinds import Kinds
from tawny.engine.submit import parse_request
from tawny.ledger import tasks
from tawny.ledger.database import Ledger, Tx
from tawny.ledger.submission import Limits, submit
from tawny.tools.once import once
from tawny.tools.registry import CHANGE, READ, Operation, Tool, ToolContext
from tawny.tools.summaries import brief_task, reading


class Flows(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`run` a flow by its `file` in flows/ or as a `document`, `check` one, or `list` those that run."""

    action: Literal["run", "check", "list"]
    file: str = ""
    document: Annotated[dict[str, Any], msgspec.Meta(description="the flow: {name, steps: [...]}")] = {}
    args: dict[str, Any] = {}
    title: str = ""


def flows_tool(ledger: Ledger, kinds: Kinds, limits: Limits) -> Tool:
    async def run(scope: ToolContext, params: Flows) -> Json:
        if params.action == "check":
            checked = check_flow(params.document, kinds)
            return {"valid": True, "steps": len(checked.steps)}
        if params.action == "list":
            return await ledger.read(_listed)
        return await once(ledger, scope, lambda tx: _start(tx, scope, params, kinds, limits))

    return Tool(
        name="flows",
        description="Flows: run one (a file in flows/, or a document), check a document, list what runs.",
        params=Flows,
        rows=("flows.read", "flows.run"),
        operation=lambda params: (
            Operation(
                name="flows.run",
                operation="create",
                level=CHANGE,
                subjects=(params.title or params.file,),
                text=(msgspec.json.encode([params.document, params.args]).decode(),),
            )
            if params.action == "run"
            else Operation(name="flows.read", operation="read", level=READ)
        ),
        run=run,
        effect=lambda params: Effect.IDEMPOTENT if params.action == "run" else Effect.PURE,
        origin=reading,
    )


def _listed(tx: Tx) -> dict[str, Any]:
    active = [task for task in tasks.page(tx, limit=100).items if task.kind == "flow"]
    return {"items": [brief_task(task, tx.now) for task in active[:20]]}


def _start(tx: Tx, scope: ToolContext, params: Flows, kinds: Kinds, limits: Limits) -> dict[str, Any]:
    given: dict[str, Any] = {"file": params.file} if params.file else {"document": params.document}
    body: dict[str, Any] = {"kind": "flow", "params": {**given, "args": params.args}}
    if params.title:
        body["title"] = params.title
    task = scope.run.task
    submission = parse_request(
        body,
        kinds=kinds,
        now=tx.now,
        zone=limits.zone,
        origin=inherit(task.origin, task.params, by="model", via="chat"),
    )
    submission = msgspec.structs.replace(
        submission, session=scope.session, delivery=Delivery(channels=("chat",))
    )
    return brief_task(submit(tx, submission, actor="model", limits=limits), tx.now)
