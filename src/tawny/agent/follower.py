"""Follows the event log for the sessions: results and progress of background work, turns that ended unanswered."""

import msgspec

from tawny.agent.live import Live, Reply
from tawny.clock import SECOND, Instant
from tawny.domain.documents import task_document
from tawny.domain.lookup import left
from tawny.domain.messages import Outgoing
from tawny.domain.notify import CHAT, announcement
from tawny.domain.sessions import LOCAL
from tawny.domain.shorten import shorten
from tawny.domain.tasks import Notify, Task
from tawny.ledger import events, inputs, outbox, sessions
from tawny.ledger.database import Ledger, Tx
from tawny.ledger.events import Event
from tawny.ledger.outages import rounds
from tawny.ledger.tasks import get

_ENDINGS = frozenset({"task.succeeded", "task.failed", "task.timed_out", "task.cancelled", "task.lost"})
_CURSOR = "agent.follower"
_NOTE_CHARS = 600
_KEEP_EVERY = 1000
"""How many events that need nothing of us may be looked at again after a restart."""


class Follower:
    """Reads the log at its own pace; where it stands is kept, so that nothing is missed over a restart."""

    def __init__(self, ledger: Ledger, live: Live, *, every: float) -> None:
        self._ledger = ledger
        self._live = live
        self._every = int(every * SECOND)
        self._told: dict[str, Instant] = {}
        self._seq: int | None = None
        self._kept = 0

    async def run(self) -> None:
        """Follow until cancelled."""
        bell = self._ledger.bell.subscribe("events")
        await rounds(self._ledger.clock, bell, self._catch_up, name="follower")

    async def _catch_up(self) -> None:
        while await self.catch_up():
            pass

    async def catch_up(self) -> bool:
        """Handle what is new; whether there was a full page of it."""
        if self._seq is None:
            self._seq = self._kept = await self._ledger.read(_cursor)
        page = await self._ledger.tail.after(self._seq)
        if not page:
            return False
        due: list[Event] = []
        replies: list[Reply] = []
        if concerning := [event for event in page if self._concerns(event)]:
            due, replies = await self._ledger.read(lambda tx: self._look(tx, concerning))
        last = page[-1].seq
        if due or last - self._kept >= _KEEP_EVERY:

            def write(tx: Tx) -> None:
                for event in due:
                    self._handle(tx, event, replies)
                _set_cursor(tx, last)

            await self._ledger.write(write)
            self._kept = last
        self._seq = last
        for reply in replies:
            self._live.answered(reply)
        return len(page) >= events.PAGE

    def _look(self, tx: Tx, concerning: list[Event]) -> tuple[list[Event], list[Reply]]:
        """What of it has to be written about, and the replies that stand already.

        An ordinary turn has said its answer itself: to follow it costs no commit.
        """
        due: list[Event] = []
        replies: list[Reply] = []
        # A report says how far the task is now: one is enough, however many events have come meanwhile.
        newest = {event.task_id: event.seq for event in concerning if event.type == "task.progress"}
        for event in concerning:
            assert event.task_id is not None
            if event.type == "task.progress" and event.seq != newest[event.task_id]:
                continue
            if event.type != "task.progress" and (reply := _answered(tx, get(tx, event.task_id))):
                replies.append(reply)
            else:
                due.append(event)
        return due, replies

    def _concerns(self, event: Event) -> bool:
        """Cheap look at an event: only what belongs to a session and has ended, or is due to report."""
        if event.session is None or event.task_id is None:
            return False
        if event.type in _ENDINGS:
            return True
        if event.type != "task.progress":
            return False
        told = self._told.setdefault(event.task_id, event.time)
        return event.time - told >= self._every

    def _handle(self, tx: Tx, event: Event, replies: list[Reply]) -> None:
        assert event.task_id is not None
        task = get(tx, event.task_id)
        if event.type == "task.progress":
            self._told[task.task_id] = tx.now
            if is_told_in_chat(task) and not task.status.is_terminal:
                _tell_progress(tx, task, event)
            return
        self._told.pop(task.task_id, None)
        if not task.detached:
            if reply := _answer_unanswered(tx, task):
                replies.append(reply)
        elif task.status.is_terminal:
            _tell_result(tx, task, event.type)


