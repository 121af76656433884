"""Each bound of each scope stops the next call, waits, and goes on when raised."""

from typing import Any

import msgspec
import pytest

from agent.conftest import OpenChat
from tawny.agent.budgets import Keeper
from tawny.clock import SECOND
from tawny.config import Budgets, BudgetScope, Model
from tawny.domain.budgets import Use
from tawny.domain.messages import Inbound
from tawny.domain.tasks import Budget, Status, Submission, Task
from tawny.ledger import automations, budgets, events
from tawny.ledger.submission import submit
from tawny.testing import ScriptedModel
from tawny.testing import Use as Call
from tawny.tools.registry import READ, Operation, Tool, ToolContext


class Nothing(msgspec.Struct):
    pass


def looking(advance: Any = None) -> Tool:
    async def run(scope: ToolContext, params: Nothing) -> str:
        if advance is not None:
            advance()
        return "looked"

    return Tool(
        name="look",
        description="looks",
        params=Nothing,
        operation=lambda _params: Operation(name="file.read", operation="read", level=READ),
        run=run,
    )


async def waits(talk: Any, run_id: str) -> tuple[str, str]:
    task = await talk.until(run_id, Status.WAITING)
    assert task.waiting_for is not None
    assert task.waiting_for.kind == "budget"
    return task.waiting_for.detail["scope"], task.waiting_for.detail["reason"]


@pytest.mark.parametrize("scope", ["session", "owner", "day", "task"])
async def test_calls_of_tools_are_counted_and_stopped_in_every_scope(chat: OpenChat, scope: str) -> None:
    limits = Budgets(**{scope: BudgetScope(tool_calls=2)})
    script = ScriptedModel([[Call("look"), Call("look")], Call("look"), "all looked at"])
    async with chat(script, budgets=limits) as talk:
        talk.app.agency.door.tools["look"] = looking()  # type: ignore[index]
        first = await talk.say("look thrice", wait=None)
        held, reason = await waits(talk, first.run_id)
        assert held.startswith(f"{scope}:")
        assert "2 of 2 tool calls are used" in reason
        await talk.ledger.write(lambda tx: budgets.grant(tx, held, Use(tool_calls=5), by="owner"))
        done = await talk.until(first.run_id, Status.SUCCEEDED)
        assert (done.result or {})["text"] == "all looked at"
        assert len(script.asked) == 3


@pytest.mark.parametrize("bound", ["tokens", "cost"])
@pytest.mark.parametrize("scope", ["turn", "task", "session", "owner", "day"])
async def test_tokens_and_money_have_bounds_in_every_scope(chat: OpenChat, scope: str, bound: str) -> None:
    limits = Budgets(**{scope: BudgetScope(**{bound: 1})})
    async with chat(ScriptedModel(["hi"]), budgets=limits) as talk:
        keeper: Keeper = talk.app.agency._keeper
        done = await talk.until((await talk.say("hello")).run_id, Status.SUCCEEDED)
        scopes = keeper.scopes(done, "main")
        (name,) = [one for one in scopes if one.startswith(f"{scope}:")]
        keeper.note("x", {name: scopes[name]}, Use(tokens=2, micro_usd=2_000_000))
        short = await keeper.reserve("y", scopes, Use(tokens=1, micro_usd=1, model_calls=1))
        assert short is not None
        assert short[0] == name


async def test_an_automations_runs_share_its_budget(chat: OpenChat) -> None:
    limits = Budgets(automation=BudgetScope(model_calls=3))
    script = ScriptedModel([Call("look"), "the first", Call("look"), "the second"])
    async with chat(script, budgets=limits) as talk:
        talk.app.agency.door.tools["look"] = looking()  # type: ignore[index]
        await talk.say("/loop 10m look at it")
        (made,) = (await talk.read(lambda tx: automations.page(tx))).items
        runs: list[Task] = []
        for name in ("one", "two"):
            runs.append(await start(talk, name, automation_id=made.automation_id))
            await talk.until(runs[-1].task_id, Status.SUCCEEDED, Status.WAITING)
        assert (await talk.until(runs[0].task_id, Status.SUCCEEDED)).automation_id == made.automation_id
        held, reason = await waits(talk, runs[1].task_id)
        assert held == f"automation:{made.automation_id}"
        assert "3 of 3 model calls are used" in reason
        await talk.ledger.write(lambda tx: budgets.grant(tx, held, Use(model_calls=1), by="owner"))
        await talk.until(runs[1].task_id, Status.SUCCEEDED)


async def start(talk: Any, session: str, **more: Any) -> Task:
    """A turn in the background."""
    params = {"message": "look", "session": session}
    wanted = Submission(kind="agent_turn", params=params, session=session, **more)
    return await talk.ledger.write(lambda tx: submit(tx, wanted))


