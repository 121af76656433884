"""MCP with a session: questions to the person at the client, watched resources, streams to come back to."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
import pytest

from tawny.config import Home
from tawny.engine.kinds import Kind
from tawny.gateway.mcp import reply as replies
from tawny.gateway.mcp.session import MAX_WATCHED, Session, Sessions
from tawny.ledger import approvals

from .conftest import House, open_house
from .test_approvals import Params, ask

STREAM = "application/json, text/event-stream"
SLOW = {"kind": "simulate", "params": {"steps": 1000, "step_seconds": 0.05}, "wait": True}


class Client:
    """A client of MCP over a real socket."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http
        self.session = ""

    @property
    def headers(self) -> dict[str, str]:
        return {"accept": STREAM} | ({"mcp-session-id": self.session} if self.session else {})

    async def begin(self, *abilities: str, version: str = "2025-11-25") -> None:
        params = {
            "protocolVersion": version,
            "capabilities": {name: {} for name in abilities},
            "clientInfo": {"name": "test", "version": "1"},
        }
        answer = await self.post("initialize", params)
        self.session = answer.headers["mcp-session-id"]

    async def post(self, method: str, params: dict[str, Any], id: int | None = 1) -> httpx.Response:
        body = {"jsonrpc": "2.0", "method": method, "params": params} | ({} if id is None else {"id": id})
        return await self.http.post("/mcp", json=body, headers=self.headers)

    async def result(self, method: str, **params: Any) -> Any:
        answer = (await self.post(method, params)).json()
        return answer.get("result", answer.get("error"))

    async def answer(self, id: str, result: Any) -> int:
        body = {"jsonrpc": "2.0", "id": id, "result": result}
        return (await self.http.post("/mcp", json=body, headers=self.headers)).status_code

    @asynccontextmanager
    async def calling(self, tool: str, arguments: dict[str, Any], id: int = 5) -> AsyncGenerator["Events"]:
        params = {"name": tool, "arguments": arguments, "_meta": {"progressToken": "p"}}
        body = {"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}
        async with self.http.stream("POST", "/mcp", json=body, headers=self.headers) as answer:
            assert answer.status_code == 200
            yield Events(answer)

    @asynccontextmanager
    async def listening(self, after: str = "") -> AsyncGenerator["Events"]:
        headers = self.headers | ({"last-event-id": after} if after else {})
        async with self.http.stream("GET", "/mcp", headers=headers) as answer:
            assert answer.status_code == 200, await answer.aread()
            yield Events(answer)


class Events:
    """The events of a stream, one after the other."""

    def __init__(self, answer: httpx.Response) -> None:
        self._lines = answer.aiter_lines()
        self.id = ""

    async def next(self) -> dict[str, Any] | None:
        """The next message; `None` at the end."""
        data: str | None = None
        async with asyncio.timeout(20):
            async for line in self._lines:
                if line.startswith("id: "):
                    self.id = line[4:]
                elif line.startswith("data: "):
                    data = line[6:]
                elif not line and data is not None:
                    if data:
                        return msgspec.json.decode(data)
                    data = None
        return None

    async def until(self, **wanted: Any) -> dict[str, Any]:
        """The next message with these members."""
        while (message := await self.next()) is not None:
            if all(message.get(name) == value for name, value in wanted.items()):
                return message
        raise AssertionError(f"the stream ended without {wanted}")


@asynccontextmanager
async def connected(house: House) -> AsyncGenerator[Client]:
    async with house.door.listening() as address:
        house.client.base_url = address
        headers = {"authorization": f"Bearer {house.door.token}"}
        async with httpx.AsyncClient(base_url=address, headers=headers, timeout=30) as http:
            yield Client(http)


@pytest.fixture
async def client(house: House) -> AsyncGenerator[Client]:
    async with connected(house) as client:
        yield client


@pytest.fixture
async def asking(home: Home) -> AsyncGenerator[House]:
    async with open_house(home, kinds={"ask": Kind(name="ask", params=Params, run=ask)}) as house:
        yield house


WAITED = {"kind": "ask", "params": {}, "wait": True}


@pytest.mark.parametrize(("decision", "status"), [("approve", "approved"), ("deny", "denied")])
async def test_person_at_the_client_is_asked_whole_and_the_answer_counts(
    asking: House, decision: str, status: str
) -> None:
    async with connected(asking) as client:
        await client.begin("elicitation")
        async with client.calling("tasks_run", WAITED) as events:
            question = await events.until(method="elicitation/create")
            assert "body: hi" in question["params"]["message"]
            assert question["params"]["requestedSchema"]["properties"]["decision"]["enum"] == [
                "approve",
                "deny",
            ]
            content = {"decision": decision, "note": "from here"}
            assert await client.answer(question["id"], {"action": "accept", "content": content}) == 202
            done = await events.until(id=5)
    task = done["result"]["structuredContent"]
    assert task["status"] == "succeeded"
    assert (task["result"]["text"], task["result"]["note"]) == (status, "from here")
    approval = await asking.app.ledger.read(lambda tx: approvals.page(tx)[0][0])
    assert (approval.status, approval.answered_by) == (status, "owner")


@pytest.mark.parametrize(
    "answer",
    [
        {"action": "decline"},
        {"action": "cancel"},
        {"action": "accept", "content": {"decision": "perhaps"}},
        {"action": "accept"},
        [],
    ],
)
async def test_what_is_no_answer_leaves_the_approval_where_it_was(asking: House, answer: Any) -> None:
    async with connected(asking) as client:
        await client.begin("elicitation")
        async with client.calling("tasks_run", WAITED) as events:
            question = await events.until(method="elicitation/create")
            await client.answer(
                "tawny-0000000000000000", {"action": "accept", "content": {"decision": "approve"}}
            )
            await client.answer(question["id"], answer)
            done = await events.until(id=5)
    assert done["result"]["structuredContent"]["waiting_for"]["kind"] == "approval"
    approval = await asking.app.ledger.read(lambda tx: approvals.page(tx)[0][0])
    assert approval.status == "pending"


async def test_answer_given_elsewhere_takes_the_question_back(asking: House) -> None:
    async with connected(asking) as client:
        await client.begin("elicitation")
        async with client.calling("tasks_run", WAITED) as events:
            question = await events.until(method="elicitation/create")
            (approval,) = (await asking.client.get("/v1/approvals?status=pending")).json()["items"]
            await asking.client.post(f"/v1/approvals/{approval['approval_id']}/deny", json={"note": "no"})
            back = await events.until(method="notifications/cancelled")
            assert back["params"]["requestId"] == question["id"]
            done = await events.until(id=5)
            late = {"action": "accept", "content": {"decision": "approve"}}
            assert await client.answer(question["id"], late) == 202
    assert done["result"]["structuredContent"]["result"]["text"] == "denied"


async def test_only_who_may_answer_and_can_be_asked_is_asked(asking: House) -> None:
    _, reader = await asking.door.token_with("read", "write")
    async with connected(asking) as client:
        owner = asking.door.token
        for abilities, token in ((), owner), (("sampling",), owner), (("elicitation",), reader):
            client.http.headers["authorization"] = f"Bearer {token}"
            client.session = ""
            await client.begin(*abilities)
            async with client.calling("tasks_run", WAITED) as events:
                while (message := await events.next()) is not None and "id" not in message:
                    pass
            assert message is not None
            assert message["result"]["structuredContent"]["waiting_for"]["kind"] == "approval"


async def test_another_credential_cannot_answer_for_a_session(asking: House) -> None:
    _, other = await asking.door.token_with("read", "write", "approvals")
    async with connected(asking) as client:
        await client.begin("elicitation")
        async with client.calling("tasks_run", WAITED) as events:
            question = await events.until(method="elicitation/create")
            accept = {"action": "accept", "content": {"decision": "approve"}}
            body = {"jsonrpc": "2.0", "id": question["id"], "result": accept}
            await client.http.post(
                "/mcp", json=body, headers={**client.headers, "authorization": f"Bearer {other}"}
            )
            (approval,) = (await asking.client.get("/v1/approvals")).json()["items"]
            assert approval["status"] == "pending"
            await client.answer(question["id"], {"action": "decline"})
            await events.until(id=5)


async def test_a_stream_that_was_cut_off_is_come_back_to_without_gap_or_repeat(client: Client) -> None:
    await client.begin()
    run = {"kind": "simulate", "params": {"steps": 30, "step_seconds": 0.05}, "wait": True}
    async with client.calling("tasks_run", run) as events:
        seen = [await events.until(method="notifications/progress") for _ in range(3)]
        place = events.id
    steps = [one["params"]["progress"] for one in seen]
    async with client.listening(after=place) as events:
        while (message := await events.next()) is not None:
            if message.get("method") == "notifications/progress":
                steps.append(message["params"]["progress"])
            last = message
    assert steps == sorted(set(steps))
    assert steps[-1] == 30
    assert last["id"] == 5
    assert last["result"]["structuredContent"]["status"] == "succeeded"
    async with client.listening(after=place) as events:  # it has ended: the answer is there again
        assert (await events.until(id=5))["result"]["isError"] is False


async def test_the_first_event_is_a_place_to_come_back_to(client: Client) -> None:
    await client.begin(version="2025-11-25")
    body = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "tasks_run", "arguments": SLOW | {"params": {"steps": 2, "step_seconds": 0.1}}},
    }
    answer = await client.http.post("/mcp", json=body, headers=client.headers)
    first = answer.text.split("\n\n")[0].split("\n")
    assert first[0] == "retry: 1000"
    assert first[1].startswith("id: ")
    assert first[2] == "data: "
    client.session = ""
    await client.begin(version="2025-06-18")
    answer = await client.http.post("/mcp", json=body, headers=client.headers)
    assert "data: \n" not in answer.text, "older clients take it for a broken message"


