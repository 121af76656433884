"""Many items: as many as may are under way all the time; and retries, which do only what is unfinished."""

import asyncio
from collections import Counter
from typing import Any

import msgspec
import pytest
from tests.both import config  # noqa: F401 - these run on both databases
from tests.conftest import Crash, Watched

from tawny.clock import DAY
from tawny.domain.tasks import Effect, Status, Submission, Task
from tawny.engine import commands
from tawny.engine.kinds import Context, Kind
from tawny.errors import PermanentError, TemporaryError
from tawny.ledger import items as ledger_items
from tawny.ledger import retention
from tawny.ledger import steps as ledger_steps
from tawny.ledger import tasks as ledger_tasks

WORDS = ["slow", "b", "c", "d", "e", "f"]


class Word(msgspec.Struct, frozen=True):
    word: str


class World(Watched):
    def __init__(self) -> None:
        super().__init__()
        self.begun: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        self.under_way: set[str] = set()
        self.most = 0
        self.held: dict[str, asyncio.Event] = {}
        self.broken: set[str] = set()
        self.shy: set[str] = set()
        self.keys: dict[str, set[str]] = {}
        self.lost_answers: set[str] = set()

    def tell(self) -> None:
        self.changed.set()

    def hold(self, word: str) -> None:
        self.held[word] = asyncio.Event()


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def kinds(world: World) -> dict[str, Kind]:
    async def work(ctx: Context, params: Word) -> str:
        word = params.word

        async def act() -> str:
            world.begun[word] += 1
            world.under_way.add(word)
            world.most = max(world.most, len(world.under_way))
            world.tell()
            try:
                if word in world.held:
                    await world.held[word].wait()
                if word in world.broken:
                    raise PermanentError(f"{word} is broken")
                if word in world.shy:
                    world.shy.discard(word)
                    raise TemporaryError("not now")
                world.done[word] += 1
                world.keys.setdefault(word, set()).add(ctx.idempotency_key("act"))
                if word in world.lost_answers:
                    world.lost_answers.discard(word)
                    raise PermanentError("the answer got lost")
                return word
            finally:
                world.under_way.discard(word)
                world.tell()

        return str(await ctx.step("act", act, effect=Effect.IDEMPOTENT))

    return {"work": Kind(name="work", params=Word, run=work)}


def a_map(**more: Any) -> dict[str, Any]:
    each = {"items": "args.words", "do": {"kind": "work", "params": {"word": "{item}"}}, **more}
    return {"args": {"words": {"default": WORDS}}, "steps": [{"id": "each", "map": each}]}


async def start(engine: Any, form: str, **more: Any) -> Task:
    """A flow's map, or a batch, over the same words."""
    if form == "map":
        return await engine.submit("flow", params={"document": a_map(**more)})
    params = {"items": WORDS, "action": {"kind": "work", "params": {"word": "{item}"}}, **more}
    return await engine.submit("batch", params=params)


async def again(engine: Any, task: Task) -> Task:
    made = await engine.ledger.write(lambda tx: commands.retry(tx, task.task_id))
    return await engine.done(made.task_id)


both_forms = pytest.mark.parametrize("form", ["map", "batch"])


@both_forms
async def test_a_slow_item_holds_no_other_back(engine, world, form):
    world.hold("slow")
    task = await start(engine, form, concurrency=2)
    await world.until(lambda: sum(world.done.values()) == 5)

    assert world.under_way == {"slow"}
    assert not (await engine.task(task.task_id)).status.is_terminal
    world.held["slow"].set()
    ended = await engine.done(task.task_id)
    assert ended.status is Status.SUCCEEDED
    assert world.begun == dict.fromkeys(WORDS, 1)
    assert world.most == 2
    if form == "map":
        assert ended.result["items"] == [{"text": word} for word in WORDS], "in the order of the items"
        assert ended.attempt <= len(WORDS) + 1, "it is woken for each that makes room, and no oftener"


@both_forms
async def test_after_too_many_failures_none_is_begun_and_those_under_way_end(engine, world, form):
    world.hold("slow")
    world.broken |= {"b", "c"}
    task = await start(
        engine, form, concurrency=2, max_failures=1, **({"retry": {"max": 0}} if form == "batch" else {})
    )
    await world.until(lambda: world.begun["c"] and "c" not in world.under_way)
    await engine.clock.settle()
    assert "slow" in world.under_way, "what is under way is not cut off"
    world.held["slow"].set()
    ended = await engine.done(task.task_id)

    assert ended.status is Status.FAILED
    assert world.begun == {"slow": 1, "b": 1, "c": 1}
    assert world.done == {"slow": 1}

    world.broken.clear()
    assert (await again(engine, task)).status is Status.SUCCEEDED
    assert world.done == dict.fromkeys(WORDS, 1)


