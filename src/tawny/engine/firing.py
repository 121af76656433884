"""How a slot becomes work: overlap, active hours, waits after failures, and the task that comes of it."""

import zlib
from collections.abc import Mapping
from typing import Any

from tawny.clock import HOUR, Instant, format_duration, iso
from tawny.domain import automations as rules
from tawny.domain import expressions, holes
from tawny.domain.automations import Spec
from tawny.domain.messages import Outgoing
from tawny.domain.occurrences import Decision, Occurrence, Status, decide
from tawny.domain.origin import of_automation
from tawny.domain.schedule import Plan
from tawny.domain.scope import bound
from tawny.domain.tasks import Delivery, Json, Origin, Priority, Runtime, Submission, Task
from tawny.domain.windows import next_opening
from tawny.engine import commands
from tawny.errors import TawnyError
from tawny.ledger import automations, occurrences, outbox, standing
from tawny.ledger.automations import Automation
from tawny.ledger.database import Tx
from tawny.ledger.standing import Timing
from tawny.ledger.submission import submit

MOST_SLOTS = 1000
"""So many missed slots are listed at most; older ones of a very fast schedule are not."""
ALERT_COOLDOWN = HOUR
_PRUNE_EVERY = 13
"""About every so many runs old slots are forgotten: the clock's last digits are chance enough."""


def acting_time(spec: Spec, automation_id: str, slot: Instant | None) -> Instant | None:
    """When to act on a slot: its time, plus the automation's own share of the schedule's stagger."""
    if slot is None:
        return None
    stagger = rules.duration("schedule.stagger", (spec.schedule or {}).get("stagger")) or 0
    return slot + (zlib.crc32(automation_id.encode()) % stagger if stagger else 0)


def opening(automation: Automation, at: Instant) -> Instant:
    """`at` where its active hours let it run then, else when they next do."""
    hours, zone = automation.spec.policy.active_hours, automation.spec.timezone
    return at if hours is None else next_opening(rules.window(hours, zone), zone=zone, now=at)


def patience(spec: Spec) -> int:
    """How long after a ping its successor's absence is told, in microseconds."""
    assert spec.expect is not None
    every = rules.duration("expect.every", spec.expect.every) or 0
    return every + (rules.duration("expect.grace", spec.expect.grace) or 0)


def due_slots(plan: Plan, automation: Automation, now: Instant, *, most: int = MOST_SLOTS) -> list[Instant]:
    """The slots from `next_slot` to `now`, the newest `most` of them."""
    first = automation.next_slot
    if first is None or first > now:
        return []
    second = plan.next_after(first)
    slots = [first]
    if second is not None and second <= now:
        # a fast schedule after a long absence: begin where the newest `most` begin, not at the first of millions
        start = max(first, now - (second - first) * most * 2)
        slots += [slot for slot in plan.slots(start, now) if slot > first]
    return slots[-most:]


def fire(tx: Tx, automation: Automation, *, started_at: Instant) -> list[Task]:
    """Handle what is due of a schedule: every slot gets its row, some of them work; the next time is set."""
    plan = rules.plan(automation.spec, anchor=automation.created_at)
    assert plan is not None
    slots = due_slots(plan, automation, tx.now)
    delay = acting_time(automation.spec, automation.automation_id, 0) or 0
    if plan.one_shot and slots:
        # its only slot: it is not lost to the hours or to a run by hand, it waits
        if (opens := opening(automation, tx.now)) > tx.now:
            standing.set_due(tx, automation.automation_id, opens)
            return []
        delay = (automation.due_at or slots[0]) - slots[0]
    decisions = decide(
        slots,
        now=tx.now,
        started_at=started_at,
        delay=delay,
        misfire=rules.misfire(automation.spec.policy),
        one_shot=plan.one_shot,
        retry_at=automation.retry_at,
    )
    queue = sum(decision.status in ("ran", "caught_up") for decision in decisions) > 1
    queue = queue or (plan.one_shot and rules.overlap(automation.spec) == "skip")
    started: list[Task] = []
    for decision in decisions:
        task = _handle(tx, automation, decision, queue=queue)
        if task is not None:
            started.append(task)
    if "next_check" in automation.state:
        kept = {key: value for key, value in automation.state.items() if key != "next_check"}
        standing.set_state(tx, automation.automation_id, kept)
    handled = slots[-1] if slots else automation.handled_slot
    following = None if plan.one_shot else plan.next_after(max(handled, automation.handled_slot))
    standing.set_timing(
        tx,
        automation.automation_id,
        Timing(
            handled_slot=handled,
            next_slot=following,
            due_at=acting_time(automation.spec, automation.automation_id, following),
        ),
    )
    if following is None and not started and occurrences.active_task(tx, automation.automation_id) is None:
        automations.set_status(tx, automation.automation_id, "completed", actor="scheduler")
    return started


