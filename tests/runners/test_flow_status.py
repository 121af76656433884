"""How a flow stands, in the words of flows; its revision; and steering it from the command line."""

import asyncio
import json
from typing import Any

import msgspec
import pytest
from tests.conftest import Crash, Watched

from tawny.cli.main import main
from tawny.domain.flowstate import FLOW_STATUSES, flow_status
from tawny.domain.tasks import Status, Submission
from tawny.engine import commands
from tawny.engine.kinds import Context, Kind
from tawny.errors import Conflict
from tawny.ledger import events
from tawny.ledger import tasks as ledger_tasks


class Word(msgspec.Struct, frozen=True):
    word: str = ""


class World(Watched):
    def __init__(self) -> None:
        super().__init__()
        self.begun: list[str] = []
        self.held = asyncio.Event()


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def kinds(world: World) -> dict[str, Kind]:
    async def work(ctx: Context, params: Word) -> str:
        world.begun.append(params.word)
        world.changed.set()
        if params.word == "hold":
            await world.held.wait()
        if params.word == "break":
            raise ValueError("broken")
        return params.word

    return {"work": Kind(name="work", params=Word, run=work)}


def step(word: str, **more: Any) -> dict[str, Any]:
    return {"id": word.replace(" ", "_"), "kind": "work", "params": {"word": word}, **more}


async def start(engine: Any, *steps: dict[str, Any], **more: Any) -> Any:
    return await engine.submit("flow", params={"document": {"steps": list(steps)}}, **more)


async def status(engine: Any, task_id: str) -> str:
    return flow_status(await engine.task(task_id))


async def waits_for(engine: Any, task_id: str, kind: str) -> None:
    async with asyncio.timeout(20):
        while (waiting := (await engine.task(task_id)).waiting_for) is None or waiting.kind != kind:
            await engine.clock.settle()


async def test_every_status_of_a_flow(engine, world):
    """Each is reached; `tests/runners/test_flow_status.py::test_a_flow_whose_kind_is_gone_is_lost` reaches the last."""
    seen: set[str] = set()

    async def see(task_id: str, wanted: str) -> None:
        assert await status(engine, task_id) == wanted
        seen.add(wanted)

    later = await start(engine, step("a"), not_before="1h")
    await see(later.task_id, "queued")
    child = await start(engine, step("hold"))
    await world.until(lambda: world.begun)
    await see(child.task_id, "waiting")
    timer = await start(engine, {"id": "nap", "wait_until": "1h"})
    await waits_for(engine, timer.task_id, "timer")
    await see(timer.task_id, "waiting")
    asked = await start(engine, {"id": "ok", "approval": {"reason": "may it?"}})
    await waits_for(engine, asked.task_id, "approval")
    await see(asked.task_id, "blocked")
    await engine.ledger.write(lambda tx: commands.pause(tx, timer.task_id))
    await see(timer.task_id, "waiting")
    await engine.ledger.write(lambda tx: commands.cancel(tx, asked.task_id))
    await see(asked.task_id, "cancelled")
    broken = await start(engine, step("break"))
    await engine.done(broken.task_id)
    await see(broken.task_id, "failed")
    good = await start(engine, step("good"))
    await engine.done(good.task_id)
    await see(good.task_id, "succeeded")
    assert seen == set(FLOW_STATUSES) - {"running", "lost"}
    assert set(FLOW_STATUSES) >= {
        flow_status(msgspec.structs.replace(await engine.task(good.task_id), status=each)) for each in Status
    }


async def test_a_flow_runs_while_its_steps_are_looked_at(engine, world):
    """The events tell of it: the flow itself is in memory only between its steps."""
    task = await start(engine, step("a"), step("b"))
    await engine.done(task.task_id)
    told = await engine.ledger.read(lambda tx: events.after(tx, 0, limit=1000))
    own = [event for event in told if event.task_id == task.task_id and "status" in event.data]
    assert [event.data["status"] for event in own if event.type == "task.started"] == ["running"] * 3
    assert [event.type for event in own][-1] == "task.succeeded"


