"""Which changes of a task are told, to whom, how loudly, and when; the same rules for every channel."""

from collections.abc import Sequence
from datetime import datetime, time, timedelta, tzinfo

import msgspec

from tawny.clock import Instant, from_datetime, parse_span, to_datetime
from tawny.domain.messages import Attachment, Button, Outgoing
from tawny.domain.tasks import DEFAULT_NOTIFY, Delivery, Json, Notify, Runtime, Task

SEVERITIES = ("low", "normal", "high", "critical")
"""From what may wait to what wakes people."""

FAILURES = frozenset({"task.failed", "task.timed_out", "task.lost"})
ENDINGS = FAILURES | {"task.succeeded", "task.cancelled"}
CHANGES = ENDINGS | {
    "task.started",
    "task.waiting",
    "task.paused",
    "task.resumed",
    "task.retry_scheduled",
}
"""What the policy `state_changes` tells; the queue and each step are nobody's news."""

MONITORS = "failures"
"""The target that stands for every channel with `failures_only`."""
DEFAULT = "default"
"""The target that stands for the person's own default channel."""
CHAT = "chat"
INBOX = "inbox"
_BROUGHT = 10
"""The most files that one message brings along."""


class Owed(msgspec.Struct, frozen=True, kw_only=True):
    """One line for the outbox. `transition` and `target` make it once-only within its task."""

    transition: str
    target: str
    message: Outgoing
    severity: str
    incident: str | None = None
    at_least_once: bool = False


def default_policy(runtime: Runtime, delivery: Delivery | None) -> Notify:
    """The policy of a task that names none: who names a place to tell wants to be told there."""
    if delivery is not None and delivery.channels:
        return Notify.DONE_ONLY
    if delivery is not None and delivery.failures_to:
        return Notify.ON_FAILURE
    return DEFAULT_NOTIFY[runtime]


def is_wanted(policy: Notify, event: str) -> bool:
    """Whether the policy wants to hear of an event such as `task.succeeded`. `silent` is absolute."""
    if policy is Notify.SILENT:
        return False
    if policy is Notify.ON_FAILURE:
        return event in FAILURES
    if policy is Notify.DONE_ONLY:
        return event in ENDINGS
    return event in CHANGES


def targets(task: Task, event: str) -> tuple[str, ...]:
    """Where an event of the task is told: the places it names, else where it was asked, else the default."""
    if not is_wanted(task.notify, event):
        return ()
    named = task.delivery.channels
    if event in FAILURES:
        named = (*named, *task.delivery.failures_to)
    elif task.delivery.failures_to and not task.delivery.channels and task.notify is not Notify.STATE_CHANGES:
        named = ()
    wanted = named or ((CHAT,) if event in ENDINGS or task.notify is Notify.STATE_CHANGES else ())
    return tuple(dict.fromkeys(_resolve(target, task) for target in wanted))


def owed(task: Task, event: str, document: dict[str, Json], *, kept: Sequence[Attachment] = ()) -> list[Owed]:
    """The outbox lines for an event of the task.

    `document` is the task as it is on the wire, `kept` are the files of an unfinished run.
    """
    severity = severity_of(task, event)
    message = announcement(task, event, document, severity=severity, kept=kept)
    transition = event if event in ENDINGS else f"{event}@{task.attempt}"
    incident = f"failing:{task.automation_id}" if event in FAILURES and task.automation_id else None
    lines = [
        Owed(
            transition=transition,
            target=target,
            message=message,
            severity=severity,
            # A webhook gets every event, a person each incident once.
            incident=None if target.startswith("webhook") else incident,
            at_least_once=task.delivery.at_least_once,
        )
        for target in targets(task, event)
    ]
    if event in FAILURES and task.detached and task.notify is not Notify.SILENT:
        lines.append(
            Owed(
                transition=transition,
                target=MONITORS,
                message=message,
                severity=severity,
                incident=incident,
            )
        )
    return lines


def _resolve(target: str, task: Task) -> str:
    """`chat` is where it was asked: the thread of the origin, else the session, else the person's default."""
    if target != CHAT:
        return target
    if task.origin.reply_to:
        return task.origin.reply_to
    return f"{CHAT}:{task.session}" if task.session and not task.automation_id else DEFAULT


def severity_of(task: Task, event: str) -> str:
    """How loud: what the delivery's priority says.

    Never quieter than `high`: a lost task, a reminder (its time was chosen), an answer somebody waits for.
    """
    wish = task.delivery.priority if task.delivery.priority in SEVERITIES else "normal"
    is_pressing = event == "task.lost" or task.kind == "remind" or not task.detached
    return max(wish, "high", key=SEVERITIES.index) if is_pressing else wish


_SAID = {
    "task.succeeded": "Done",
    "task.failed": "Failed",
    "task.timed_out": "Timed out",
    "task.lost": "Lost",
    "task.cancelled": "Cancelled",
    "task.started": "Started",
    "task.waiting": "Waiting",
    "task.paused": "Paused",
    "task.resumed": "Goes on",
    "task.retry_scheduled": "Will try again",
}


