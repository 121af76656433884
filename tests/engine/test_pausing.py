"""A pause reaches all that a task has started, and what was paused with it goes on with it."""

import asyncio
from collections import Counter
from typing import Any

import msgspec
import pytest
from tests.both import config  # noqa: F401 - these run on both databases
from tests.conftest import Crash, Watched

from tawny.domain.tasks import Status, Submission, Task
from tawny.engine import commands, reasons
from tawny.engine.kinds import Context, Kind
from tawny.ledger import inbox
from tawny.ledger import tasks as ledger_tasks


class Word(msgspec.Struct, frozen=True):
    word: str = ""


class World(Watched):
    def __init__(self) -> None:
        super().__init__()
        self.done: Counter[str] = Counter()
        self.begun: Counter[str] = Counter()
        self.held: dict[str, asyncio.Event] = {}


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def kinds(world: World) -> dict[str, Kind]:
    async def work(ctx: Context, params: Word) -> str:
        async def act() -> str:
            world.begun[params.word] += 1
            world.changed.set()
            if params.word in world.held:
                await world.held[params.word].wait()
            world.done[params.word] += 1
            world.changed.set()
            return params.word

        await ctx.step("one", act)
        await ctx.step("two", act)
        return params.word

    async def starter(ctx: Context, params: Word) -> str:
        await ctx.submit("free", Submission(kind="work", params={"word": "free"}, awaited=False))
        if params.word in world.held:
            world.begun[params.word] += 1
            world.changed.set()
            await world.held[params.word].wait()
        await ctx.child("kid", Submission(kind="work", params={"word": "kid"}))
        return "done"

    return {
        "work": Kind(name="work", params=Word, run=work),
        "starter": Kind(name="starter", params=Word, run=starter),
    }


def step(word: str, **more: Any) -> dict[str, Any]:
    return {"id": word, "kind": "work", "params": {"word": word}, **more}


async def family(engine: Any, task_id: str) -> dict[str, Task]:
    """Everything below a task, by title."""
    found: dict[str, Task] = {}
    for kid in await engine.ledger.read(lambda tx: ledger_tasks.children(tx, task_id)):
        found[kid.title.rpartition(": ")[2]] = kid
        found |= await family(engine, kid.task_id)
    return found


async def statuses(engine: Any, task_id: str) -> dict[str, str]:
    return {name: kid.status.value for name, kid in (await family(engine, task_id)).items()}


async def pause(engine: Any, task_id: str) -> None:
    await engine.ledger.write(lambda tx: commands.pause(tx, task_id))


async def resume(engine: Any, task_id: str) -> None:
    await engine.ledger.write(lambda tx: commands.resume(tx, task_id))


NESTED = {
    "steps": [
        {
            "id": "all",
            "parallel": [
                step("a"),
                {"id": "inner", "sequence": [step("b"), step("c")]},
                {"id": "later", "sequence": [{"id": "nap", "wait_until": "1h"}, step("d")]},
            ],
        }
    ]
}


async def test_a_paused_flow_stands_still_as_a_whole_over_a_restart(open_engine, world):
    world.held = {"a": asyncio.Event(), "b": asyncio.Event()}
    async with open_engine() as engine:
        task = await engine.submit("flow", params={"document": NESTED})
        await world.until(lambda: world.begun == {"a": 1, "b": 1})
        await engine.until((await family(engine, task.task_id))["later"].task_id, Status.WAITING)
        await pause(engine, task.task_id)
        world.held["a"].set()
        kid = (await family(engine, task.task_id))["a"]
        await engine.until(kid.task_id, Status.PAUSED)
        assert world.done == {"a": 1}, "the step under way ends, and no other begins"
        raise Crash
    async with open_engine() as engine:
        await engine.clock.advance("3h")
        stood = await statuses(engine, task.task_id)
        assert stood == {"a": "paused", "inner": "paused", "b": "paused", "later": "paused"}
        kid = (await family(engine, task.task_id))["b"]
        told = [
            (await engine.ledger.read(lambda tx, id=id: reasons.why(tx, id)))["summary"]
            for id in (task.task_id, kid.task_id)
        ]
        assert told[0] == "It is paused, until somebody resumes it."
        assert told[1].startswith(f"It was paused with {kid.parent_id}, ")
        assert (await engine.task(task.task_id)).status is Status.PAUSED
        assert world.begun == {"a": 1, "b": 1}
        world.held.clear()
        await resume(engine, task.task_id)
        assert (await engine.done(task.task_id)).status is Status.SUCCEEDED
    assert world.done == {"a": 2, "b": 2, "c": 2, "d": 2}