async def test_a_flow_whose_kind_is_gone_is_lost(open_engine, world, kinds):
    async with open_engine() as engine:
        task = await start(engine, step("hold"))
        await world.until(lambda: world.begun)
        kid = (await engine.ledger.read(lambda tx: ledger_tasks.children(tx, task.task_id)))[0]
        raise Crash
    work = kinds.pop("work")
    async with open_engine() as engine:
        await engine.clock.advance("4m")
        assert (await engine.task(kid.task_id)).status is Status.RUNNING, "its plugin may come back"
        await engine.clock.advance("2m")
        assert (await engine.done(kid.task_id)).status is Status.LOST
        assert await status(engine, kid.task_id) == "lost"
        ended = await engine.done(task.task_id)
    kinds["work"] = work
    assert ended.status is Status.FAILED
    assert "no kind 'work'" in ended.error.message


@pytest.mark.parametrize("form", ["step", "parallel", "map"])
async def test_a_kind_that_was_taken_away_before_its_step_fails_the_flow(open_engine, world, kinds, form):
    """It does not wait for it for ever; what is finished of that kind stands, and a retry goes on from there."""
    own: dict[str, Any] = {
        "step": step("late"),
        "parallel": {"id": "p", "parallel": [step("late")]},
        "map": {
            "id": "m",
            "map": {"items": "['late']", "do": {"kind": "work", "params": {"word": "{item}"}}},
        },
    }[form]
    async with open_engine() as engine:
        task = await start(engine, step("early"), {"id": "nap", "wait_until": "1h"}, own)
        await waits_for(engine, task.task_id, "timer")
    work = kinds.pop("work")
    async with open_engine() as engine:
        await engine.clock.advance("1h")
        ended = await engine.done(task.task_id)
    assert ended.status is Status.FAILED
    assert "there is no kind 'work' any more" in ended.error.message
    kinds["work"] = work
    async with open_engine() as engine:
        again = await engine.ledger.write(lambda tx: commands.retry(tx, task.task_id))
        assert (await engine.done(again.task_id)).status is Status.SUCCEEDED, (
            "the time it waited for has come"
        )
    assert world.begun == ["early", "late"]


async def test_the_revision_grows_with_every_change(engine, world):
    async def revision(task_id: str) -> int:
        return await engine.ledger.read(lambda tx: events.revision(tx, task_id))

    task = await start(engine, {"id": "nap", "wait_until": "1h"}, step("a"))
    await waits_for(engine, task.task_id, "timer")
    before = await revision(task.task_id)
    assert await revision(task.task_id) == before, "reading is no change"
    for command in (commands.pause, commands.resume, commands.cancel):
        await engine.ledger.write(lambda tx, command=command: command(tx, task.task_id))
        after = await revision(task.task_id)
        assert after > before
        before = after
    with pytest.raises(Conflict):
        await engine.ledger.write(lambda tx: commands.cancel(tx, task.task_id))
    assert await revision(task.task_id) == before


async def test_a_cancelled_flow_starts_no_further_step(engine, world):
    task = await start(engine, step("hold"), step("never"))
    await world.until(lambda: world.begun)
    await engine.ledger.write(lambda tx: commands.cancel(tx, task.task_id))
    world.held.set()
    assert (await engine.done(task.task_id)).status is Status.CANCELLED
    await engine.clock.settle()
    kids = await engine.ledger.read(lambda tx: ledger_tasks.children(tx, task.task_id))
    assert [kid.status for kid in kids] == [Status.CANCELLED]
    assert world.begun == ["hold"]
    with pytest.raises(Conflict):
        await engine.ledger.write(lambda tx: commands.resume(tx, task.task_id))


