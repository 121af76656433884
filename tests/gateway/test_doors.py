"""The same calls, brought in through every real door of the house, get the same decisions."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from tawny.config import Home
from tawny.domain.heartbeat import CONDITION
from tawny.domain.origin import read_from
from tawny.engine.kinds import Kind
from tawny.errors import PermanentError, Refused

from .conftest import House, open_house
from .test_hooks import SECRET, signed
from .test_mcp import rpc

WORDS = "Look after it"
CALLS: list[tuple[str, dict[str, Any]]] = [
    ("read_file", {"path": "a.txt"}),
    ("write_file", {"path": "a.txt", "content": "x"}),
    ("write_file", {"path": "AGENTS.md", "content": "obey"}),
    ("exec", {"command": "id"}),
    ("exec", {"command": "ls | sh"}),
    ("web_fetch", {"url": "https://evil.test/?q=1"}),
    ("http_request", {"method": "POST", "url": "https://evil.test/", "body": "x"}),
    ("http_request", {"method": "DELETE", "url": "https://evil.test/"}),
    ("memory_save", {"text": "remember this"}),
    ("tasks", {"action": "run", "kind": "command", "params": {"argv": ["id"]}}),
    ("automations", {"action": "remove", "lookup": "auto_1"}),
    ("spawn", {"task": "go on"}),
    ("send_message", {"channel": "telegram", "to": "7", "text": "hi"}),
    ("flows", {"action": "list"}),
]


class Turn(msgspec.Struct):
    message: str = ""
    session: str = ""
    input: str = ""
    helper: bool = False


class Ledgerbook:
    """What was decided for each turn that came in, and a turn that decides instead of thinking."""

    def __init__(self) -> None:
        self.house: House | None = None
        self.decisions: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.failed = False

    def kind(self) -> Kind:
        async def run(context: Any, params: Turn) -> dict[str, Any]:
            assert self.house is not None
            if "start a helper" in params.message:
                calls = self.house.app.agency.door.for_run(context, session="main")
                await calls.call("spawn", {"task": WORDS, "wait": False}, call_id="1")
                return {"text": "started"}
            if "fail first" in params.message and not self.failed:
                self.failed = True
                raise PermanentError("as it was told to")
            made = await self.decide(context)
            context.add_origin(read_from("a page"))
            self.decisions.put_nowait({"clean": made, "read": await self.decide(context)})
            return {"text": "decided"}

        return Kind(name="agent_turn", params=Turn, run=run)

    async def decide(self, context: Any) -> dict[str, Any]:
        assert self.house is not None
        door = self.house.app.agency.door
        found: dict[str, Any] = {}
        for name, arguments in CALLS:
            tool = door.tools[name]
            params = msgspec.convert(arguments, tool.params)
            try:
                operation = tool.operation(params)
            except Refused as refusal:
                found[f"{name} {json.dumps(arguments)}"] = ("refused", refusal.message)
                continue
            decision = await door.decide(context, name, operation)
            found[f"{name} {json.dumps(arguments)}"] = (
                decision.verdict.value,
                decision.level,
                decision.reason,
            )
        return found


async def by_http(house: House) -> None:
    await house.run("agent_turn", params={"message": WORDS})


async def by_chat(house: House) -> None:
    answer = await house.client.post("/v1/sessions/main/messages", json={"text": WORDS})
    assert answer.status_code == 202, answer.text


async def by_completions(house: House) -> None:
    body = {"model": "tawny", "messages": [{"role": "user", "content": WORDS}]}
    await house.client.post("/v1/chat/completions", json=body)


async def by_mcp(house: House) -> None:
    arguments = {"kind": "agent_turn", "params": {"message": WORDS}}
    made = await rpc(house, "tools/call", name="tasks_run", arguments=arguments)
    assert made["result"]["isError"] is False, made


async def order(house: House, **document: Any) -> str:
    document.setdefault("action", {"type": "agent_turn", "parameters": {"message": WORDS}})
    made = await house.client.post("/v1/automations", json={"name": "it", **document})
    assert made.status_code == 201, made.text
    return made.json()["id"]


async def by_automation(house: House) -> None:
    await order(house, type="delayed", schedule={"type": "after", "delay": "0s"})


async def by_hand_from_an_automation(house: House) -> None:
    schedule = {"type": "cron", "expression": "0 0 1 1 *", "timezone": "UTC"}
    id = await order(house, type="scheduled", schedule=schedule)
    answer = await house.client.post(f"/v1/automations/{id}/run", json={})
    assert answer.status_code in (200, 202), answer.text


async def by_webhook(house: House) -> None:
    (house.app.home.root / "hook-secret").write_text(SECRET)
    await order(house, type="event", on={"source": "webhook", "name": "orders", "secret": "file:hook-secret"})
    now = house.app.clock.now() // 1_000_000
    body = b'{"order": "obey me"}'
    async with house.door.browser() as vendor:
        answer = await vendor.post("/hooks/orders", content=body, headers=signed(body, "msg_1", now))
    assert answer.status_code == 202, answer.text


async def by_event(house: House) -> None:
    await order(house, type="event", on={"source": "shop"})
    answer = await house.client.post("/v1/events/shop", json={"event_id": "1", "data": {"text": "obey me"}})
    assert answer.status_code in (200, 202), answer.text


async def by_heartbeat(house: House) -> None:
    (house.app.home.workspace / "HEARTBEAT.md").write_text("- water the plants\n")
    watch = {"probe": {"type": "heartbeat"}, "every": "30m", "condition": CONDITION, "rearm": "always"}
    await order(house, type="continuous", watch=watch)


async def by_subagent(house: House) -> None:
    await house.run("agent_turn", params={"message": "start a helper"})


async def by_retry(house: House) -> None:
    task = await house.run("agent_turn", params={"message": WORDS + ", and fail first"}, retry={"max": 0})
    await house.until(task["task_id"], "failed")
    answer = await house.client.post(f"/v1/tasks/{task['task_id']}/retry", json={})
    assert answer.status_code in (200, 202), answer.text


async def by_resumed_flow(house: House) -> None:
    steps = [
        {"id": "rest", "wait_until": "1ms"},
        {"id": "go", "kind": "agent_turn", "params": {"message": WORDS}},
    ]
    await house.run("flow", params={"document": {"name": "f", "steps": steps}})


DOORS: dict[str, Callable[[House], Awaitable[None]]] = {
    "chat": by_chat,
    "openai client": by_completions,
    "mcp": by_mcp,
    "automation": by_automation,
    "automation run by hand": by_hand_from_an_automation,
    "webhook": by_webhook,
    "event": by_event,
    "heartbeat": by_heartbeat,
    "subagent": by_subagent,
    "retry": by_retry,
    "resumed flow": by_resumed_flow,
}


async def decided(home: Home, enter: Callable[[House], Awaitable[None]]) -> dict[str, Any]:
    book = Ledgerbook()
    home.prepare()
    async with open_house(home) as house:
        book.house = house
        app: Any = house.app
        app.kinds["agent_turn"] = book.kind()
        # Some doors answer at once, others hold until the turn has ended.
        entering = asyncio.ensure_future(enter(house))
        deciding = asyncio.ensure_future(book.decisions.get())
        await asyncio.wait((entering, deciding), timeout=60, return_when=asyncio.FIRST_EXCEPTION)
        for waited in (entering, deciding):
            if not waited.done():
                waited.cancel()
        if entering.done() and not entering.cancelled():
            entering.result()
        return await deciding


@pytest.mark.parametrize("name", DOORS)
async def test_every_door_gets_the_decisions_that_http_gets(tmp_path: Any, name: str) -> None:
    reference = await decided(Home(tmp_path / "reference"), by_http)
    found = await decided(Home(tmp_path / "home"), DOORS[name])
    assert found["clean"].keys() == reference["clean"].keys()
    assert found == reference
    assert {entry[0] for entry in reference["clean"].values()} == {"run", "notify", "ask"}
    assert reference["clean"] != reference["read"]
