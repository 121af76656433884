"""The tool `spawn`: helpers with a session of their own (subagents), as child tasks."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec

from tawny.clock import parse_duration
from tawny.domain.origin import inherit
from tawny.domain.shorten import shorten
from tawny.domain.tasks import Budget, Delivery, Json, Notify, Runtime, Status, Submission, Task
from tawny.errors import InvalidInput, Refused
from tawny.ledger import sessions, tasks
from tawny.ledger.database import Ledger, Tx
from tawny.ledger.tasks import ACTIVE
from tawny.tools.agents import Agents
from tawny.tools.registry import CHANGE, Operation, Tool, ToolContext

DEPTH, CHILDREN, AT_ONCE = 5, 5, 8
WITHHELD = frozenset({"automations", "send_message", "sessions", "flows", "finish"})
"""What helpers do not have; those at the greatest depth do not have `spawn` either."""
_RESULT_CHARS = 8000


class Spawn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Give a piece of work to a helper; several in `task` work side by side.

    With `wait` their results come back here, else they are told when they are there. `context` fork lets a helper know
    this conversation.
    """

    task: Annotated[str | list[str], msgspec.Meta(description="what to do, complete in itself")]
    agent: str = ""
    context: Literal["isolated", "fork"] = "isolated"
    model: str = ""
    timeout: Annotated[str, msgspec.Meta(description="how long each may take, e.g. 10m")] = ""
    budget: Budget | None = None
    wait: bool | None = None


def spawn_tool(ledger: Ledger, agents: Agents) -> Tool:
    """The tool. A helper gets fewer tools, and none its parent does not have; it is its parent's agent unless told."""

    async def run(scope: ToolContext, params: Spawn) -> Json:
        orders = [params.task] if isinstance(params.task, str) else list(params.task)
        if not orders or not all(order.strip() for order in orders):
            raise InvalidInput("task: it is empty", hint="say what the helper is to do")
        chat = bool(scope.run.task.params.get("input"))
        waits = params.wait if params.wait is not None else not chat
        prepared = await ledger.write(lambda tx: _prepare(tx, scope, params, orders, agents))
        wanted = [_submission(scope, params, child, waits=waits) for child in prepared]
        if waits:
            ended = await scope.run.children(f"spawn:{scope.call_id}", wanted)
            return {"items": [_result(task) for task in ended]}
        started = [await scope.run.submit(f"spawn:{scope.call_id}:{n}", one) for n, one in enumerate(wanted)]
        return {
            "task_id": started[0],
            "task_ids": started,
            "status": "at work; the result is told by itself, do not wait for it",
        }

    return Tool(
        name="spawn",
        description=(
            "Give one or several pieces of work to helpers with sessions of their own; they work side by side. "
            "Say all they need to know: they do not see this conversation unless context='fork'."
        ),
        params=Spawn,
        rows=("spawn.start",),
        operation=lambda params: Operation(
            name="spawn.start",
            operation="create",
            level=CHANGE,
            text=(params.task,) if isinstance(params.task, str) else tuple(params.task),
        ),
        run=run,
    )


class _Child(msgspec.Struct, frozen=True):
    session: str
    order: str
    agent: str
    tools: tuple[str, ...]


def _prepare(
    tx: Tx, scope: ToolContext, params: Spawn, orders: Sequence[str], agents: Agents
) -> list[_Child]:
    """Check the bounds and make the sessions; the same again on a second try.

    Raises:
        Refused: too deep, or too many.
    """
    parent = scope.session or f"run:{scope.run.task.task_id}"
    session = sessions.ensure(tx, parent)
    own = agents.asking(scope, session.agent)
    agent = agents.handed_on(own, params.agent)
    depth = session.depth + 1
    if depth > DEPTH:
        raise Refused(f"helpers may not go deeper than {DEPTH}", hint="do it in this run")
    prefix = f"{parent}/{scope.call_id}"
    helpers = [
        task for task in tasks.children(tx, scope.run.task.task_id) if task.runtime is Runtime.SUBAGENT
    ]
    others = [
        task
        for task in helpers
        if not (task.session or "").startswith(prefix) and not task.status.is_terminal
    ]
    if len(others) + len(orders) > CHILDREN:
        raise Refused(
            f"a run may have {CHILDREN} helpers at once", hint="wait for some, or give fewer orders"
        )
    working = int(
        tx.value(
            f"SELECT COUNT(*) AS n FROM tasks WHERE runtime = 'subagent' AND status IN {ACTIVE}"
            " AND (session IS NULL OR session NOT LIKE :prefix)",
            prefix=f"{prefix}%",
        )
    )
    if working + len(orders) > AT_ONCE:
        raise Refused(f"{working} helpers are at work, and {AT_ONCE} may be at once", hint="try again later")
    withheld = WITHHELD | {"spawn"} if depth == DEPTH else WITHHELD
    tools = tuple(name for name in agents.tools_of(scope, own) if name not in withheld)
    children = [_Child(f"{prefix}.{n}", order, agent, tools) for n, order in enumerate(orders)]
    for child in children:
        sessions.ensure(tx, child.session, agent=agent, title=child.order[:60], parent=parent, depth=depth)
        if params.context == "fork":
            sessions.fork(tx, parent, child.session)
    return children


def _submission(scope: ToolContext, params: Spawn, child: _Child, *, waits: bool) -> Submission:
    task = scope.run.task
    try:
        timeout = parse_duration(params.timeout) if params.timeout else None
    except ValueError as error:
        raise InvalidInput(f"timeout: {error}") from error
    body: dict[str, Any] = {
        "message": child.order,
        "session": child.session,
        "tools": list(child.tools),
        "helper": True,
    }
    if params.model:
        body["model"] = params.model
    if child.agent:
        body["agent"] = child.agent
    told = task.origin.reply_to or f"chat:{scope.session}"
    return Submission(
        kind="agent_turn",
        params=body,
        title=" ".join(child.order.split())[:60],
        runtime=Runtime.SUBAGENT,
        session=child.session,
        timeout=timeout,
        budget=params.budget,
        notify=Notify.SILENT if waits else Notify.DONE_ONLY,
        delivery=Delivery() if waits else Delivery(channels=(told,)),
        awaited=waits,
        origin=inherit(task.origin, task.params, by="model", via="subagent"),
    )


def _result(task: Task) -> dict[str, Any]:
    """What a helper came back with: its last words; of one that failed the status and why."""
    document: dict[str, Any] = {"task_id": task.task_id, "title": task.title, "status": task.status.value}
    if task.status is Status.SUCCEEDED:
        document["result"] = shorten(str((task.result or {}).get("text") or ""), _RESULT_CHARS)
    elif task.error is not None:
        document["error"] = task.error.message
    return document
