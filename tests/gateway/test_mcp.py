"""MCP: the same tasks, automations and approvals, for other people's agents."""

from typing import Any

import pytest

from tawny.gateway.mcp import TOOLS

from .conftest import House

CONTRACT = {
    "tasks_run", "tasks_list", "tasks_get", "tasks_cancel", "automations_list", "automations_add",
    "approvals_list", "approvals_answer", "send_message",
}  # fmt: skip


async def rpc(house: House, method: str, token: str = "", **params: Any) -> dict[str, Any]:
    headers = {"accept": "application/json, text/event-stream"}
    if token:
        headers["authorization"] = f"Bearer {token}"
    body = {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}
    answer = await house.client.post("/mcp", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.json()["id"] == 7
    return answer.json()


async def test_client_is_welcomed_in_its_version(house: House) -> None:
    for asked, spoken in (("2025-06-18", "2025-06-18"), ("1999-01-01", "2025-11-25")):
        made = await rpc(
            house, "initialize", protocolVersion=asked, capabilities={}, clientInfo={"name": "t"}
        )
        assert made["result"]["protocolVersion"] == spoken
        assert made["result"]["serverInfo"]["name"] == "tawny"
    note = await house.client.post("/mcp", json={"jsonrpc": "2.0", "method": "notifications/initialized"})
    assert note.status_code == 202
    assert (await rpc(house, "ping"))["result"] == {}


async def test_tools_are_the_contracts(house: House) -> None:
    listed = (await rpc(house, "tools/list"))["result"]["tools"]
    assert {tool["name"] for tool in listed} == CONTRACT
    assert all(tool["inputSchema"]["type"] == "object" for tool in listed)
    assert {tool.name for tool in TOOLS} == CONTRACT


async def test_work_is_run_looked_at_and_cancelled(house: House) -> None:
    params = {"steps": 1000, "step_seconds": 0.05}
    made = await rpc(house, "tools/call", name="tasks_run", arguments={"kind": "simulate", "params": params})
    assert made["result"]["isError"] is False
    id = made["result"]["structuredContent"]["task_id"]
    seen = await rpc(house, "tools/call", name="tasks_get", arguments={"id": id})
    assert seen["result"]["structuredContent"]["kind"] == "simulate"
    listed = await rpc(house, "tools/call", name="tasks_list", arguments={"limit": 5})
    assert [task["task_id"] for task in listed["result"]["structuredContent"]["items"]] == [id]
    await rpc(house, "tools/call", name="tasks_cancel", arguments={"id": id})
    await house.until(id, "cancelled")


async def test_automations_and_messages(house: House) -> None:
    document = {
        "name": "Look",
        "type": "scheduled",
        "schedule": {"type": "cron", "expression": "0 8 * * *", "timezone": "UTC"},
        "action": {"type": "remind", "parameters": {"text": "look"}},
    }
    made = await rpc(house, "tools/call", name="automations_add", arguments=document)
    assert made["result"]["isError"] is False, made
    listed = await rpc(house, "tools/call", name="automations_list", arguments={})
    assert len(listed["result"]["structuredContent"]["items"]) == 1
    sent = await rpc(house, "tools/call", name="send_message", arguments={"text": "hi"})
    await house.until(sent["result"]["structuredContent"]["task_id"], "succeeded")


async def test_mistakes_are_told_to_the_model(house: House) -> None:
    for name, arguments in (
        ("tasks_run", {"kind": "nonsense"}),
        ("tasks_run", {"kind": "simulate", "bogus": 1}),
        ("tasks_get", {"id": "task_missing"}),
        ("tasks_get", {}),
        ("approvals_answer", {"id": "appr_x", "decision": "maybe"}),
        ("approvals_answer", {"id": "appr_x", "decision": "approve"}),
    ):
        answer = await rpc(house, "tools/call", name=name, arguments=arguments)
        assert answer["result"]["isError"] is True, (name, arguments)
        assert answer["result"]["content"][0]["text"]


async def test_scopes_hold_here_too(house: House) -> None:
    _, secret = await house.door.token_with("read")
    listed = (await rpc(house, "tools/list", token=secret))["result"]["tools"]
    assert {tool["name"] for tool in listed} == {
        "tasks_list",
        "tasks_get",
        "automations_list",
        "approvals_list",
    }
    refused = await rpc(house, "tools/call", token=secret, name="tasks_run", arguments={"kind": "remind"})
    assert refused["error"]["code"] == -32602
    assert (await house.client.get("/v1/tasks")).json()["items"] == []


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, -32700),
        (b"{}", 200, -32600),
        (b'{"jsonrpc":"2.0","id":1}', 200, -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"no/such"}', 200, -32601),
        (b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"rm"}}', 200, -32602),
    ],
)
async def test_malformed_messages_get_json_rpcs_own_errors(
    house: House, body: bytes, status: int, code: int
) -> None:
    answer = await house.client.post("/mcp", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status
    assert answer.json()["error"]["code"] == code


async def test_only_post_and_only_with_a_token(house: House) -> None:
    assert (await house.client.get("/mcp")).status_code == 405
    assert (await house.client.delete("/mcp")).status_code == 405
    wrong = {"mcp-protocol-version": "1999-01-01"}
    assert (await house.client.post("/mcp", json={}, headers=wrong)).status_code == 400
    async with house.door.browser() as stranger:
        body = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        assert (await stranger.post("/mcp", json=body)).status_code == 401
        foreign = {"host": "evil.test"}
        assert (await stranger.post("/mcp", json=body, headers=foreign)).status_code == 421
