"""What a task may count on: steps once, retries on time, pause, cancel and timeout as promised."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import msgspec
import pytest
from tests.conftest import Crash, Engine

from tawny.clock import HOUR, MINUTE, SECOND
from tawny.domain.tasks import Effect, Status, Submission
from tawny.engine import commands
from tawny.engine.kinds import Context, Kind
from tawny.errors import Conflict, PermanentError, QueueFull, TemporaryError
from tawny.ledger import artifacts, audit, endings, events, outbox, steps
from tawny.ledger import tasks as ledger_tasks
from tawny.ledger.sqlite import SqliteStore


class Nothing(msgspec.Struct, frozen=True):
    n: int = 0


class World:
    """The world outside: counts what happened to it, and holds runs at gates."""

    def __init__(self) -> None:
        self.effects: Counter[str] = Counter()
        self.gates: dict[str, asyncio.Event] = {}
        self.inputs = 0
        self.error: Exception | None = None

    def gate(self, name: str) -> asyncio.Event:
        return self.gates.setdefault(name, asyncio.Event())

    async def touch(self, name: str) -> str:
        self.effects[name] += 1
        return f"{name} done"


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def kinds(world: World) -> dict[str, Kind]:
    async def three_steps(ctx: Context, params: Nothing) -> str:
        for name in ("a", "b", "c"):
            await ctx.step(name, lambda name=name: world.touch(name), input=world.inputs)
            if name in world.gates:
                await world.gates[name].wait()
        return "three"

    async def failing(ctx: Context, params: Nothing) -> str:
        world.effects["run"] += 1
        if world.error is not None:
            raise world.error
        return "fine"

    async def risky(ctx: Context, params: Nothing) -> str:
        async def pay() -> str:
            world.effects["paid"] += 1
            await world.gate("pay").wait()
            return "receipt"

        return str(await ctx.step("pay", pay, effect=Effect.AT_MOST_ONCE))

    async def pay_beside(ctx: Context, other: Callable[[], Awaitable[object]]) -> str:
        async def pay() -> str:
            world.effects["paid"] += 1
            world.gate("paying").set()
            await world.gate("pay").wait()
            return "receipt"

        async def meanwhile() -> None:
            await world.gate("paying").wait()
            await other()

        async with asyncio.TaskGroup() as group:
            paid = group.create_task(ctx.step("pay", pay, effect=Effect.AT_MOST_ONCE))
            group.create_task(meanwhile())
        return str(paid.result())

    async def failing_beside(ctx: Context, params: Nothing) -> str:
        async def fail() -> None:
            world.effects["failed"] += 1
            if world.effects["failed"] == 1:
                raise TemporaryError("the server is tired")

        return await pay_beside(ctx, fail)

    async def waiting_beside(ctx: Context, params: Nothing) -> str:
        return await pay_beside(ctx, lambda: ctx.wait_until("nap", ctx.task.created_at + 5 * SECOND))

    async def parent(ctx: Context, params: Nothing) -> str:
        wanted = [Submission(kind="remind", params={"text": f"child {n}"}) for n in range(3)]
        ended = await ctx.children("kids", wanted)
        return ", ".join(str((child.result or {})["text"]) for child in ended)

    async def paced(ctx: Context, params: Nothing) -> str:
        for n in range(1, 301):
            await ctx.progress(n, params.n or None)
            await ctx.clock.sleep_until(ctx.clock.now() + SECOND // 100)
        return "paced"

    async def sharing(ctx: Context, params: Nothing) -> str:
        wanted = [Submission(kind="three_steps", dedupe_key="report")] * 2
        ended = await ctx.children("kids", wanted)
        return ", ".join(str((child.result or {}).get("text", child.status)) for child in ended)

    async def draining_shared(ctx: Context, params: Nothing) -> str:
        await ctx.submit("late", Submission(kind="three_steps", dedupe_key="report"))
        return "interim"

    async def failing_late(ctx: Context, params: Nothing) -> str:
        await world.gate("fail").wait()
        raise PermanentError("broken")

    async def draining(ctx: Context, params: Nothing) -> str:
        await ctx.submit("late", Submission(kind="three_steps"))
        return "interim"

    async def chatty(ctx: Context, params: Nothing) -> str:
        for n in range(params.n):
            ctx.log(f"line {n}")
        return "said"

    async def sleeper(ctx: Context, params: Nothing) -> str:
        await ctx.wait_until("nap", ctx.task.created_at + 3600 * SECOND)
        world.effects["woke"] += 1
        return "rested"

    async def holding(ctx: Context, params: Nothing) -> str:
        await ctx.artifact("half.txt", "half", partial=True)
        world.effects["held"] += 1
        await world.gate("hold").wait()
        return "let go"

    async def stubborn(ctx: Context, params: Nothing) -> str:
        try:
            await world.gate("never").wait()
        except asyncio.CancelledError:
            world.effects["cleaned up"] += 1
            raise
        return "never"

    async def counting(ctx: Context, params: Nothing) -> str:
        for n in range(1, 101):
            await ctx.progress(n, 100, message=f"item {n}")
        await ctx.progress(40, 100)
        return "counted"

    runs = {
        "three_steps": three_steps,
        "failing": failing,
        "risky": risky,
        "failing_beside": failing_beside,
        "waiting_beside": waiting_beside,
        "parent": parent,
        "draining": draining,
        "paced": paced,
        "sharing": sharing,
        "draining_shared": draining_shared,
        "failing_late": failing_late,
        "chatty": chatty,
        "sleeper": sleeper,
        "holding": holding,
        "stubborn": stubborn,
        "counting": counting,
    }
    return {name: Kind(name=name, params=Nothing, run=run) for name, run in runs.items()}


async def types(engine: Engine, task_id: str) -> list[str]:
    found = await engine.ledger.read(lambda tx: events.after(tx, 0, task_id=task_id))
    return [event.type.removeprefix("task.") for event in found]


async def test_a_finished_step_is_not_run_again_after_a_crash(open_engine, world):
    world.gate("b")
    async with open_engine() as engine:
        task = await engine.submit("three_steps")
        await _until(engine, lambda: _step_done(engine, task.task_id, "b"))
        raise Crash
    world.gates.clear()
    async with open_engine() as engine:
        ended = await engine.done(task.task_id)

    assert ended.status is Status.SUCCEEDED
    assert ended.attempt == 2
    assert world.effects == {"a": 1, "b": 1, "c": 1}


async def test_a_step_whose_input_changed_misses_loudly(open_engine, world):
    world.gate("a")
    async with open_engine() as engine:
        task = await engine.submit("three_steps")
        await _until(engine, lambda: _step_done(engine, task.task_id, "a"))
        raise Crash
    world.gates.clear()
    world.inputs = 1
    async with open_engine() as engine:
        ended = await engine.done(task.task_id)

    assert ended.status is Status.FAILED
    assert "was recorded with another input" in ended.error.message
    assert world.effects["a"] == 1


@pytest.mark.parametrize(
    ("answer", "status", "paid"),
    [("done", "succeeded", 1), ("redo", "succeeded", 2), ("give_up", "failed", 1)],
)
async def test_an_uncertain_effect_waits_for_a_person(open_engine, world, answer, status, paid):
    async with open_engine() as engine:
        task = await engine.submit("risky")
        await _until(engine, lambda: world.effects["paid"] == 1)
        raise Crash
    world.gate("pay").set()
    async with open_engine() as engine:
        waiting = await engine.task(task.task_id)
        assert waiting.status is Status.WAITING
        assert waiting.waiting_for.kind == "reconcile"
        assert world.effects["paid"] == 1
        await engine.ledger.write(lambda tx: commands.reconcile(tx, task.task_id, answer, result="seen"))
        ended = await engine.done(task.task_id)

    assert ended.status == status
    assert world.effects["paid"] == paid


async def test_an_answer_about_an_effect_does_not_wake_a_paused_task(open_engine, world):
    async with open_engine() as engine:
        task = await engine.submit("risky")
        await _until(engine, lambda: world.effects["paid"] == 1)
        raise Crash
    async with open_engine() as engine:
        await engine.ledger.write(lambda tx: commands.pause(tx, task.task_id))
        await engine.ledger.write(lambda tx: commands.reconcile(tx, task.task_id, "done", result="seen"))
        await engine.clock.settle()
        kept = await engine.task(task.task_id)
        assert (kept.status, kept.waiting_for) == (Status.PAUSED, None)
        await engine.ledger.write(lambda tx: commands.resume(tx, task.task_id))
        ended = await engine.done(task.task_id)

    assert (ended.status, ended.result) == (Status.SUCCEEDED, {"text": "seen"})
    assert world.effects["paid"] == 1


@pytest.mark.parametrize(("answer", "paid"), [("done", 1), ("redo", 2)])
async def test_an_orderly_stop_within_an_effect_asks_a_person_as_a_kill_does(
    open_engine, world, answer, paid
):
    async with open_engine() as engine:
        task = await engine.submit("risky")
        await _until(engine, lambda: world.effects["paid"] == 1)
    world.gate("pay").set()
    async with open_engine() as engine:
        waiting = await engine.task(task.task_id)
        assert waiting.status is Status.WAITING
        assert waiting.waiting_for.kind == "reconcile"
        assert (waiting.attempt, waiting.crashes) == (1, 0)
        assert world.effects["paid"] == 1
        told = await engine.ledger.read(lambda tx: outbox.of_task(tx, task.task_id))
        assert any("the process was stopped while pay was under way" in line.message.text for line in told)
        await engine.ledger.write(lambda tx: commands.reconcile(tx, task.task_id, answer, result="seen"))
        ended = await engine.done(task.task_id)

    assert ended.status is Status.SUCCEEDED
    assert world.effects["paid"] == paid


async def test_an_orderly_stop_between_effects_asks_nobody(open_engine, world):
    world.gate("b")
    async with open_engine() as engine:
        task = await engine.submit("three_steps")
        await _until(engine, lambda: _step_done(engine, task.task_id, "b"))
    world.gates.clear()
    async with open_engine() as engine:
        ended = await engine.done(task.task_id)

    assert ended.status is Status.SUCCEEDED
    assert world.effects == {"a": 1, "b": 1, "c": 1}


@pytest.mark.parametrize("kind", ["failing_beside", "waiting_beside"])
async def test_an_effect_cut_off_by_what_runs_beside_it_is_not_repeated(engine, world, kind):
    task = await engine.submit(kind)
    await _until(engine, lambda: world.effects["paid"] == 1)
    if kind == "waiting_beside":
        await engine.until(task.task_id, Status.WAITING)
        await engine.clock.advance("6s")
    await _until(engine, lambda: _waits_for(engine, task.task_id, "reconcile"))
    assert world.effects["paid"] == 1
    await engine.ledger.write(lambda tx: commands.reconcile(tx, task.task_id, "done", result="seen"))
    world.gate("pay").set()
    ended = await engine.play(task.task_id)

    assert (ended.status, ended.result) == (Status.SUCCEEDED, {"text": "seen"})
    assert world.effects["paid"] == 1


async def test_a_temporary_failure_backs_off_exponentially_and_then_escalates(engine, world):
    world.error = TemporaryError("the server is tired")
    task = await engine.submit("failing", retry={"max": 3, "base": "2s", "factor": 2, "jitter": 0})
    waits = []
    for _ in range(3):
        held = await _attempted(engine, task.task_id, world, runs=len(waits) + 1)
        waits.append((held.next_attempt_at - engine.clock.now()) / SECOND)
        await engine.clock.advance(waits[-1])
    ended = await engine.done(task.task_id)

    assert waits == [2, 4, 8]
    assert world.effects["run"] == 4
    assert ended.status is Status.FAILED
    assert "gave up after 4 attempts" in ended.error.message
    inbox = await engine.ledger.read(lambda tx: tx.all("SELECT message FROM outbox WHERE target = 'inbox'"))
    assert "the server is tired" in inbox[0]["message"]


async def test_retry_after_is_honoured(engine, world):
    world.error = TemporaryError("slow down", retry_after=90)
    task = await engine.submit("failing", retry={"max": 1, "jitter": 0})

    held = await _attempted(engine, task.task_id, world, runs=1)

    assert (held.next_attempt_at - engine.clock.now()) / SECOND == 90


async def test_a_permanent_failure_is_not_retried(engine, world):
    world.error = PermanentError("no such thing")
    task = await engine.submit("failing")

    ended = await engine.done(task.task_id)

    assert ended.status is Status.FAILED
    assert world.effects["run"] == 1


async def test_pause_takes_effect_at_the_next_step_and_survives_a_restart(open_engine, world):
    world.gate("a")
    async with open_engine() as engine:
        task = await engine.submit("three_steps")
        await _until(engine, lambda: _step_done(engine, task.task_id, "a"))
        await engine.ledger.write(lambda tx: commands.pause(tx, task.task_id))
        world.gate("a").set()
        paused = await engine.until(task.task_id, Status.PAUSED)
        assert world.effects == {"a": 1, "b": 1}
        assert paused.intent is None
    async with open_engine() as engine:
        assert (await engine.task(task.task_id)).status is Status.PAUSED
        await engine.ledger.write(lambda tx: commands.resume(tx, task.task_id))
        ended = await engine.done(task.task_id)

    assert ended.status is Status.SUCCEEDED
    assert world.effects == {"a": 1, "b": 1, "c": 1}


async def test_paused_time_counts_for_no_timeout(open_engine, world):
    world.gate("a")
    async with open_engine() as engine:
        task = await engine.submit("three_steps", timeout="10m")
        await _until(engine, lambda: _step_done(engine, task.task_id, "a"))
        await engine.ledger.write(lambda tx: commands.pause(tx, task.task_id))
        world.gate("a").set()
        await engine.until(task.task_id, Status.PAUSED)
        await engine.clock.advance("2h")
        await engine.ledger.write(lambda tx: commands.resume(tx, task.task_id))
        ended = await engine.done(task.task_id)

    assert ended.status is Status.SUCCEEDED


async def test_cancel_stops_the_run_first_and_only_then_is_cancelled(engine, world):
    task = await engine.submit("stubborn")
    await engine.until(task.task_id, Status.RUNNING)

    await engine.ledger.write(lambda tx: commands.cancel(tx, task.task_id))
    ended = await engine.done(task.task_id)

    assert ended.status is Status.CANCELLED
    assert world.effects["cleaned up"] == 1


async def test_cancelled_task_is_not_retried_and_a_late_success_changes_nothing(engine, world):
    task = await engine.submit("holding")
    await _until(engine, lambda: world.effects["held"] == 1)
    running = await engine.task(task.task_id)
    await engine.ledger.write(lambda tx: commands.cancel(tx, task.task_id))
    ended = await engine.done(task.task_id)
    assert ended.status is Status.CANCELLED

    with pytest.raises(Conflict):
        await engine.ledger.write(
            lambda tx: endings.finish(tx, ended, Status.SUCCEEDED, result={"text": "late"})
        )
    with pytest.raises(Conflict):
        await engine.ledger.write(lambda tx: endings.finish(tx, running, Status.SUCCEEDED, result={}))
    with pytest.raises(Conflict):
        await engine.ledger.write(lambda tx: commands.cancel(tx, task.task_id))
    assert (await engine.task(task.task_id)).status is Status.CANCELLED


async def test_partial_results_are_kept_when_a_task_is_cancelled(engine, world):
    task = await engine.submit("holding")
    await _until(engine, lambda: world.effects["held"] == 1)
    await engine.ledger.write(lambda tx: commands.cancel(tx, task.task_id))
    await engine.done(task.task_id)

    from tawny.ledger import artifacts

    kept = await engine.ledger.read(lambda tx: artifacts.of_task(tx, task.task_id))
    assert [(artifact.name, artifact.partial) for artifact in kept] == [("half.txt", True)]


async def test_a_timeout_is_explained(engine, world):
    task = await engine.submit("holding", timeout="30s")
    await _until(engine, lambda: world.effects["held"] == 1)

    await engine.clock.advance("29.9s")
    assert (await engine.task(task.task_id)).status is Status.RUNNING
    await engine.clock.advance("0.1s")
    ended = await engine.done(task.task_id)

    assert ended.status is Status.TIMED_OUT
    assert "30 s" in ended.error.message


@pytest.mark.parametrize("hours", [1, -1])
async def test_a_set_clock_ends_no_run_early_and_prolongs_none(engine, world, hours):
    task = await engine.submit("holding", timeout="10m")
    await _until(engine, lambda: world.effects["held"] == 1)
    await engine.clock.advance("1m")

    engine.clock.set(engine.clock.now() + hours * HOUR)
    await engine.clock.advance("8m59s")
    assert (await engine.task(task.task_id)).status is Status.RUNNING
    await engine.clock.advance("1s")
    ended = await engine.done(task.task_id)

    assert ended.status is Status.TIMED_OUT
    assert 10 * MINUTE - SECOND < ended.ran_for <= 10 * MINUTE


async def test_a_task_that_kills_its_worker_three_times_is_quarantined(open_engine, world):
    for _ in range(3):
        async with open_engine() as engine:
            if _ == 0:
                task = await engine.submit("holding")
                other = await engine.submit("sleeper")
            await _until(engine, lambda seen=_: world.effects["held"] == seen + 1)
            raise Crash
    async with open_engine() as engine:
        ended = await engine.task(task.task_id)
        assert ended.status is Status.FAILED
        assert "quarantined" in ended.error.message
        owed = await engine.ledger.read(lambda tx: outbox.of_task(tx, task.task_id))
        alert = next(line for line in owed if line.transition == "quarantined")
        assert (alert.target, alert.severity) == ("inbox", "high")
        assert f"tawny tasks retry {task.task_id}" in alert.message.text
        assert world.effects["held"] == 3
        assert (await engine.until(other.task_id, Status.WAITING)).status is Status.WAITING


async def test_a_wait_leaves_memory_survives_restarts_and_fires_at_its_time(open_engine, world):
    async with open_engine() as engine:
        task = await engine.submit("sleeper")
        await engine.until(task.task_id, Status.WAITING)
    async with open_engine() as engine:
        await engine.clock.advance("3599s")
        assert (await engine.task(task.task_id)).status is Status.WAITING
        await engine.clock.advance("1s")
        ended = await engine.done(task.task_id)
        told = await types(engine, task.task_id)

    assert ended.status is Status.SUCCEEDED
    assert world.effects["woke"] == 1
    assert told == ["queued", "started", "waiting", "resumed", "started", "succeeded"]


async def test_a_wait_that_came_due_while_nothing_ran_fires_with_the_start(open_engine, world):
    """The clock is not moved after the start: it is the start that fires it, not the next look."""
    async with open_engine() as engine:
        task = await engine.submit("sleeper")
        await engine.until(task.task_id, Status.WAITING)
    engine.clock.pass_to(engine.clock.now() + 2 * HOUR)
    async with open_engine() as engine:
        began = engine.clock.now()
        ended = await engine.done(task.task_id)
        assert (ended.status, engine.clock.now()) == (Status.SUCCEEDED, began)


async def test_children_run_once_and_the_parent_gets_their_results(open_engine):
    async with open_engine() as engine:
        task = await engine.submit("parent")
        ended = await engine.done(task.task_id)
        kids = await engine.ledger.read(lambda tx: ledger_tasks.children(tx, task.task_id))

    assert ended.result == {"text": "child 0, child 1, child 2"}
    assert len(kids) == 3


async def test_a_parent_is_done_only_when_its_children_are_and_the_last_word_is_delivered(engine, world):
    world.gate("b")
    task = await engine.submit("draining", delivery={"channels": ["inbox"]})
    await _until(engine, lambda: world.effects["b"] == 1)
    assert (await engine.task(task.task_id)).status is Status.WAITING

    world.gate("b").set()
    ended = await engine.done(task.task_id)

    assert ended.status is Status.SUCCEEDED
    assert ended.result["text"] == "three"


async def test_cancelling_a_parent_cancels_its_children_first(engine, world):
    world.gate("a")
    task = await engine.submit("draining")
    await _until(engine, lambda: world.effects["a"] == 1)
    (child,) = await engine.ledger.read(lambda tx: ledger_tasks.children(tx, task.task_id))

    await engine.ledger.write(lambda tx: commands.cancel(tx, task.task_id))
    ended = await engine.done(task.task_id)

    kid = await engine.task(child.task_id)
    assert (ended.status, kid.status) == (Status.CANCELLED, Status.CANCELLED)
    assert kid.ended_at <= ended.ended_at


async def test_dedupe_returns_the_task_that_is_there(engine, world):
    first = await engine.submit("holding", dedupe_key="report")
    second = await engine.submit("holding", dedupe_key="report")

    assert second.task_id == first.task_id


async def test_the_same_queued_work_is_merged_and_its_result_shared(engine):
    first = await engine.submit("remind", params={"text": "one"}, merge_key="m", merge_window="5s")
    same = await engine.submit("remind", params={"text": "one"}, merge_key="m")
    other = await engine.submit("remind", params={"text": "two"}, merge_key="m")
    assert (same.merged_into, other.merged_into) == (first.task_id, None)

    await engine.clock.advance("6s")
    ended = [await engine.done(task.task_id) for task in (first, same, other)]

    assert [task.result for task in ended] == [{"text": "one"}, {"text": "one"}, {"text": "two"}]
    assert [task.attempt for task in ended] == [1, 0, 1]


@pytest.mark.parametrize("is_paused", [False, True])
async def test_cancelling_a_task_leaves_what_was_folded_into_it(engine, is_paused):
    first = await engine.submit("remind", params={"text": "one"}, merge_key="m", merge_window="1h")
    folded = await engine.submit("remind", params={"text": "one"}, merge_key="m")
    assert folded.merged_into == first.task_id
    if is_paused:
        await engine.ledger.write(lambda tx: commands.pause(tx, folded.task_id))
    await engine.ledger.write(lambda tx: commands.cancel(tx, first.task_id))
    if is_paused:
        await engine.ledger.write(lambda tx: commands.resume(tx, folded.task_id))
    ended = await engine.done(folded.task_id)

    assert (ended.status, ended.result, ended.merged_into) == (Status.SUCCEEDED, {"text": "one"}, None)


async def test_a_task_follows_others_and_a_missed_condition_cancels_it(engine, world):
    world.gate("a")
    first = await engine.submit("three_steps")
    good = await engine.submit("remind", params={"text": "after"}, after=[{"task": first.task_id}])
    bad = await engine.submit(
        "remind", params={"text": "if it fails"}, after=[{"task": first.task_id, "on": "failure"}]
    )
    await _until(engine, lambda: world.effects["a"] == 1)
    assert (await engine.task(good.task_id)).status is Status.QUEUED

    world.gate("a").set()

    assert (await engine.done(good.task_id)).status is Status.SUCCEEDED
    assert (await engine.done(bad.task_id)).status is Status.CANCELLED


async def test_a_full_queue_refuses_with_position_and_writes_nothing(open_engine, home, clock):
    from tawny.config import Config, Limits

    config = Config(limits=Limits(concurrency=1, max_running_per_owner=1, max_queued_per_owner=2))
    async with open_engine(config) as engine:
        running = await engine.submit("holding")
        await engine.until(running.task_id, Status.RUNNING)
        for _ in range(2):
            await engine.submit("holding")
        with pytest.raises(QueueFull, match="number 3"):
            await engine.submit("holding")
        await engine.submit("holding", owner="somebody else")
        counts = await engine.ledger.read(ledger_tasks.counts)
    assert counts == {"running": 1, "queued": 3}


async def test_a_class_runs_at_most_as_often_as_its_places_in_the_configuration(open_engine):
    from tawny.config import Config, Limits

    limits = Limits(concurrency=3, max_running_per_owner=3, per_class={"low": 1}, busy_load=0)
    async with open_engine(Config(limits=limits)) as engine:
        low = [await engine.submit("holding", priority="low") for _ in range(2)]
        await engine.until(low[0].task_id, Status.RUNNING)
        for _ in range(2):
            await engine.until((await engine.submit("holding")).task_id, Status.RUNNING)
        assert (await engine.task(low[1].task_id)).status is Status.QUEUED
        await engine.ledger.write(lambda tx: commands.cancel(tx, low[0].task_id))
        await engine.until(low[1].task_id, Status.RUNNING)


async def test_percentage_never_falls_and_writes_are_coalesced(engine):
    task = await engine.submit("counting")
    ended = await engine.done(task.task_id)

    assert ended.progress.percentage == 100
    assert (await types(engine, task.task_id)).count("progress") <= 2


async def test_progress_is_written_four_times_a_second_at_most(engine):
    task = await engine.submit("paced", params={"n": 300})
    await engine.until(task.task_id, Status.RUNNING)
    await engine.clock.advance("2s")
    written = (await types(engine, task.task_id)).count("progress")
    assert 6 <= written <= 9, "one at once, and eight in two seconds"
    # What was said in between is not lost, only late.
    assert (await engine.task(task.task_id)).progress.current >= 170


async def test_nobody_guesses_when_it_will_be_done(engine):
    """Without a total, and before anything can be told from the pace, there is no estimate."""
    unknown = await engine.submit("paced", params={"n": 0})
    known = await engine.submit("paced", params={"n": 300})
    for task in (unknown, known):
        await _until(engine, lambda t=task: _has_progress(engine, t.task_id))
        assert (await engine.task(task.task_id)).estimated_completion is None
    begun = engine.clock.now()
    await engine.clock.advance("0.3s")
    assert (await engine.task(known.task_id)).estimated_completion is None
    await engine.clock.advance("1.2s")
    estimate = (await engine.task(known.task_id)).estimated_completion
    assert estimate is not None
    assert abs(estimate - (begun + 3 * SECOND)) < SECOND
    later = await engine.task(unknown.task_id)
    assert (later.estimated_completion, later.progress.percentage) == (None, None)
    assert later.progress.current > 100


async def test_every_task_has_its_audit_rows_in_one_chain(engine):
    task = await engine.submit("three_steps")
    await engine.done(task.task_id)

    rows = await engine.ledger.read(lambda tx: tx.all("SELECT * FROM audit ORDER BY seq"))
    assert [row["action"] for row in rows] == ["task.create", "task.run", "task.result"]
    previous = audit.GENESIS
    for row in rows:
        assert row["previous"] == previous
        assert audit.digest(dict(row)) == row["hash"]
        previous = row["hash"]


async def test_a_retry_keeps_the_finished_steps(engine, world):
    world.error = None
    task = await engine.submit("simulate", params={"steps": 3, "step_seconds": 0, "fail_at": 3})
    failed = await engine.done(task.task_id)
    assert failed.status is Status.FAILED

    again = await engine.ledger.write(lambda tx: commands.retry(tx, task.task_id))
    kept = await engine.ledger.read(lambda tx: steps.of_task(tx, again.task_id))

    assert again.task_id != task.task_id
    assert [step.key for step in kept][:2] == ["step-1", "step-2"]


async def test_what_has_succeeded_is_done_again_by_the_explicit_word_alone(engine):
    task = await engine.submit("three_steps")
    await engine.done(task.task_id)
    with pytest.raises(Conflict, match="has succeeded"):
        await engine.ledger.write(lambda tx: commands.retry(tx, task.task_id))

    again = await engine.ledger.write(lambda tx: commands.retry(tx, task.task_id, fresh=True))
    assert (await engine.done(again.task_id)).status is Status.SUCCEEDED


async def test_a_retry_asks_about_a_step_that_was_cut_off(engine, world):
    """What cancelled it cannot know whether it was paid; to run it again unasked could pay twice."""
    task = await engine.submit("risky")
    await _until(engine, lambda: world.effects["paid"] == 1)
    await engine.ledger.write(lambda tx: commands.cancel(tx, task.task_id))
    assert (await engine.done(task.task_id)).status is Status.CANCELLED
    world.gate("pay").set()

    again = await engine.ledger.write(lambda tx: commands.retry(tx, task.task_id))
    await engine.clock.settle()
    asked = await engine.task(again.task_id)
    assert (asked.status, asked.attempt, world.effects["paid"]) == (Status.WAITING, 0, 1)
    assert asked.waiting_for is not None
    assert (asked.waiting_for.kind, asked.waiting_for.detail["steps"]) == ("reconcile", ["pay"])
    inbox = await engine.ledger.read(lambda tx: outbox.of_task(tx, again.task_id))
    assert "pay" in inbox[0].message.text

    await engine.ledger.write(lambda tx: commands.reconcile(tx, again.task_id, "done", result="by hand"))
    ended = await engine.done(again.task_id)
    assert (ended.result, world.effects["paid"]) == ({"text": "by hand"}, 1)


@pytest.mark.parametrize(("answer", "paid"), [("redo", 2), ("give_up", 1)])
async def test_what_a_person_says_of_it_is_done(engine, world, answer, paid):
    task = await engine.submit("risky", timeout="5s")
    await _until(engine, lambda: world.effects["paid"] == 1)
    await engine.clock.advance("5s")
    assert (await engine.done(task.task_id)).status is Status.TIMED_OUT
    world.gate("pay").set()

    again = await engine.ledger.write(lambda tx: commands.retry(tx, task.task_id))
    assert again.status is Status.WAITING
    await engine.ledger.write(lambda tx: commands.reconcile(tx, again.task_id, answer))
    ended = await engine.done(again.task_id)
    assert ended.status is (Status.SUCCEEDED if answer == "redo" else Status.FAILED)
    assert world.effects["paid"] == paid


async def test_fresh_is_the_explicit_word(engine, world):
    task = await engine.submit("risky")
    await _until(engine, lambda: world.effects["paid"] == 1)
    await engine.ledger.write(lambda tx: commands.cancel(tx, task.task_id))
    await engine.done(task.task_id)
    world.gate("pay").set()
    again = await engine.ledger.write(lambda tx: commands.retry(tx, task.task_id, fresh=True))
    assert (await engine.done(again.task_id)).status is Status.SUCCEEDED
    assert world.effects["paid"] == 2


@pytest.mark.parametrize(("is_wanted", "names"), [(True, ["half.txt"]), (False, [])])
@pytest.mark.parametrize("how", ["timeout", "cancel"])
async def test_what_an_unfinished_run_has_kept_is_brought_along(engine, world, how, is_wanted, names):
    task = await engine.submit(
        "holding", timeout="5s", notify="done_only", delivery={"partial": is_wanted, "channels": ["inbox"]}
    )
    await _until(engine, lambda: world.effects["held"] == 1)
    if how == "cancel":
        await engine.ledger.write(lambda tx: commands.cancel(tx, task.task_id))
    else:
        await engine.clock.advance("5s")
    ended = await engine.done(task.task_id)
    owed = await engine.ledger.read(lambda tx: outbox.of_task(tx, task.task_id))
    told = next(line.message for line in owed if line.transition == f"task.{ended.status}")

    assert ended.status is (Status.CANCELLED if how == "cancel" else Status.TIMED_OUT)
    assert [file.name for file in told.attachments] == names
    assert ("Kept up to there: half.txt" in told.text) is is_wanted
    made = await engine.ledger.read(lambda tx: artifacts.of_task(tx, task.task_id))
    kept = [artifact.artifact_id for artifact in made if artifact.partial]
    assert [file.artifact_id for file in told.attachments] == kept[: len(names)]


async def test_a_child_shares_the_result_of_anothers_task_with_its_key(engine, world):
    world.gates["b"] = asyncio.Event()
    theirs = await engine.submit("three_steps", dedupe_key="report")
    parents = [await engine.submit("sharing", params={"n": n}) for n in range(2)]
    for parent in parents:
        await _until(engine, lambda p=parent: _waits_for(engine, p.task_id, "child"))
    world.gates["b"].set()
    for parent in parents:
        assert (await engine.done(parent.task_id)).result == {"text": "three, three"}
    assert (await engine.task(theirs.task_id)).status is Status.SUCCEEDED
    assert world.effects["a"] == 1


async def test_who_shares_a_task_does_not_take_it_along(engine, world):
    """Cancelling one parent ends its wait, and neither the shared task nor the other's wait."""
    world.gates["b"] = asyncio.Event()
    theirs = await engine.submit("three_steps", dedupe_key="report")
    one, other = [await engine.submit("sharing", params={"n": n}) for n in range(2)]
    for parent in (one, other):
        await _until(engine, lambda p=parent: _waits_for(engine, p.task_id, "child"))
    await engine.ledger.write(lambda tx: commands.cancel(tx, one.task_id))
    assert (await engine.done(one.task_id)).status is Status.CANCELLED
    assert not (await engine.task(theirs.task_id)).status.is_terminal
    world.gates["b"].set()
    assert (await engine.done(other.task_id)).status is Status.SUCCEEDED


