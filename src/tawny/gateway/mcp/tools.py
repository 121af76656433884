"""The contract's tools: the operation behind each, and what of its arguments it takes."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from tawny.errors import InvalidInput, TawnyError
from tawny.gateway.errors import internal
from tawny.gateway.mcp import asking
from tawny.gateway.mcp.caller import FAILED, Caller, Fault, Json
from tawny.gateway.mcp.waiting import until_rest
from tawny.gateway.principal import APPROVALS, READ, WRITE
from tawny.log import Log

_encode = msgspec.json.Encoder().encode
_log = Log("gateway.mcp")


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """One tool. `act` makes the whole result; without it the document of `operation` is the result."""

    name: str
    title: str
    description: str
    scope: str
    operation: str = ""
    properties: Json = {}
    extra: Json = {}
    """More keywords of the arguments' schema."""
    required: tuple[str, ...] = ()
    read_only: bool = False
    destructive: bool = False
    as_task: bool = False
    """May be called as a task of MCP: the caller gets a handle at once and asks for the result later."""
    arrange: Callable[[Json], tuple[str, Json]] | None = None
    act: Callable[[Caller, Json], Awaitable[Json]] | None = None

    def document(self) -> Json:
        schema: Json = {
            "type": "object",
            "properties": self.properties,
            "additionalProperties": False,
            **self.extra,
        }
        if self.required:
            schema["required"] = list(self.required)
        document: Json = {
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "inputSchema": schema,
            "annotations": {"readOnlyHint": self.read_only, "destructiveHint": self.destructive},
        }
        if self.as_task:
            document["execution"] = {"taskSupport": "optional"}
        return document

    async def call(self, caller: Caller, arguments: Json) -> Json:
        """The result, or the mistake in words that a model can mend.

        Raises:
            Fault: a mistake of ours.
        """
        try:
            unknown = arguments.keys() - self.properties.keys()
            if unknown:
                raise InvalidInput(f"{self.name}: unknown argument {min(unknown)!r}")
            if self.act is not None:
                return await self.act(caller, arguments)
            name, arguments = self.arrange(arguments) if self.arrange else (self.operation, arguments)
            return result_of(await caller.perform(name, arguments))
        except TawnyError as error:
            hint = f" ({error.hint})" if error.hint else ""
            return {"content": [{"type": "text", "text": error.message + hint}], "isError": True}
        except Exception as error:  # noqa: BLE001 - the same last net as the guard's
            _log.error("tool failed", exc=error, tool=self.name)
            raise Fault(FAILED, internal().message) from None


def result_of(document: Any) -> Json:
    """A document as a tool's result: as text for the model, as structure for its program."""
    return {
        "content": [{"type": "text", "text": _encode(document).decode()}],
        "structuredContent": document,
        "isError": False,
    }


async def _run(caller: Caller, arguments: Json) -> Json:
    """Hand in work; with `wait` its answer is held until the task rests, a minute at most.

    Where the client can ask its person, what the task waits for is asked there, too.
    """
    rest = dict(arguments)
    wait = rest.pop("wait", False)
    if not isinstance(wait, bool):
        raise InvalidInput("wait: true or false is expected")
    document = await caller.perform("tasks.run", rest)
    if wait:
        document = await until_rest(caller, document["task_id"])
        while (question := await asking.pending(caller, document)) and await asking.put(caller, question):
            document = await until_rest(caller, document["task_id"])
    return result_of(document)


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
    Tool(
        name="tasks_run",
        title="Run a task",
        description="Hand in durable background work; it is finished, or says plainly why not.",
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
            "wait": {
                "type": "boolean",
                "description": "hold the answer until it has ended or needs a person, a minute at most",
            },
        },
        required=("kind",),
        destructive=True,
        as_task=True,
        act=_run,
    ),
    Tool(
        name="tasks_list",
        title="List tasks",
        description="Tasks, newest first; q finds them by words; status may be several with commas.",
        operation="tasks.list",
        scope=READ,
        properties={
            "q": {"type": "string", "description": "words of title, parameters, result or error"},
            "status": _TEXT,
            "kind": _TEXT,
            "runtime": _TEXT,
            "session": _TEXT,
            "limit": _LIMIT,
            "cursor": _TEXT,
        },
        read_only=True,
    ),
    Tool(
        name="tasks_get",
        title="Look at a task",
        description="One task with its progress, log and result.",
        operation="tasks.get",
        scope=READ,
        properties={"id": _ID},
        required=("id",),
        read_only=True,
    ),
    Tool(
        name="tasks_cancel",
        title="Cancel a task",
        description="Cancel a task and its children.",
        operation="tasks.cancel",
        scope=WRITE,
        properties={"id": _ID},
        required=("id",),
        destructive=True,
    ),
    Tool(
        name="automations_list",
        title="List automations",
        description="Standing orders, with their next times.",
        operation="automations.list",
        scope=READ,
        properties={"status": _TEXT, "type": _TEXT, "limit": _LIMIT, "cursor": _TEXT},
        read_only=True,
    ),
    Tool(
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
    Tool(
        name="approvals_list",
        title="List approvals",
        description="What waits for a person's yes, then what was answered.",
        operation="approvals.list",
        scope=READ,
        properties={"status": _TEXT, "task_id": _TEXT, "limit": _LIMIT, "cursor": _TEXT},
        read_only=True,
    ),
    Tool(
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
    Tool(
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
