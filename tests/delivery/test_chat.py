"""What is told in a session: the task's news each once, whoever else tells of them."""

from typing import Any

from tawny.app import open_roster
from tawny.config import Config, Home
from tawny.delivery.dispatcher import Dispatcher
from tawny.domain.tasks import Delivery, Notify, Submission
from tawny.ledger import outbox, sessions
from tawny.ledger.database import Ledger, Tx
from tawny.ledger.submission import submit
from tawny.testing import FakeClock


async def test_every_state_of_a_task_is_told_in_its_session_once(
    home: Home, ledger: Ledger, clock: FakeClock
):
    wanted = Submission(
        kind="simulate",
        title="report",
        session="main",
        notify=Notify.STATE_CHANGES,
        delivery=Delivery(channels=("chat",)),
    )

    async def told() -> list[str]:
        entries = await ledger.read(lambda tx: sessions.entries(tx, "main"))
        return [entry.text for entry in entries]

    def announce(event: str) -> Any:
        def run(tx: Tx) -> str:
            document = {"task_id": task.task_id, "title": "report"}
            return outbox.announce(tx, task, event, document)

        return ledger.write(run)

    task = await ledger.write(lambda tx: submit(tx, wanted))
    dispatcher = Dispatcher(ledger, clock, open_roster(home, Config(), clock, ledger))
    await announce("task.started")
    await dispatcher.run_until_idle()
    await announce("task.succeeded")
    await dispatcher.run_until_idle()
    assert await told() == ["Started: report", "Done: report"]
