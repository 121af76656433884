"""Slash commands: what they do in the ledger, and what they answer. No model is asked."""

from collections.abc import Callable, Sequence

import msgspec

from tawny.clock import SECOND, format_duration, iso
from tawny.domain.lookup import left, meant
from tawny.domain.sessions import COMMANDS, Command, Queueing, parse_queueing
from tawny.domain.tasks import Task
from tawny.engine import commands as orders
from tawny.errors import TawnyError
from tawny.ledger import sessions, tasks, turns
from tawny.ledger.database import Tx
from tawny.ledger.sessions import Session
from tawny.models.spec import parse_name

Answering = Callable[[Tx, str, bool, str, str], str]
"""Answers an approval: lookup (may be empty: the only one), yes or no, note, by; the sentence to say."""
Looping = Callable[[Tx, Session, str, str], str]
"""Begins a repetition in a session: how often, what; the sentence to say."""


def describe(task: Task, now: int) -> str:
    """One task in one line: title, id, status, how far, how long still."""
    parts = [f'"{task.title}" ({task.task_id}) is {task.status}']
    if task.intent == "cancel":
        parts.append("being cancelled")
    if task.progress.percentage is not None and not task.status.is_terminal:
        parts.append(f"{task.progress.percentage} % complete")
    if task.estimated_completion and task.status == "running" and task.estimated_completion > now:
        parts.append(f"about {left((task.estimated_completion - now) / SECOND)} left")
    if task.waiting_for is not None:
        parts.append(f"waiting for {task.waiting_for.kind}")
    if task.error is not None:
        parts.append(task.error.message)
    return ", ".join(parts)


_ANYBODYS = frozenset({"help", "status", "new", "compact", "approve", "deny"})


