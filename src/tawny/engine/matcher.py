"""Brings events from outside to the automations and tasks that wait for them. One bad filter stops nothing else."""

import asyncio

import msgspec

from tawny.clock import SECOND, Clock, format_duration
from tawny.domain import automations as rules
from tawny.domain import expressions, holes
from tawny.domain.origin import merge, of_automation, read_from
from tawny.domain.selection import selects
from tawny.domain.tasks import Origin, Status, Task
from tawny.engine import firing
from tawny.engine.stability import Stability
from tawny.ledger import automations, events, inbox, occurrences, standing, tasks, transitions
from tawny.ledger.automations import Automation
from tawny.ledger.database import Ledger, Tx
from tawny.ledger.inbox import InboxEvent
from tawny.ledger.outages import rounds
from tawny.log import Log

_log = Log("engine.matcher")
_BATCH = 50
_ENDINGS = frozenset(f"task.{status}" for status in Status if Status(status).is_terminal)


SYSTEM = "system"
COALESCE = SECOND // 4


class Matcher:
    """Handles what the inbox holds, in order, and turns the end of tasks into events."""

    def __init__(self, ledger: Ledger, clock: Clock, stability: Stability) -> None:
        self._ledger = ledger
        self._clock = clock
        self._stability = stability

    async def run(self) -> None:
        """Run until cancelled."""
        bell = self._ledger.bell
        changed = bell.subscribe(inbox.TOPIC, automations.SOURCES_TOPIC)
        await rounds(self._clock, changed, lambda: self._pass(changed), name="matcher")

    async def _pass(self, changed: asyncio.Event) -> None:
        if self._stability.is_held:
            return  # what comes is stored, and handled when the storm is over
        is_wanted, is_followed, has_new = await self._ledger.read(
            lambda tx: (_is_wanted(tx), _is_followed(tx), inbox.has_new(tx))
        )
        # While nobody follows tasks, their ends are no reason to look.
        self._ledger.bell.heed(changed, "ended", wanted=is_wanted)
        if is_followed:
            await self._ledger.write(take_endings)
            has_new = await self._ledger.read(inbox.has_new)
        while has_new:
            await self._ledger.write(match_batch)
            has_new = await self._ledger.read(inbox.has_new)


def match_batch(tx: Tx) -> int:
    """Handle the oldest events of the inbox; how many."""
    found = inbox.new(tx, limit=_BATCH)
    for event in found:
        _match(tx, event)
    return len(found)


def _match(tx: Tx, event: InboxEvent) -> None:
    if event.source == SYSTEM:
        _wake_heartbeats(tx)
    started = [
        task.task_id
        for automation in automations.of_source(tx, event.source)
        if (task := _offer(tx, automation, event)) is not None
    ]
    woken = [wait.task_id for wait in inbox.waits(tx, event.source) if _wakes(tx, wait, event)]
    inbox.settle(tx, event, "matched" if started or woken else "unmatched", started + woken)


def _wake_heartbeats(tx: Tx) -> None:
    """What the house itself reports need not wait for the next look; what comes within a moment is one look."""
    for automation in automations.watching(tx):
        watch = automation.spec.watch
        if watch is not None and watch.probe.get("type") == "heartbeat" and automation.due_at is not None:
            standing.set_due(tx, automation.automation_id, min(automation.due_at, tx.now + COALESCE))


def unwanted(automation: Automation, event: InboxEvent) -> str:
    """Why an event is none for it; empty where it is one.

    Raises:
        EvaluationError: its filter fails.
    """
    on = automation.spec.on
    if on is None or not selects(on, event.data):
        return "it is not from where it listens"
    if event.data.get("automation_id") == automation.automation_id:
        return "it was the end of a run of its own"  # an automation does not set itself going
    if on.filter and not expressions.compile(on.filter).test(event.names()):
        return "its filter did not want it"
    return ""


