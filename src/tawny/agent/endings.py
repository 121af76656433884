"""Tells of commands that ended in the background: an event, a trigger for automations, a turn in their session."""

from tawny.clock import iso
from tawny.domain.origin import inherit
from tawny.domain.tasks import Json, Notify, Priority, Retry, Submission
from tawny.ledger import events, inbox, inputs
from tawny.ledger.database import Ledger, Tx
from tawny.ledger.submission import submit
from tawny.sandbox.commands import Outcome
from tawny.sandbox.processes import Process, Processes, status_of


class Endings:
    """Watches the processes of conversations; each end is told once, also over a restart."""

    def __init__(self, ledger: Ledger, processes: Processes) -> None:
        self._ledger = ledger
        self._processes = processes

    async def run(self) -> None:
        """Watch until cancelled."""
        await self._processes.run(self.tell)

    async def tell(self, process: Process, outcome: Outcome) -> None:
        """Write that a process has ended: event, intake and turn in one transaction."""
        await self._ledger.write(lambda tx: _tell(tx, process, outcome))


def _tell(tx: Tx, process: Process, outcome: Outcome) -> None:
    note = process.note
    status = status_of(outcome)
    data: dict[str, Json] = {
        "process_id": process.id,
        "session": note.session,
        "task_id": note.task_id,
        "status": status,
        "exit_code": outcome.exit_code,
    }
    known = {**data, "command": note.line, "started_at": iso(note.started_at)}
    if not inbox.accept(tx, "process", process.id, known, trust="untrusted"):
        return
    events.append(tx, "system.process_ended", data, task_id=note.task_id, session=note.session)
    if note.session is None:
        return
    kept = inputs.receive(
        tx, note.session, source="process", event_id=process.id, text=_words(process, status)
    )
    if kept is None:
        return
    task = submit(
        tx,
        Submission(
            kind="agent_turn",
            params={"message": kept.text, "session": note.session, "input": kept.input_id},
            title=f"{note.line[:50]}: {status}",
            priority=Priority.INTERACTIVE,
            notify=Notify.SILENT,
            retry=Retry(max=0),
            session=note.session,
            lane=note.session,
            detached=False,
            origin=inherit(note.origin, note.params, by="event", via="process"),
        ),
    )
    inputs.start_turn(tx, kept.input_id, task.task_id)


def _words(process: Process, status: str) -> str:
    """Nothing of the command and nothing of its output: what stands in a session as said counts as named by the owner.

    The model looks at the output by the tool `process`, where what was read is taken into account.
    """
    return f"(The background command {process.id} has ended: {status}. The tool process shows its output.)"
