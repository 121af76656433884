"""The shortest proof that the house stands: a task goes in, runs, and its record tells so."""

from tawny.domain.tasks import Status
from tawny.ledger import events, steps


async def test_a_simulated_task_runs_to_its_end(engine):
    task = await engine.submit("simulate", params={"steps": 3, "step_seconds": 0})

    ended = await engine.done(task.task_id)

    assert ended.status is Status.SUCCEEDED
    assert ended.progress.percentage == 100
    assert [step.key for step in await engine.ledger.read(lambda tx: steps.of_task(tx, task.task_id))] == [
        "step-1",
        "step-2",
        "step-3",
    ]
    types = [event.type for event in await engine.ledger.read(lambda tx: events.after(tx, 0))]
    assert types[:2] == ["task.queued", "task.started"]
    assert types[-1] == "task.succeeded"
