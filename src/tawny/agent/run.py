"""One run of the agent: the model calls and tool calls of a turn, journaled, counted, watched for loops."""

import copy
import json
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping
from typing import Any

import msgspec
from pydantic_ai import Agent, RunContext, Tool
from pydantic_ai.messages import (
    AgentStreamEvent,
    FunctionToolCallEvent,
    ModelMessage,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
)

from tawny.agent.budgets import BudgetGate
from tawny.agent.journal import Journal, current
from tawny.domain.shorten import shorten
from tawny.domain.tasks import Effect, Json, Usage
from tawny.engine.kinds import Context
from tawny.errors import PermanentError, Refused, TawnyError
from tawny.log import Log
from tawny.models import prices
from tawny.models.failures import ModelFailure
from tawny.models.router import Router
from tawny.models.spec import ModelSpec
from tawny.tools.call import Calls
from tawny.tools.registry import Tool as OurTool

_RETRIES = 3
_log = Log("agent.run")
Tell = Callable[[str, str], None]
"""Hears what is said while it is said: text and kind (text, tool, void)."""


class Ended(PermanentError):
    """The run was ended by one of its own guards; the message is for the person."""

    code = "ended"


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """How much one run may do; tool results are cut at `result_chars`."""

    model_calls: int = 50
    tool_calls: int = 100
    result_chars: int = 60_000


class Run:
    """The state of one run, handed to the library as its `deps`."""

    def __init__(
        self,
        ctx: Context,
        *,
        session: str,
        router: Router,
        calls_through: Callable[[], Calls],
        tell: Tell,
        gate: BudgetGate,
        bounds: Bounds,
        steer: Callable[[str], Awaitable[list[str]]],
        around_tool: Callable[[str], Callable[[], None]],
    ) -> None:
        self.ctx = ctx
        self.run_id = ctx.task.task_id
        self.session = session
        self.router = router
        self.context_tokens = 0
        self.calls = 0
        self.tool_calls = 0
        self.started_tasks: list[str] = []
        self.silent = False
        self._calls_through = calls_through
        self._door = calls_through()
        self._tell = tell
        self._gate = gate
        self._bounds = bounds
        self._steer = steer
        self._around_tool = around_tool

    def again(self, bounds: Bounds) -> None:
        """Begin from the first model call once more; what is journaled comes from the journal."""
        self.calls = self.tool_calls = 0
        self.started_tasks.clear()
        self._bounds = bounds
        self._door = self._calls_through()

    # --- model calls

    async def model_call(self, body: Callable[[], Awaitable[object]]) -> object:
        """One model call, paid for once: the answer is journaled."""
        self.calls += 1
        number = self.calls
        if number > self._bounds.model_calls:
            raise Ended(f"this turn has made {number - 1} model calls, more than one turn may")

        key = f"model:{number}"
        if not self.ctx.is_recorded(key):
            await self._gate.before(number, self.context_tokens)

        async def call() -> Json:
            try:
                payload, spec = await self.router.attempt(body, retrying=lambda: self._tell("", "void"))
            except BaseException:
                self._gate.failed(number)
                raise
            usage = _spent(payload, spec)
            self.ctx.spend(usage)
            self._gate.after(number, usage)
            return {"model": spec.label, "answer": payload}

        record: Any = await self.ctx.step(key, call, input={"call": number}, name=f"model call {number}")
        return record["answer"]

    # --- tool calls

    async def tool_call(self, rc: RunContext["Run"], name: str, arguments: dict[str, Any]) -> str:
        """One tool call through the door; what the model gets to read."""
        call_id = f"{self.calls}:{rc.tool_call_id}"
        self.tool_calls += 1
        if self.tool_calls > self._bounds.tool_calls:
            raise Ended(f"this turn has made {self.tool_calls - 1} tool calls, more than one turn may")
        result = await self._through_the_door(call_id, name, arguments)
        text = result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)
        text = shorten(text, self._bounds.result_chars)
        self._remember(name, arguments, result)
        for said in await self._steer(call_id):
            rc.enqueue(said)
        return text

    async def _through_the_door(self, call_id: str, name: str, arguments: dict[str, Any]) -> Json:
        settle = self._around_tool(name)
        try:
            return await self._door.call(name, arguments, call_id=call_id)
        except Refused as error:
            return {"refused": error.message, **({"hint": error.hint} if error.hint else {})}
        except TawnyError as error:
            if error.code == "loop":
                raise Ended(error.message) from error
            return {"error": error.message, **({"hint": error.hint} if error.hint else {})}
        finally:
            settle()

    def _remember(self, name: str, arguments: Mapping[str, Any], result: Json) -> None:
        if not isinstance(result, dict):
            return
        document: dict[str, Any] = result  # pyright: ignore[reportUnknownVariableType]
        task_id = document.get("task_id")
        if (
            name in ("tasks", "spawn")
            and isinstance(task_id, str)
            and arguments.get("action", "run") == "run"
        ):
            self.started_tasks.append(task_id)
        if name == "finish" and arguments.get("notify") is False:
            self.silent = True

    # --- what is streamed

    async def stream(self, events: AsyncIterable[AgentStreamEvent]) -> None:
        """Pass on what the model says while it says it."""
        async for event in events:
            if isinstance(event, PartStartEvent):
                if isinstance(event.part, TextPart) and event.part.content:
                    self._tell(event.part.content, "text")
            elif isinstance(event, PartDeltaEvent):
                if isinstance(event.delta, TextPartDelta):
                    self._tell(event.delta.content_delta, "text")
            elif isinstance(event, FunctionToolCallEvent):
                self._tell(event.part.tool_name, "tool")


