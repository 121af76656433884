"""Tells of commands that ended in the background: an event, a trigger for automations, a turn in their session."""

from tawny.clock import iso
from tawny.domain.origin import inherit, merge, read_from
from tawny.domain.tasks import Json, Notify, Priority, Retry, Submission
from tawny.ledger import events, inbox
from tawny.ledger.database import Ledger, Tx
from tawny.ledger.submission import submit
from tawny.sandbox.commands import Outcome
from tawny.sandbox.processes import Process, Processes, status_of

_TAIL = 2_000


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
    # What the command said counts as it did for the run that started it, and as coming from where it has been.
    origin = inherit(note.origin, note.params, by="event", via="process")
    if reached := process.command.reached():
        origin = merge(origin, read_from(f"a command that reached {', '.join(reached)}"))
    submit(
        tx,
        Submission(
            kind="agent_turn",
            params={"message": _words(process, outcome), "session": note.session},
            title=f"{process.note.line[:50]}: {status}",
            priority=Priority.INTERACTIVE,
            notify=Notify.SILENT,
            retry=Retry(max=0),
            session=note.session,
            lane=note.session,
            detached=False,
            dedupe_key=f"process:{process.id}",
            origin=origin,
        ),
    )


def _words(process: Process, outcome: Outcome) -> str:
    how = status_of(outcome) + (
        f" with exit code {outcome.exit_code}" if outcome.exit_code is not None else ""
    )
    if outcome.state == "unknown":
        how = "lost: its supervisor died, and nobody knows how far it got"
    tail = process.command.tail(limit=_TAIL).data.decode(errors="replace").strip()
    return f"The background command {process.id} is {how}: {process.note.line}" + (
        f"\n\n{tail}" if tail else ""
    )