async def test_what_was_paused_by_itself_stays_so(engine, world):
    world.held = {"a": asyncio.Event(), "b": asyncio.Event()}
    task = await engine.submit(
        "flow", params={"document": {"steps": [{"id": "p", "parallel": [step("a"), step("b")]}]}}
    )
    await world.until(lambda: world.begun == {"a": 1, "b": 1})
    kids = await family(engine, task.task_id)
    await pause(engine, kids["a"].task_id)
    world.held["a"].set()
    await engine.until(kids["a"].task_id, Status.PAUSED)
    await pause(engine, task.task_id)
    world.held["b"].set()
    await engine.until(kids["b"].task_id, Status.PAUSED)
    await resume(engine, task.task_id)
    assert (await engine.done(kids["b"].task_id)).status is Status.SUCCEEDED
    assert (await engine.task(kids["a"].task_id)).status is Status.PAUSED
    await resume(engine, kids["a"].task_id)
    assert (await engine.done(task.task_id)).status is Status.SUCCEEDED


async def test_a_resume_before_the_boundary_lets_all_go_on(engine, world):
    world.held = {"a": asyncio.Event()}
    task = await engine.submit("flow", params={"document": {"steps": [step("a")]}})
    await world.until(lambda: world.begun["a"])
    await pause(engine, task.task_id)
    await resume(engine, task.task_id)
    world.held["a"].set()
    assert (await engine.done(task.task_id)).status is Status.SUCCEEDED
    assert world.done == {"a": 2}


async def test_what_a_run_starts_while_it_is_asked_to_pause_is_paused_too(engine, world):
    world.held = {"gate": asyncio.Event(), "free": asyncio.Event()}
    task = await engine.submit("starter", params={"word": "gate"})
    await world.until(lambda: world.begun["gate"] and world.begun["free"])
    await pause(engine, task.task_id)
    world.held["gate"].set()
    world.held["free"].set()
    await engine.until(task.task_id, Status.PAUSED)
    for kid in (await family(engine, task.task_id)).values():
        await engine.until(kid.task_id, Status.PAUSED)
    assert world.done == {"free": 1}
    await resume(engine, task.task_id)
    assert (await engine.done(task.task_id)).status is Status.SUCCEEDED
    await world.until(lambda: world.done == {"free": 2, "kid": 2})


async def test_paused_time_counts_for_no_timeout(engine, world):
    """Neither for that of a step, nor for that of a wait for an event."""
    world.held = {"a": asyncio.Event()}
    event = {"id": "news", "wait_event": {"source": "bell", "timeout": "10m"}}
    document = {
        "steps": [{"id": "p", "parallel": [step("a", timeout="10m"), {"id": "w", "sequence": [event]}]}]
    }
    task = await engine.submit("flow", params={"document": document})
    await world.until(lambda: world.begun["a"])
    kids = await family(engine, task.task_id)
    await engine.until(kids["w"].task_id, Status.WAITING)
    await engine.clock.advance("9m")
    await pause(engine, task.task_id)
    world.held["a"].set()
    await engine.until(kids["a"].task_id, Status.PAUSED)
    await engine.clock.advance("5h")
    await resume(engine, task.task_id)
    await engine.done(kids["a"].task_id)
    await engine.clock.advance("30s")
    assert (await engine.task(kids["w"].task_id)).status is Status.WAITING, "it has a minute left"
    await engine.clock.advance("31s")
    ended = await engine.done(task.task_id)
    assert ended.status is Status.FAILED
    assert "no event from 'bell' within 10m" in ended.error.message


async def test_an_event_that_comes_in_a_pause_is_not_lost(engine, world):
    document = {"steps": [{"id": "news", "wait_event": {"source": "bell", "timeout": "10m"}}, step("a")]}
    task = await engine.submit("flow", params={"document": document})
    await engine.until(task.task_id, Status.WAITING)
    await pause(engine, task.task_id)
    await engine.clock.advance("1h")
    await engine.ledger.write(lambda tx: inbox.accept(tx, "bell", "1", {"text": "ding"}))
    await engine.clock.settle()
    assert (await engine.task(task.task_id)).status is Status.PAUSED
    await resume(engine, task.task_id)
    ended = await engine.done(task.task_id)
    assert ended.result["steps"]["news"]["result"] == {"text": "ding"}


async def test_a_cancel_is_stronger_than_a_pause(engine, world):
    world.held = {"a": asyncio.Event()}
    task = await engine.submit("flow", params={"document": {"steps": [step("a"), step("b")]}})
    await world.until(lambda: world.begun["a"])
    await pause(engine, task.task_id)
    await engine.ledger.write(lambda tx: commands.cancel(tx, task.task_id))
    assert (await engine.done(task.task_id)).status is Status.CANCELLED
    assert world.begun == {"a": 1}