def is_told_in_chat(task: Task) -> bool:
    """Whether a background task was asked for in a chat and reports there."""
    return bool(
        task.detached and task.session and task.notify is not Notify.SILENT and CHAT in task.delivery.channels
    )


def progress_text(task: Task, now: Instant) -> str:
    """Such as `"report" is 40 % complete, about 2 minutes left.`."""
    progress = task.progress
    text = f'"{task.title}"'
    text += f" is {progress.percentage} % complete" if progress.percentage is not None else " is under way"
    if task.estimated_completion and task.estimated_completion > now:
        text += f", about {left((task.estimated_completion - now) / SECOND)} left"
    return text + (f" ({progress.message})." if progress.message else ".")


def _tell_progress(tx: Tx, task: Task, event: Event) -> None:
    assert task.session is not None
    text = progress_text(task, tx.now)
    sessions.say(tx, task.session, text, run_id=task.task_id, task_ids=[task.task_id], role="progress")
    if target := _outside(task):
        outbox.put(
            tx,
            task_id=task.task_id,
            transition=f"progress:{event.seq}",
            target=target,
            message=Outgoing(key="", text=text),
            severity="low",
            lifetime=10 * 60 * SECOND,
        )


def _tell_result(tx: Tx, task: Task, event: str) -> None:
    """The result into the session it was asked in, and a note for the model's next turn there."""
    assert task.session is not None
    said = announcement(task, event, task_document(task)).text
    if is_told_in_chat(task):
        # A channel gets it from the outbox; the transcript has it from here.
        sessions.tell(tx, task.session, said, run_id=task.task_id, task_ids=[task.task_id])
    elif sessions.find(tx, task.session) is not None and task.kind != "agent_turn":
        text = f'The background task "{task.title}" ({task.task_id}) has ended: {task.status}. '
        sessions.note(tx, task.session, text + shorten(said, _NOTE_CHARS), task_id=task.task_id)
        sessions.remember_reading(tx, task.session, [task.task_id])


def _answered(tx: Tx, task: Task) -> Reply | None:
    """The reply of a chat turn that has said its last word."""
    if task.detached or task.session is None or (kept := inputs.of_task(tx, task.task_id)) is None:
        return None
    if kept.status in ("answered", "dropped"):
        said = kept.reply
    elif task.status == "succeeded":
        said = str((task.result or {}).get("text") or "")
    else:
        return None
    return Reply(run_id=task.task_id, session=task.session, status=task.status, text=said)


def _answer_unanswered(tx: Tx, task: Task) -> Reply | None:
    """A chat turn that ended without a word (cancelled, out of time, lost) gets one."""
    if (reply := _answered(tx, task)) is not None:
        return reply
    kept = inputs.of_task(tx, task.task_id)
    if kept is None or task.session is None:
        return None
    said = task.error.message if task.error else f"This was {task.status}."
    pair = [
        sessions.Entry(role="user", text=kept.text, message=sessions.user_message(kept.text)),
        sessions.Entry(role="assistant", text=said, message=sessions.assistant_message(said)),
    ]
    sessions.append(tx, task.session, task.task_id, pair)
    inputs.answer(tx, task.task_id, said)
    sessions.say(tx, task.session, said, run_id=task.task_id)
    if target := _outside(task):
        outbox.put(
            tx,
            task_id=task.task_id,
            transition="reply",
            target=target,
            message=Outgoing(key="", text=said),
            severity="high",
        )
    return Reply(run_id=task.task_id, session=task.session, status=task.status, text=said)


def _outside(task: Task) -> str | None:
    target = task.origin.reply_to
    return target if target and target.partition(":")[0] not in LOCAL else None


def _cursor(tx: Tx) -> int:
    held = tx.value("SELECT value FROM meta WHERE name = :name", name=_CURSOR)
    return msgspec.json.decode(held, type=int) if held is not None else 0


def _set_cursor(tx: Tx, seq: int) -> None:
    tx.execute(
        "INSERT INTO meta (name, value) VALUES (:name, :value) ON CONFLICT (name) DO UPDATE SET value = :value",
        name=_CURSOR,
        value=str(seq),
    )
