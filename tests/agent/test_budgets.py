"""Each bound of each scope stops the next call, waits, and goes on when raised."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from agent.conftest import Chat, OpenChat
from tawny.agent.budgets import Keeper
from tawny.app import open_app
from tawny.budgets import Budgets, BudgetScope
from tawny.clock import SECOND, from_datetime
from tawny.config import Config, Fallback, Home, Model, Owner, parse
from tawny.domain.budgets import Bounds, Use, waiting_text, window
from tawny.domain.messages import Inbound
from tawny.domain.tasks import Budget, Status, Submission, Task
from tawny.errors import ConfigError
from tawny.ledger import automations, budgets, events, retention, tasks
from tawny.ledger.database import Ledger
from tawny.ledger.submission import submit
from tawny.testing import FakeClock, ScriptedModel
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
        assert done.usage.tool_calls == 3
        assert done.usage.model_calls == 3


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


# ---- on by default: every scope, every measure

SCOPES = ("turn", "task", "automation", "session", "owner", "day")
MEASURES = {
    "tokens": "tokens",
    "cost": "micro_usd",
    "model_calls": "model_calls",
    "tool_calls": "tool_calls",
    "seconds": "milliseconds",
}


def bound(scope: str, measure: str) -> int:
    """What the configuration's default bound is, in the units of `Use`."""
    held = getattr(getattr(Budgets(), scope), measure)
    return round(held * {"cost": 1_000_000, "seconds": 1000}.get(measure, 1))


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("scope", SCOPES)
def test_every_scope_has_a_bound_of_every_measure_by_default(scope: str, measure: str) -> None:
    assert bound(scope, measure) > 0
    if scope not in ("turn", "task", "automation"):
        assert bound(scope, measure) > bound("turn", measure), "one turn must not use up what is for many"


async def start_with(talk: Any, scope: str, used: Use) -> tuple[Task, str]:
    """A turn in the background that looks once, of whose `scope` so much is used before it begins; and that scope."""
    automation_id = None
    if scope == "automation":
        await talk.say("/loop 10m look at it")
        automation_id = (await talk.read(lambda tx: automations.page(tx))).items[0].automation_id
    params = {"message": "look", "session": "work"}
    wanted = Submission(kind="agent_turn", params=params, session="work", automation_id=automation_id)

    def begin(tx: Any) -> tuple[Task, str]:
        task = submit(tx, wanted)
        keeper: Keeper = talk.app.agency._keeper
        (name,) = [one for one in keeper.scopes(task, "work") if one.startswith(f"{scope}:")]
        budgets.add(tx, name, used)
        return task, name

    return await talk.ledger.write(begin)


async def warnings(talk: Any) -> list[str]:
    log = await talk.read(lambda tx: events.after(tx, 0, limit=5000))
    return [one.data["scope"] for one in log if one.type == "system.budget_warning"]


# The calls of a turn are counted by its run, which ends there: see test_a_turn_that_has_made_its_calls_ends.
CASES = [
    (scope, measure)
    for scope in SCOPES
    for measure in MEASURES
    if scope != "turn" or measure not in ("model_calls", "tool_calls")
]


