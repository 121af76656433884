"""The built-in model: deterministic, offline, no key. It shows what Tawny does; it does not think."""

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

from pydantic_ai.messages import (
    ModelMessage,
    ModelResponse,
    RetryFeedbackPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, DeltaToolCalls, FunctionModel

from tawny.domain.smalltalk import Call, Result, answer


def demo_model() -> FunctionModel:
    """The demo model, as the library takes it."""
    return FunctionModel(stream_function=_stream, model_name="demo")


async def _stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str | DeltaToolCalls]:
    text, results = _newest(messages)
    reply = answer(text, results)
    if isinstance(reply, Call):
        if any(tool.name == reply.tool for tool in info.function_tools):
            call_id = f"demo_{sum(len(message.parts) for message in messages)}"
            yield {0: DeltaToolCall(reply.tool, json.dumps(reply.arguments), tool_call_id=call_id)}
            return
        reply = f"I have no tool {reply.tool!r} here."
    for word in reply.split(" "):
        yield word + " "


def _newest(messages: Sequence[ModelMessage]) -> tuple[str, list[Result]]:
    """The newest words of the user, and what tools have answered since."""
    text = ""
    calls: dict[str, Call] = {}
    results: list[Result] = []
    for message in messages:
        if isinstance(message, ModelResponse):
            for part in message.parts:
                if isinstance(part, ToolCallPart):
                    calls[part.tool_call_id] = Call(part.tool_name, part.args_as_dict())
            continue
        for part in message.parts:
            if isinstance(part, UserPromptPart):
                text, results = _text(part.content), []
            elif isinstance(part, ToolReturnPart):
                call = calls.get(part.tool_call_id, Call(part.tool_name, {}))
                wrong = part.outcome != "success"
                results.append(Result(call, {"error": str(part.content)} if wrong else part.content))
            elif isinstance(part, RetryFeedbackPart):
                results.append(Result(Call("", {}), {"error": str(part.content)}))
    return text, results


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(item for item in content if isinstance(item, str))