def _spent(payload: Any, spec: ModelSpec) -> Usage:
    """What an answer says it has used. `payload` is the library's response as JSON."""
    used: dict[str, Any] = payload.get("usage") or {}
    tokens_in, tokens_out = int(used.get("input_tokens") or 0), int(used.get("output_tokens") or 0)
    return Usage(
        input_tokens=tokens_in,
        output_tokens=tokens_out,
        cost=prices.cost(spec, input_tokens=tokens_in, output_tokens=tokens_out),
        model_calls=1,
    )


async def _stream(rc: RunContext[Run], events: AsyncIterable[AgentStreamEvent]) -> None:
    await rc.deps.stream(events)


class _Schema(dict[str, Any]):
    """A schema that nobody edits: the library copies every tool's for every request, and may have this one itself."""

    def __copy__(self) -> "_Schema":
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        # A provider that rewrites schemas gets one of its own.
        return copy.deepcopy(dict(self), memo)


def schema_of(tool: OurTool) -> dict[str, Any]:
    """The JSON schema of a tool's parameters, as models want it: an object at the top."""
    (top,), parts = msgspec.json.schema_components([tool.params], ref_template="#/$defs/{name}")
    name = str(top["$ref"]).rpartition("/")[2]
    schema = dict(parts.pop(name))
    schema.setdefault("properties", {})
    if parts:
        schema["$defs"] = parts
    return _Schema(schema)


def _as_library_tool(tool: OurTool) -> Tool[Run]:
    async def call(rc: RunContext[Run], **arguments: Any) -> str:
        return await rc.deps.tool_call(rc, tool.name, arguments)

    return Tool[Run].from_schema(
        call,
        name=tool.name,
        description=tool.description,
        json_schema=schema_of(tool),
        takes_ctx=True,
        # Reads may overlap; what has an effect runs alone and in order, so that a wait in one cuts off no other.
        sequential=tool.effect is not Effect.PURE,
    )


class Agents:
    """The library's agents: one for each set of tools, built when first needed."""

    def __init__(self, router: Router, tools: Mapping[str, OurTool]) -> None:
        self._router = router
        self._tools = tools
        self._built: dict[tuple[frozenset[str], int], Agent[Run, str]] = {}

    def get(self, names: frozenset[str], router: Router | None = None) -> Agent[Run, str]:
        router = router or self._router
        agent = self._built.get((names, id(router)))
        if agent is None:
            agent = self._built[names, id(router)] = Agent(
                router,
                name="tawny",
                deps_type=Run,
                output_type=str,
                tools=[_as_library_tool(tool) for name, tool in self._tools.items() if name in names],
                retries=_RETRIES,
                capabilities=[Journal(event_stream_handler=_stream)],
            )
        return agent


async def converse(
    agent: Agent[Run, str],
    run: Run,
    *,
    text: str,
    instructions: str,
    history: list[ModelMessage],
) -> tuple[str, list[ModelMessage]]:
    """One exchange: the answer, and the messages it added (the person's included).

    Raises:
        ModelFailure, ModelsUnavailable: the model could not be had.
        Ended: a guard ended the run.
    """
    token = current.set(run)
    try:
        result = await agent.run(text, deps=run, instructions=instructions, message_history=history)
    finally:
        current.reset(token)
    return result.output, result.new_messages()


def is_overflow(error: BaseException) -> bool:
    return isinstance(error, ModelFailure) and error.kind == "context_overflow"
