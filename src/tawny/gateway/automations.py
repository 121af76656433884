"""Automations: standing orders, their runs, their next times, the week they make."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import msgspec

from tawny.clock import DAY, Instant, iso
from tawny.delivery.opening import default_of
from tawny.domain import automations as rules
from tawny.domain import schedule
from tawny.engine import automations as engine
from tawny.errors import InvalidInput
from tawny.gateway.documents import Page, Time
from tawny.gateway.operation import Call, Nothing, Operation
from tawny.gateway.principal import READ, WRITE
from tawny.ledger import automations as ledger
from tawny.ledger import occurrences, starts
from tawny.ledger.automations import Automation
from tawny.ledger.database import Tx

Limit = Annotated[int, msgspec.Meta(ge=1, le=500)]
Document = dict[str, Any]
_MOST_SLOTS = 500


class AutomationDocument(msgspec.Struct):
    """The contract's automation; which of schedule, on, watch and expect stands there says what triggers it."""

    id: str
    name: str
    type: Literal["scheduled", "delayed", "event", "continuous"]
    action: dict[str, Any]
    status: Literal["active", "paused", "completed", "disabled"]
    created_at: Time
    last_run: Time | None
    next_run: Time | None
    schedule: dict[str, Any] | msgspec.UnsetType | None = msgspec.UNSET
    on: dict[str, Any] | msgspec.UnsetType | None = msgspec.UNSET
    watch: dict[str, Any] | msgspec.UnsetType | None = msgspec.UNSET
    delivery: dict[str, Any] | msgspec.UnsetType | None = msgspec.UNSET
    policy: dict[str, Any] | msgspec.UnsetType | None = msgspec.UNSET


class Run(msgspec.Struct):
    """What became of one slot."""

    slot: Time
    status: Literal["ran", "caught_up", "missed", "skipped"]
    task_id: str | None
    reason: str | None
    merged_into: Time | None


class Started(msgspec.Struct):
    """The task a run by hand has made; null where a watch looks for itself. `notice` says what holds it back."""

    task_id: str | None
    automation_id: str
    notice: str | None = None


class Preview(msgspec.Struct):
    """The next times of a schedule, in UTC and in its zone."""

    schedule: dict[str, Any]
    timezone: str
    items: list[Time]
    local: list[str]


class Slot(msgspec.Struct):
    """One place in the calendar."""

    automation_id: str
    name: str
    slot: Time
    status: Literal["planned", "ran", "caught_up", "missed", "skipped"]
    task_id: str | None
    reason: str | None


class Trial(msgspec.Struct):
    """What an automation would do, had it come up now; nothing is done."""

    would: str
    task: dict[str, Any]
    next: list[Time]
    problems: list[str]


class Listing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    status: Literal["active", "paused", "completed", "disabled"] | None = None
    type: Literal["scheduled", "delayed", "event", "continuous"] | None = None
    limit: Limit = 50
    cursor: str | None = None


class Runs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    status: Literal["ran", "caught_up", "missed", "skipped"] | None = None
    limit: Limit = 50
    cursor: Annotated[str, msgspec.Meta(pattern="^[0-9]{1,18}$")] | None = None


