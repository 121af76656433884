"""Tasks: handing work in, looking at it, steering it."""

from collections.abc import Callable
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import msgspec

from tawny.clock import Instant, iso, to_datetime
from tawny.domain.documents import task_document
from tawny.domain.tasks import Notify, Task
from tawny.engine import commands, reasons
from tawny.engine.submit import TaskRequest, parse_request
from tawny.gateway import documents
from tawny.gateway.operation import Call, Nothing, Operation, Seq
from tawny.gateway.principal import READ, WRITE
from tawny.ledger import artifacts, events, outbox, starts, steps
from tawny.ledger import tasks as ledger
from tawny.ledger.database import Tx
from tawny.ledger.submission import submit

_STATUS = "(queued|running|waiting|paused|succeeded|failed|timed_out|cancelled|lost)"
_STATUSES = f"^{_STATUS}(,{_STATUS})*$"
Limit = Annotated[int, msgspec.Meta(ge=1, le=500)]


class Listing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which tasks, newest first. `status` may be several with commas.

    `q` are words, each of which is looked for in title, kind, id, session and every value of parameters, result and
    error. A page of a search may be short, or empty, and still have a `next_cursor`: there is more to look through.
    """

    q: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    kind: str | None = None

    status: Annotated[str, msgspec.Meta(pattern=_STATUSES)] | None = None
    runtime: Literal["cron", "subagent", "acp", "cli"] | None = None
    owner: str | None = None
    session: str | None = None
    automation_id: str | None = None
    parent_id: str | None = None
    limit: Limit = 50
    cursor: str | None = None


class Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What may be changed of a task that has been handed in."""

    notify: Literal["silent", "done_only", "state_changes", "on_failure"] | None = None
    priority: Literal["interactive", "high", "normal", "low", "idle"] | None = None


