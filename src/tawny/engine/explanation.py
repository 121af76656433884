"""Why an automation ran, or did not, at a time: an answer for every case, from what the ledger holds."""

import re
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from tawny.clock import DAY, MINUTE, Instant, iso, to_datetime
from tawny.domain import automations as rules
from tawny.domain import watching, zones
from tawny.domain.automations import On, Spec, Watch
from tawny.domain.expressions import EvaluationError
from tawny.domain.moments import Time, on_day
from tawny.domain.occurrences import Occurrence
from tawny.domain.schedule import Plan, first_slots, read_time
from tawny.domain.tasks import Status
from tawny.engine import firing, reasons
from tawny.engine.matcher import unwanted
from tawny.errors import InvalidInput, NotFound
from tawny.ledger import automations, inbox, occurrences, revisions, starts, tasks
from tawny.ledger.automations import Automation
from tawny.ledger.database import Tx
from tawny.ledger.inbox import InboxEvent

Answer = dict[str, Any]


def why(tx: Tx, lookup: str, at: str | None = None) -> Answer:
    """`{"automation_id", "name", "at", "summary", "facts", "unblock"}`; without a time: how it stands now.

    Raises:
        InvalidInput: the time is none.
    """
    automation = automations.find(tx, lookup)
    if at is None:
        return _answer(automation, None, *_now(tx, automation))
    start, end = _span(at, automation.spec.timezone, tx.now)
    found = occurrences.between(tx, automation.automation_id, start, end)
    if found:
        lines = [_told(tx, automation, occurrence) for occurrence in found[:5]]
        return _answer(automation, start, lines[0][0], [line for line, _ in lines[1:]], lines[0][1])
    return _answer(automation, start, *_absent(tx, automation, start, end))


def _answer(
    automation: Automation, at: Instant | None, summary: str, facts: list[str], unblock: list[str]
) -> Answer:
    return {
        "automation_id": automation.automation_id,
        "name": automation.name,
        "at": None if at is None else iso(at),
        "summary": summary,
        "facts": facts,
        "unblock": unblock,
    }


def _local(automation: Automation, instant: Instant) -> str:
    moment = to_datetime(instant, zones.load(automation.spec.timezone))
    return f"{moment:%a %Y-%m-%d %H:%M:%S} {moment.tzname()}"


_CLOCK = re.compile(r"(?:(today|yesterday)\s+)?(?:at\s+)?(\d{1,2})(?:[:.](\d{2}))?\s*(am|pm)?")


def _span(text: str, timezone: str, now: Instant) -> tuple[Instant, Instant]:
    """The minute meant by `8`, `08:00`, `yesterday 8pm`, or a full time: today's, in the automation's zone."""
    zone = zones.load(timezone)
    match = _CLOCK.fullmatch(text.strip().lower())
    if match is None:
        moment = read_time(text, key="at", now=now, timezone=timezone)
        return moment // MINUTE * MINUTE, moment // MINUTE * MINUTE + MINUTE
    hour, minute = int(match[2]), int(match[3] or 0)
    if match[4]:
        hour = hour % 12 + (12 if match[4] == "pm" else 0)
    if hour > 23 or minute > 59:
        raise InvalidInput(
            f"at: {text!r} is no time", hint="write it like 08:00 or 2026-12-01T08:00:00+01:00"
        )
    day: datetime = zones.wall(now, zone) - timedelta(days=1 if match[1] == "yesterday" else 0)
    start = zones.to_instant(on_day(day, Time(hour, minute), roll=False), zone)
    return start, start + MINUTE


def _told(tx: Tx, automation: Automation, occurrence: Occurrence) -> tuple[str, list[str]]:
    when = _local(automation, occurrence.slot)
    reason = f" ({occurrence.reason})" if occurrence.reason else ""
    if occurrence.status in ("ran", "caught_up"):
        word = "ran" if occurrence.status == "ran" else "was caught up"
        return f"The run of {when} {word}{reason}{_ending(tx, occurrence)}", []
    folded = ""
    if occurrence.merged_into is not None:
        folded = f" Its work was done by the run of {_local(automation, occurrence.merged_into)}."
    mend = {
        "missed": "keep the gateway running ('tawny gateway install'); policy.misfire decides what is caught up",
        "skipped": "see policy.overlap, policy.active_hours and the status of the automation",
    }[occurrence.status]
    return f"The run of {when} was {occurrence.status}: {occurrence.reason}.{folded}", [mend]