@pytest.mark.parametrize("form", ["step", "parallel", "map"])
async def test_a_cancel_while_a_step_is_being_started_leaves_nothing_behind(engine, world, form):
    """The cancel is written in the moment before the children are: by a kind of step that does it from inside."""
    own: dict[str, Any] = {
        "step": step("never"),
        "parallel": {"id": "p", "parallel": [step("never"), step("nor this")]},
        "map": {"id": "m", "map": {"items": "args.x", "do": {"kind": "work", "params": {"word": "{item}"}}}},
    }[form]
    done = asyncio.Event()

    async def run(ctx: Context, params: Word) -> None:
        await engine.ledger.write(lambda tx: commands.cancel(tx, ctx.task.parent_id))
        done.set()

    engine.app.kinds["canceller"] = Kind(name="canceller", params=Word, run=run)
    document = {
        "args": {"x": {"default": ["never", "nor this"]}},
        "steps": [{"id": "c", "kind": "canceller"}, own],
    }
    task = await engine.submit("flow", params={"document": document})
    ended = await engine.done(task.task_id)
    await done.wait()
    await engine.clock.settle()
    assert ended.status is Status.CANCELLED
    kids = await engine.ledger.read(lambda tx: ledger_tasks.children(tx, task.task_id))
    assert all(kid.status is Status.CANCELLED for kid in kids)
    assert world.begun == []


async def test_a_cancel_between_two_steps_sticks(engine, world):
    """The flow is in memory, about to start its next step; the cancel comes first."""
    reached, go = asyncio.Event(), asyncio.Event()

    async def parent(ctx: Context, params: Word) -> str:
        reached.set()
        try:
            await go.wait()
        except asyncio.CancelledError:
            await asyncio.shield(_late(ctx))
            raise
        return "done"

    async def _late(ctx: Context) -> None:
        with pytest.raises(BaseException):  # noqa: B017, PT011 - whatever it is, it does not get through
            await ctx.child("late", Submission(kind="work", params={"word": "late"}))

    engine.app.kinds["parent"] = Kind(name="parent", params=Word, run=parent)
    task = await engine.submit("parent")
    await reached.wait()
    await engine.ledger.write(lambda tx: commands.cancel(tx, task.task_id))
    assert (await engine.done(task.task_id)).status is Status.CANCELLED
    assert await engine.ledger.read(lambda tx: ledger_tasks.children(tx, task.task_id)) == []


@pytest.mark.parametrize("words", [["tasks", "flow"], ["flow"]], ids=" ".join)
async def test_flows_are_shown_and_steered_from_the_command_line(open_engine, home, world, capsys, words):
    def tawny(*more: str, code: int = 0) -> Any:
        assert main(["--home", str(home.root), *words, *more]) == code
        said = capsys.readouterr()
        return json.loads(said.out) if "--json" in more and code == 0 else said.out + said.err

    async with open_engine() as engine:
        asked = await start(engine, step("a"), {"id": "ok", "approval": {"reason": "may it?"}}, title="Asked")
        await waits_for(engine, asked.task_id, "approval")
        napping = await start(engine, {"id": "nap", "wait_until": "1h"}, step("b"), title="Napping")
        await waits_for(engine, napping.task_id, "timer")
        await engine.ledger.write(lambda tx: commands.pause(tx, napping.task_id))
        other = await engine.submit("remind", params={"text": "x"}, title="No flow", not_before="1h")

    listed = {item["title"]: item for item in tawny("list", "--json")["items"]}
    assert {title: item["status"] for title, item in listed.items()} == {
        "Asked": "blocked",
        "Napping": "waiting",
    }
    assert [item["title"] for item in tawny("list", "--status", "blocked", "--json")["items"]] == ["Asked"]
    shown = tawny("show", "Asked", "--json")
    assert (shown["status"], shown["revision"]) == ("blocked", listed["Asked"]["revision"])
    assert [kid["status"] for kid in shown["children"]] == ["succeeded"]
    assert "blocked" in tawny("show", asked.task_id)

    resumed = tawny("resume", "Napping", "--json")
    assert (resumed["status"], resumed["waiting_for"]["kind"]) == ("waiting", "timer")
    assert resumed["revision"] > listed["Napping"]["revision"]
    assert "not paused" in tawny("resume", "Napping", code=1)
    assert tawny("cancel", "Asked", "--json")["status"] == "cancelled"
    assert "has ended already" in tawny("cancel", "Asked", code=1)
    assert f"{other.task_id} is no flow but a remind" in tawny("cancel", "No flow", code=1)
    assert "there is no task" in tawny("show", "Nobody", code=1)
    world.held.set()
    async with open_engine() as engine:
        await engine.clock.advance("2h")
        assert (await engine.done(napping.task_id)).status is Status.SUCCEEDED
        assert world.begun == ["a", "b"]
