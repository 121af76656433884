import asyncio
import json
from typing import Any

from tawny.delivery.live import Live
from tawny.ledger import events
from tawny.testing import MemoryChannel


async def test_progress_is_shown_in_one_message_at_a_pace_and_the_newest_wins(desk: Any):
    channel = MemoryChannel("a")
    dispatcher = await desk.dispatcher(channel)
    await desk.add_task(status="running", notify="state_changes")
    await desk.put("started", task_id="task_1", transition="task.started@1")
    await dispatcher.run_until_idle()

    async def move(percentage: int, **more: Any) -> None:
        def write(tx: Any) -> None:
            changes = {"progress": json.dumps({"percentage": percentage}), **more}
            sets = ", ".join(f"{name} = :{name}" for name in changes)
            tx.execute(f"UPDATE tasks SET {sets} WHERE task_id = 'task_1'", **changes)
            events.append(tx, "task.progress", {"percentage": percentage}, task_id="task_1")

        await desk.ledger.write(write)
        await desk.clock.settle()

    def shown() -> list[str]:
        return [message.text.splitlines()[-1] for _, message in channel.edits]

    live = Live(desk.ledger, desk.clock, dispatcher._roster)
    async with desk.running(live):
        # It shows what moves from when it has begun.
        async with asyncio.timeout(60):
            while not channel.edits:
                await move(10)
        await desk.clock.advance(0.5)
        await move(20)
        await desk.clock.advance(0.5)
        await move(30)
        await desk.until(lambda: live._due)
        await desk.clock.advance(0.9)
        assert shown() == ["▓░░░░░░░░░ 10 %"]
        await desk.clock.advance(0.2)
        await desk.until(lambda: len(channel.edits) == 2)
        assert shown()[-1] == "▓▓▓░░░░░░░ 30 %"
        await move(100, status="succeeded")
        await desk.until(lambda: live._due)
        await desk.clock.advance("1m")
        await desk.until(lambda: not live._edited)
    assert len(channel.edits) == 2
    assert {receipt.ids for receipt, _ in channel.edits} == {("1",)}
