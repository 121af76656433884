"""A flow that cannot run is refused when it is handed in, with the same words at every door; and nothing is written."""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from tawny.cli.main import main
from tawny.config import Home
from tawny.domain.tasks import Status
from tawny.engine.kinds import Kind
from tawny.errors import TawnyError
from tawny.ledger import automations, tasks

from .conftest import House, open_house
from .test_mcp import rpc

WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "an unknown kind": (
        {"id": "a", "kind": "htpp"},
        "steps[0] (a): kind: there is no kind 'htpp'",
        "one of ",
    ),
    "inside a map": (
        {"id": "a", "map": {"items": "args.x", "do": {"kind": "htpp"}}},
        "steps[0].map.do: kind: there is no kind 'htpp'",
        "one of ",
    ),
    "a parameter": (
        {"id": "a", "kind": "remind", "params": {"txet": "x"}},
        "steps[0].params: params of remind: Object",
        "'tawny tasks kinds remind' shows their schema",
    ),
    "in a flow in a flow": (
        {"id": "a", "kind": "flow", "params": {"document": {"steps": [{"id": "b", "kind": "htpp"}]}}},
        "steps[0].params: params of flow: steps[0] (b): kind: there is no kind 'htpp'",
        "one of ",
    ),
    "what a batch does": (
        {"id": "a", "kind": "batch", "params": {"items": [1], "action": {"kind": "htpp"}}},
        "steps[0].params: params of batch: action: there is no kind 'htpp' for items",
        "one of ",
    ),
}
SCHEDULE = {"type": "cron", "expression": "0 8 * * *", "timezone": "UTC"}
Said = tuple[str, str]


class Order(msgspec.Struct):
    name: str
    arguments: dict[str, Any]


@pytest.fixture
async def hall(home: Home) -> AsyncGenerator[tuple[House, dict[str, Any]]]:
    """A house with a kind that calls one tool, as a model would, and keeps what it was told."""
    kept: dict[str, Any] = {}

    async def call(ctx: Any, order: Order) -> str:
        calls = kept["house"].app.agency.door.for_run(ctx, session="main")
        try:
            kept["result"] = await calls.call(order.name, order.arguments, call_id="1")
        except TawnyError as error:
            kept["said"] = (error.message, error.hint)
        return "called"

    async with open_house(home, kinds={"call": Kind(name="call", params=Order, run=call)}) as house:
        kept["house"] = house
        yield house, kept


async def by_http(house: House, kept: dict[str, Any], document: Any) -> Said:
    answer = await house.client.post("/v1/tasks", json={"kind": "flow", "params": {"document": document}})
    assert answer.status_code == 422, answer.text
    error = answer.json()["error"]
    return error["message"], error["hint"]


async def by_mcp(house: House, kept: dict[str, Any], document: Any) -> Said:
    arguments = {"kind": "flow", "params": {"document": document}}
    return await _by_mcp(house, "tasks_run", arguments)


async def by_mcp_automation(house: House, kept: dict[str, Any], document: Any) -> Said:
    return await _by_mcp(house, "automations_add", _automation(document))


async def _by_mcp(house: House, name: str, arguments: Any) -> Said:
    made = (await rpc(house, "tools/call", name=name, arguments=arguments))["result"]
    assert made["isError"] is True, made
    text = made["content"][0]["text"]
    return text, text


async def by_automation(house: House, kept: dict[str, Any], document: Any) -> Said:
    answer = await house.client.post("/v1/automations", json=_automation(document))
    assert answer.status_code == 422, answer.text
    error = answer.json()["error"]
    return error["message"], error["hint"]


async def by_file(house: House, kept: dict[str, Any], document: Any) -> Said:
    folder = house.app.home.workspace / "flows"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "f.yaml").write_text(yaml.safe_dump(document))
    answer = await house.client.post("/v1/tasks", json={"kind": "flow", "params": {"file": "f"}})
    assert answer.status_code == 422, answer.text
    error = answer.json()["error"]
    return error["message"], error["hint"]


async def by_flows_tool(house: House, kept: dict[str, Any], document: Any) -> Said:
    return await _by_tool(house, kept, "flows", {"action": "run", "document": document})