@both_forms
async def test_killed_twice_each_item_is_done_once(open_engine, world, form):
    world.hold("c")
    async with open_engine() as engine:
        task = await start(engine, form, concurrency=2)
        await world.until(lambda: world.done.total() == 5)
        raise Crash
    async with open_engine() as engine:
        await world.until(lambda: world.begun["c"] == 2)
        raise Crash
    world.held.clear()
    async with open_engine() as engine:
        ended = await engine.done(task.task_id)
    assert ended.status is Status.SUCCEEDED
    assert world.done == dict.fromkeys(WORDS, 1)
    assert {word: n for word, n in world.begun.items() if n > 1} == {"c": 3}


async def test_an_item_that_waits_for_its_next_try_takes_no_place(engine, world):
    world.shy.add("slow")
    task = await start(engine, "batch", concurrency=1, retry={"max": 1, "base": "1h", "jitter": 0})
    await world.until(lambda: world.done.total() == 5)
    assert world.begun["slow"] == 1
    await engine.clock.advance("1h")
    assert (await engine.done(task.task_id)).result["succeeded"] == 6
    assert world.most == 1


async def test_a_pause_lets_the_items_under_way_finish(engine, world):
    world.hold("slow")
    world.hold("b")
    task = await start(engine, "batch", concurrency=2)
    await world.until(lambda: len(world.under_way) == 2)
    await engine.ledger.write(lambda tx: commands.pause(tx, task.task_id))
    world.held["b"].set()
    await world.until(lambda: world.done["b"])
    await engine.clock.settle()
    assert world.under_way == {"slow"}
    world.held["slow"].set()
    await engine.until(task.task_id, Status.PAUSED)
    assert world.begun == {"slow": 1, "b": 1}

    await engine.ledger.write(lambda tx: commands.resume(tx, task.task_id))
    assert (await engine.done(task.task_id)).result["succeeded"] == 6
    assert world.begun == dict.fromkeys(WORDS, 1), "what had been begun was finished, not begun again"


async def test_a_retry_of_branches_does_the_failed_one_alone(engine, world):
    def do(word: str) -> dict[str, Any]:
        return {"id": word, "kind": "work", "params": {"word": word}}

    inner = {"id": "inner", "sequence": [do("x"), do("y")]}
    document = {"steps": [{"id": "all", "parallel": [do("a"), inner, do("z")]}, do("end")]}
    world.broken |= {"y"}
    task = await engine.submit("flow", params={"document": document})
    assert (await engine.done(task.task_id)).status is Status.FAILED
    assert world.done == {"a": 1, "x": 1, "z": 1}

    world.broken.clear()
    ended = await again(engine, task)
    assert ended.status is Status.SUCCEEDED, ended.error
    assert world.done == {"a": 1, "x": 1, "y": 1, "z": 1, "end": 1}
    assert set(ended.result["steps"]) == {"a", "inner", "z", "all", "end"}


async def test_a_cancelled_flow_is_retried_for_what_had_not_ended(engine, world):
    document = {
        "steps": [{"id": "all", "parallel": [{"id": w, "kind": "work", "params": {"word": w}} for w in "ab"]}]
    }
    world.hold("a")
    task = await engine.submit("flow", params={"document": document})
    await world.until(lambda: world.done["b"])
    await engine.clock.settle()
    await engine.ledger.write(lambda tx: commands.cancel(tx, task.task_id))
    assert (await engine.done(task.task_id)).status is Status.CANCELLED
    world.held.clear()
    assert (await again(engine, task)).status is Status.SUCCEEDED
    assert world.done == {"a": 1, "b": 1}