async def test_who_does_not_come_back_is_no_longer_waited_for(
    client: Client, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replies, "GRACE", 0.05)
    await client.begin()
    async with client.calling("tasks_run", SLOW) as events:
        await events.until(method="notifications/progress")
        place = events.id
    async with asyncio.timeout(20):
        while house.door.site.feed.devices:
            await asyncio.sleep(0.01)
    async with client.listening(after=place) as events:
        assert (await events.until(id=5))["result"]["structuredContent"]["status"] in ("queued", "running")


async def test_a_call_that_is_taken_back_ends_and_its_work_goes_on(client: Client) -> None:
    await client.begin()
    async with client.calling("tasks_run", SLOW, id=9) as events:
        await events.until(method="notifications/progress")
        assert (await client.post("notifications/cancelled", {"requestId": 9}, id=None)).status_code == 202
        done = await events.until(id=9)
    assert done["result"]["structuredContent"]["status"] in ("queued", "running")


async def test_watched_resources_tell_of_their_changes(client: Client, house: House) -> None:
    await client.begin()
    task = await house.run(params={"steps": 1000, "step_seconds": 0.05})
    other = await house.run(params={"steps": 3, "step_seconds": 0})
    uris = [f"tawny://tasks/{task['task_id']}", f"tawny://results/{task['task_id']}"]
    async with client.listening() as events:
        for uri in uris:
            assert await client.result("resources/subscribe", uri=uri) == {}
        told = await events.until(method="notifications/resources/updated")
        assert told["params"] == {"uri": uris[0]}, "progress is a change"
        await client.result("resources/unsubscribe", uri=uris[0])
        await house.client.post(f"/v1/tasks/{task['task_id']}/cancel")
        while told["params"]["uri"] != uris[1]:
            told = await events.until(method="notifications/resources/updated")
            assert other["task_id"] not in told["params"]["uri"]
    async with client.listening() as events:  # what was missed meanwhile is not known
        assert (await events.next() or {})["params"] == {"uri": uris[1]}