class Commands:
    """The commands, with what other parts do for them."""

    def __init__(
        self,
        *,
        queueing: Queueing,
        answer_approval: Answering | None = None,
        begin_loop: Looping | None = None,
        compact: Callable[[Tx, Session], str] | None = None,
        model: str = "demo",
    ) -> None:
        self._queueing = queueing
        self._answer_approval = answer_approval
        self._begin_loop = begin_loop
        self._compact = compact
        self._model = model

    def run(self, tx: Tx, session: Session, command: Command, *, by: str, is_owner: bool = True) -> str:
        """Do it, and say what was done. Mistakes are answered, not raised.

        Who speaks in a group, or is a program that was let in, is not the owner: he steers this conversation alone, and
        answers approvals only where he is listed.
        """
        if not is_owner and command.name not in _ANYBODYS:
            return f"Only the owner may say /{command.name}."
        try:
            return self._run(tx, session, command, by)
        except TawnyError as error:
            return f"{error.message}" + (f" ({error.hint})" if error.hint else "")
        except ValueError as error:
            return str(error)

    def _run(self, tx: Tx, session: Session, command: Command, by: str) -> str:  # noqa: PLR0911 - one arm a command
        rest = command.rest
        match command.name:
            case "help":
                return "\n".join(f"/{name} – {text}" for name, text in COMMANDS.items())
            case "status":
                return self._status(tx, session)
            case "tasks":
                return self._tasks(tx)
            case "cancel" | "pause" | "resume":
                return self._order(tx, session, command, by)
            case "approve" | "deny":
                return self._approval(tx, command, by)
            case "new":
                sessions.reset(tx, session.session)
                return "A new conversation begins. What was said before stays in the transcript."
            case "compact":
                return self._compact(tx, session) if self._compact else "There is nothing to compact."
            case "model":
                return self._set_model(tx, session, rest)
            case "queue":
                return self._set_queue(tx, session, rest)
            case _:
                every, _, what = rest.partition(" ")
                if not what or self._begin_loop is None:
                    return "Write it like: /loop 10m check the build"
                return self._begin_loop(tx, session, every, what)

    def _status(self, tx: Tx, session: Session) -> str:
        active = turns.background(tx, session.session)
        lane = turns.of_lane(tx, session.session)
        waiting = sum(1 for task in lane if task.status == "queued")
        model = str(session.settings.get("model") or self._model)
        queueing = self.queueing(session)
        lines = [
            f"Session {session.session}, model {model}, {session.entries} messages, queue mode {queueing.mode}.",
            f"{waiting} messages wait." if waiting else "No message waits.",
        ]
        lines += [describe(task, tx.now) for task in active] or ["Nothing runs in the background."]
        return "\n".join(lines)

    def _tasks(self, tx: Tx) -> str:
        items = tasks.page(tx, limit=10).items
        return (
            "\n".join(f"{describe(task, tx.now)}, since {iso(task.created_at)[:16]}" for task in items)
            or "No tasks."
        )

    def _order(self, tx: Tx, session: Session, command: Command, by: str) -> str:
        task = None
        if command.name == "cancel" and not command.rest:
            task = _at_hand(tx, session)
        if task is None:
            task = choose(tx, session.session, command.rest, paused=command.name == "resume")
        order = {"cancel": orders.cancel, "pause": orders.pause, "resume": orders.resume}[command.name]
        after = order(tx, task.task_id, by=by)
        doing = {"cancel": "is being cancelled", "pause": "pauses after its current step"}.get(
            command.name, ""
        )
        return f'"{after.title}" {doing if after.status == "running" and doing else f"is {after.status}"}.'

    def _approval(self, tx: Tx, command: Command, by: str) -> str:
        if self._answer_approval is None:
            return "Nothing waits for a yes."
        lookup, _, note = command.rest.partition(" ")
        return self._answer_approval(tx, lookup, command.name == "approve", note, by)

    def _set_model(self, tx: Tx, session: Session, name: str) -> str:
        if not name:
            return f"This conversation uses {session.settings.get('model') or self._model}."
        if name == "default":
            sessions.set_setting(tx, session.session, "model", None)
            return f"This conversation uses {self._model} again."
        parse_name(name)
        sessions.set_setting(tx, session.session, "model", name)
        return f"This conversation uses {name} from now on."

    def _set_queue(self, tx: Tx, session: Session, text: str) -> str:
        queueing = parse_queueing(text, self.queueing(session))
        if text:
            sessions.set_setting(tx, session.session, "queue", msgspec.to_builtins(queueing))
        wait = format_duration(queueing.debounce)
        return f"Messages during a turn: {queueing.mode}, debounce {wait}, cap {queueing.cap}, drop {queueing.drop}."

    def queueing(self, session: Session) -> Queueing:
        """How the session queues: its own setting, else the configuration's."""
        held = session.settings.get("queue")
        return self._queueing if held is None else msgspec.convert(held, Queueing)


def choose(tx: Tx, session: str, words: str, *, paused: bool = False) -> Task:
    """The one task meant by `words`: among the session's own first, then among all that have not ended.

    Raises:
        TawnyError: none or several are meant; says which there are.
    """
    own: Sequence[Task] = [task for task in turns.background(tx, session) if not paused or _may_resume(task)]
    found = meant(own, words)
    if not found:
        everything = [task for task in turns.active(tx) if not paused or _may_resume(task)]
        found = meant(everything, words)
    if len(found) == 1:
        return found[0]
    if not found:
        named = f" that is called {words!r}" if words else ""
        raise TawnyError(
            f"there is no task{named} to {'resume' if paused else 'do that to'}", hint="/tasks lists them"
        )
    names = ", ".join(f'"{task.title}" ({task.task_id})' for task in found[:5])
    raise TawnyError(f"several tasks may be meant: {names}", hint="say which one")


def _at_hand(tx: Tx, session: Session) -> Task | None:
    """The session's turn at work: what a bare /cancel means while nothing of the session is in the background."""
    if turns.background(tx, session.session, limit=1):
        return None
    return next(iter(turns.begun(tx, session.session)), None)


def _may_resume(task: Task) -> bool:
    return task.status == "paused" or task.intent == "pause"
