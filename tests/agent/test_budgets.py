"""Each bound of each scope stops the next call, waits, and goes on when raised."""

from typing import Any

import msgspec
import pytest

from agent.conftest import OpenChat
from tawny.agent.budgets import Keeper
from tawny.clock import SECOND
from tawny.config import Budgets, BudgetScope
from tawny.domain.budgets import Use
from tawny.domain.tasks import Status, Task
from tawny.ledger import budgets
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
    async with chat(ScriptedModel(["hi"]), budgets=limits) as talk:
        keeper: Keeper = talk.app.agency._keeper
        done = await talk.until((await talk.say("hello")).run_id, Status.SUCCEEDED)
        run: Task = msgspec.structs.replace(done, automation_id="auto_1")
        assert "automation:auto_1" in keeper.scopes(run, "main")
        assert not any(name.startswith("automation:") for name in keeper.scopes(done, "main"))


async def test_time_at_work_is_a_budget_too(chat: OpenChat) -> None:
    limits = Budgets(session=BudgetScope(seconds=30))
    script = ScriptedModel([Call("look"), "looked for a while", "again"])
    async with chat(script, budgets=limits) as talk:
        clock = talk.ledger.clock
        real, ahead = clock.steady, 0

        def advance() -> None:
            nonlocal ahead
            ahead += 40 * SECOND

        clock.steady = lambda: real() + ahead  # type: ignore[method-assign]
        talk.app.agency.door.tools["look"] = looking(advance)  # type: ignore[index]
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