async def test_the_failure_of_a_shared_task_is_shared(engine, world):
    world.error = PermanentError("broken")
    gate = world.gates.setdefault("fail", asyncio.Event())
    theirs = await engine.submit("failing_late", dedupe_key="report")
    parent = await engine.submit("sharing")
    await _until(engine, lambda: _waits_for(engine, parent.task_id, "child"))
    gate.set()
    assert (await engine.done(theirs.task_id)).status is Status.FAILED
    ended = await engine.done(parent.task_id)
    assert ended.result == {"text": "failed, failed"}


async def test_a_draining_parent_waits_for_the_task_its_child_shares(engine, world):
    world.gates["b"] = asyncio.Event()
    await engine.submit("three_steps", dedupe_key="report")
    parent = await engine.submit("draining_shared")
    await engine.until(parent.task_id, Status.WAITING)
    world.gates["b"].set()
    assert (await engine.done(parent.task_id)).result["text"] == "three"


async def test_a_child_with_the_key_of_one_who_waits_for_it_is_refused(engine, world):
    parent = await engine.submit("sharing", dedupe_key="report")
    ended = await engine.done(parent.task_id)
    assert ended.status is Status.FAILED
    assert "waits for this child" in ended.error.message


async def test_a_task_that_nobody_follows_costs_no_read_and_no_look_for_more(engine: Engine):
    """Who follows the log gets what was committed here from memory; a free place alone is no reason to claim."""
    ledger = engine.ledger
    if not isinstance(ledger.store, SqliteStore):
        pytest.skip("on PostgreSQL the bell of another process may ring any time, and is followed by a look")
    await engine.play((await engine.submit("simulate", params={"steps": 0})).task_id)
    claims: list[int] = []
    write = ledger.write

    async def noted(fn, *, urgent=False):
        if fn.__name__ == "claim":
            claims.append(1)
        return await write(fn, urgent=urgent)

    ledger.write = noted
    ended = ledger.bell.subscribe("ended")
    reads = ledger.reads
    for _ in range(5):
        await engine.submit("simulate", params={"steps": 0})
        await asyncio.wait_for(ended.wait(), 30)
        ended.clear()
    # Whoever was woken by the last one has had its turn.
    for _ in range(3):
        await write(lambda tx: tx.value("SELECT 1"))
    assert (ledger.reads - reads, len(claims)) == (0, 5)


