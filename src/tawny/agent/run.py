"""One run of the agent: the model calls and tool calls of a turn, journaled, counted, watched for loops."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelResponse,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
)
from pydantic_ai.models import ModelRequestParameters

from tawny.agent import transcript
from tawny.agent.budgets import BudgetGate
from tawny.domain.shorten import shorten
from tawny.domain.tasks import Json, Usage
from tawny.engine.kinds import Context
from tawny.errors import PermanentError, Refused, TawnyError
from tawny.models import prices
from tawny.models.failures import ModelFailure
from tawny.models.router import Router
from tawny.models.spec import ModelSpec
from tawny.models.speech import Speech, sound
from tawny.tools.call import Calls

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
    """The state of one run: what `exchange.converse` asks and calls through."""

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
        wants: Callable[[int], None],
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
        self._wants = wants

    def again(self, bounds: Bounds) -> None:
        """Begin from the first model call once more; what is journaled comes from the journal."""
        self.calls = self.tool_calls = 0
        self.started_tasks.clear()
        self._bounds = bounds
        self._door = self._calls_through()

    # --- model calls

    async def model_call(
        self, messages: Sequence[ModelMessage], parameters: ModelRequestParameters
    ) -> ModelResponse:
        """One model call, paid for once: the answer is journaled."""
        self.calls += 1
        number = self.calls
        if number > self._bounds.model_calls:
            raise Ended(f"this turn has made {number - 1} model calls, more than one turn may")

        key = f"model:{number}"
        if not self.ctx.is_recorded(key):
            await self._gate.before(number, self.context_tokens, self.router.specs)
        answered: list[ModelResponse] = []

        async def call() -> Json:
            try:
                answer, spec = await self.router.attempt(
                    lambda: self._listen(messages, parameters), retrying=lambda: self._tell("", "void")
                )
            except BaseException:
                self._gate.failed(number)
                raise
            usage = spent(answer, spec)
            self.ctx.spend(usage)
            self._gate.after(number, self._counted(usage, answer))
            answered.append(answer)
            return {
                "model": spec.label,
                "answer": ModelMessagesTypeAdapter.dump_python([answer], mode="json")[0],
            }

        record: Any = await self.ctx.step(key, call, input={"call": number}, name=f"model call {number}")
        if answered:
            return answered[0]
        return ModelMessagesTypeAdapter.validate_python([record["answer"]])[0]  # pyright: ignore[reportReturnType]

    def _counted(self, usage: Usage, answer: ModelResponse) -> Usage:
        """What counts against the budgets: of a server that does not count, about what it must have been."""
        if usage.input_tokens or usage.output_tokens:
            return usage
        return msgspec.structs.replace(
            usage,
            input_tokens=self.context_tokens,
            output_tokens=transcript.size(answer) // transcript.CHARS_PER_TOKEN,
        )

    async def _listen(
        self, messages: Sequence[ModelMessage], parameters: ModelRequestParameters
    ) -> ModelResponse:
        """The model's answer, passed on while it is made."""
        speech = Speech(self._tell)
        async with self.router.stream(messages, parameters) as events:
            async for event in events:
                if isinstance(event, PartStartEvent):
                    speech.end()
                    speech = Speech(self._tell)
                    if isinstance(event.part, TextPart) and event.part.content:
                        speech.hear(event.part.content)
                elif isinstance(event, PartDeltaEvent) and isinstance(event.delta, TextPartDelta):
                    speech.hear(event.delta.content_delta)
            speech.end()
            return sound(events.get())

    # --- tool calls

    def announce(self, calls: int) -> None:
        """Say how many more calls are about to be made."""
        self._wants(self.tool_calls + calls)

    async def tool_call(self, name: str, arguments: dict[str, Any], *, call_id: str) -> tuple[str, list[str]]:
        """One tool call through the door: what the model gets to read, and what was said to it meanwhile."""
        self._tell(name, "tool")
        call_id = f"{self.calls}:{call_id}"
        self.tool_calls += 1
        if self.tool_calls > self._bounds.tool_calls:
            raise Ended(f"this turn has made {self.tool_calls - 1} tool calls, more than one turn may")
        number = self.tool_calls
        is_new = not self.ctx.is_recorded(f"call:{call_id}")
        if is_new:
            await self._gate.before_tool(number)
        result = await self._through_the_door(call_id, name, arguments)
        if is_new:
            self._gate.after_tool(number)
        text = result if isinstance(result, str) else json.dumps(result, ensure_ascii=False)
        text = shorten(text, self._bounds.result_chars)
        self._remember(name, arguments, result)
        return text, await self._steer(call_id)

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


def spent(answer: ModelResponse, spec: ModelSpec) -> Usage:
    """What an answer says it has used, and what that costs."""
    tokens_in, tokens_out = answer.usage.input_tokens, answer.usage.output_tokens
    return Usage(
        input_tokens=tokens_in,
        output_tokens=tokens_out,
        cost=prices.cost(spec, input_tokens=tokens_in, output_tokens=tokens_out),
        model_calls=1,
    )


def is_overflow(error: BaseException) -> bool:
    return isinstance(error, ModelFailure) and error.kind == "context_overflow"