@pytest.mark.parametrize("form", ["map", "batch", "step", "branch", "in a flow"])
async def test_what_may_have_happened_keeps_its_key_in_every_retry(engine, world, form):
    world.lost_answers.add("b")
    do = {"kind": "work", "params": {"word": "b"}}
    if form in ("map", "batch"):
        task = await start(engine, form, max_failures=0, **({"retry": {"max": 0}} if form == "batch" else {}))
    else:
        step: dict[str, Any] = {
            "step": {"id": "s", **do},
            "branch": {"id": "s", "parallel": [{"id": "b", **do}]},
            "in a flow": {"id": "s", "kind": "flow", "params": {"document": {"steps": [{"id": "b", **do}]}}},
        }[form]
        task = await engine.submit("flow", params={"document": {"steps": [step]}})
    assert (await engine.done(task.task_id)).status is Status.FAILED
    world.lost_answers.add("b")
    first = await engine.ledger.write(lambda tx: commands.retry(tx, task.task_id))
    assert (await engine.done(first.task_id)).status is Status.FAILED
    assert (await again(engine, first)).status is Status.SUCCEEDED

    assert world.done["b"] == 3
    assert len(world.keys["b"]) == 1, "the other side would not know it again"
    fresh = await engine.ledger.write(lambda tx: commands.retry(tx, task.task_id, fresh=True))
    await engine.done(fresh.task_id)
    assert len(world.keys["b"]) == 2, "--fresh is new work"


async def test_what_was_undone_gets_a_new_key(engine, world):
    undo = {"kind": "work", "params": {"word": "undo"}}
    book = {"id": "book", "kind": "work", "params": {"word": "book"}, "compensate": undo}
    document = {"steps": [book, {"id": "pay", "kind": "work", "params": {"word": "pay"}}]}
    world.broken.add("pay")
    task = await engine.submit("flow", params={"document": document})
    assert (await engine.done(task.task_id)).status is Status.FAILED
    world.broken.clear()
    assert (await again(engine, task)).status is Status.SUCCEEDED
    assert world.done == {"book": 2, "undo": 1, "pay": 1}
    assert len(world.keys["book"]) == 2, "under the old key the other side would take it for what was undone"


async def test_a_step_whose_input_comes_from_a_step_done_anew_is_done_anew(engine, world):
    """The first part failed and the flow went on; now it works, and what was made of it before is not wanted."""
    first = {"id": "a", "kind": "work", "params": {"word": "a"}, "on_error": "continue"}
    then = {"id": "b", "kind": "work", "params": {"word": "got {steps.a.status}"}}
    document = {"steps": [first, then, {"id": "c", "kind": "work", "params": {"word": "c"}}]}
    world.broken |= {"a", "c"}
    task = await engine.submit("flow", params={"document": document})
    assert (await engine.done(task.task_id)).status is Status.FAILED
    world.broken.clear()
    assert (await again(engine, task)).status is Status.SUCCEEDED
    assert world.done == {"got failed": 1, "a": 1, "got succeeded": 1, "c": 1}


@pytest.mark.parametrize("edit", ["renamed", "removed", "kind", "params"])
async def test_a_finished_step_that_was_edited_under_a_flow_is_refused(open_engine, world, edit):
    """The document is kept with the run; here it is changed there, as other code of the flow itself would."""

    def document(first: dict[str, Any] | None) -> dict[str, Any]:
        return {"steps": [*([first] if first else []), {"id": "b", "kind": "work", "params": {"word": "b"}}]}

    one = {"id": "a", "kind": "work", "params": {"word": "a"}}
    edited = {
        "renamed": {**one, "id": "other"},
        "removed": None,
        "kind": {**one, "kind": "remind", "params": {"text": "a"}},
        "params": {**one, "params": {"word": "x"}},
    }[edit]
    world.hold("b")
    async with open_engine() as engine:
        task = await engine.submit("flow", params={"document": document(one)})
        await world.until(lambda: world.begun["b"])
        raise Crash
    world.held.clear()

    def rewrite(tx: Any, first: dict[str, Any] | None) -> None:
        text = msgspec.json.encode(document(first)).decode()
        tx.execute(
            "UPDATE steps SET result = :t WHERE task_id = :id AND step_key = 'document'",
            t=text,
            id=task.task_id,
        )

    async with open_engine() as engine:
        await engine.ledger.write(lambda tx: rewrite(tx, edited))
        ended = await engine.done(task.task_id)
        assert ended.status is Status.FAILED
        assert ended.error.step == "a"
        assert "step 'a'" in ended.error.message
        assert "tawny tasks retry" in ended.error.message
        assert world.done == {"a": 1, "b": 1}, "nothing was begun in its place"
        await engine.ledger.write(lambda tx: rewrite(tx, one))
        assert (await again(engine, task)).status is Status.SUCCEEDED
    assert world.done == {"a": 1, "b": 1}


