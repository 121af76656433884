"""Several agents, and helpers: each with its own words, model and tools, and none with more than it was given."""

from typing import Any

from agent.conftest import Chat, OpenChat
from tawny.config import AgentProfile, Home
from tawny.domain.budgets import Use
from tawny.domain.messages import Inbound
from tawny.domain.tasks import Status, Task
from tawny.ledger import budgets, sessions, tasks
from tawny.testing import ScriptedModel
from tawny.testing import Use as Call

CHEF = AgentProfile(name="chef", workspace="kitchen", model="ollama:cook", tools=("list_files", "spawn"))


async def tell(talk: Chat, text: str, *, agent: str = "chef") -> Task:
    inbound = Inbound(channel="http", event_id=text, sender="owner", text=text)
    received = await talk.app.agency.inbox.receive(inbound, agent=agent)
    assert received.run_id is not None
    return await talk.until(received.run_id, Status.SUCCEEDED, Status.FAILED)


async def test_each_agent_has_its_own_words_tools_and_conversation(chat: OpenChat, home: Home) -> None:
    home.prepare()
    (home.workspace / "kitchen").mkdir()
    (home.workspace / "kitchen" / "AGENTS.md").write_text("You love salt.")
    (home.workspace / "AGENTS.md").write_text("You love order.")
    script = ScriptedModel([Call("read_file", {"path": "AGENTS.md"}), lambda m: str(m)])
    async with chat(script, agents=(CHEF,)) as talk:
        done = await tell(talk, "what do you love?")
        told = str((done.result or {})["text"])
        assert "You love salt." in told
        assert "You love order." not in told
        assert "You are chef" in told
        # A tool that is not the agent's is none to it, though it exists.
        assert "There is no tool 'read_file'" in told.replace('"', "'").replace("\\'", "'")
        assert done.session == "agent:chef:main"
        assert talk.app.agency.router("ollama:cook").specs[0].model == "cook"


async def test_a_helper_has_no_tool_its_parent_does_not_have(chat: OpenChat) -> None:
    def answer(messages: list[Any]) -> Any:
        if "peel them" in str(messages[0]):
            return "peeled"
        return "done" if "peeled" in str(messages) else Call("spawn", {"task": "peel them", "wait": True})

    async with chat(ScriptedModel([answer] * 4), agents=(CHEF,)) as talk:
        done = await tell(talk, "potatoes")
        (child,) = await talk.read(lambda tx: tasks.children(tx, done.task_id))
        assert set(child.params["tools"]) <= {"list_files", "spawn"}


async def test_helpers_go_five_deep_and_no_deeper(chat: OpenChat) -> None:
    def answer(messages: list[Any]) -> Any:
        text = str(messages)
        if "ToolReturnPart" in text:
            return "that is all" if "deeper" in text or "no tool" in text else "came back"
        return Call("spawn", {"task": "go deeper", "wait": True})

    async with chat(ScriptedModel([answer] * 40)) as talk:
        await talk.say("go", wait=60)

        async def deepest() -> list[int]:
            made = (await talk.read(lambda tx: sessions.page(tx))).items
            return sorted(one.depth for one in made)

        assert await deepest() == [0, 1, 2, 3, 4, 5]
        running = await talk.read(lambda tx: tx.all("SELECT params FROM tasks WHERE runtime = 'subagent'"))
        assert sum('"spawn"' not in str(row["params"]) for row in running) == 1


async def test_no_more_than_eight_helpers_work_at_once(chat: OpenChat) -> None:
    def answer(messages: list[Any]) -> Any:
        text = str(messages[0])
        if "apple number" in text:
            return Call("tasks", {"action": "list"})
        if "ToolReturnPart" in str(messages):
            return str(messages[-1].parts[0].content)
        # Their budget is used up with the first call, so that all of them stay.
        apples = [f"apple number {n}" for n in range(4)]
        return Call("spawn", {"task": apples, "budget": {"model_calls": 1}})

    async with chat(ScriptedModel([answer] * 60)) as talk:
        said = [(await talk.say("split", session=f"s{n}")).text for n in range(3)]
        assert sum("may be at once" in text for text in said) == 1, said


async def test_a_parent_is_woken_by_its_helpers_result_also_after_a_restart(chat: OpenChat) -> None:
    def answer(messages: list[Any]) -> Any:
        if "count the apples" in str(messages[0].parts):
            return "three apples" if "ToolReturnPart" in str(messages) else Call("tasks", {"action": "list"})
        if "ToolReturnPart" in str(messages):
            return f"told: {'three apples' in str(messages[-1])}"
        order = {"task": "count the apples", "wait": True, "budget": {"model_calls": 1}}
        return Call("spawn", order)

    script = ScriptedModel([answer] * 6)
    async with chat(script) as talk:
        parent = await talk.say("count the fruit", wait=None)
        waiting = await talk.until(parent.run_id, Status.WAITING)
        assert waiting.waiting_for is not None
        assert waiting.waiting_for.kind == "child"
        (child,) = await talk.read(lambda tx: tasks.children(tx, parent.run_id))
        await talk.until(child.task_id, Status.WAITING)
    asked = len(script.asked)
    async with chat(script) as talk:
        scope = f"task:{child.task_id}"
        await talk.ledger.write(lambda tx: budgets.grant(tx, scope, Use(model_calls=5), by="owner"))
        done = await talk.until(parent.run_id, Status.SUCCEEDED)
        ended = await talk.read(lambda tx: tasks.get(tx, child.task_id))
        assert (ended.result or {})["text"] == "three apples"
        assert str((done.result or {})["text"]).startswith("told: True")
    # What was said before the restart is not asked for again.
    assert len(script.asked) == asked + 2
