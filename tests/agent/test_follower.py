"""What is told of background work by whoever reads the log late."""

from tawny.agent.follower import Follower
from tawny.agent.live import Live
from tawny.domain.tasks import Delivery, Submission
from tawny.ledger import events, sessions
from tawny.ledger.database import Ledger
from tawny.ledger.submission import submit
from tawny.testing import FakeClock


async def test_a_backlog_of_progress_is_told_once(ledger: Ledger, clock: FakeClock) -> None:
    wanted = Submission(
        kind="simulate", title="report", session="main", delivery=Delivery(channels=("chat",))
    )

    async def told() -> list[str]:
        log = await ledger.read(lambda tx: events.after(tx, 0, limit=5000))
        return [one.data["text"] for one in log if one.type == "message.sent"]

    await ledger.write(lambda tx: sessions.ensure(tx, "main"))
    task = await ledger.write(lambda tx: submit(tx, wanted))
    follower = Follower(ledger, Live(), every=60)
    for _ in range(5):
        await clock.advance("61s")
        await ledger.write(
            lambda tx: events.append(tx, "task.progress", {}, task_id=task.task_id, session="main")
        )
    while await follower.catch_up():
        pass
    assert await told() == ['"report" is under way.']
    await clock.advance("61s")
    await ledger.write(
        lambda tx: events.append(tx, "task.progress", {}, task_id=task.task_id, session="main")
    )
    while await follower.catch_up():
        pass
    assert len(await told()) == 2, "news that comes later is told again"