async def test_a_file_that_is_edited_changes_neither_the_run_nor_its_retry(engine, world):
    folder = engine.app.home.workspace / "flows"
    folder.mkdir(parents=True, exist_ok=True)
    line = "  - {{id: {0}, kind: work, params: {{word: {0}}}}}\n"
    (folder / "f.yaml").write_text("steps:\n" + "".join(line.format(word) for word in "abc"))
    world.broken.add("c")
    world.hold("b")
    task = await engine.submit("flow", params={"file": "f"})
    await world.until(lambda: world.begun["b"])
    (folder / "f.yaml").write_text("steps:\n" + "".join(line.format(word) for word in "xca"))
    world.held["b"].set()
    assert (await engine.done(task.task_id)).status is Status.FAILED
    world.broken.clear()
    assert (await again(engine, task)).status is Status.SUCCEEDED
    assert world.done == {"a": 1, "b": 1, "c": 1}

    fresh = await engine.ledger.write(lambda tx: commands.retry(tx, task.task_id, fresh=True))
    assert (await engine.done(fresh.task_id)).status is Status.SUCCEEDED
    assert world.done == {"a": 2, "b": 1, "c": 2, "x": 1}


async def test_children_of_a_kind_of_ones_own(engine, world):
    """`Context.each` for a plugin: nothing to do is nothing to wait for, and what never began stands as `None`."""
    seen: list[list[Task | None]] = []

    async def run(ctx: Context, params: Word) -> str:
        make = lambda item, n: Submission(kind="work", params={"word": f"{item}{n}"})  # noqa: E731
        seen.append(await ctx.each("none", [], make))
        seen.append(await ctx.each("some", ["a", "b", "c"], make, max_failures=0))
        return "done"

    engine.app.kinds["own"] = Kind(name="own", params=Word, run=run)
    world.broken.add("b1")
    task = await engine.submit("own", params={"word": ""})
    assert (await engine.done(task.task_id)).status is Status.SUCCEEDED
    assert seen[-2] == []
    assert [child and child.status for child in seen[-1]] == [Status.SUCCEEDED, Status.FAILED, None]
    records = await engine.ledger.read(lambda tx: ledger_steps.of_task(tx, task.task_id))
    assert [(step.key, step.result) for step in records] == [
        ("some", {"failed": 1, "pending": 1, "succeeded": 1})
    ]
    kept = await engine.ledger.read(lambda tx: ledger_items.page(tx, task.task_id, "some", status="failed"))
    kids = await engine.ledger.read(lambda tx: ledger_tasks.children(tx, task.task_id))
    assert [item.result for item in kept] == [kid.task_id for kid in kids if kid.status is Status.FAILED]


async def test_a_flow_that_waits_for_months_keeps_what_its_steps_have_done(engine, world):
    broken = {"id": "no", "kind": "work", "params": {"word": "no"}, "on_error": "continue"}
    first = {"id": "a", "kind": "work", "params": {"word": "a"}}
    last = {"id": "b", "kind": "work", "params": {"word": "after {steps.a.result.text}"}}
    world.broken.add("no")
    document = {"steps": [first, broken, {"id": "nap", "wait_until": "90d"}, last]}
    task = await engine.submit("flow", params={"document": document})
    await engine.until(task.task_id, Status.WAITING)
    await world.until(lambda: world.begun["no"])
    async with asyncio.timeout(10):
        while (waiting := (await engine.task(task.task_id)).waiting_for) is None or waiting.kind != "timer":
            await engine.clock.settle()
    keep = retention.Keep()
    engine.clock.pass_to(engine.clock.now() + 89 * DAY)
    assert await engine.ledger.read(lambda tx: retention.due(tx, keep)) == 0
    await engine.ledger.write(lambda tx: retention.prune(tx, keep))
    engine.clock.pass_to(engine.clock.now() + 2 * DAY)
    ended = await engine.done(task.task_id)
    assert ended.status is Status.SUCCEEDED, ended.error
    assert world.done == {"a": 1, "after a": 1}

    engine.clock.pass_to(engine.clock.now() + 31 * DAY)
    assert await engine.ledger.read(lambda tx: retention.due(tx, keep)) == 4
    await engine.ledger.write(lambda tx: retention.prune(tx, keep))
    assert await engine.ledger.read(lambda tx: retention.due(tx, keep)) == 0
