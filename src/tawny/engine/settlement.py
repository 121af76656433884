"""What follows when an automation's work has ended: verdict, waits after failures, alerts, disabling, completion."""

import hashlib

from tawny.clock import Instant, iso
from tawny.domain import automations as rules
from tawny.domain.tasks import Status, Task
from tawny.domain.verdicts import Changed, judge
from tawny.engine import firing, verification
from tawny.errors import Conflict
from tawny.ledger import audit, automations, occurrences, outbox, standing, verdicts
from tawny.ledger.automations import Automation
from tawny.ledger.database import Tx
from tawny.ledger.tasks import get

_BAD = frozenset({Status.FAILED, Status.TIMED_OUT, Status.LOST})


def is_owed(tx: Tx) -> bool:
    """Whether a run has ended that is not settled."""
    return bool(occurrences.ended(tx, limit=1))


def settle_all(tx: Tx, *, changed: Changed) -> int:
    """Settle every slot whose task has ended; how many there were."""
    found = occurrences.ended(tx)
    for entry in found:
        if automations.exists(tx, entry.automation_id):
            _settle(tx, automations.get(tx, entry.automation_id), entry.slot, get(tx, entry.task_id), changed)
        else:
            occurrences.settle(tx, entry.automation_id, entry.slot, "removed")
    return len(found)


def _settle(tx: Tx, automation: Automation, slot: Instant, task: Task, changed: Changed) -> None:
    success = automation.spec.success
    verdict, reason = judge(success, task, now=tx.now, changed=changed)
    if verdict == "succeeded" and success is not None and success.verifier is not None:
        found = verification.look(tx, automation, success.verifier, task)
        if found is None:
            return
        verdict, reason = found
    if verdict is not None and task.verdict is None:
        verdicts.record(tx, task, verdict, reason)
    verdict = task.verdict or verdict
    if not occurrences.settle(tx, automation.automation_id, slot, verdict or task.status.value):
        return
    if automation.spec.policy.tell_denied:
        _tell_denied(tx, automation, task)
    if verdict == "failed" or (verdict is None and task.status in _BAD):
        why = reason or (task.error.message if task.error else f"it ended {task.status}")
        _failed(tx, automation, task, why)
    elif task.status is not Status.CANCELLED:
        _succeeded(tx, automation)
    _complete(tx, automation.automation_id)


def _tell_denied(tx: Tx, automation: Automation, task: Task) -> None:
    """A run that wanted what it may not: a person decides whether its scope is too narrow or its wish too wide."""
    if denied := audit.denied(tx, task.task_id):
        text = f"it was denied {', '.join(denied)} ('tawny tasks show {task.task_id}')"
        firing.alert(tx, automation, text, cause="denied-" + hashlib.sha256(text.encode()).hexdigest()[:8])


def _succeeded(tx: Tx, automation: Automation) -> None:
    if automation.failures == 0 and automation.alert_cause is None:
        return
    standing.note_outcome(tx, automation.automation_id, failures=0, alerted_at=automation.alerted_at)
    for incident in _incidents(automation):
        outbox.close_incident(tx, incident)


def _incidents(automation: Automation) -> list[str]:
    prefix = f"automation:{automation.automation_id}"
    causes = [f"{prefix}:failing", f"failing:{automation.automation_id}"]
    return causes + ([f"{prefix}:{automation.alert_cause}"] if automation.alert_cause else [])


def _failed(tx: Tx, automation: Automation, task: Task, why: str) -> None:
    failures = automation.failures + 1
    policy = automation.spec.policy
    cause = "failing-" + hashlib.sha256(why.encode()).hexdigest()[:8]
    alerted_at, told = automation.alerted_at, automation.alert_cause
    cooled = alerted_at is None or tx.now - alerted_at >= firing.ALERT_COOLDOWN
    if failures >= policy.alert_after and cooled and cause != told:
        text = f"failed {failures} times in a row: {why}" if failures > 1 else f"failed: {why}"
        firing.alert(tx, automation, text, cause=cause)
        alerted_at, told = tx.now, cause
    standing.note_outcome(
        tx, automation.automation_id, failures=failures, alerted_at=alerted_at, alert_cause=told
    )
    if automation.status != "active":
        return
    if failures >= policy.disable_after and not _is_over(automation):
        _disable(tx, automation, failures, why)
        return
    _wait(tx, automation, failures, task.ended_at or tx.now)


def _is_over(automation: Automation) -> bool:
    return automation.spec.schedule is not None and automation.next_slot is None


def _disable(tx: Tx, automation: Automation, failures: int, why: str) -> None:
    reason = f"disabled after {failures} failures in a row; the last: {why}"
    automations.set_status(tx, automation.automation_id, "disabled", reason=reason, actor="scheduler")
    text = f"{reason}. It runs again after 'tawny automations enable'."
    firing.alert(tx, automation, text, cause="disabled")


def _wait(tx: Tx, automation: Automation, failures: int, ended_at: Instant) -> None:
    """The next run waits at least 30 s, 1, 5, 15, then 60 minutes; a time the run chose itself is dropped."""
    now = automations.get(tx, automation.automation_id)
    if now.next_slot is None or now.due_at is None or now.spec.watch is not None:
        return
    if now.state.get("next_check"):
        plan = rules.plan(now.spec, anchor=now.created_at)
        following = None if plan is None else plan.next_after(tx.now)
        if following is not None:
            standing.choose_slot(tx, now.automation_id, following)
            now = automations.get(tx, automation.automation_id)
    earliest = ended_at + rules.backoff(failures)
    if now.due_at is not None and now.due_at < earliest:
        standing.set_due(tx, now.automation_id, earliest, retry_at=earliest)


def _complete(tx: Tx, automation_id: str) -> None:
    """Nothing to come and nothing under way: it is completed."""
    now = automations.get(tx, automation_id)
    over = _is_over(now) or bool(now.state.get("over"))
    if now.status == "active" and over and occurrences.active_task(tx, automation_id) is None:
        automations.set_status(tx, automation_id, "completed", actor="scheduler")


def next_check(tx: Tx, task_id: str, due: Instant) -> Instant:
    """The run itself says when its automation is next due; within the automation's pacing.

    Raises:
        Conflict: the task is of no automation, or its automation has no pacing.
    """
    task = get(tx, task_id)
    if task.automation_id is None:
        raise Conflict(
            f"{task_id} is no run of an automation", hint="only such a run may choose its next time"
        )
    automation = automations.get(tx, task.automation_id)
    pacing = automation.spec.policy.pacing
    if pacing is None:
        raise Conflict(
            f"{automation.name!r} keeps to its schedule",
            hint='give it a pacing: {"policy": {"pacing": {"min": "5m", "max": "1d"}}}',
        )
    low = rules.duration("pacing.min", pacing.min) or 0
    high = rules.duration("pacing.max", pacing.max) or 0
    chosen = min(max(due, tx.now + low), tx.now + high)
    standing.choose_slot(tx, automation.automation_id, chosen)
    standing.set_state(tx, automation.automation_id, {**automation.state, "next_check": iso(chosen)})
    automations.tell(tx, automation.automation_id, "paced", {"name": automation.name, "next": iso(chosen)})
    return chosen
