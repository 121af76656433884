"""Several agents, and helpers: each with its own words, model and tools, and none with more than it was given."""

from pathlib import Path
from typing import Any

import pytest

from agent.conftest import Chat, OpenChat
from tawny import config as configuration
from tawny.config import AgentProfile, Exec, Home
from tawny.domain.budgets import Use
from tawny.domain.messages import Inbound
from tawny.domain.tasks import Status, Task
from tawny.errors import ConfigError
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


def results(messages: list[Any]) -> list[str]:
    """What the tools have answered, in order."""
    parts = [part for message in messages for part in message.parts]
    return [str(part.content) for part in parts if part.part_kind == "tool-return"]


COOK = AgentProfile(
    name="cook",
    workspace="kitchen",
    tools=("read_file", "write_file", "list_files", "memory_save", "memory_search", "skills", "exec"),
)


async def test_an_agents_files_memory_and_skills_are_those_of_its_own_folder(
    chat: OpenChat, home: Home
) -> None:
    (home.workspace / "secret.txt").write_text("the owner's alone")
    (home.workspace / "memory").mkdir()
    (home.workspace / "memory" / "2026-01-01.md").write_text("- the owner hates pepper")
    (home.workspace / "skills" / "billing").mkdir(parents=True)
    (home.workspace / "skills" / "billing" / "SKILL.md").write_text(
        "---\ndescription: writes bills\n---\nDo it.\n"
    )
    script = ScriptedModel(
        [
            Call("read_file", {"path": "secret.txt"}),
            Call("read_file", {"path": "../secret.txt"}),
            Call("read_file", {"path": str(home.workspace / "secret.txt")}),
            Call("write_file", {"path": "recipe.md", "content": "salt"}),
            Call("memory_save", {"text": "salt goes in first"}),
            Call("memory_search", {"query": "salt"}),
            Call("memory_search", {"query": "pepper"}),
            Call("skills", {}),
            Call("list_files", {}),
            "cooked",
        ]
    )
    async with chat(script, agents=(COOK,)) as talk:
        done = await tell(talk, "cook", agent="cook")
    assert done.status is Status.SUCCEEDED, done.error
    absent, above, absolute, _, _, own, others, skills, listed = results(script.asked[-1])
    assert "nothing" in absent or "no " in absent
    for answer in (absent, above, absolute):
        assert "alone" not in answer
    assert (home.workspace / "kitchen" / "recipe.md").read_text() == "salt"
    assert not (home.workspace / "recipe.md").exists()
    assert "salt goes in first" in own
    assert '"items": []' in others
    assert "billing" not in skills
    assert "recipe.md" in listed
    assert "secret" not in listed


async def test_an_agents_commands_see_its_own_folder_alone(chat: OpenChat, home: Home) -> None:
    (home.workspace / "secret.txt").write_text("the owner's alone")
    kitchen = home.workspace / "kitchen"
    kitchen.mkdir()
    (kitchen / "AGENTS.md").write_text("You love salt.")
    script = ScriptedModel(
        [
            Call("exec", {"command": "pwd; ls -a .. ; cat ../secret.txt; echo pepper > pot"}),
            Call("exec", {"command": "echo pepper > AGENTS.md", "yieldMs": 60_000}),
            "cooked",
        ]
    )
    async with chat(script, agents=(COOK,), exec=Exec(mode="full")) as talk:
        done = await tell(talk, "cook", agent="cook")
    assert done.status is Status.SUCCEEDED, done.error
    first, second = results(script.asked[-1])
    assert str(kitchen) in first
    assert "alone" not in first
    assert '"exitCode": 0' in first, first
    assert (kitchen / "pot").read_text() == "pepper\n"
    assert '"exitCode": 0' not in second
    assert (kitchen / "AGENTS.md").read_text() == "You love salt."