async def test_a_task_keeps_the_newest_thousand_lines_of_its_log(engine):
    task = await engine.submit("chatty", params={"n": 1_100})
    await engine.done(task.task_id)
    kept = await engine.ledger.read(lambda tx: ledger_tasks.logs(tx, task.task_id, limit=2_000))

    assert [line["message"] for line in kept] == [f"line {n}" for n in range(100, 1_100)]


async def test_a_permanent_failure_is_told_though_the_task_is_silent(engine, world):
    world.error = PermanentError("broken")
    task = await engine.submit("failing", notify="silent", title="Dig")
    await engine.done(task.task_id)
    (owed,) = await engine.ledger.read(lambda tx: outbox.of_task(tx, task.task_id))

    assert (owed.target, owed.severity, owed.message.text) == ("inbox", "high", "Dig failed: broken")
    assert world.effects["run"] == 1


async def test_a_resting_engine_commits_nothing(engine):
    await (await _finished(engine)).settle()
    before = engine.ledger.commits
    for _ in range(20):
        await engine.clock.advance("30s")
    assert engine.ledger.commits == before


async def _finished(engine: Engine):
    task = await engine.submit("remind", params={"text": "x"})
    await engine.done(task.task_id)
    return engine.clock


async def _attempted(engine: Engine, task_id: str, world: World, *, runs: int):
    await _until(engine, lambda: world.effects["run"] == runs)
    return await engine.until(task_id, Status.QUEUED)


async def _step_done(engine: Engine, task_id: str, key: str) -> bool:
    step = await engine.ledger.read(lambda tx: steps.get(tx, task_id, key))
    return step is not None and step.status == "succeeded"


async def _has_progress(engine: Engine, task_id: str) -> bool:
    return (await engine.task(task_id)).progress.current > 0


async def _waits_for(engine: Engine, task_id: str, kind: str) -> bool:
    waiting = (await engine.task(task_id)).waiting_for
    return waiting is not None and waiting.kind == kind


async def _until(engine: Engine, holds, *, deadline: float = 10.0) -> None:
    async with asyncio.timeout(deadline):
        while True:
            value = holds()
            if asyncio.iscoroutine(value):
                value = await value
            elif not isinstance(value, bool):
                value = bool(value)
            if value:
                return
            await asyncio.sleep(0.002)
