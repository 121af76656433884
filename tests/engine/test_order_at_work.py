"""A standing order from its file to its deeds: inside its scope it works, outside it is refused, a budget stops it."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.engine.test_scheduler import House

from tawny.config import Home
from tawny.domain.tasks import Status, Task
from tawny.engine.orders import sync
from tawny.ledger import audit, outbox, tasks
from tawny.ledger.database import read_now
from tawny.testing import FakeClock, ScriptedModel
from tawny.testing import Use as Call

ORDER = """name: Papers
scope:
  allow: ["file.*"]
  targets: ["papers/*"]
gates:
  - {condition: "level < 3", otherwise: deny}
triggers:
  - schedule: {type: cron, expression: "0 9 * * *", timezone: UTC}
action: {type: agent_turn, parameters: {message: "Note today's papers"}}
budget: {tool_calls: 3}
escalation: {to: [inbox], after: 1}
"""
WRITE = {"path": "papers/today.md", "content": "one"}


async def run(home: Home, clock: FakeClock, script: list[Any]) -> tuple[House, Task]:
    """The house, stopped again, and the order's one run."""
    folder = home.workspace / "orders"
    folder.mkdir(parents=True)
    (folder / "papers.yaml").write_text(ORDER)
    async with House(home, clock, model=ScriptedModel(script)) as house:
        app = house.app
        done = await app.ledger.write(lambda tx: sync(tx, folder, kinds=app.kinds, timezone="UTC"))
        assert done == [("added", "order-papers-0")]
        await house.pass_time("61m")
        async with asyncio.timeout(60):
            while True:
                (task,) = (await app.ledger.read(lambda tx: tasks.page(tx, limit=5))).items
                if task.status.is_terminal or task.status is Status.WAITING:
                    break
                await asyncio.sleep(0.01)
        await house.settled()
        return house, task


def calls(house: House) -> list[tuple[str, str]]:
    """The tools that were called, and what was decided of each."""
    rows = read_now(house.app.ledger.store, house.clock, lambda tx: list(audit.export(tx)))
    return [
        (str(row.detail.get("tool") or row.detail.get("operation")), str(row.decision))
        for row in rows
        if row.action == "tool.call"
    ]


def written(home: Home) -> list[str]:
    return sorted(
        str(path.relative_to(home.workspace))
        for path in Path(home.workspace).rglob("*.md")
        if path.parent.name in ("papers", "elsewhere")
    )


async def test_inside_its_scope_it_works_and_outside_every_call_is_refused(
    home: Home, clock: FakeClock
) -> None:
    script = [
        Call("write_file", {"path": "elsewhere/x.md", "content": "one"}),
        Call("write_file", WRITE),
        Call("web_fetch", {"url": "https://example.org/"}),
        "noted",
    ]
    house, task = await run(home, clock, script)
    assert task.status is Status.SUCCEEDED, task.error
    assert written(home) == ["papers/today.md"]
    assert [decision for _, decision in calls(house)].count("deny") == 2
    lines = read_now(house.app.ledger.store, clock, lambda tx: outbox.page(tx, limit=50))
    denied = [line.message.text for line in lines if "denied" in line.message.text]
    assert denied, "the escalation tells of what was denied"


async def test_its_budget_stops_it_and_a_person_is_asked(home: Home, clock: FakeClock) -> None:
    script = [Call("write_file", {"path": f"papers/{n}.md", "content": "one"}) for n in range(6)]
    _, task = await run(home, clock, [*script, "noted"])
    assert task.status is Status.WAITING
    assert task.waiting_for is not None
    assert task.waiting_for.kind == "budget"
    assert written(home) == ["papers/0.md", "papers/1.md", "papers/2.md"]


@pytest.mark.parametrize("tool", ["exec", "automations", "tasks"])
async def test_no_other_tool_leads_around_the_scope(home: Home, clock: FakeClock, tool: str) -> None:
    around = {
        "exec": {"command": "touch elsewhere.md"},
        "automations": {
            "action": "add",
            "document": {
                "schedule": "every hour",
                "action": {"type": "command", "parameters": {"argv": ["true"]}},
            },
        },
        "tasks": {"action": "run", "kind": "command", "params": {"argv": ["true"]}},
    }
    house, task = await run(home, clock, [Call(tool, around[tool]), "done"])
    assert task.status is Status.SUCCEEDED, task.error
    assert [decision for _, decision in calls(house)] == ["deny"]