def hurry(talk: Any) -> Any:
    """Let the clock stand still but for the 40 seconds that each call of what comes back takes."""
    clock = talk.ledger.clock
    real, ahead = clock.steady, 0

    def advance() -> None:
        nonlocal ahead
        ahead += 40 * SECOND

    clock.steady = lambda: real() + ahead
    return advance


async def test_a_task_has_a_time_at_work_of_its_own_that_can_be_raised(chat: OpenChat) -> None:
    async with chat(ScriptedModel([Call("look"), "looked for a while"])) as talk:
        talk.app.agency.door.tools["look"] = looking(hurry(talk))  # type: ignore[index]
        task = await start(talk, "work", budget=Budget(seconds=30))
        held, reason = await waits(talk, task.task_id)
        assert held == f"task:{task.task_id}"
        assert "of 30 seconds are used" in reason
        await talk.ledger.write(lambda tx: budgets.grant(tx, held, Use(milliseconds=600_000), by="owner"))
        await talk.until(task.task_id, Status.SUCCEEDED)


async def test_the_warning_comes_at_four_fifths_and_once(chat: OpenChat) -> None:
    limits = Budgets(session=BudgetScope(model_calls=5))
    warned: list[int] = []
    async with chat(ScriptedModel(["hi"] * 5), budgets=limits) as talk:
        for _ in range(5):
            await talk.say("hello")
            log = await talk.read(lambda tx: events.after(tx, 0, limit=5000))
            warned.append(sum(one.type == "system.budget_warning" for one in log))
    assert warned == [0, 0, 0, 1, 1]


async def test_a_call_holds_the_money_it_may_cost(chat: OpenChat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "not asked for")
    held: list[Use] = []

    def note(_messages: list[Any]) -> str:
        held.extend(keeper._reserved["session:main"].values())
        return "hi"

    limits = Budgets(session=BudgetScope(cost=1))
    async with chat(ScriptedModel([note]), budgets=limits, model=Model(name="openai:gpt-4o")) as talk:
        keeper: Keeper = talk.app.agency._keeper
        assert (await talk.say("hello")).text == "hi"
    assert [use.model_calls for use in held] == [1]
    assert 20_000 < held[0].micro_usd < 100_000, (
        "2,000 tokens of answer are two cents, and there is the question"
    )


async def test_a_turn_that_waits_can_be_cancelled_from_the_chat(chat: OpenChat) -> None:
    async with chat(ScriptedModel(["one"]), budgets=Budgets(owner=BudgetScope(model_calls=1))) as talk:
        await talk.say("one")
        second = await talk.say("two", wait=None)
        await waits(talk, second.run_id)
        assert (await talk.say("/cancel")).text == '"two" is cancelled.'
        await talk.until(second.run_id, Status.CANCELLED)


async def test_who_asked_from_outside_is_told_of_the_wait_and_of_the_mend(chat: OpenChat) -> None:
    limits = Budgets(owner=BudgetScope(model_calls=1))
    async with chat(ScriptedModel(["one", "two"]), budgets=limits) as talk:
        await talk.say("one")
        inbox = talk.app.agency.inbox
        said = await inbox.receive(
            Inbound(channel="telegram", event_id="t1", sender="7", conversation="7", text="two")
        )
        assert said.run_id is not None
        held, _ = await waits(talk, said.run_id)
        lines = await talk.read(
            lambda tx: tx.all(
                "SELECT target, message FROM outbox"
                " WHERE task_id = :id AND transition LIKE 'budget:%' AND fallback_of IS NULL",
                id=said.run_id,
            )
        )
        (line,) = [(row["target"], row["message"]) for row in lines]
        assert line[0].startswith("telegram:7")
        for words in ("1 of 1 model calls are used", f"tawny sessions raise {held} with", "--model-calls"):
            assert words in line[1]
        pending = await inbox.answer(said.run_id, said.session, wait=0.01)
        assert f"tawny sessions raise {held}" in pending.text
        await talk.ledger.write(lambda tx: budgets.grant(tx, held, Use(model_calls=5), by="owner"))
        await talk.until(said.run_id, Status.SUCCEEDED)


async def test_time_at_work_is_a_budget_too(chat: OpenChat) -> None:
    limits = Budgets(session=BudgetScope(seconds=30))
    script = ScriptedModel([Call("look"), "looked for a while", "again"])
    async with chat(script, budgets=limits) as talk:
        talk.app.agency.door.tools["look"] = looking(hurry(talk))  # type: ignore[index]
        first = await talk.say("look", wait=None)
        held, reason = await waits(talk, first.run_id)
        assert held == "session:main"
        assert "of 30 seconds are used" in reason
        await talk.ledger.write(
            lambda tx: budgets.grant(tx, "session:main", Use(milliseconds=600_000), by="owner")
        )
        await talk.until(first.run_id, Status.SUCCEEDED)
        spent = await talk.read(lambda tx: budgets.get(tx, "session:main"))
        assert spent.used.milliseconds >= 40_000