async def test_no_command_of_the_assistant_changes_what_steers_an_agent(chat: OpenChat, home: Home) -> None:
    kitchen = home.workspace / "kitchen"
    kitchen.mkdir()
    (kitchen / "AGENTS.md").write_text("You love salt.")
    command = "echo pepper > kitchen/AGENTS.md; echo pepper > kitchen/skills/x; echo done > kitchen/note"
    script = ScriptedModel([Call("exec", {"command": command, "yieldMs": 60_000}), "tried"])
    async with chat(script, agents=(COOK,), exec=Exec(mode="full")) as talk:
        await talk.say("try")
    assert (kitchen / "AGENTS.md").read_text() == "You love salt."
    assert not (kitchen / "skills" / "x").exists()
    assert (kitchen / "note").read_text() == "done\n"


async def test_what_an_agent_starts_is_its_own_and_has_no_more_tools(chat: OpenChat) -> None:
    agent = AgentProfile(
        name="cook", workspace="kitchen", tools=("spawn", "tasks", "automations", "list_files")
    )
    standing = {
        "name": "stir",
        "schedule": {"type": "every", "interval": "1d"},
        "action": {"type": "agent_turn", "parameters": {"message": "stir", "agent": ""}},
    }

    def answer(messages: list[Any]) -> Any:
        if "wash" in str(messages[0]) or "peel" in str(messages[0]):
            return "done"
        said = results(messages)
        orders = [
            Call("spawn", {"task": "wash", "wait": True}),
            Call("spawn", {"task": "wash", "agent": "banker"}),
            Call(
                "tasks",
                {"action": "run", "params": {"message": "peel", "tools": ["read_file", "list_files"]}},
            ),
            Call("automations", {"action": "add", "document": standing}),
        ]
        return orders[len(said)] if len(said) < len(orders) else "cooked"

    script = ScriptedModel([answer] * 12)
    banker = AgentProfile(name="banker", workspace="bank")
    async with chat(script, agents=(agent, banker)) as talk:
        done = await tell(talk, "cook", agent="cook")
        said = next(results(one) for one in reversed(script.asked) if len(results(one)) == 4)
        (child,) = await talk.read(lambda tx: tasks.children(tx, done.task_id))
        assert child.params["agent"] == "cook"
        assert set(child.params["tools"]) <= {"spawn", "tasks", "list_files"}
        assert "works in a folder that is not cook's" in said[1]
        (peel,) = await talk.read(lambda tx: tx.all("SELECT params FROM tasks WHERE title = 'peel'"))
        assert '"agent":"cook"' in peel["params"].replace(" ", "")
        assert '"tools":["list_files"]' in peel["params"].replace(" ", "")
        (kept,) = await talk.read(lambda tx: tx.all("SELECT * FROM automations"))
        assert '"agent":"cook"' in str(kept).replace(" ", "")


async def test_a_session_that_names_an_agent_is_spoken_to_as_that_agent(chat: OpenChat) -> None:
    script = ScriptedModel([lambda messages: str(messages)])
    async with chat(script, agents=(AgentProfile(name="cook"),)) as talk:
        said = await talk.say("who are you?", session="agent:cook:main")
        assert "You are cook" in said.text
        unknown = await talk.say("who are you?", session="agent:ghost:main")
        assert "there is no agent 'ghost'" in unknown.text


@pytest.mark.parametrize("folder", ["../elsewhere", "/etc", "a/../../b"])
def test_an_agents_workspace_lies_in_the_workspace(home: Home, folder: str) -> None:
    home.config_file.write_text(f'[[agents]]\nname = "cook"\nworkspace = "{folder}"\n')
    with pytest.raises(ConfigError, match="is no folder in workspace/"):
        configuration.load(home)


def test_an_agents_workspace_follows_no_link_out(home: Home, tmp_path: Path) -> None:
    (home.workspace / "kitchen").symlink_to(tmp_path)
    with pytest.raises(ConfigError, match="leads out of the workspace"):
        home.workspace_of(COOK)