def _offer(tx: Tx, automation: Automation, event: InboxEvent) -> Task | None:
    """Start an automation's work for an event that it wants."""
    try:
        if unwanted(automation, event):
            return None
    except expressions.EvaluationError as error:
        firing.alert(tx, automation, f"its filter fails: {error}", cause="filter")
        return None
    slot = occurrences.free_slot(tx, automation.automation_id, event.received_at)
    limit = rules.max_age(automation.spec.policy)
    if event.received_at - event.time > limit:
        age = format_duration((event.received_at - event.time) // SECOND * SECOND)
        reason = f"the event is {age} old; policy.max_age is {format_duration(limit)}"
        firing.skip(tx, automation, slot, reason)
        return None
    return firing.start(
        tx,
        automation,
        slot=slot,
        status="ran",
        reason=f"event {event.event_id} from {event.source}",
        names=event.names(),
        origin=origin_of(automation, event),
    )


def origin_of(automation: Automation, event: InboxEvent) -> Origin:
    """The event set it going: where it fills anything in, its content is in the run; else it only rang the bell."""
    base = of_automation(
        automation.origin, firing.words(automation), via=event.source, automation_id=automation.automation_id
    )
    base = msgspec.structs.replace(base, detail={**base.detail, "event_id": event.event_id})
    if not holes.has_holes(automation.spec.action.parameters):
        return base
    read = read_from(f"event {event.event_id} from {event.source}", trust=event.trust)
    return merge(msgspec.structs.replace(base, by="event"), read)


def _wakes(tx: Tx, wait: inbox.Wait, event: InboxEvent) -> bool:
    """Settle a task's wait with the event's data, if it wants it."""
    if wait.filter:
        try:
            if not expressions.compile(wait.filter).test(event.names()):
                return False
        except expressions.EvaluationError as error:
            _log.warning("the filter of a wait fails", task_id=wait.task_id, error=str(error))
            return False
    woken = transitions.wake(tx, wait.task_id, wait.key, event.data)
    inbox.end_wait(tx, wait.task_id, wait.key)
    return woken


def wait_for_event(tx: Tx, task: Task, key: str, source: str, filter: str) -> None:
    """A task waits for an event; called in the transaction of its wait.

    Raises:
        InvalidInput: the filter is wrong.
    """
    if filter:
        expressions.compile(filter)
    if source == "task":
        follow_tasks(tx)
        tx.wake(inbox.TOPIC)
    inbox.wait(tx, task.task_id, key, source, filter)


def follow_tasks(tx: Tx) -> None:
    """From now on the ends of tasks are wanted; what has ended before is none of a new listener's business."""
    if not _is_wanted(tx):
        inbox.keep_source(tx, "task", cursor={"seq": events.last_seq(tx)})


def _is_wanted(tx: Tx) -> bool:
    return bool(automations.of_source(tx, "task")) or bool(inbox.waits(tx, "task"))


def _is_followed(tx: Tx) -> bool:
    """Whether anything wants to know of tasks' ends and there are some it has not seen."""
    return _is_wanted(tx) and inbox.source_state(tx, "task").cursor.get("seq") != events.last_seq(tx)


def take_endings(tx: Tx) -> None:
    """Turn the ends of tasks since the last look into events of source `task`."""
    state = inbox.source_state(tx, "task")
    last = events.last_seq(tx)
    seq = state.cursor.get("seq")
    if not isinstance(seq, int):
        seq = last
    while seq < last:
        batch = events.after(tx, seq)
        for event in batch:
            if event.type in _ENDINGS and event.task_id is not None:
                _take_ending(tx, event.task_id, event.type)
        seq = batch[-1].seq if batch else last
    inbox.keep_source(tx, "task", cursor={"seq": events.last_seq(tx)})


def _take_ending(tx: Tx, task_id: str, type: str) -> None:
    task = tasks.get(tx, task_id)
    if not task.detached:
        return
    name = None
    if task.automation_id is not None and automations.exists(tx, task.automation_id):
        name = automations.get(tx, task.automation_id).name
    inbox.accept(
        tx,
        "task",
        f"{task_id}:{type}",
        {
            "task_id": task_id,
            "status": task.status.value,
            "kind": task.kind,
            "title": task.title,
            "automation": name,
            "automation_id": task.automation_id,
            "text": str((task.result or {}).get("text") or ""),
            "error": task.error.message if task.error else None,
        },
        trust="owner" if task.origin.trusted else "untrusted",
    )
