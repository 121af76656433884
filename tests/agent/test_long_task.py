"""The simulated long task, asked for in a chat: queued, progress on schedule, cancel, delivery, true times."""

from itertools import pairwise

from agent.conftest import Chat, OpenChat
from tawny.clock import SECOND
from tawny.config import Chat as ChatConfig
from tawny.domain.documents import task_document
from tawny.domain.tasks import Status
from tawny.ledger import events, sessions, tasks


async def progress_texts(talk: Chat, task_id: str) -> list[tuple[int, str]]:
    log = await talk.read(lambda tx: events.after(tx, 0, limit=5000))
    return [
        (one.time, one.data["text"])
        for one in log
        if one.type == "message.sent" and one.data["role"] == "progress" and one.data["run_id"] == task_id
    ]


async def test_it_runs_reports_and_brings_its_result(chat: OpenChat) -> None:
    async with chat(chat=ChatConfig(progress="800ms")) as talk:
        started = await talk.say("run a test task of 4 seconds")
        (task_id,) = started.task_ids
        queued = await talk.read(lambda tx: tasks.get(tx, task_id))
        assert queued.kind == "simulate"
        assert (
            await talk.say("The chat is free meanwhile")
        ).text.strip() == "You said: The chat is free meanwhile"
        done = await talk.until(task_id, Status.SUCCEEDED)

        async def delivered() -> bool:
            entries = await talk.read(lambda tx: sessions.entries(tx, "main"))
            return any("Simulated 4 steps." in entry.text for entry in entries)

        await talk.wait_for(delivered)
        told = await progress_texts(talk, task_id)
        assert 2 <= len(told) <= 5
        assert all(later - earlier >= 0.8 * SECOND for (earlier, _), (later, _) in pairwise(told))
        assert done.started_at is not None
        assert done.ended_at is not None
        assert 4 * SECOND <= done.ended_at - done.started_at <= 12 * SECOND
        document = task_document(done)
        assert document["progress"]["percentage"] == 100
        assert document["created_at"] <= document["started_at"] < document["ended_at"]


async def test_it_is_paused_resumed_and_cancelled_by_a_word(chat: OpenChat) -> None:
    async with chat() as talk:
        (task_id,) = (await talk.say("run a test task of 50 seconds")).task_ids
        await talk.until(task_id, Status.RUNNING)
        await talk.say("pause the test task")
        await talk.until(task_id, Status.PAUSED)
        assert "paused" in (await talk.say("how is it going?")).text
        await talk.say("resume the test task")
        await talk.until(task_id, Status.RUNNING, Status.QUEUED)
        assert "cancel" in (await talk.say("/cancel test")).text
        cancelled = await talk.until(task_id, Status.CANCELLED)
        assert cancelled.error is not None
        assert cancelled.error.kind == "cancelled"


async def test_a_report_over_more_than_seven_days_goes_to_the_background(chat: OpenChat) -> None:
    async with chat() as talk:
        reply = await talk.say("make me a report over the last 30 days")
        assert 'Started "report over 30 days" in the background' in reply.text
        (task_id,) = reply.task_ids
        await talk.say("cancel the report")
        await talk.until(task_id, Status.CANCELLED)


async def test_what_waits_is_answered_after_a_restart_in_order_and_once(chat: OpenChat) -> None:
    async with chat() as talk:
        await talk.say("/queue followup")
        talk.app.dispatcher.capacity = type(talk.app.dispatcher.capacity)(background=0, interactive=0)
        waiting = [await talk.say(f"question {n}", wait=None) for n in range(5)]
        assert all(one.status == "queued" for one in waiting)
    async with chat() as talk:
        for one in waiting:
            await talk.until(one.run_id, Status.SUCCEEDED)
        entries = await talk.read(lambda tx: sessions.entries(tx, "main"))
        said = [entry.text.strip() for entry in entries if entry.role == "assistant"]
        assert said == [f"You said: question {n}" for n in range(5)]