async def test_only_what_is_there_and_may_be_read_is_watched(client: Client, house: House) -> None:
    task = await house.run()
    uri = f"tawny://tasks/{task['task_id']}"
    assert (await client.result("resources/subscribe", uri=uri))["code"] == -32600, "no session"
    await client.begin()
    for wrong in ("tawny://tasks/task_none", "file:///etc/passwd", ""):
        assert (await client.result("resources/subscribe", uri=wrong))["code"] == -32002
    session = client_session(house, client)
    session.watched |= {f"tawny://tasks/{n}" for n in range(MAX_WATCHED)}
    assert (await client.result("resources/subscribe", uri=uri))["code"] == -32602
    _, writer = await house.door.token_with("write")
    client.http.headers["authorization"] = f"Bearer {writer}"
    client.session = ""
    await client.begin()
    assert (await client.result("resources/subscribe", uri=uri))["code"] == -32002


def client_session(house: House, client: Client) -> Session:
    owner = house.door.site.keyring.identify(bearer=house.door.token, cookie=None, address="127.0.0.1")
    found = house.door.gateway.mcp.sessions.find(owner.credential_id, client.session)
    assert found is not None
    return found


async def test_a_sessions_stream_ends_with_its_grant_with_the_session_and_with_a_newer_one(
    client: Client, house: House
) -> None:
    id, secret = await house.door.token_with("read")
    client.http.headers["authorization"] = f"Bearer {secret}"
    await client.begin()
    async with client.listening() as first, client.listening() as second:
        assert await first.next() is None
        ended = await client.http.delete("/mcp", headers=client.headers)
        assert ended.status_code == 204
        assert await second.next() is None
    assert (await client.http.get("/mcp", headers=client.headers)).status_code == 404
    assert (await client.http.delete("/mcp", headers=client.headers)).status_code == 404
    client.session = ""
    await client.begin()
    async with client.listening() as events:
        await house.client.delete(f"/v1/devices/{id}")
        assert await events.next() is None
    assert (await client.http.get("/mcp", headers=client.headers)).status_code == 401


async def test_a_session_older_than_the_process_goes_on_for_work(client: Client, house: House) -> None:
    await client.begin("elicitation")
    house.door.gateway.mcp.sessions = Sessions()  # as after a restart
    assert (await client.http.get("/mcp", headers=client.headers)).status_code == 404, (
        "what it watched is gone"
    )
    assert "tools" in await client.result("tools/list")
    assert client_session(house, client).abilities == {"elicitation"}
    client.session = "made-up"
    assert (await client.post("ping", {})).status_code == 404
    client.session = ""
    assert await client.result("ping") == {}, "work needs no session"


async def test_sessions_of_a_credential_are_bounded() -> None:
    sessions = Sessions()
    made = [sessions.begin("a", capabilities={}, version="2025-11-25") for _ in range(40)]
    assert [sessions.find("a", one.id) is not None for one in made] == [False] * 8 + [True] * 32
    assert sessions.find("b", made[-1].id) is None
    for odd in (None, [], "elicitation", {"elicitation": None}):
        begun = sessions.begin("c", capabilities=odd, version="2024-11-05")
        assert begun.abilities == ({"elicitation"} if isinstance(odd, dict) else set())
