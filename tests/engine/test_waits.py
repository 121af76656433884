"""Every wait is a row: it survives restarts, and fires within a second of its time, and no earlier."""

from typing import Any

import msgspec
import pytest
from tests.both import config  # noqa: F401 - these run on both databases
from tests.conftest import Crash

from tawny.clock import DAY, HOUR, MINUTE, SECOND
from tawny.domain.approvals import Question
from tawny.domain.tasks import Status
from tawny.engine.kinds import Context, Kind
from tawny.errors import TemporaryError


class Nothing(msgspec.Struct, frozen=True):
    form: str = ""


@pytest.fixture
def seen() -> list[str]:
    return []


@pytest.fixture
def kinds(seen: list[str]) -> dict[str, Kind]:
    async def waiting(ctx: Context, params: Nothing) -> str:
        due = (ctx.task.started_at or 0) + HOUR
        match params.form:
            case "event":
                seen.append(f"event {await ctx.wait_event('w', 'bell', timeout=HOUR)}")
            case "approval":
                question = Question(
                    tool="t", operation="o", arguments={}, level=4, reason="may it?", expires_in=HOUR
                )
                seen.append(f"approval {(await ctx.ask('w', question)).status}")
            case "budget":
                await ctx.wait_budget("w", scope="day", reason="spent", until=due)
                seen.append("budget over")
            case "retry" if ctx.task.failures == 0:
                raise TemporaryError("not now")
            case "timer":
                await ctx.wait_until("w", due)
        seen.append("went on")
        return "done"

    return {"waiting": Kind(name="waiting", params=Nothing, run=waiting)}


def flow(step: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "flow", "params": {"document": {"steps": [{"id": "s", "on_error": "continue", **step}]}}}


def own(form: str, **more: Any) -> dict[str, Any]:
    return {"kind": "waiting", "params": {"form": form}, **more}


# What is handed in at eight in the morning; and from then, when it fires.
WAITS: dict[str, tuple[dict[str, Any], int]] = {
    "timer": (own("timer"), HOUR),
    "event that does not come": (own("event"), HOUR),
    "approval that nobody gives": (own("approval"), HOUR),
    "budget": (own("budget"), HOUR),
    "next attempt": (own("retry", retry={"max": 1, "base": "1h", "cap": "2h", "jitter": 0}), HOUR),
    "not before": (own("", not_before="1h"), HOUR),
    "window": (own("", window="22:00-06:00"), 14 * HOUR),
    "window with a deadline": (own("", window="22:00-06:00", deadline="1h"), HOUR),
    "merge window": (own("", merge_key="k", merge_window="1h"), HOUR),
    "flow: wait_until": (flow({"wait_until": "1h"}), HOUR),
    "flow: wait_until a time": (flow({"wait_until": "2026-03-03T08:00:00Z"}), DAY),
    "flow: wait_event": (flow({"wait_event": {"source": "bell", "timeout": "1h"}}), HOUR),
    "flow: approval": (flow({"approval": {"reason": "may it?", "expires": "1h"}}), HOUR),
    "flow: retry": (flow(own("retry", retry={"max": 1, "base": "1h", "cap": "1h", "jitter": 0})), HOUR),
}


@pytest.mark.parametrize("name", WAITS)
async def test_it_survives_restarts_and_fires_at_its_time(open_engine: Any, clock: Any, name: str) -> None:
    body, after = WAITS[name]
    begun = clock.now()
    async with open_engine() as engine:
        task = await engine.submit(**body)
        await _rests(engine, task.task_id)
        raise Crash
    async with open_engine() as engine:
        await engine.clock.advance((after - 10 * MINUTE) / SECOND)
        raise Crash
    async with open_engine() as engine:
        await engine.clock.settle()
        engine.clock.pass_to(begun + after - SECOND // 100)
        await engine.clock.settle()
        assert not (await engine.task(task.task_id)).status.is_terminal, "not before its time"
        engine.clock.pass_to(begun + after + SECOND)
        ended = await engine.done(task.task_id)
    assert ended.status is Status.SUCCEEDED, ended.error
    assert ended.ended_at <= begun + after + SECOND


@pytest.mark.parametrize(
    "name", ["timer", "event that does not come", "next attempt", "not before", "flow: approval"]
)
async def test_what_came_due_while_nothing_ran_fires_with_the_start(
    open_engine: Any, clock: Any, name: str
) -> None:
    body, after = WAITS[name]
    async with open_engine() as engine:
        task = await engine.submit(**body)
        await _rests(engine, task.task_id)
        raise Crash
    clock.pass_to(clock.now() + 3 * after)
    async with open_engine() as engine:
        ended = await engine.done(task.task_id)
    assert ended.status is Status.SUCCEEDED


@pytest.mark.parametrize(
    ("form", "answer"),
    [("event", "event None"), ("approval", "approval expired"), ("budget", "budget over")],
)
async def test_what_did_not_come_is_told_to_the_run(
    engine: Any, seen: list[str], form: str, answer: str
) -> None:
    task = await engine.submit(**own(form))
    await engine.until(task.task_id, Status.WAITING)
    await engine.clock.advance("1h")
    await engine.done(task.task_id)
    assert seen == [answer, "went on"]


_AT_WORK = "SELECT COUNT(*) AS n FROM tasks WHERE status = 'running' OR (status = 'queued' AND runnable = 1)"


async def _rests(engine: Any, task_id: str) -> None:
    """Until nothing of it is in memory: it waits, or is held in the queue, or a child of it is."""
    for _ in range(400):
        task = await engine.task(task_id)
        running = await engine.ledger.read(lambda tx: tx.value(_AT_WORK))
        if task.status in (Status.WAITING, Status.QUEUED) and running == 0:
            return
        await engine.clock.settle()
    raise AssertionError("it does not come to rest")
