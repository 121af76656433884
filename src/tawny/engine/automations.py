"""What a person may order of automations: add, edit, pause, run, preview. Each is one transaction."""

from collections.abc import Mapping
from typing import Any, cast

import msgspec

from tawny.clock import Instant, iso, to_datetime
from tawny.domain import automations as rules
from tawny.domain import definitions, schedule, zones
from tawny.domain.automations import Spec
from tawny.domain.notify import default_policy
from tawny.domain.occurrences import Occurrence
from tawny.domain.origin import changed_by
from tawny.domain.selection import selects
from tawny.domain.tasks import Delivery, Notify, Origin, Runtime, Task
from tawny.engine import firing, probes
from tawny.engine.kinds import Kinds
from tawny.engine.matcher import follow_tasks, origin_of
from tawny.engine.submit import check_order
from tawny.errors import Conflict, InvalidInput
from tawny.ledger import automations, inbox, occurrences, outbox, standing
from tawny.ledger.automations import Automation
from tawny.ledger.database import Tx
from tawny.ledger.inbox import InboxEvent
from tawny.ledger.standing import Timing

Document = Mapping[str, Any]
_MERGED = ("policy", "delivery", "action", "parameters")
_TRIGGERS = ("schedule", "on", "watch", "expect")
_TOLD = (
    "created_at", "updated_at", "last_run", "next_run", "reason", "failures", "version", "ping_url", "next_runs",
)  # fmt: skip


def check(
    document: Mapping[str, Any], *, kinds: Kinds | None, now: Instant, timezone: str, new: bool = True
) -> definitions.Parsed:
    """Check a document, its action against the kinds there are (where they are given).

    Raises:
        InvalidInput: names the field and a correct example.
    """
    parsed = definitions.parse(document, now=now, timezone=timezone, new=new)
    if kinds is not None and parsed.spec.watch is not None:
        probes.check(parsed.spec.watch.probe, kinds)
    is_told = parsed.spec.expect is not None and parsed.spec.action.type == rules.ALERT
    if kinds is not None and not is_told:
        action = parsed.spec.action
        try:
            check_order(action.type, action.parameters, kinds)
        except InvalidInput as error:
            raise InvalidInput(f"action: {error.message}", hint=error.hint) from error
        _check_verifier(parsed.spec, kinds)
        if kinds[action.type].speaks and not _says_whom(parsed.spec):
            policy = msgspec.structs.replace(parsed.spec.policy, notify=Notify.DONE_ONLY)
            parsed = msgspec.structs.replace(parsed, spec=msgspec.structs.replace(parsed.spec, policy=policy))
    return parsed


def _says_whom(spec: Spec) -> bool:
    delivery = spec.delivery
    return spec.policy.notify is not None or (
        delivery is not None and bool(delivery.channels or delivery.failures_to)
    )


def told(spec: Spec, default: str) -> str:
    """Who hears of its results, in words; `default` is where the person is reached unless told otherwise."""
    delivery = spec.delivery or Delivery()
    policy = spec.policy.notify or default_policy(Runtime.CRON, spec.delivery)
    named = ", ".join(delivery.channels) or f"{default} (the default), or the chat it was made in"
    on_failure = ", ".join(delivery.failures_to or delivery.channels) or default
    if spec.action.type == rules.ALERT:
        return f"{on_failure}, when nothing is heard"
    match policy:
        case Notify.SILENT:
            return f"nobody; that it keeps failing is told to {on_failure}"
        case Notify.ON_FAILURE:
            return f"{on_failure}, of failures only"
        case _:
            return named


def _check_verifier(spec: Spec, kinds: Kinds) -> None:
    verifier = None if spec.success is None else spec.success.verifier
    if verifier is None:
        return
    try:
        check_order(verifier.type, verifier.parameters, kinds)
    except InvalidInput as error:
        raise InvalidInput(f"success.verifier: {error.message}", hint=error.hint) from error


def add(
    tx: Tx,
    document: Mapping[str, Any],
    *,
    kinds: Kinds | None,
    timezone: str,
    actor: str = "owner",
    origin: Origin | None = None,
    owner: str = "owner",
) -> Automation:
    """Add the automation of a document; what it says of past runs is not taken over.

    Raises:
        InvalidInput: names the field and a correct example.
        Conflict: there is one with that id.
    """
    parsed = check(document, kinds=kinds, now=tx.now, timezone=timezone)
    if parsed.spec.on is not None and parsed.spec.on.source == "task":
        follow_tasks(tx)
    return automations.add(
        tx,
        parsed.spec,
        first_timing(parsed.spec, parsed.id or "", tx.now),
        automation_id=parsed.id,
        status=parsed.status,
        owner=owner,
        actor=actor,
        origin=origin,
        created_at=parsed.created_at,
    )