@pytest.mark.parametrize(("scope", "measure"), CASES)
async def test_a_default_bound_warns_at_four_fifths(chat: OpenChat, scope: str, measure: str) -> None:
    async with chat(ScriptedModel([Call("look"), "looked"])) as talk:
        talk.app.agency.door.tools["look"] = looking()  # type: ignore[index]
        nearly = Use(**{MEASURES[measure]: bound(scope, measure) * 8 // 10})
        task, name = await start_with(talk, scope, nearly)
        await talk.until(task.task_id, Status.SUCCEEDED)
        assert await warnings(talk) == [name]


@pytest.mark.parametrize(("scope", "measure"), CASES)
async def test_a_default_bound_stops_waits_and_goes_on_when_raised(
    chat: OpenChat, scope: str, measure: str
) -> None:
    async with chat(ScriptedModel([Call("look"), "looked"])) as talk:
        talk.app.agency.door.tools["look"] = looking()  # type: ignore[index]
        task, name = await start_with(talk, scope, Use(**{MEASURES[measure]: bound(scope, measure)}))
        held, reason = await waits(talk, task.task_id)
        assert held == name
        assert "are used" in reason
        more = Use(**{MEASURES[measure]: bound(scope, measure)})
        await talk.ledger.write(lambda tx: budgets.grant(tx, held, more, by="owner"))
        done = await talk.until(task.task_id, Status.SUCCEEDED)
        assert (done.result or {})["text"] == "looked"


@pytest.mark.parametrize(("bound", "words"), [("model_calls", "model calls"), ("tool_calls", "tool calls")])
async def test_a_turn_that_has_made_its_calls_ends(chat: OpenChat, bound: str, words: str) -> None:
    endless = [Call("look") for _ in range(10)]
    async with chat(ScriptedModel(endless), budgets=Budgets(turn=BudgetScope(**{bound: 3}))) as talk:
        talk.app.agency.door.tools["look"] = looking()  # type: ignore[index]
        assert f"3 {words}, more than one turn may" in (await talk.say("look for ever")).text


# ---- days and months


@pytest.mark.parametrize(
    ("scope", "same", "anew", "words"),
    [
        ("session", "2026-03-31T23:59:00+02:00", "2026-04-01T00:00:01+02:00", "at midnight by itself"),
        ("automation", "2026-03-31T23:59:00+02:00", "2026-04-01T00:00:01+02:00", "at midnight by itself"),
        ("day", "2026-03-31T23:59:00+02:00", "2026-04-01T00:00:01+02:00", "at midnight by itself"),
        ("owner", "2026-03-31T23:59:00+02:00", "2026-04-01T00:00:01+02:00", "the next month by itself"),
    ],
)
async def test_what_is_used_up_for_a_day_or_a_month_goes_on_when_it_is_over(
    home: Home, scope: str, same: str, anew: str, words: str
) -> None:
    clock = FakeClock("2026-03-31T08:00:00+02:00")
    limits = Budgets(**{scope: BudgetScope(model_calls=2)})
    config = Config(budgets=limits, owner=Owner(timezone="Europe/Berlin"))
    script = ScriptedModel([Call("look"), "looked", "the next day"])
    async with open_app(home, config, clock=clock, model=script) as app:
        talk = Chat(app)
        app.agency.door.tools["look"] = looking()  # type: ignore[index]
        first, name = await start_with(talk, scope, Use())
        await talk.until(first.task_id, Status.SUCCEEDED)
        task = await start(talk, "work", automation_id=first.automation_id)
        held, reason = await waits(talk, task.task_id)
        assert held == name
        assert words in waiting_text(held, reason)
        await clock.advance((from_datetime(datetime.fromisoformat(same)) - clock.now()) / SECOND)
        assert (await talk.read(lambda tx: tasks.get(tx, task.task_id))).status is Status.WAITING
        await clock.advance((from_datetime(datetime.fromisoformat(anew)) - clock.now()) / SECOND)
        done = await talk.until(task.task_id, Status.SUCCEEDED)
        assert (done.result or {})["text"] == "the next day"


async def test_a_raise_of_a_day_is_for_that_day(ledger: Ledger, clock: FakeClock) -> None:
    keeper = Keeper(ledger, Budgets(session=BudgetScope(model_calls=2)), zone="UTC")
    scopes = {"session:main": Bounds(model_calls=2)}
    call = Use(model_calls=1)

    async def calls_that_fit() -> int:
        fitted = 0
        while await keeper.reserve(f"call{fitted}", scopes, call) is None:
            keeper.note(f"call{fitted}", scopes, call)
            keeper.book(scopes, call)
            fitted += 1
        return fitted

    async def raised_by(calls: int) -> None:
        today = window("session:main", clock.now(), ZoneInfo("UTC")).start
        more = Use(model_calls=calls)
        await ledger.write(lambda tx: budgets.grant(tx, "session:main", more, by="owner", since=today))

    assert await calls_that_fit() == 2
    await raised_by(3)
    assert await calls_that_fit() == 3
    await clock.advance("1d")
    await raised_by(1)
    assert await calls_that_fit() == 3, "two of the day's own, and the one by which that day was raised"
    await clock.advance("1d")
    assert await calls_that_fit() == 2


async def test_the_dearest_of_those_who_may_be_called_is_what_is_held(
    chat: OpenChat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "not asked for")
    held: list[Use] = []

    def note(_messages: list[Any]) -> str:
        held.extend(keeper._reserved["session:main"].values())
        return "hi"

    cheap = Model(
        name="openai:gpt-4o-mini", fallbacks=(Fallback(name="openai:gpt-4o"), Fallback(name="ollama:x"))
    )
    async with chat(ScriptedModel([note]), budgets=Budgets(session=BudgetScope(cost=1)), model=cheap) as talk:
        keeper: Keeper = talk.app.agency._keeper
        assert (await talk.say("hello")).text == "hi"
    assert 20_000 < held[0].micro_usd < 100_000, (
        "two thousand tokens of gpt-4o's answer, not of gpt-4o-mini's"
    )


async def test_accounts_nobody_will_ask_for_are_let_go(ledger: Ledger, clock: FakeClock) -> None:
    def used(tx: Any) -> Task:
        task = submit(tx, Submission(kind="remind", params={"text": "x"}))
        for scope in ("session:main", "task:task_gone", "turn:task_gone", f"task:{task.task_id}"):
            budgets.add(tx, scope, Use(tokens=1))
        return task

    task = await ledger.write(used)
    await clock.advance("61d")
    await ledger.write(lambda tx: budgets.add(tx, "session:new", Use(tokens=1)))
    assert (await ledger.write(lambda tx: retention.prune(tx, retention.Keep())))["budget_use"] == 0
    await clock.advance("2d")
    await ledger.write(lambda tx: retention.prune(tx, retention.Keep()))
    left = await ledger.read(budgets.recent)
    assert {one.scope for one in left} == {"session:new", f"task:{task.task_id}"}


def test_naming_one_bound_keeps_the_others() -> None:
    config = parse("[budgets.day]\ncost = 5\n[budgets.session]\ntokens = 0")
    assert config.budgets.day.cost == 5
    assert config.budgets.day.tokens == Budgets().day.tokens
    assert config.budgets.session.tokens == 0
    assert config.budgets.session.seconds == Budgets().session.seconds
    with pytest.raises(ConfigError, match=r"budgets\.day\.cost"):
        parse("[budgets.day]\ncost = -1")
