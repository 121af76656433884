"""`/mcp`: our tasks, automations and approvals as an MCP server (streamable HTTP, JSON answers, no sessions to lose).

A small handler of our own: the SDK would cost a third of a second at the start and is a client of the same operations;
why, and what it leaves out, stands in docs/decisions/0061-mcp.md.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from starlette.types import Receive, Scope, Send

from tawny import __version__
from tawny.errors import InvalidInput, TawnyError
from tawny.gateway.endpoint import answer, client_address, decode, header, principal_of, read_body
from tawny.gateway.errors import HttpError, internal
from tawny.gateway.operation import Operation, checked, perform
from tawny.gateway.principal import APPROVALS, READ, WRITE, Principal
from tawny.gateway.site import Site
from tawny.gateway.socket import call_of
from tawny.log import Log

VERSIONS = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
PARSE_ERROR, INVALID_REQUEST, NO_METHOD, BAD_PARAMS, FAILED = -32700, -32600, -32601, -32602, -32603
_encode = msgspec.json.Encoder().encode
_log = Log("gateway.mcp")

Json = dict[str, Any]


class McpTool(msgspec.Struct, frozen=True, kw_only=True):
    """One of the contract's tools: the operation behind it, and what of the arguments it takes."""

    name: str
    title: str
    description: str
    operation: str
    scope: str
    properties: Json
    required: tuple[str, ...] = ()
    read_only: bool = False
    destructive: bool = False
    arrange: Callable[[Json], tuple[str, Json]] | None = None

    def document(self) -> Json:
        schema: Json = {"type": "object", "properties": self.properties, "additionalProperties": False}
        if self.required:
            schema["required"] = list(self.required)
        return {
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "inputSchema": schema,
            "annotations": {"readOnlyHint": self.read_only, "destructiveHint": self.destructive},
        }


_TEXT: Json = {"type": "string"}
_ID: Json = {"type": "string", "description": "the id, as the list tells it"}
_LIMIT: Json = {"type": "integer", "minimum": 1, "maximum": 500}


def _answering(arguments: Json) -> tuple[str, Json]:
    rest = dict(arguments)
    decision = rest.pop("decision", None)
    if decision not in ("approve", "deny"):
        raise InvalidInput("decision: approve or deny is expected")
    return f"approvals.{decision}", rest


def _sending(arguments: Json) -> tuple[str, Json]:
    """A message is work like any other: it passes the same rules and is owed until it has arrived."""
    return "tasks.run", {
        "kind": "remind",
        "params": {"text": arguments.get("text")},
        "title": "Message",
        "notify": "done_only",
        "delivery": {"channels": [arguments.get("channel", "inbox")]},
    }


TOOLS = (
    McpTool(
        name="tasks_run",
        title="Run a task",
        description="Hand in durable background work; it is finished, or says plainly why not.",
        operation="tasks.run",
        scope=WRITE,
        properties={
            "kind": {"type": "string", "description": "such as command, http, agent_turn, remind, flow"},
            "params": {"type": "object"},
            "title": _TEXT,
            "priority": {"enum": ["interactive", "high", "normal", "low", "idle"]},
            "timeout": {"type": "string", "description": "such as 10m"},
            "not_before": {"type": "string", "description": "a time, or a duration from now"},
            "delivery": {"type": "object"},
            "dedupe_key": _TEXT,
        },
        required=("kind",),
        destructive=True,
    ),
    McpTool(
        name="tasks_list",
        title="List tasks",
        description="Tasks, newest first; status may be several with commas.",
        operation="tasks.list",
        scope=READ,
        properties={"status": _TEXT, "runtime": _TEXT, "session": _TEXT, "limit": _LIMIT, "cursor": _TEXT},
        read_only=True,
    ),
    McpTool(
        name="tasks_get",
        title="Look at a task",
        description="One task with its progress, log and result.",
        operation="tasks.get",
        scope=READ,
        properties={"id": _ID},
        required=("id",),
        read_only=True,
    ),
    McpTool(
        name="tasks_cancel",
        title="Cancel a task",
        description="Cancel a task and its children.",
        operation="tasks.cancel",
        scope=WRITE,
        properties={"id": _ID},
        required=("id",),
        destructive=True,
    ),
    McpTool(
        name="automations_list",
        title="List automations",
        description="Standing orders, with their next times.",
        operation="automations.list",
        scope=READ,
        properties={"status": _TEXT, "type": _TEXT, "limit": _LIMIT, "cursor": _TEXT},
        read_only=True,
    ),
    McpTool(
        name="automations_add",
        title="Add an automation",
        description="A standing order: what triggers it, what it does, where its result goes.",
        operation="automations.add",
        scope=WRITE,
        properties={
            "name": _TEXT,
            "type": {"enum": ["scheduled", "delayed", "event", "continuous"]},
            "schedule": {"type": "object"},
            "on": {"type": "object"},
            "watch": {"type": "object"},
            "action": {"type": "object"},
            "delivery": {"type": "object"},
            "policy": {"type": "object"},
        },
        required=("name", "action"),
    ),
    McpTool(
        name="approvals_list",
        title="List approvals",
        description="What waits for a person's yes, then what was answered.",
        operation="approvals.list",
        scope=READ,
        properties={"status": _TEXT, "task_id": _TEXT, "limit": _LIMIT, "cursor": _TEXT},
        read_only=True,
    ),
    McpTool(
        name="approvals_answer",
        title="Answer an approval",
        description="Say yes or no for the person whose token this is. The first answer wins.",
        operation="approvals.approve",
        scope=APPROVALS,
        properties={
            "id": _ID,
            "decision": {"enum": ["approve", "deny"]},
            "always": {"type": "boolean"},
            "arguments": {"type": "object"},
            "note": _TEXT,
        },
        required=("id", "decision"),
        destructive=True,
        arrange=_answering,
    ),
    McpTool(
        name="send_message",
        title="Send a message",
        description="Bring a text to the owner, in the inbox or on a channel.",
        operation="tasks.run",
        scope=WRITE,
        properties={"text": _TEXT, "channel": {"type": "string", "description": "inbox unless told"}},
        required=("text",),
        arrange=_sending,
    ),
)
BY_NAME = {tool.name: tool for tool in TOOLS}