def _handle(tx: Tx, automation: Automation, decision: Decision, *, queue: bool) -> Task | None:
    if decision.status in ("ran", "caught_up"):
        return start(
            tx, automation, slot=decision.slot, status=decision.status, reason=decision.reason, queue=queue
        )
    is_new = occurrences.record(
        tx,
        Occurrence(
            automation_id=automation.automation_id,
            slot=decision.slot,
            status=decision.status,
            reason=decision.reason,
            merged_into=decision.merged_into,
        ),
    )
    if is_new and decision.status == "missed":
        _tell(tx, automation, "missed", decision.slot, reason=decision.reason)
    return None


def _tell(tx: Tx, automation: Automation, what: str, slot: Instant, **data: Any) -> None:
    automations.tell(tx, automation.automation_id, what, {"name": automation.name, "slot": iso(slot), **data})


def start(
    tx: Tx,
    automation: Automation,
    *,
    slot: Instant,
    status: Status,
    reason: str = "",
    names: Mapping[str, Any] | None = None,
    origin: Origin | None = None,
    queue: bool = False,
) -> Task | None:
    """Start an automation's work for a slot, unless its rules say otherwise; the slot's row is written either way.

    `names` is what the action's `{{ … }}` may use. `None` where the slot was taken already, or is skipped.
    """
    occurrence = Occurrence(automation_id=automation.automation_id, slot=slot, status=status, reason=reason)
    obstacle = _obstacle(tx, automation, queue=queue, by_hand=reason.startswith("by hand"))
    if obstacle:
        skip(tx, automation, slot, obstacle)
        return None
    if not occurrences.record(tx, occurrence):
        return None
    try:
        submission = submission_of(automation, slot=slot, names=names or {}, origin=origin, queue=queue)
        task = submit(tx, submission, actor=f"automation:{automation.automation_id}")
    except (TawnyError, expressions.EvaluationError) as error:
        problem = f"its action could not be started: {error}"
        occurrences.give_up(tx, automation.automation_id, slot, problem)
        alert(tx, automation, problem, cause="action")
        return None
    occurrences.attach(tx, automation.automation_id, slot, task.task_id)
    standing.note_run(tx, automation.automation_id, task.task_id)
    if tx.now % _PRUNE_EVERY == 0:
        occurrences.prune(tx, automation.automation_id)
    _tell(tx, automation, "ran", slot, task_id=task.task_id, status=status)
    return task


def skip(tx: Tx, automation: Automation, slot: Instant, why: str) -> None:
    """Write down that a slot is skipped, and why."""
    skipped = Occurrence(automation_id=automation.automation_id, slot=slot, status="skipped", reason=why)
    if occurrences.record(tx, skipped):
        _tell(tx, automation, "skipped", slot, reason=why)


def _obstacle(tx: Tx, automation: Automation, *, queue: bool, by_hand: bool) -> str:
    """Why no work starts now; empty where it may. A run that is in the way is replaced where the policy says so."""
    hours = automation.spec.policy.active_hours
    if hours is not None and not by_hand and opening(automation, tx.now) > tx.now:
        return f"outside its active hours ({rules.window(hours, automation.spec.timezone)})"
    overlap = rules.overlap(automation.spec)
    if queue or overlap in ("queue", "parallel"):
        return ""
    running = occurrences.active_task(tx, automation.automation_id)
    if running is None:
        return ""
    if overlap == "replace":
        commands.cancel(tx, running, by="automation", reason="its next run takes its place")
        return ""
    return f"the run before ({running}) has not ended; overlap is skip"