async def by_flows_check(house: House, kept: dict[str, Any], document: Any) -> Said:
    return await _by_tool(house, kept, "flows", {"action": "check", "document": document})


async def by_tasks_tool(house: House, kept: dict[str, Any], document: Any) -> Said:
    return await _by_tool(
        house, kept, "tasks", {"action": "run", "kind": "flow", "params": {"document": document}}
    )


async def by_automations_tool(house: House, kept: dict[str, Any], document: Any) -> Said:
    return await _by_tool(house, kept, "automations", {"action": "add", "document": _automation(document)})


async def _by_tool(house: House, kept: dict[str, Any], name: str, arguments: dict[str, Any]) -> Said:
    made = await house.run("call", params={"name": name, "arguments": arguments})
    await house.until(made["task_id"], "succeeded")
    return kept["said"]


def _automation(document: Any) -> dict[str, Any]:
    action = {"type": "flow", "parameters": {"document": document}}
    return {"name": "It", "type": "scheduled", "schedule": SCHEDULE, "action": action}


Way = Callable[[House, dict[str, Any], Any], Awaitable[Said]]
DOORS: list[Way] = [
    by_http, by_file, by_mcp, by_mcp_automation, by_automation, by_flows_tool, by_flows_check, by_tasks_tool,
    by_automations_tool,
]  # fmt: skip


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
async def test_a_flow_that_cannot_run_is_refused_alike(hall: Any, door: Way) -> None:
    house, kept = hall
    for step, problem, mend in WRONG.values():
        message, hint = await door(house, kept, {"args": {"x": {"default": []}}, "steps": [step]})
        assert problem in message
        assert mend in hint
    page = await house.app.ledger.read(lambda tx: tasks.page(tx))
    assert {task.kind for task in page.items} <= {"call"}
    assert all(task.status is Status.SUCCEEDED for task in page.items)
    assert (await house.app.ledger.read(lambda tx: automations.page(tx))).items == []


UNBOUND = {"args": {"a": {}}, "steps": [{"id": "a", "kind": "remind", "params": {"text": "x"}}]}


@pytest.mark.parametrize("params", [{}, {"file": "nowhere"}, {"document": UNBOUND}])
async def test_what_a_flow_lacks_is_said_when_it_is_handed_in(house: House, params: dict[str, Any]) -> None:
    answer = await house.client.post("/v1/tasks", json={"kind": "flow", "params": params})
    assert answer.status_code == 422, answer.text
    said = answer.json()["error"]
    assert said["message"].startswith("params of flow: ")
    assert said["hint"]


async def test_an_automations_holes_are_left_for_when_it_fires(house: House) -> None:
    text = "{{ subject }} and {args.n}"
    step = {"id": "a", "kind": "remind", "params": {"text": text}}
    action = {"type": "flow", "parameters": {"document": {"args": {"n": {"default": 1}}, "steps": [step]}}}
    body = {"name": "It", "type": "event", "on": {"source": "email"}, "action": action}
    answer = await house.client.post("/v1/automations", json=body)
    assert answer.status_code in (200, 201), answer.text
    step["kind"] = "rimend"
    refused = await house.client.post("/v1/automations", json={**body, "name": "Other"})
    assert refused.status_code == 422
    assert "there is no kind 'rimend'" in refused.json()["error"]["message"]


@pytest.mark.parametrize("way", ["run", "check", "tasks run", "add", "import"])
@pytest.mark.parametrize("wrong", list(WRONG))
def test_the_command_line_says_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], way: str, wrong: str
) -> None:
    step, problem, mend = WRONG[wrong]
    document = {"args": {"x": {"default": []}}, "steps": [step]}
    file = tmp_path / "it.json"
    file.write_text(json.dumps(document if way in ("run", "check") else _automation(document)))
    words = {
        "run": ["flow", "run", str(file)],
        "check": ["flow", "check", str(file)],
        "tasks run": ["tasks", "run", "--kind", "flow", "--params", json.dumps({"document": document})],
        "add": ["automations", "add", "--file", str(file)],
        "import": ["automations", "import", str(file)],
    }[way]
    assert main(["--home", str(tmp_path / "home"), *words]) != 0
    said = capsys.readouterr().err
    assert problem in said
    assert mend in said