class Reconcile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What became of an uncertain effect; `result` is recorded with `done`."""

    answer: Literal["done", "redo", "give_up"]
    result: Any = None


class After(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    after: Seq = 0
    limit: Limit = 500


def document(tx: Tx, task: Task, *, zone: str) -> dict[str, Any]:
    """The task with its log, artifacts and deliveries."""
    lines = ledger.logs(tx, task.task_id, limit=50)
    whole = task_document(
        task,
        logs=[{**_line(line), "time": _time_of_day(line["time"], zone)} for line in lines],
        artifacts=[entry.document() for entry in artifacts.of_task(tx, task.task_id)],
    )
    if owed := outbox.targets(tx, task.task_id):
        whole["delivery"]["targets"] = owed
    return whole


def run(tx: Tx, call: Call[Nothing, dict[str, Any]]) -> dict[str, Any]:
    """Accept work. A guest's tasks stand under the guest's own name, whatever the request says."""
    body = call.body
    if not call.principal.is_owner:
        body = {**body, "owner": call.principal.name}
    submission = parse_request(
        body,
        kinds=call.site.kinds,
        now=tx.now,
        zone=call.site.limits.zone,
        origin=call.principal.origin(call.via),
    )
    task = submit(tx, submission, actor=call.principal.actor, limits=call.site.limits)
    if task.created_at == tx.now and task.attempt == 0 and task.notify is not Notify.STATE_CHANGES:
        # Nobody has worked on it, and it has told nobody anything: three looks less for each that is accepted.
        whole = task_document(task, logs=[], artifacts=[])
    else:
        whole = document(tx, task, zone=call.site.limits.zone)
    # Only the time after a start holds work back: later nobody has to look.
    is_young = tx.now < call.site.started_at + starts.STABLE
    return whole | starts.notice(tx, task) if is_young else whole


def _steered(tx: Tx, call: Call[Any, Any], task: Task) -> dict[str, Any]:
    """The task after an order, and what holds it back where it was to go on."""
    return document(tx, task, zone=call.site.limits.zone) | starts.notice(tx, task)


def page(tx: Tx, call: Call[Listing, Nothing]) -> dict[str, Any]:
    found = ledger.page(tx, **msgspec.structs.asdict(call.query))
    return {"items": [task_document(task) for task in found.items], "next_cursor": found.next_cursor}


def get(tx: Tx, call: Call[Nothing, Nothing]) -> dict[str, Any]:
    return document(tx, ledger.get(tx, call.id), zone=call.site.limits.zone)


def change(tx: Tx, call: Call[Nothing, Change]) -> dict[str, Any]:
    task = ledger.get(tx, call.id)
    if call.body.notify is not None:
        task = commands.set_notify(tx, task.task_id, call.body.notify)
    if call.body.priority is not None:
        task = commands.set_priority(tx, task.task_id, call.body.priority)
    return document(tx, task, zone=call.site.limits.zone)


def reconcile(tx: Tx, call: Call[Nothing, Reconcile]) -> dict[str, Any]:
    ledger.get(tx, call.id)
    task = commands.reconcile(tx, call.id, call.body.answer, by=call.principal.actor, result=call.body.result)
    return _steered(tx, call, task)


def _steps(tx: Tx, call: Call[Nothing, Nothing]) -> dict[str, Any]:
    ledger.get(tx, call.id)
    return {"items": [step.document() for step in steps.of_task(tx, call.id)], "next_cursor": None}


def _logs(tx: Tx, call: Call[Nothing, Nothing]) -> dict[str, Any]:
    ledger.get(tx, call.id)
    return {"items": [_line(line) for line in ledger.logs(tx, call.id)], "next_cursor": None}


def _artifacts(tx: Tx, call: Call[Nothing, Nothing]) -> dict[str, Any]:
    ledger.get(tx, call.id)
    return {"items": [entry.document() for entry in artifacts.of_task(tx, call.id)], "next_cursor": None}


def _executions(tx: Tx, call: Call[Nothing, Nothing]) -> dict[str, Any]:
    ledger.get(tx, call.id)
    rows = ledger.executions(tx, call.id)
    return {"items": [_execution(row) for row in rows], "next_cursor": None}


def _deliveries(tx: Tx, call: Call[Nothing, Nothing]) -> dict[str, Any]:
    ledger.get(tx, call.id)
    return {"items": outbox.targets(tx, call.id), "next_cursor": None}


def _events(tx: Tx, call: Call[After, Nothing]) -> dict[str, Any]:
    ledger.get(tx, call.id)
    found = events.after(tx, call.query.after, limit=call.query.limit, task_id=call.id)
    more = len(found) == call.query.limit
    return {
        "items": [event.document() for event in found],
        "next_cursor": str(found[-1].seq) if more else None,
    }


def _why(tx: Tx, call: Call[Nothing, Nothing]) -> dict[str, Any]:
    found = reasons.why(tx, call.id)
    return {**found, "text": found["summary"], "unblocks": "; ".join(found["unblock"])}


def _kinds(_: Tx, call: Call[Nothing, Nothing]) -> dict[str, Any]:
    items = [
        {
            "kind": kind.name,
            "description": kind.description,
            "effect": kind.effect,
            "schema": msgspec.json.schema(kind.params),
        }
        for kind in call.site.kinds.values()
    ]
    return {"items": sorted(items, key=lambda item: str(item["kind"])), "next_cursor": None}


def _line(line: dict[str, Any]) -> dict[str, Any]:
    return {"time": iso(line["time"]), "level": line["level"], "message": line["message"]}


def _time_of_day(instant: Instant, zone: str) -> str:
    return to_datetime(instant, ZoneInfo(zone)).strftime("%H:%M:%S")


def _execution(row: dict[str, Any]) -> dict[str, Any]:
    ended, error = row["ended_at"], row["error"]
    return {
        "execution_id": row["execution_id"],
        "attempt": row["attempt"],
        "started_at": iso(row["started_at"]),
        "ended_at": None if ended is None else iso(ended),
        "outcome": row["outcome"],
        "error": None if error is None else _json(error),
    }


def _json(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def _command(name: str, command: Callable[..., Task], summary: str) -> Operation:
    def steer(tx: Tx, call: Call[Nothing, Nothing]) -> dict[str, Any]:
        ledger.get(tx, call.id)
        return _steered(tx, call, command(tx, call.id, by=call.principal.actor))

    return Operation(
        name=f"tasks.{name}",
        method="POST",
        path="/v1/tasks/{id}/" + name,
        scope=WRITE,
        summary=summary,
        answer=documents.Task,
        errors=(404, 409),
        change=steer,
    )


def _part(
    name: str, read: Callable[[Tx, Call[Any, Any]], Any], summary: str, item: Any, **more: Any
) -> Operation:
    return Operation(
        name=f"tasks.{name}",
        method="GET",
        path="/v1/tasks/{id}/" + name,
        scope=READ,
        summary=summary,
        answer=documents.Page[item],
        errors=(404,),
        read=read,
        **more,
    )


OPERATIONS = (
    Operation(
        name="tasks.run",
        method="POST",
        path="/v1/tasks",
        scope=WRITE,
        summary="Hand in work; the answer means that it is owed",
        body=dict[str, Any],
        described_by=TaskRequest,
        answer=documents.Task,
        status=202,
        errors=(409, 429),
        change=run,
    ),
    Operation(
        name="tasks.list",
        method="GET",
        path="/v1/tasks",
        scope=READ,
        summary="Tasks, newest first; `q` finds them by their words, `status kind runtime …` narrow it down",
        query=Listing,
        answer=documents.Page[documents.Task],
        read=page,
    ),
    Operation(
        name="tasks.get",
        method="GET",
        path="/v1/tasks/{id}",
        scope=READ,
        summary="One task, whole",
        answer=documents.Task,
        errors=(404,),
        read=get,
    ),
    Operation(
        name="tasks.change",
        method="PATCH",
        path="/v1/tasks/{id}",
        scope=WRITE,
        summary="Change what a task tells, or its class",
        body=Change,
        answer=documents.Task,
        errors=(404, 409),
        change=change,
    ),
    _command("cancel", commands.cancel, "Cancel a task and its children"),
    _command("pause", commands.pause, "Let the step in flight finish, then rest"),
    _command("resume", commands.resume, "Go on where it was paused"),
    _command("retry", commands.retry, "Do an ended task's work again, as a new task"),
    Operation(
        name="tasks.reconcile",
        method="POST",
        path="/v1/tasks/{id}/reconcile",
        scope=WRITE,
        summary="Say what became of an effect nobody knows the outcome of",
        body=Reconcile,
        answer=documents.Task,
        errors=(404, 409),
        change=reconcile,
    ),
    _part("steps", _steps, "What the task has done, one record a step", documents.Step),
    _part("logs", _logs, "The task's own log", documents.LogLine),
    _part("artifacts", _artifacts, "The files the task made", documents.Artifact),
    _part("executions", _executions, "The attempts, in order", documents.Execution),
    _part("deliveries", _deliveries, "What is owed for the task, and the receipts", documents.DeliveryLine),
    _part("events", _events, "What happened to the task, oldest first", documents.Event, query=After),
    Operation(
        name="tasks.why",
        method="GET",
        path="/v1/tasks/{id}/why",
        scope=READ,
        summary="What it waits for, and what unblocks it",
        answer=documents.Why,
        errors=(404,),
        read=_why,
    ),
    Operation(
        name="kinds.list",
        method="GET",
        path="/v1/kinds",
        scope=READ,
        summary="The kinds of task, with their parameters' schema",
        answer=documents.Page[documents.KindInfo],
        read=_kinds,
    ),
)
