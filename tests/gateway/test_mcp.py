"""MCP: the same tasks, automations and approvals, for other people's agents."""

from typing import Any

import msgspec
import pytest

from tawny.gateway.mcp.tools import TOOLS
from tawny.ledger import artifacts

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
    if answer.headers["content-type"].startswith("text/event-stream"):
        found = msgspec.json.decode(answer.text.strip().rpartition("data: ")[2])
    else:
        found = answer.json()
    assert found["id"] == 7
    return found


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


async def test_work_is_waited_for_and_its_progress_told(house: House) -> None:
    body = {
        "jsonrpc": "2.0",
        "id": 7,
        "method": "tools/call",
        "params": {
            "name": "tasks_run",
            "arguments": {"kind": "simulate", "params": {"steps": 3, "step_seconds": 0.05}, "wait": True},
            "_meta": {"progressToken": "p"},
        },
    }
    headers = {"accept": "application/json, text/event-stream"}
    answer = await house.client.post("/mcp", json=body, headers=headers)
    assert answer.headers["content-type"].startswith("text/event-stream")
    told = [msgspec.json.decode(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]
    progress = [one["params"] for one in told if one.get("method") == "notifications/progress"]
    assert [one["progressToken"] for one in progress] == ["p"] * len(progress)
    assert [one["progress"] for one in progress] == [1, 2, 3]
    assert told[-1]["id"] == 7
    assert told[-1]["result"]["structuredContent"]["status"] == "succeeded"
    headers = {"accept": "application/json"}
    answer = await house.client.post("/mcp", json=body, headers=headers)
    assert answer.json()["result"]["structuredContent"]["status"] == "succeeded"


async def test_quieter_clients_are_told_less(house: House) -> None:
    assert (await rpc(house, "logging/setLevel", level="error"))["result"] == {}
    params = {"steps": 1, "step_seconds": 0}
    arguments = {"kind": "simulate", "params": params, "wait": True}
    made = await rpc(house, "tools/call", name="tasks_run", arguments=arguments)
    assert made["result"]["structuredContent"]["status"] == "succeeded"
    assert (await rpc(house, "logging/setLevel", level="loud"))["error"]["code"] == -32602


async def test_tasks_results_and_files_are_resources(house: House) -> None:
    task = await house.run(title="Two")
    id = task["task_id"]
    await house.until(id, "succeeded")

    def keep(tx: Any) -> str:
        path = artifacts.store(house.app.home.artifacts, id, "note.txt", b"hello")
        return artifacts.put(
            tx, id, "note.txt", media_type="text/plain", size=5, sha256="x", path=path, partial=False
        )

    file = await house.app.ledger.write(keep)
    listed = (await rpc(house, "resources/list"))["result"]["resources"]
    assert [entry["uri"] for entry in listed][:2] == [f"tawny://tasks/{id}", f"tawny://results/{id}"]

    async def read(uri: str) -> dict[str, Any]:
        return (await rpc(house, "resources/read", uri=uri))["result"]["contents"][0]

    assert msgspec.json.decode((await read(f"tawny://tasks/{id}"))["text"])["title"] == "Two"
    assert (await read(f"tawny://results/{id}"))["mimeType"] == "text/markdown"
    assert (await read(f"tawny://artifacts/{file}"))["text"] == "hello"
    templates = (await rpc(house, "resources/templates/list"))["result"]["resourceTemplates"]
    assert len(templates) == 3
    ref = {"type": "ref/resource", "uri": "tawny://tasks/{id}"}
    found = await rpc(house, "completion/complete", ref=ref, argument={"name": "id", "value": id[:12]})
    assert found["result"]["completion"]["values"] == [id]
    for uri in ("tawny://tasks/task_none", "tawny://artifacts/../../token", "file:///etc/passwd", ""):
        assert (await rpc(house, "resources/read", uri=uri))["error"]["code"] == -32002, uri


async def test_main_jobs_are_prompts(house: House) -> None:
    listed = (await rpc(house, "prompts/list"))["result"]["prompts"]
    assert [entry["name"] for entry in listed] == [
        "daily_brief",
        "background_task",
        "plan_regularly",
        "what_needs_me",
    ]
    given = {"what": "Look at {when}", "when": "every hour"}
    made = await rpc(house, "prompts/get", name="plan_regularly", arguments=given)
    assert "every hour" in made["result"]["messages"][0]["content"]["text"]
    ref = {"type": "ref/prompt", "name": "plan_regularly"}
    found = await rpc(house, "completion/complete", ref=ref, argument={"name": "when", "value": "every M"})
    assert found["result"]["completion"]["values"] == ["every Monday at 9"]
    for arguments in ({"what": "x"}, {"what": "x", "when": "y", "else": "z"}, {"what": 1, "when": "y"}):
        refused = await rpc(house, "prompts/get", name="plan_regularly", arguments=arguments)
        assert refused["error"]["code"] == -32602


async def test_skills_are_prompts(house: House) -> None:
    folder = house.app.home.workspace / "skills" / "tidy-up"
    folder.mkdir(parents=True)
    (folder / "SKILL.md").write_text("---\nname: tidy-up\ndescription: Sorts a folder\n---\nSort it.\n")
    listed = (await rpc(house, "prompts/list"))["result"]["prompts"]
    assert (listed[-1]["name"], listed[-1]["description"]) == ("skill_tidy-up", "Sorts a folder")
    made = await rpc(house, "prompts/get", name="skill_tidy-up", arguments={"work": "the downloads"})
    assert "Use the skill tidy-up. the downloads" in made["result"]["messages"][0]["content"]["text"]
    _, secret = await house.door.token_with("write")
    assert len((await rpc(house, "prompts/list", token=secret))["result"]["prompts"]) == 4


async def test_a_call_can_be_a_task_of_the_protocol(house: House) -> None:
    params = {"steps": 2, "step_seconds": 0}
    call = {"name": "tasks_run", "arguments": {"kind": "simulate", "params": params}, "task": {"ttl": 60000}}
    handle = (await rpc(house, "tools/call", **call))["result"]["task"]
    assert handle["status"] in ("working", "completed")
    done = (await rpc(house, "tasks/result", taskId=handle["taskId"]))["result"]
    assert done["structuredContent"]["status"] == "succeeded"
    assert done["_meta"]["io.modelcontextprotocol/related-task"] == {"taskId": handle["taskId"]}
    assert (await rpc(house, "tasks/get", taskId=handle["taskId"]))["result"]["status"] == "completed"
    listed = (await rpc(house, "tasks/list"))["result"]["tasks"]
    assert [one["taskId"] for one in listed] == [handle["taskId"]]
    long = {"kind": "simulate", "params": {"steps": 1000, "step_seconds": 0.05}}
    other = (await rpc(house, "tools/call", name="tasks_run", arguments=long, task={}))["result"]["task"]
    await rpc(house, "tasks/cancel", taskId=other["taskId"])
    ended = (await rpc(house, "tasks/result", taskId=other["taskId"]))["result"]
    assert ended["isError"] is True
    assert ended["structuredContent"]["status"] == "cancelled"
    assert (await rpc(house, "tasks/get", taskId="task_none"))["error"]["code"] == -32602
    at_once = await rpc(house, "tools/call", name="tasks_list", arguments={}, task={})
    assert at_once["error"]["code"] == -32601


async def test_a_reader_without_the_scope_reads_nothing(house: House) -> None:
    task = await house.run()
    _, secret = await house.door.token_with("write")
    assert (await rpc(house, "resources/list", token=secret))["result"]["resources"] == []
    uri = f"tawny://tasks/{task['task_id']}"
    assert (await rpc(house, "resources/read", token=secret, uri=uri))["error"]["code"] == -32002
    assert (await rpc(house, "tasks/list", token=secret))["error"]["code"] == -32602