def import_(
    tx: Tx, document: Mapping[str, Any], *, kinds: Kinds | None, timezone: str, actor: str = "owner"
) -> tuple[Automation, bool]:
    """Add a document, or edit the automation that has its id; whether it is new."""
    parsed = check(document, kinds=kinds, now=tx.now, timezone=timezone)
    if parsed.id is not None and automations.exists(tx, parsed.id):
        return replace(tx, parsed.id, document, kinds=kinds, timezone=timezone, actor=actor), False
    return add(tx, document, kinds=kinds, timezone=timezone, actor=actor), True


def first_timing(spec: Spec, automation_id: str, now: Instant) -> Timing:
    """Where a schedule stands at its beginning. A watch looks at once."""
    if spec.watch is not None:
        return Timing(handled_slot=now, next_slot=now, due_at=now)
    if spec.expect is not None:
        due = now + firing.patience(spec)
        return Timing(handled_slot=now, next_slot=due, due_at=due)
    plan = rules.plan(spec, anchor=now)
    if plan is None:
        return Timing(handled_slot=now, next_slot=None, due_at=None)
    slot = plan.next_after(0 if plan.one_shot else now)
    return Timing(handled_slot=now, next_slot=slot, due_at=firing.acting_time(spec, automation_id, slot))


def edit(
    tx: Tx,
    lookup: str,
    patch: Mapping[str, Any],
    *,
    kinds: Kinds | None,
    timezone: str,
    actor: str = "owner",
    origin: Origin | None = None,
) -> Automation:
    """Change parts of an automation; history and state stay, and the next match is not skipped.

    `origin` is that of the model which changes it: from then on it is no order of the owner's own.
    `policy`, `delivery` and an action's parameters are merged, `null` takes a key away; a new trigger takes the old
    one's place. A `status` in the patch pauses, disables or enables.

    Raises:
        InvalidInput: the result is wrong; names the field and a correct example.
    """
    before = automations.find(tx, lookup)
    if set(patch) == {"status"}:
        return _set_status(tx, before, str(patch["status"]), actor=actor)
    merged = merge({**before.spec.document(), "timezone": before.spec.timezone}, patch)
    after = replace(
        tx, before.automation_id, merged, kinds=kinds, timezone=timezone, actor=actor, origin=origin
    )
    if "status" in patch and patch["status"] != after.status:
        return _set_status(tx, after, str(patch["status"]), actor=actor)
    return after


def _set_status(tx: Tx, automation: Automation, status: str, *, actor: str) -> Automation:
    if status == "active":
        return resume(tx, automation.automation_id, actor=actor)
    if status not in ("paused", "disabled"):
        raise InvalidInput(f"status: {status!r} cannot be set", hint="one of active, paused, disabled")
    return stop(tx, automation.automation_id, status, actor=actor)