def submission_of(
    automation: Automation,
    *,
    slot: Instant,
    names: Mapping[str, Any],
    origin: Origin | None = None,
    queue: bool = False,
) -> Submission:
    """The work of a slot."""
    spec, policy = automation.spec, automation.spec.policy
    values = {"automation": automation.name, "slot": iso(slot), **names}
    params = holes.render(spec.action.parameters, values)
    in_line = queue or rules.overlap(spec) in ("queue", "replace")
    return Submission(
        kind=spec.action.type,
        params=params,
        title=str(holes.render(spec.action.title, values)) or spec.name,
        runtime=Runtime.CRON,
        timeout=rules.duration("policy.timeout", policy.timeout),
        notify=policy.notify,
        retry=policy.retry,
        delivery=spec.delivery,
        session=spec.action.session,
        owner=automation.owner,
        lane=f"automation:{automation.automation_id}" if in_line else None,
        budget=policy.budget,
        automation_id=automation.automation_id,
        origin=bound(origin or origin_of(automation, slot), policy.scope),
        priority=policy.priority or Priority.NORMAL,
    )


def origin_of(automation: Automation, slot: Instant | None = None) -> Origin:
    """The owner's own order, unless a model or something untrusted had a hand in making the automation."""
    at: dict[str, Json] = {} if slot is None else {"slot": iso(slot)}
    return of_automation(
        automation.origin, words(automation), via="schedule", automation_id=automation.automation_id, **at
    )


def words(automation: Automation) -> list[str]:
    """What the action says in words of its own; what an event is to fill in is nobody's."""
    return [
        value
        for value in automation.spec.action.parameters.values()
        if isinstance(value, str) and not holes.has_holes(value)
    ]


def alert(tx: Tx, automation: Automation, text: str, *, cause: str, severity: str = "high") -> None:
    """Tell the person that something is wrong with an automation: one incident a cause, where its results go."""
    delivery = automation.spec.delivery or Delivery()
    for target in delivery.failures_to or delivery.channels or ("default",):
        outbox.put(
            tx,
            task_id=None,
            transition=f"automation:{automation.automation_id}:{cause}",
            target=target,
            message=Outgoing(
                key="",
                title=automation.name,
                text=f"{automation.name}: {text}",
                severity=severity,
                document={
                    "type": "automation.alert",
                    "automation_id": automation.automation_id,
                    "cause": cause,
                    "text": text,
                },
            ),
            severity=severity,
            incident=f"automation:{automation.automation_id}:{cause}",
        )
    automations.tell(
        tx, automation.automation_id, "alerted", {"name": automation.name, "cause": cause, "text": text}
    )


def set_next_look(tx: Tx, automation: Automation) -> None:
    """A watch is about to be looked at: say when next. Looks that were missed are not made up."""
    plan = rules.plan(automation.spec, anchor=automation.created_at)
    assert plan is not None
    following = plan.next_after(tx.now)
    standing.set_timing(
        tx,
        automation.automation_id,
        Timing(handled_slot=tx.now, next_slot=following, due_at=following),
    )


def silence(tx: Tx, automation: Automation) -> None:
    """An expected ping has not come: told once, until one comes again."""
    expect = automation.spec.expect
    assert expect is not None
    last = automation.state.get("last_ping")
    since = f"since {iso(last)}" if isinstance(last, int) else "ever"
    grace = rules.duration("expect.grace", expect.grace) or 0
    text = f"no sign of life {since}; one was due every {expect.every} (grace {format_duration(grace)})"
    if not automation.state.get("silent"):
        slot = automation.next_slot or tx.now
        if automation.spec.action.type == rules.ALERT:
            alert(tx, automation, text, cause="silent")
            _tell(tx, automation, "silent", slot, reason=text)
        else:
            start(tx, automation, slot=slot, status="ran", reason=text, names={"text": text})
    standing.set_state(tx, automation.automation_id, {**automation.state, "silent": True})
    standing.set_timing(
        tx,
        automation.automation_id,
        Timing(handled_slot=tx.now, next_slot=None, due_at=None),
    )


def recovered(tx: Tx, automation: Automation) -> None:
    """The silence is over: the next one is told again."""
    outbox.close_incident(tx, f"automation:{automation.automation_id}:silent")
    automations.tell(tx, automation.automation_id, "recovered", {"name": automation.name})