def announcement(
    task: Task,
    event: str,
    document: dict[str, Json],
    *,
    severity: str = "normal",
    kept: Sequence[Attachment] = (),
) -> Outgoing:
    """The message about an event: the result itself where there is one, else a line that says what happened."""
    said = _SAID.get(event, event.removeprefix("task.").replace("_", " ").capitalize())
    result = str((task.result or {}).get("text") or "")
    if event == "task.succeeded":
        text = result or f"{said}: {task.title}"
    else:
        text = f"{said}: {task.title}"
        if task.error is not None:
            text += f"\n\n{task.error.message}"
        elif task.waiting_for is not None:
            text += f" (for {task.waiting_for.kind})"
        if event in ENDINGS and result and task.delivery.partial:
            text += f"\n\nUp to there:\n\n{result}"
    if kept:
        more = f" and {len(kept) - _BROUGHT} more" if len(kept) > _BROUGHT else ""
        text += f"\n\nKept up to there: {', '.join(file.name for file in kept[:_BROUGHT])}{more}"
    return Outgoing(
        key="",
        text=text,
        title=task.title,
        severity=severity,
        buttons=_buttons(task) if event == "task.succeeded" else (),
        attachments=tuple(kept[:_BROUGHT]),
        document={"type": event, "task": document},
    )


def _buttons(task: Task) -> tuple[Button, ...]:
    """The buttons a result brings along; what is none is left out."""
    try:
        return msgspec.convert((task.result or {}).get("buttons", ()), tuple[Button, ...])
    except msgspec.ValidationError:
        return ()


def may_be_bundled(message: Outgoing) -> bool:
    """Whether the message may travel within another: not where something hangs on it."""
    return not message.buttons and not message.attachments


def digest(messages: Sequence[Outgoing]) -> Outgoing:
    """Several messages as one, in their order; it goes by the key and address of the first."""
    parts = [
        f"**{message.title}**\n{message.text}" if message.title else message.text for message in messages
    ]
    return msgspec.structs.replace(
        messages[0],
        title=f"{len(messages)} messages",
        text=f"{len(messages)} messages\n\n" + "\n\n———\n\n".join(parts),
        document={"type": "digest", "items": [message.document for message in messages]},
    )


class QuietHours(msgspec.Struct, frozen=True):
    """A daily span, in minutes after midnight, in which only what is loud enough is told; it may pass midnight."""

    start: int
    end: int

    def until(self, now: Instant, zone: tzinfo) -> Instant | None:
        """When the quiet now reigning ends; `None` where none does."""
        local = to_datetime(now, zone)
        minute = local.hour * 60 + local.minute
        inside = (
            self.start <= minute < self.end
            if self.start <= self.end
            else minute >= self.start or minute < self.end
        )
        if not inside:
            return None
        day = local.date() + timedelta(days=1 if minute >= self.end else 0)
        return from_datetime(datetime.combine(day, time(self.end // 60, self.end % 60), tzinfo=zone))


def parse_quiet_hours(text: str) -> QuietHours | None:
    """`22:00-07:00`; an empty text is none.

    Raises:
        ValueError: it is no span of the day.
    """
    if not text.strip():
        return None
    start, end = parse_span(text)
    return None if start == end else QuietHours(start, end)


def is_loud(severity: str, threshold: str) -> bool:
    """Whether a severity reaches the threshold; an unknown one counts as normal."""
    level = SEVERITIES.index(severity) if severity in SEVERITIES else 1
    return level >= SEVERITIES.index(threshold)


def digest_due(now: Instant, window: int) -> Instant:
    """When the digest is sent that a message of now belongs to (windows in microseconds, aligned)."""
    return (now // window + 1) * window


RETRIES = (5, 25, 120, 600)
"""Seconds to wait after a send that certainly did not happen, one after the other."""
_LATER = 1800


def retry_delay(attempts: int) -> int:
    """Seconds to the next try after `attempts` failed ones; after the fourth, half an hour until it expires."""
    return RETRIES[attempts - 1] if attempts <= len(RETRIES) else _LATER


def overall(rows: list[tuple[str, str, bool]]) -> str:
    """One word for a task's deliveries, each given as (target, status, whether a fallback arrived).

    A place that was named by the task and not reached is a failure, whatever the ladder did; `default` and `chat`
    are reached wherever the person was.
    """
    if not rows:
        return "not_applicable"
    words = [
        "delivered"
        if rescued and status != "unknown" and target.partition(":")[0] in (DEFAULT, CHAT)
        else status
        for target, status, rescued in rows
    ]
    for word in ("sending", "pending", "unknown", "failed", "expired", "delivered", "suppressed"):
        if word in words:
            return word
    return "not_applicable"
