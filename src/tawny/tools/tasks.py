"""The tool `tasks`: start background work, see how it goes, cancel, pause, resume."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec

from tawny.domain.lookup import meant
from tawny.domain.origin import inherit
from tawny.domain.tasks import Delivery, Effect, Json, Task
from tawny.engine import commands
from tawny.engine.kinds import Kinds
from tawny.engine.submit import parse_request
from tawny.errors import InvalidInput
from tawny.ledger import starts, turns
from tawny.ledger import tasks as rows
from tawny.ledger.database import Ledger, Tx
from tawny.ledger.submission import Limits, submit
from tawny.tools.agents import Agents
from tawny.tools.once import digest, once
from tawny.tools.registry import CHANGE, READ, Operation, Tool, ToolContext
from tawny.tools.summaries import brief_task, reading

_LISTED = 20


class Tasks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Background work. `run` starts it and comes back at once; the result is delivered here by itself."""

    action: Annotated[
        Literal["run", "list", "show", "cancel", "pause", "resume", "retry", "kinds"],
        msgspec.Meta(description="what to do"),
    ]
    kind: Annotated[
        str,
        msgspec.Meta(description="run: the kind of work; agent_turn (with params.message) for anything else"),
    ] = "agent_turn"
    params: Annotated[dict[str, Any], msgspec.Meta(description="run: the kind's parameters")] = {}
    title: Annotated[str, msgspec.Meta(description="run: a short name the person will recognise")] = ""
    lookup: Annotated[
        str,
        msgspec.Meta(description="show, cancel, pause, resume: id or words of the title; empty: the newest"),
    ] = ""
    not_before: Annotated[str, msgspec.Meta(description="run: start later, e.g. 10m or an ISO time")] = ""
    timeout: Annotated[str, msgspec.Meta(description="run: how long it may take, e.g. 30m")] = ""
    priority: Annotated[str, msgspec.Meta(description="run: high, normal, low or idle")] = ""
    deliver_to: Annotated[
        list[str],
        msgspec.Meta(
            description="run: where the result goes: chat, a channel's name, memory, inbox, webhook:URL"
        ),
    ] = []


_STEERING = frozenset({"cancel", "pause", "resume", "retry"})


def _operation(params: Tasks) -> Operation:
    if params.action == "run":
        return Operation(
            name="tasks.run",
            operation="create",
            level=CHANGE,
            targets=tuple(
                one.removeprefix("webhook:") for one in params.deliver_to if one.startswith("webhook:")
            ),
            subjects=(params.title,) if params.title else (),
        )
    if params.action in _STEERING:
        return Operation(name="tasks.steer", operation="update", level=CHANGE)
    return Operation(name="tasks.read", operation="read", level=READ)


def tasks_tool(
    ledger: Ledger, kinds: Kinds, limits: Limits, *, agents: Agents, allowed: Callable[[str], bool]
) -> Tool:
    """The tool. `allowed` tells which kinds a model may start directly."""

    async def run(scope: ToolContext, params: Tasks) -> Json:
        match params.action:
            case "run":
                return await once(
                    ledger,
                    scope,
                    lambda tx: _start(
                        tx, scope, params, kinds=kinds, limits=limits, agents=agents, allowed=allowed
                    ),
                )
            case "list":
                return await ledger.read(lambda tx: _list(tx, scope.session))
            case "kinds":
                return {"items": [{"kind": kind.name, "does": kind.description} for kind in kinds.values()]}
            case "show":
                return await ledger.read(
                    lambda tx: brief_task(_one(tx, scope.session, params.lookup, ended=True), tx.now)
                )
            case _:
                return await ledger.write(lambda tx: _order(tx, scope.session, params))

    return Tool(
        name="tasks",
        description=(
            "Background work: run (starts it, returns at once, the result comes by itself), list (how it is going), "
            "show, cancel, pause, resume, retry, kinds."
        ),
        params=Tasks,
        rows=("tasks.read", "tasks.run", "tasks.steer"),
        operation=_operation,
        run=run,
        effect=lambda params: Effect.PURE if _operation(params).level == READ else Effect.IDEMPOTENT,
        origin=reading,
    )


def _start(
    tx: Tx,
    scope: ToolContext,
    params: Tasks,
    *,
    kinds: Kinds,
    limits: Limits,
    agents: Agents,
    allowed: Callable[[str], bool],
) -> dict[str, Any]:
    if params.kind in kinds and not allowed(params.kind):
        raise InvalidInput(f"kind: {params.kind!r} is not started this way", hint="use the tool made for it")
    given = params.params
    if params.kind == "agent_turn":
        given = agents.turn_params(tx, scope, given)
    body: dict[str, Any] = {"kind": params.kind, "params": given}
    for name in ("title", "not_before", "timeout", "priority"):
        if value := getattr(params, name):
            body[name] = value
    origin = scope.run.task.origin
    submission = parse_request(
        body,
        kinds=kinds,
        now=tx.now,
        zone=limits.zone,
        origin=inherit(origin, scope.run.task.params, by="model", via="chat"),
    )
    work = {"kind": params.kind, "params": given, "not_before": params.not_before}
    key = f"work:{scope.session}:{digest(work)}"
    channels = tuple(params.deliver_to) or ("chat",)
    submission = msgspec.structs.replace(
        submission,
        session=scope.session if params.kind != "agent_turn" else submission.session,
        dedupe_key=key,
        delivery=Delivery(channels=channels),
    )
    before = {task.task_id for task in turns.active(tx)}
    task = submit(tx, submission, actor="model", limits=limits)
    document = brief_task(task, tx.now) | starts.notice(tx, task)
    if task.task_id in before:
        document["already"] = True
    elif params.not_before:
        document["not_before"] = params.not_before
    return document


def _list(tx: Tx, session: str | None) -> dict[str, Any]:
    own = turns.background(tx, session) if session else []
    others = [task for task in turns.active(tx, limit=_LISTED) if task.session != session]
    items = [brief_task(task, tx.now) for task in [*own, *others][:_LISTED]]
    ended = turns.recent(tx, session) if session else []
    return {"items": items, "ended": [brief_task(task, tx.now) for task in ended]}


def _order(tx: Tx, session: str | None, params: Tasks) -> dict[str, Any]:
    task = _one(tx, session, params.lookup, ended=params.action == "retry", paused=params.action == "resume")
    order = {
        "cancel": commands.cancel,
        "pause": commands.pause,
        "resume": commands.resume,
        "retry": commands.retry,
    }[params.action]
    return brief_task(order(tx, task.task_id, by="model"), tx.now)


def _one(tx: Tx, session: str | None, words: str, *, ended: bool = False, paused: bool = False) -> Task:
    """The task meant: of the session's own first.

    Raises:
        InvalidInput: none, or several; names them.
    """
    pools = [turns.background(tx, session) if session else [], turns.active(tx)]
    if ended:
        pools += [turns.recent(tx, session, limit=_LISTED) if session else [], rows.page(tx, limit=100).items]
    for pool in pools:
        found = meant([task for task in pool if not paused or _may_resume(task)], words)
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(f'"{task.title}" ({task.task_id})' for task in found[:6])
            raise InvalidInput(f"several tasks may be meant: {names}", hint="give the id")
    raise InvalidInput(
        f"there is no such task ({words or 'none is active'})", hint="tasks(action='list') shows them"
    )


def _may_resume(task: Task) -> bool:
    return task.status == "paused" or task.intent == "pause"