class _Fault(Exception):
    """An error of JSON-RPC itself."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class McpEndpoint:
    """POST takes one message (or a batch, as older clients send); there is nothing to GET, and no session to end."""

    def __init__(self, site: Site, operations: Mapping[str, Operation]) -> None:
        self._site = site
        self._operations = operations

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            raise HttpError(405, "method_not_allowed", "only POST is served here", headers={"allow": "POST"})
        version = header(scope, b"mcp-protocol-version")
        if version is not None and version not in VERSIONS:
            raise HttpError(400, "unsupported_version", f"protocol version {version!r} is not spoken here")
        try:
            message = decode(await read_body(receive))
        except HttpError as error:
            if error.status != 400:
                raise
            await answer(send, 400, _fault(None, PARSE_ERROR, error.message))
            return
        principal, address = principal_of(scope), client_address(scope)
        if isinstance(message, list):
            found = [await self._one(entry, principal, address) for entry in message]  # pyright: ignore[reportUnknownVariableType]
            answers: Any = [entry for entry in found if entry is not None] or None
        else:
            answers = await self._one(message, principal, address)
        if answers is None:
            await send({"type": "http.response.start", "status": 202, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        await answer(send, 200, answers)

    async def _one(self, message: Any, principal: Principal, address: str) -> Json | None:
        """The answer to one message; `None` to what expects none."""
        if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":  # pyright: ignore[reportUnknownMemberType]
            return _fault(None, INVALID_REQUEST, "a JSON-RPC 2.0 message is expected")
        request: Json = message  # pyright: ignore[reportUnknownVariableType]
        id = request.get("id")
        method = request.get("method")
        if not isinstance(method, str):
            return (
                None
                if "result" in request or "error" in request
                else _fault(id, INVALID_REQUEST, "no method")
            )
        if "id" not in request:
            return None  # a notification
        params = request.get("params")
        given: Json = params if isinstance(params, dict) else {}  # pyright: ignore[reportUnknownVariableType]
        try:
            return {
                "jsonrpc": "2.0",
                "id": id,
                "result": await self._result(method, given, principal, address),
            }
        except _Fault as fault:
            return _fault(id, fault.code, str(fault))

    async def _result(self, method: str, params: Json, principal: Principal, address: str) -> Json:
        if method == "initialize":
            return _initialized(params)
        if method == "ping":
            return {}
        if method == "tools/list":
            return {"tools": [tool.document() for tool in TOOLS if tool.scope in principal.scopes]}
        if method == "tools/call":
            return await self._call(params, principal, address)
        raise _Fault(NO_METHOD, f"there is no method {method!r}")

    async def _call(self, params: Json, principal: Principal, address: str) -> Json:
        tool = BY_NAME.get(str(params.get("name")))
        if tool is None or tool.scope not in principal.scopes:
            raise _Fault(BAD_PARAMS, f"there is no tool {params.get('name')!r}")
        try:
            arguments: Json = checked(params.get("arguments") or {}, dict[str, Any], what="arguments")
        except InvalidInput as error:
            raise _Fault(BAD_PARAMS, error.message) from None
        try:
            unknown = arguments.keys() - tool.properties.keys()
            if unknown:
                raise InvalidInput(f"{tool.name}: unknown argument {min(unknown)!r}")
            name, arguments = tool.arrange(arguments) if tool.arrange else (tool.operation, arguments)
            operation = self._operations[name]
            call, raw = call_of(
                operation, arguments, site=self._site, principal=principal, via="mcp", address=address
            )
            document = (await perform(operation, call, raw_body=raw)).document
        except TawnyError as error:
            hint = f" ({error.hint})" if error.hint else ""
            return {"content": [{"type": "text", "text": error.message + hint}], "isError": True}
        except Exception as error:  # noqa: BLE001 - the same last net as the guard's
            _log.error("tool failed", exc=error, tool=tool.name)
            raise _Fault(FAILED, internal().message) from None
        return {
            "content": [{"type": "text", "text": _encode(document).decode()}],
            "structuredContent": document,
            "isError": False,
        }


def _initialized(params: Json) -> Json:
    wanted = params.get("protocolVersion")
    return {
        "protocolVersion": wanted if wanted in VERSIONS else VERSIONS[0],
        "capabilities": {"tools": {"listChanged": False}},
        "serverInfo": {"name": "tawny", "title": "Tawny", "version": __version__},
        "instructions": (
            "Durable background work of one person's assistant. tasks_run hands in work and answers at once; "
            "look at it with tasks_get. What needs a person's yes waits in approvals_list."
        ),
    }


def _fault(id: Any, code: int, message: str) -> Json:
    return {"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}}