def _ending(tx: Tx, occurrence: Occurrence) -> str:
    if occurrence.task_id is None:
        return "."
    try:
        task = tasks.get(tx, occurrence.task_id)
    except NotFound:
        return f" as {occurrence.task_id}, whose record has expired; it ended {occurrence.outcome}."
    error = f": {task.error.message}" if task.error else ""
    verdict = f", verdict {task.verdict}" if task.verdict else ""
    told = "" if task.delivery_status == "not_applicable" else f"; its delivery is {task.delivery_status}"
    held = task.status in (Status.QUEUED, Status.WAITING)
    because = f" {reasons.why(tx, task.task_id)['summary']}" if held else ""
    return f" as {task.task_id}, which is {task.status}{error}{verdict}{told}.{because}"


def _absent(tx: Tx, automation: Automation, start: Instant, end: Instant) -> tuple[str, list[str], list[str]]:
    """Why there is no row for that minute."""
    when = _local(automation, start)
    if end <= automation.created_at:
        return f"It did not exist at {when}: it was made {_local(automation, automation.created_at)}.", [], []
    if automation.spec.schedule is None:
        return _absent_event(tx, automation, start, end, when)
    if start < tx.now - occurrences.KEEP:
        return f"What happened at {when} is no longer kept (30 days).", [], []
    spec, version = _version_at(tx, automation, start)
    plan = rules.plan(spec, anchor=automation.created_at)
    slot = None if plan is None else plan.next_after(start - 1)
    facts = [] if version == automation.version else [f"Version {version} of it was in force then."]
    if plan is None or slot is None or slot >= end:
        return f"Its schedule has no time at {when}.", [*facts, *_neighbours(automation, plan, start)], []
    if automation.status != "active":
        return _stopped(automation, when, facts)
    if automation.next_slot is not None and automation.next_slot <= slot < tx.now:
        return _not_handled(tx, automation, when, facts)
    return _to_come(tx, automation, slot, when, facts)


def _to_come(
    tx: Tx, automation: Automation, slot: Instant, when: str, facts: list[str]
) -> tuple[str, list[str], list[str]]:
    chosen = automation.state.get("next_check")
    if isinstance(chosen, str) and automation.next_slot is not None and slot < automation.next_slot:
        asked = (
            f"the run before it asked to be next at {_local(automation, automation.next_slot)} (next_check)"
        )
        return f"It does not run at {when}: {asked}.", facts, []
    if slot > tx.now:
        due = automation.due_at if slot == automation.next_slot else None
        due = due or firing.acting_time(automation.spec, automation.automation_id, slot) or slot
        return f"It is to run then: {_local(automation, due)}.", facts, []
    changed = _local(automation, automation.updated_at)
    return f"Nothing is recorded for {when}; the automation was last changed {changed}.", facts, []


def _stopped(automation: Automation, when: str, facts: list[str]) -> tuple[str, list[str], list[str]]:
    way = f"'tawny automations enable {automation.name}'"
    said = f"It is {automation.status}" + (f" ({automation.reason})" if automation.reason else "")
    return f"{said}: nothing runs at {when}.", facts, [way] if automation.status != "completed" else []


def _not_handled(
    tx: Tx, automation: Automation, when: str, facts: list[str]
) -> tuple[str, list[str], list[str]]:
    if automation.due_at is not None and automation.due_at > tx.now:
        cause = f"after {automation.failures} failures in a row" if automation.retry_at else "by its stagger"
        hours = automation.spec.policy.active_hours
        if hours is not None and firing.opening(automation, tx.now) == automation.due_at:
            cause = f"for its active hours ({rules.window(hours, automation.spec.timezone)})"
        return f"The run of {when} waits until {_local(automation, automation.due_at)}, {cause}.", facts, []
    if (storm := starts.current(tx)) is not None:
        return f"The run of {when} waits: {storm.text}.", facts, []
    if (crashes := starts.crashes(tx)) > 1:
        facts = [*facts, f"It has died {crashes} times of late; 'tawny logs' says of what."]
    return (
        f"The run of {when} is due and has not been acted on: the gateway is not running.",
        facts,
        ["start it: 'tawny gateway run' (or 'tawny gateway install')"],
    )


def _version_at(tx: Tx, automation: Automation, at: Instant) -> tuple[Spec, int]:
    """The definition that was in force at that time."""
    for version, time, spec in revisions.versions(tx, automation.automation_id):
        if time <= at:
            return spec, version
    return automation.spec, automation.version


