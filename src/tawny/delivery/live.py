"""Keeps messages about running work current by editing them in place, where a channel can."""

import asyncio

import msgspec

from tawny.clock import SECOND, Clock, Instant, wait_for
from tawny.delivery.channel import AmbiguousSend
from tawny.delivery.compose import fits
from tawny.delivery.roster import Roster
from tawny.domain.messages import Outgoing
from tawny.domain.tasks import Notify, Task
from tawny.errors import NotFound, PermanentError, TawnyError
from tawny.ledger import events, outbox, tasks
from tawny.ledger.database import Ledger, Tx
from tawny.ledger.events import Event
from tawny.ledger.outbox import Line
from tawny.log import Log

_log = Log("delivery")
_PACE = 2 * SECOND
"""The least time between two edits of one message; the newest state wins."""
_WATCHED = frozenset({"task.progress", "approval.answered", "approval.expired"})
_BLOCKS = 10


class Live:
    """Reads the event log and edits what was delivered: progress, and the outcome of a question."""

    def __init__(self, ledger: Ledger, clock: Clock, roster: Roster) -> None:
        self._ledger = ledger
        self._clock = clock
        self._roster = roster
        self._bell = ledger.bell.subscribe("events")
        self._due: dict[str, Instant] = {}
        self._edited: dict[str, Instant] = {}

    async def run(self) -> None:
        """Edit until cancelled. What was missed while down is not made up for: progress is of the moment."""
        seq = await self._ledger.read(events.last_seq)
        while True:
            await wait_for(self._bell, self._clock, min(self._due.values(), default=None))
            while batch := await self._ledger.tail.after(seq):
                seq = batch[-1].seq
                await self._take(batch)
                if len(batch) < events.PAGE:
                    break
            await self._edit_due()

    async def _take(self, batch: list[Event]) -> None:
        for event in batch:
            if event.type not in _WATCHED:
                continue
            if event.type == "task.progress" and event.task_id is not None:
                last = self._edited.get(event.task_id)
                self._due.setdefault(
                    event.task_id, self._clock.now() if last is None else max(self._clock.now(), last + _PACE)
                )
            elif event.type.startswith("approval."):
                await self._close_question(event)

    async def _edit_due(self) -> None:
        now = self._clock.now()
        ready = [task_id for task_id, due in self._due.items() if due <= now]
        for task_id in ready:
            del self._due[task_id]
            try:
                shown = await self._ledger.read(lambda tx, task_id=task_id: _shown(tx, task_id))
            except NotFound:
                continue
            if shown is None:
                self._edited.pop(task_id, None)
                continue
            task, lines = shown
            self._edited[task_id] = now
            async with asyncio.TaskGroup() as group:
                for line in lines:
                    group.create_task(self._edit(line, progress_text(task)))

    async def _close_question(self, event: Event) -> None:
        approval_id = str(event.data.get("approval_id", ""))
        task_id = event.task_id
        if task_id is None:
            return
        lines = [
            line
            for line in await self._ledger.read(lambda tx: outbox.of_task(tx, task_id))
            if line.transition.endswith(f":{approval_id}")
        ]
        status = str(event.data.get("status") or event.type.partition(".")[2])
        by = event.data.get("answered_by")
        for line in lines:
            if line.status == "delivered":
                await self._edit(
                    line, f"{line.message.text}\n\n{status.capitalize()}" + (f" by {by}" if by else "")
                )

    async def _edit(self, line: Line, text: str) -> None:
        """Edit one message; an edit that fails costs nothing but itself."""
        try:
            route = self._roster.route(line.sent_to or line.target)
            if not route.channel.can_edit:
                return
            message: Outgoing = msgspec.structs.replace(
                line.message,
                text=fits(route.channel, text),
                to=line.message.to or route.to,
                thread=line.message.thread or route.thread,
                buttons=(),
                attachments=(),
            )
            async with asyncio.timeout(30):
                await route.channel.edit(line.receipt, message)
        except (TawnyError, AmbiguousSend, TimeoutError, PermanentError) as error:
            _log.info("message not edited", delivery_id=line.delivery_id, error=str(error))
        except Exception as error:  # noqa: BLE001 - a channel is a stranger's code; the next edit may do
            _log.warning("channel broke while editing", delivery_id=line.delivery_id, error=str(error))


def _shown(tx: Tx, task_id: str) -> tuple[Task, list[Line]] | None:
    """A running task that tells its progress, and the newest message about it at each place."""
    task = tasks.get(tx, task_id)
    if task.status.is_terminal or task.notify is not Notify.STATE_CHANGES:
        return None
    newest = {
        line.target: line
        for line in outbox.of_task(tx, task_id)
        if line.status == "delivered" and line.transition.startswith(("task.started", "task.resumed"))
    }
    return task, list(newest.values())


def progress_text(task: Task) -> str:
    """Three lines: what and how it stands, a bar, what is being done."""
    progress = task.progress
    lines = [f"{task.title}: {task.status.value}"]
    if progress.percentage is not None:
        full = progress.percentage * _BLOCKS // 100
        lines.append("▓" * full + "░" * (_BLOCKS - full) + f" {progress.percentage} %")
    elif progress.current:
        total = f" of {progress.total:g}" if progress.total else ""
        lines.append(f"{progress.current:g}{total} {progress.unit or ''}".rstrip())
    if progress.message:
        lines.append(progress.message)
    return "\n".join(lines)