def merge(document: dict[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """The document with the patch's changes."""
    result = dict(document)
    if any(name in patch and patch[name] is not None for name in _TRIGGERS):
        for name in (*_TRIGGERS, "type"):
            result.pop(name, None)
        if isinstance(patch.get("schedule"), Mapping) and "timezone" not in patch:
            result["timezone"] = document.get("timezone")
    for key, value in patch.items():
        old = result.get(key)
        if value is None:
            result.pop(key, None)
        elif key in _MERGED and isinstance(value, Mapping) and isinstance(old, Mapping):
            result[key] = _merge_part(key, cast("Document", old), cast("Document", value))
        else:
            result[key] = value
    return result


def _merge_part(key: str, old: Document, new: Document) -> dict[str, Any]:
    if key == "action" and new.get("type", old.get("type")) != old.get("type"):
        return dict(new)
    return merge(dict(old), new)


def replace(
    tx: Tx,
    automation_id: str,
    document: Mapping[str, Any],
    *,
    kinds: Kinds | None,
    timezone: str,
    actor: str = "owner",
    origin: Origin | None = None,
) -> Automation:
    """Put a whole new definition in the place of the old one; history and state stay."""
    before = automations.get(tx, automation_id)
    document = {key: value for key, value in document.items() if key not in _TOLD}
    document = _keep_anchor(document, before.spec)
    unchanged = definitions.parse(document, now=tx.now, timezone=before.spec.timezone, new=False)
    same = _rhythm(unchanged.spec) == _rhythm(before.spec)
    spec = check(
        document, kinds=kinds, now=tx.now, timezone=before.spec.timezone or timezone, new=not same
    ).spec
    if same:
        timing = Timing(
            handled_slot=before.handled_slot,
            next_slot=before.next_slot,
            due_at=before.due_at,
            retry_at=before.retry_at,
        )
    elif before.next_slot is not None and before.next_slot <= tx.now and before.status == "active":
        # what is owed already is not lost by an edit: it runs, and the new rhythm follows
        timing = Timing(handled_slot=before.handled_slot, next_slot=before.next_slot, due_at=before.due_at)
    else:
        timing = first_timing(spec, automation_id, tx.now)
    made = None if origin is None else changed_by(origin, before.origin, firing.words(before))
    after = automations.edit(tx, automation_id, spec, timing, actor=actor, origin=made)
    if not same and after.status == "completed" and timing.next_slot is not None:
        return automations.set_status(tx, automation_id, "active", actor=actor)
    return after


def _rhythm(spec: Spec) -> Any:
    return (
        spec.type, spec.schedule, None if spec.watch is None else spec.watch.every, spec.expect,
    )  # fmt: skip


def _keep_anchor(document: dict[str, Any], before: Spec) -> dict[str, Any]:
    """What was fixed at creation stays where the new schedule says the same: an anchor, a delay's end."""
    given, old = document.get("schedule"), before.schedule
    if not isinstance(given, Mapping) or old is None:
        return document
    said = dict(cast("Document", given))
    if said.get("type") != old.get("type"):
        return document
    fixed = {"every": ("interval", "anchor"), "after": ("delay", "time"), "rrule": ("expression", "start")}
    if (names := fixed.get(str(old["type"]))) is None or names[1] in said:
        return document
    probe = schedule.compile({**said, names[1]: old[names[1]]}, now=0, timezone=before.timezone, new=False)
    if probe.document[names[0]] != old[names[0]]:
        return document
    return {**document, "schedule": {**said, names[1]: old[names[1]]}}


def stop(
    tx: Tx, lookup: str, status: rules.Status = "paused", *, reason: str = "", actor: str = "owner"
) -> Automation:
    """Pause or disable; the slots that pass meanwhile are skipped."""
    automation = automations.find(tx, lookup)
    if automation.status == status:
        return automation
    return automations.set_status(
        tx, automation.automation_id, status, reason=reason or f"{status} by {actor}", actor=actor
    )


def resume(tx: Tx, lookup: str, *, actor: str = "owner") -> Automation:
    """Let it go on from the next slot; those that have passed are listed as skipped. Failures are forgotten.

    Raises:
        Conflict: it is completed: it has no slot to come.
    """
    automation = automations.find(tx, lookup)
    if automation.status == "active":
        return automation
    outbox.close_incident(tx, f"automation:{automation.automation_id}:disabled")
    plan = rules.plan(automation.spec, anchor=automation.created_at)
    if plan is not None and plan.one_shot:
        owed = automation.next_slot is not None
        if not owed:
            raise Conflict(
                f"{automation.name!r} has run; it has no slot to come",
                hint="edit its schedule to run it again",
            )
        return automations.set_status(tx, automation.automation_id, "active", actor=actor)
    if plan is not None and automation.next_slot is not None and automation.spec.watch is None:
        reason = f"it was {automation.status}" + (f": {automation.reason}" if automation.reason else "")
        for slot in firing.due_slots(plan, automation, tx.now, most=100):
            occurrences.record(
                tx,
                Occurrence(
                    automation_id=automation.automation_id, slot=slot, status="skipped", reason=reason
                ),
            )
    timing = first_timing(automation.spec, automation.automation_id, tx.now)
    if timing.next_slot is None and plan is not None:
        raise Conflict(f"{automation.name!r} is completed: it has no slot to come", hint="edit its schedule")
    return automations.set_status(tx, automation.automation_id, "active", actor=actor, timing=timing)


def run_now(tx: Tx, lookup: str, *, actor: str = "owner", last_event: bool = False) -> Task | None:
    """Run it at once, beside its schedule, also while it is paused; a watch looks at once (then there is no task).

    With `last_event` it is tested on the newest event from where it listens, which is no more trusted for that.

    Raises:
        Conflict: no such event has come yet, or its rules do not let it run now.
    """
    automation = automations.find(tx, lookup)
    if automation.spec.watch is not None:
        standing.set_due(tx, automation.automation_id, tx.now)
        return None
    event = _last_event(tx, automation) if last_event else None
    slot = occurrences.free_slot(tx, automation.automation_id, tx.now)
    task = firing.start(
        tx,
        automation,
        slot=slot,
        status="ran",
        reason=f"by hand ({actor})",
        names=None if event is None else event.names(),
        origin=None if event is None else origin_of(automation, event),
    )
    if task is None:
        (refused,) = occurrences.between(tx, automation.automation_id, slot, slot + 1)
        raise Conflict(
            f"{automation.name!r} was not started: {refused.reason}",
            hint=f"'tawny automations why {automation.name}' says how it stands",
        )
    return task


def ping(tx: Tx, automation_id: str) -> Automation:
    """A sign of life for an expectation: the next one is due from now on."""
    automation = automations.get(tx, automation_id)
    if automation.spec.expect is None:
        raise Conflict(f"{automation.name!r} expects no ping", hint="only an automation with 'expect' does")
    state = {**automation.state, "last_ping": tx.now, "silent": False}
    standing.set_state(tx, automation_id, state)
    if automation.status == "active":
        standing.set_due(tx, automation_id, tx.now + firing.patience(automation.spec))
    if automation.state.get("silent"):
        firing.recovered(tx, automation)
    return automations.get(tx, automation_id)


def _last_event(tx: Tx, automation: Automation) -> InboxEvent:
    on = automation.spec.on
    newest = None if on is None else inbox.newest(tx, on.source, lambda data: selects(on, data))
    if newest is None:
        what = "is not started by events" if on is None else f"has had no event from {on.source!r} yet"
        raise Conflict(f"{automation.name!r} {what}", hint="run it without --last-event")
    return newest


def spec_times(spec: Spec, *, now: Instant, n: int = 5) -> list[str]:
    """The next times of a definition that is not stored, in its own zone."""
    plan = rules.plan(spec, anchor=now)
    slots = [] if plan is None else schedule.first_slots(plan, now, n)
    return [to_datetime(slot, zones.load(spec.timezone)).isoformat() for slot in slots]


def preview(
    given: Mapping[str, Any] | str, *, now: Instant, timezone: str, start: str | None = None, n: int = 5
) -> dict[str, Any]:
    """The next times of a schedule (a document, a cron expression or a phrase), in UTC and in its zone.

    Raises:
        InvalidInput: names the field and a correct example.
    """
    named = None if isinstance(given, str) else given.get("timezone")
    zone_name = str(named or timezone)
    after = now if start is None else schedule.read_time(start, key="start", now=now, timezone=zone_name)
    if not 0 <= n <= 1000:
        raise InvalidInput(f"n: {n} is not within 0 and 1000", hint="for example 5")
    plan = definitions.compile_schedule(given, now=after, timezone=zone_name)
    slots = schedule.first_slots(plan, after, n)
    zone = zones.load(zone_name)
    return {
        "schedule": plan.document,
        "timezone": zone_name,
        "items": [iso(slot) for slot in slots],
        "local": [to_datetime(slot, zone).isoformat() for slot in slots],
    }


def next_times(automation: Automation, *, now: Instant, n: int = 5) -> list[Instant]:
    """The next times an automation will act, as far as its schedule tells."""
    if automation.status != "active" or automation.next_slot is None:
        return []
    plan = rules.plan(automation.spec, anchor=automation.created_at)
    if plan is None:
        return [automation.next_slot]
    if automation.next_slot <= now and not plan.one_shot:
        return schedule.first_slots(plan, now, n)
    return [automation.next_slot, *schedule.first_slots(plan, automation.next_slot, n - 1)][:n]


def document_of(automation: Automation, *, now: Instant) -> dict[str, Any]:
    """The automation's document with its next five times in its own zone."""
    zone = zones.load(automation.spec.timezone)
    times = [to_datetime(slot, zone).isoformat() for slot in next_times(automation, now=now)]
    return {**automation.document(), "next_runs": times}