def _neighbours(automation: Automation, plan: Plan | None, at: Instant) -> list[str]:
    if plan is None:
        return []
    before = list(plan.slots(at - 2 * DAY, at))[-1:]
    after = first_slots(plan, at, 1)
    facts = [f"The time before it is {_local(automation, slot)}." for slot in before]
    return facts + [f"The time after it is {_local(automation, slot)}." for slot in after]


def _absent_event(
    tx: Tx, automation: Automation, start: Instant, end: Instant, when: str
) -> tuple[str, list[str], list[str]]:
    spec = automation.spec
    if automation.status != "active" and end > automation.updated_at:
        return _stopped(automation, when, [])
    if automation.due_at is not None and start <= automation.due_at < end and automation.due_at <= tx.now:
        return _not_handled(tx, automation, when, [])
    if spec.on is not None:
        facts = [f"Its filter is {spec.on.filter!r}."] if spec.on.filter else []
        came = inbox.between(tx, spec.on.source, start, end)
        return _unwanted(tx, automation, spec.on, came, when), facts, []
    if spec.watch is not None:
        return _not_fired(automation, spec.watch, start, tx.now, when)
    last = automation.state.get("last_ping")
    pinged = (
        f"The last ping came {_local(automation, last)}."
        if isinstance(last, int)
        else "No ping has come yet."
    )
    return f"It was not silent at {when}.", [pinged], []


def _unhandled(tx: Tx) -> str:
    storm = starts.current(tx)
    return "it has not been handled yet" + (f": {storm.text}" if storm is not None else "")


def _unwanted(tx: Tx, automation: Automation, on: On, came: list[InboxEvent], when: str) -> str:
    """What came in that minute, and why it started nothing."""
    if not came:
        return f"No event from {on.source!r} that it wants came at {when}."
    found: list[str] = []
    for event in came:
        try:
            reason = unwanted(automation, event)
        except EvaluationError as error:
            reason = f"its filter fails: {error}"
        if not reason:
            is_new = event.status == "new"
            reason = _unhandled(tx) if is_new else "it was not active, or another version of it was"
        found.append(reason)
    # what its own filter said of one tells more than that others were none of its business
    told = next((reason for reason in found if "listens" not in reason), found[0])
    what = "An event" if len(came) == 1 else f"{len(came)} events"
    return f"{what} from {on.source!r} came at {when}: {told}."


def _not_fired(
    automation: Automation, watch: Watch, start: Instant, now: Instant, when: str
) -> tuple[str, list[str], list[str]]:
    state, hours = automation.state, automation.spec.policy.active_hours
    if hours is not None and firing.opening(automation, start) > start:
        window = rules.window(hours, automation.spec.timezone)
        return f"It did not look at {when}: that is outside its active hours ({window}).", [], []
    facts = [
        f"{name.replace('_', ' ').capitalize()}: {state[name]}"
        for name in ("value", "previous", "checks", "armed", "error", "failed")
        if state.get(name) is not None
    ]
    plan, failed = rules.plan(automation.spec, anchor=automation.created_at), watching.failures(state)
    if failed and plan is not None and len(list(islice(plan.slots(start - 1, now), failed + 1))) <= failed:
        return f"It could not be looked at: {state.get('error')}.", facts, []
    return f"Its condition {watch.condition!r} did not fire at {when}.", facts, []


def _now(tx: Tx, automation: Automation) -> tuple[str, list[str], list[str]]:
    newest = occurrences.page(tx, automation.automation_id, limit=3).items
    facts = [_told(tx, automation, occurrence)[0] for occurrence in newest]
    if automation.failures:
        facts.append(f"It has failed {automation.failures} times in a row.")
    if automation.status != "active":
        because = f": {automation.reason}" if automation.reason else ""
        ways = [] if automation.status == "completed" else [f"'tawny automations enable {automation.name}'"]
        return f"{automation.name} is {automation.status}{because}.", facts, ways
    storm = starts.current(tx)
    if storm is not None and (automation.due_at is None or automation.due_at < storm.until):
        return f"{automation.name} waits: {storm.text}.", facts, ["'tawny logs' says what it died of"]
    if automation.due_at is None:
        waits = f"an event from {automation.spec.on.source!r}" if automation.spec.on else "a ping"
        return f"{automation.name} waits for {waits}.", facts, []
    if automation.due_at < tx.now - MINUTE:
        summary, more, ways = _not_handled(tx, automation, _local(automation, automation.due_at), [])
        return summary, [*facts, *more], ways
    return f"{automation.name} runs next {_local(automation, automation.due_at)}.", facts, []