class Times(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose next times; `start` is a time or a duration from now."""

    schedule: dict[str, Any]
    n: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 5
    start: str | None = None
    timezone: str | None = None


class Span(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"start": "from", "end": "to"}):
    """From when to when; at most 62 days. Without, the week from now on."""

    start: str | None = None
    end: str | None = None


def _shown(automation: Automation, now: Instant) -> Document:
    return engine.document_of(automation, now=now)


def add(tx: Tx, call: Call[Nothing, Document]) -> Document:
    """A guest's automations run under the guest's name and never as the owner's own hand."""
    asking = call.principal
    made = engine.add(
        tx,
        call.body,
        kinds=call.site.kinds,
        timezone=call.site.limits.zone,
        actor=asking.actor,
        origin=None if asking.is_owner else asking.origin(call.via),
        owner="owner" if asking.is_owner else asking.name,
    )
    return _shown(made, tx.now)


def page(tx: Tx, call: Call[Listing, Nothing]) -> Document:
    query = call.query
    found = ledger.page(tx, status=query.status, type=query.type, limit=query.limit, cursor=query.cursor)
    return {"items": [_shown(entry, tx.now) for entry in found.items], "next_cursor": found.next_cursor}


def get(tx: Tx, call: Call[Nothing, Nothing]) -> Document:
    return _shown(ledger.get(tx, call.id), tx.now)


def edit(tx: Tx, call: Call[Nothing, Document]) -> Document:
    ledger.get(tx, call.id)
    changed = engine.edit(
        tx,
        call.id,
        call.body,
        kinds=call.site.kinds,
        timezone=call.site.limits.zone,
        actor=call.principal.actor,
    )
    return _shown(changed, tx.now)


def remove(tx: Tx, call: Call[Nothing, Nothing]) -> None:
    ledger.remove(tx, call.id, actor=call.principal.actor)


def run(tx: Tx, call: Call[Nothing, Nothing]) -> Document:
    ledger.get(tx, call.id)
    task = engine.run_now(tx, call.id, actor=call.principal.actor)
    if task is None:
        return {"task_id": None, "automation_id": call.id}
    return {"task_id": task.task_id, "automation_id": call.id, **starts.notice(tx, task)}


def pause(tx: Tx, call: Call[Nothing, Nothing]) -> Document:
    ledger.get(tx, call.id)
    return _shown(engine.stop(tx, call.id, "paused", actor=call.principal.actor), tx.now)


def resume(tx: Tx, call: Call[Nothing, Nothing]) -> Document:
    ledger.get(tx, call.id)
    return _shown(engine.resume(tx, call.id, actor=call.principal.actor), tx.now)


def runs(tx: Tx, call: Call[Runs, Nothing]) -> Document:
    ledger.get(tx, call.id)
    query = call.query
    found = occurrences.page(tx, call.id, limit=query.limit, cursor=query.cursor, status=query.status)
    return {"items": [entry.document() for entry in found.items], "next_cursor": found.next_cursor}


def preview(tx: Tx, call: Call[Nothing, Times]) -> Document:
    body = call.body
    zone = body.timezone or call.site.limits.zone
    return engine.preview(body.schedule, now=tx.now, timezone=zone, start=body.start, n=body.n)


def calendar(tx: Tx, call: Call[Span, Nothing]) -> Document:
    """What has become of the slots in a span, and which are to come."""
    start = _instant(call.query.start, "from", tx.now, call.site.limits.zone, tx.now)
    end = _instant(call.query.end, "to", tx.now, call.site.limits.zone, start + 7 * DAY)
    if not start < end <= start + 62 * DAY:
        raise InvalidInput("to: must be after 'from', by 62 days at most")
    items: list[Document] = []
    for automation in _all(tx):
        items += _past(tx, automation, start, end)
        items += _planned(automation, max(start, tx.now), end, tx.now)
    return {"items": sorted(items, key=lambda item: (item["slot"], item["name"])), "next_cursor": None}


def _all(tx: Tx) -> list[Automation]:
    found: list[Automation] = []
    cursor = None
    while True:
        part = ledger.page(tx, limit=500, cursor=cursor)
        found += part.items
        cursor = part.next_cursor
        if cursor is None:
            return found


def _past(tx: Tx, automation: Automation, start: Instant, end: Instant) -> list[Document]:
    return [
        {
            "automation_id": automation.automation_id,
            "name": automation.name,
            "slot": iso(entry.slot),
            "status": entry.status,
            "task_id": entry.task_id,
            "reason": entry.reason,
        }
        for entry in occurrences.between(tx, automation.automation_id, start, end)[:_MOST_SLOTS]
    ]


def _planned(automation: Automation, start: Instant, end: Instant, now: Instant) -> list[Document]:
    if automation.status != "active" or automation.next_slot is None:
        return []
    plan = rules.plan(automation.spec, anchor=automation.created_at)
    if plan is None or plan.one_shot:
        slots = [automation.next_slot]
    else:
        slots = schedule.first_slots(plan, max(start, now) - 1, _MOST_SLOTS)
    return [
        {
            "automation_id": automation.automation_id,
            "name": automation.name,
            "slot": iso(slot),
            "status": "planned",
            "task_id": None,
            "reason": None,
        }
        for slot in slots
        if start <= slot < end
    ]


def _instant(text: str | None, key: str, now: Instant, zone: str, default: Instant) -> Instant:
    return default if text is None else schedule.read_time(text, key=key, now=now, timezone=zone)


def _trial(document: Mapping[str, Any], call: Call[Any, Any], now: Instant) -> Document:
    zone = call.site.limits.zone
    parsed = engine.check(document, kinds=call.site.kinds, now=now, timezone=zone, new=False)
    spec = parsed.spec
    problems: list[str] = []
    times: list[str] = []
    plan = rules.plan(spec, anchor=now)
    if plan is not None:
        times = [iso(slot) for slot in schedule.first_slots(plan, now, 5)]
        if not times:
            problems.append("it has no time to come")
    config = call.site.config
    told = engine.told(spec, default_of(config.channels, config.delivery.default))
    return {
        "would": f"run {spec.action.type} and tell {told}",
        "task": {"kind": spec.action.type, "params": spec.action.parameters},
        "next": times,
        "problems": problems,
    }


def try_out(tx: Tx, call: Call[Nothing, Nothing]) -> Document:
    return _trial(ledger.get(tx, call.id).spec.document(), call, tx.now)


def try_document(tx: Tx, call: Call[Nothing, Document]) -> Document:
    return _trial(call.body, call, tx.now)


def _steer(
    name: str, change: Callable[[Tx, Call[Any, Any]], Any], summary: str, status: int = 200
) -> Operation:
    return Operation(
        name=f"automations.{name}",
        method="POST",
        path="/v1/automations/{id}/" + name,
        scope=WRITE,
        summary=summary,
        errors=(404, 409, 429),
        change=change,
        answer=Started if status == 202 else AutomationDocument,
        status=status,
    )


def _ask(
    name: str, body: Any, answer: Any, read: Callable[[Tx, Call[Any, Any]], Any], summary: str
) -> Operation:
    """A question that needs a body: a POST that changes nothing."""
    return Operation(
        name=f"automations.{name}",
        method="POST",
        path=f"/v1/automations/{name}",
        scope=READ,
        summary=summary,
        body=body,
        answer=answer,
        read=read,
    )


OPERATIONS = (
    Operation(
        name="automations.add",
        method="POST",
        path="/v1/automations",
        scope=WRITE,
        summary="Add an automation",
        body=Document,
        answer=AutomationDocument,
        status=201,
        errors=(409,),
        change=add,
    ),
    Operation(
        name="automations.list",
        method="GET",
        path="/v1/automations",
        scope=READ,
        summary="Automations, newest first",
        query=Listing,
        answer=Page[AutomationDocument],
        read=page,
    ),
    Operation(
        name="automations.get",
        method="GET",
        path="/v1/automations/{id}",
        scope=READ,
        summary="One automation with its next five times",
        answer=AutomationDocument,
        errors=(404,),
        read=get,
    ),
    Operation(
        name="automations.edit",
        method="PATCH",
        path="/v1/automations/{id}",
        scope=WRITE,
        summary="Change parts of it; history and state stay",
        body=Document,
        answer=AutomationDocument,
        errors=(404, 409),
        change=edit,
    ),
    Operation(
        name="automations.remove",
        method="DELETE",
        path="/v1/automations/{id}",
        scope=WRITE,
        summary="Take it away; the tasks it made stay",
        answer=None,
        status=204,
        errors=(404,),
        change=remove,
    ),
    _steer("run", run, "Run it at once, beside its schedule", status=202),
    _steer("pause", pause, "Rest; the slots that pass are skipped"),
    _steer("resume", resume, "Go on from the next slot"),
    Operation(
        name="automations.runs",
        method="GET",
        path="/v1/automations/{id}/runs",
        scope=READ,
        summary="What became of each slot, newest first",
        query=Runs,
        answer=Page[Run],
        errors=(404,),
        read=runs,
    ),
    Operation(
        name="automations.try",
        method="POST",
        path="/v1/automations/{id}/dry-run",
        scope=READ,
        summary="What it would do now; nothing is done",
        answer=Trial,
        errors=(404,),
        read=try_out,
    ),
    _ask("dry-run", Document, Trial, try_document, "What the automation of a document would do"),
    _ask("preview", Times, Preview, preview, "The next times of a schedule"),
    Operation(
        name="calendar",
        method="GET",
        path="/v1/calendar",
        scope=READ,
        summary="The slots of all automations in a span: what became of them, what is planned",
        query=Span,
        answer=Page[Slot],
        read=calendar,
    ),
)
