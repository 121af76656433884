"""Code that has changed under what is recorded of a run misses loudly: nothing shifts, nothing is done twice."""

import asyncio
from collections import Counter
from typing import Any

import msgspec
import pytest
from tests.conftest import Crash

from tawny.domain.tasks import Effect, Status, Submission
from tawny.engine import commands
from tawny.engine.kinds import Context, Kind
from tawny.errors import TemporaryError
from tawny.ledger import tasks as ledger_tasks


class Nothing(msgspec.Struct, frozen=True):
    word: str = ""


class Code:
    """What the kinds below do, as a list of (form, key, input); an edit of it is a new version of their code."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, str, str]] = []
        self.done: Counter[str] = Counter()
        self.hold_at = ""
        self.held = asyncio.Event()
        self.broken: set[str] = set()


@pytest.fixture
def code() -> Code:
    return Code()


@pytest.fixture
def kinds(code: Code) -> dict[str, Kind]:
    async def one(ctx: Context, form: str, key: str, given: str) -> None:
        async def effect() -> str:
            if key == code.hold_at:
                code.held.set()
                await asyncio.Event().wait()
            if key in code.broken:
                code.broken.discard(key)
                raise TemporaryError(f"{key} is broken")
            code.done[key] += 1
            return key

        if form == "child":
            await ctx.child(key, Submission(kind="leaf", params={"word": given}))
        elif form == "maybe":
            try:
                await ctx.step(key, effect, input=given, effect=Effect.IDEMPOTENT)
            except TemporaryError:
                await one(ctx, "step", f"instead of {key}", given)
        elif form == "until":
            await ctx.wait_until(key, ctx.clock.now() + 5_000_000)
        elif form == "each":
            await ctx.each(
                key, [given, given], lambda item, _: Submission(kind="leaf", params={"word": item})
            )
        else:
            kind = Effect.PURE if form == "look" else Effect.IDEMPOTENT
            await ctx.step(key, effect, input=given, effect=kind)

    async def run(ctx: Context, _: Nothing) -> str:
        for form, key, given in code.steps:
            await one(ctx, form, key, given)
        return "done"

    async def beside(ctx: Context, _: Nothing) -> str:
        async with asyncio.TaskGroup() as group:
            for form, key, given in code.steps:
                if form == "branch":
                    group.create_task(branch(ctx, key, given))
                else:
                    await one(ctx, form, key, given)
        return "done"

    async def branch(ctx: Context, key: str, given: str) -> None:
        for part in given:
            await one(ctx, "step", f"{key}{part}", "")

    async def leaf(ctx: Context, params: Nothing) -> str:
        await one(ctx, "step", params.word, "")
        return params.word

    return {
        "run": Kind(name="run", params=Nothing, run=run),
        "beside": Kind(name="beside", params=Nothing, run=beside),
        "leaf": Kind(name="leaf", params=Nothing, run=leaf),
    }


def steps(text: str) -> list[tuple[str, str, str]]:
    """`a b=2 child:c=x`: keys with their inputs and forms."""
    found = []
    for word in text.split():
        form, _, rest = word.rpartition(":")
        key, _, given = rest.partition("=")
        found.append((form or "step", key, given))
    return found


async def crashed_in(open_engine: Any, code: Code, text: str, hold_at: str, *, kind: str = "run") -> str:
    code.steps, code.hold_at = steps(text), hold_at
    async with open_engine() as engine:
        task = await engine.submit(kind)
        async with asyncio.timeout(10):
            await code.held.wait()
        raise Crash
    code.hold_at = ""
    return task.task_id


@pytest.mark.parametrize(
    ("before", "hold", "after", "missing"),
    [
        pytest.param("a b c", "c", "a x c", "b", id="renamed"),
        pytest.param("a b c", "c", "a c", "b", id="removed"),
        pytest.param("a b c", "c", "a", "b", id="removed with all that follows"),
        pytest.param("a b c", "c", "a b=other c", "b", id="another input"),
        pytest.param("a b c", "c", "new a b c", "a", id="something that acts came before"),
        pytest.param("child:a=w b", "b", "child:a=v b", "a", id="another child"),
        pytest.param("child:a=w b", "b", "child:x=w b", "a", id="renamed child"),
        pytest.param("child:a=w b", "b", "b", "a", id="removed child"),
        pytest.param("a child:b=w", "w", "child:x=w", "a", id="a child came first"),
        pytest.param("each:a=w b", "b", "each:a=v b", "a", id="other items"),
        pytest.param("a b c", "c", "a until:x c", "b", id="a wait came in its place"),
    ],
)
async def test_changed_code_is_refused_with_the_step_and_the_mend(
    open_engine, code, before, hold, after, missing
):
    task_id = await crashed_in(open_engine, code, before, hold)
    done = code.done.copy()
    code.steps = steps(after)
    async with open_engine() as engine:
        ended = await engine.done(task_id)
        assert ended.status is Status.FAILED
        assert (ended.error.kind, ended.error.step) == ("permanent", missing)
        assert f"step {missing!r}" in ended.error.message
        assert f"tawny tasks retry --fresh {task_id}" in ended.error.message
        assert all(code.done[key] == done[key] for key in done), "what was done is done again"
        assert code.done["x"] + code.done["new"] == 0, "what came in its place has acted"

        code.steps = steps(before)
        again = await engine.ledger.write(lambda tx: commands.retry(tx, task_id))
        assert (await engine.done(again.task_id)).status is Status.SUCCEEDED
    assert all(code.done[key] == done[key] for key in done), (
        "the code was put back, and what was done is kept"
    )


@pytest.mark.parametrize(
    ("before", "hold", "after"),
    [
        pytest.param("a b c", "c", "a b c", id="unchanged"),
        pytest.param("a b c", "c", "b a c", id="another order"),
        pytest.param("a b c", "c", "look:new a b c", id="a look came before"),
        pytest.param("a b c", "c", "a b d", id="what was not finished"),
        pytest.param("a child:b=w", "w", "a child:b=w d", id="more at the end"),
    ],
)
async def test_what_is_recorded_is_found_by_its_key(open_engine, code, before, hold, after):
    task_id = await crashed_in(open_engine, code, before, hold)
    done = code.done.copy()
    code.steps = steps(after)
    async with open_engine() as engine:
        ended = await engine.done(task_id)
    assert ended.status is Status.SUCCEEDED, ended.error
    assert all(code.done[key] == done[key] for key in done)


async def test_another_way_after_a_failure_is_no_change(open_engine, code):
    code.broken.add("a")
    task_id = await crashed_in(open_engine, code, "maybe:a b c", "c")
    assert code.done == {"instead of a": 1, "b": 1}
    async with open_engine() as engine:
        ended = await engine.done(task_id)
    assert ended.status is Status.SUCCEEDED, ended.error
    assert code.done == {"instead of a": 1, "a": 1, "b": 1, "c": 1}


@pytest.mark.parametrize(("after", "missing"), [("branch:p=12 branch:q=1 z", ""), ("branch:q=1 z", "p1")])
async def test_parts_side_by_side_are_compared_at_the_end(open_engine, code, after, missing):
    task_id = await crashed_in(open_engine, code, "branch:p=12 branch:q=1 z", "q1", kind="beside")
    code.steps = steps(after)
    async with open_engine() as engine:
        ended = await engine.done(task_id)
    assert ended.status is (Status.FAILED if missing else Status.SUCCEEDED), ended.error
    assert (ended.error.step if ended.error else "") == missing
    assert max(code.done.values()) == 1


async def test_a_retry_whose_failed_part_now_works_may_go_another_way(engine, code):
    """What the first try did instead of the part that failed is kept and not asked for: that is no change of code."""
    code.steps = steps("maybe:a b c")
    code.broken |= {"a", "c"}
    task = await engine.submit("run", retry={"max": 0})
    assert (await engine.done(task.task_id)).status is Status.FAILED
    again = await engine.ledger.write(lambda tx: commands.retry(tx, task.task_id))
    ended = await engine.done(again.task_id)
    assert ended.status is Status.SUCCEEDED, ended.error
    assert code.done == {"instead of a": 1, "a": 1, "b": 1, "c": 1}


async def test_a_changed_child_of_a_retry_is_refused_and_starts_nothing(engine, code):
    code.steps = steps("child:a=w b")
    code.broken.add("b")
    task = await engine.submit("run", retry={"max": 0})
    assert (await engine.done(task.task_id)).status is Status.FAILED
    code.steps = steps("child:a=v b")
    again = await engine.ledger.write(lambda tx: commands.retry(tx, task.task_id))
    ended = await engine.done(again.task_id)
    assert (ended.status, ended.error.step) == (Status.FAILED, "a")
    assert await engine.ledger.read(lambda tx: ledger_tasks.children(tx, again.task_id)) == []
    assert code.done == {"w": 1}
