"""Between the library's messages and the entries of a transcript; and how big each is."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelResponse,
    RetryFeedbackPart,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)

from tawny.ledger.sessions import Entry

CHARS_PER_TOKEN = 4
CONTEXT_OVERHEAD = 3000
"""Tokens of the system prompt and the tools' schemas, roughly."""
_KEPT = frozenset({"parts", "kind", "provider_name", "provider_details", "model_name", "finish_reason"})


def to_entries(messages: Sequence[ModelMessage]) -> list[Entry]:
    """Transcript entries for new messages, without what is repeated anyway (instructions, usage, ids of runs)."""
    documents: list[dict[str, Any]] = ModelMessagesTypeAdapter.dump_python(list(messages), mode="json")
    return [
        Entry(role=role(message), text=text(message), message=_compact(document))
        for message, document in zip(messages, documents, strict=True)
    ]


def _compact(document: dict[str, Any]) -> str:
    kept = {key: value for key, value in document.items() if key in _KEPT and value is not None}
    kept["parts"] = [
        {key: value for key, value in part.items() if value is not None} for part in kept["parts"]
    ]
    return json.dumps(kept, ensure_ascii=False, separators=(",", ":"))


def from_entries(entries: Sequence[Entry]) -> list[ModelMessage]:
    """The library's messages of entries, in order; entries without one (events for people) are left out."""
    texts = [entry.message for entry in entries if entry.message]
    return valid(ModelMessagesTypeAdapter.validate_json(f"[{','.join(texts)}]"))


def valid(messages: list[ModelMessage]) -> list[ModelMessage]:
    """Messages a provider accepts: every tool call answered right after it, no answer alone, roles in turn."""
    result: list[ModelMessage] = []
    open_calls: dict[str, ToolCallPart] = {}
    for message in messages:
        if isinstance(message, ModelResponse):
            _close(result, open_calls)
            open_calls = {part.tool_call_id: part for part in message.parts if isinstance(part, ToolCallPart)}
            _add(result, message)
            continue
        parts = [
            part
            for part in message.parts
            if not isinstance(part, ToolReturnPart) or part.tool_call_id in open_calls
        ]
        answered = {part.tool_call_id for part in parts if isinstance(part, ToolReturnPart)}
        for call_id in answered:
            open_calls.pop(call_id)
        if answered:
            parts.extend(_lost(call) for call in open_calls.values())
            open_calls = {}
        else:
            _close(result, open_calls)
        if parts:
            _add(result, message if len(parts) == len(message.parts) else ModelRequest(parts=parts))
    _close(result, open_calls)
    return result


def _add(result: list[ModelMessage], message: ModelMessage) -> None:
    """Put a message behind the others; what one side says twice in a row (a result that was told) is one message."""
    last = result[-1] if result else None
    if isinstance(last, ModelResponse) and isinstance(message, ModelResponse):
        result[-1] = replace(last, parts=[*last.parts, *message.parts])
    elif isinstance(last, ModelRequest) and isinstance(message, ModelRequest):
        result[-1] = ModelRequest(parts=[*last.parts, *message.parts])
    else:
        result.append(message)


def _close(result: list[ModelMessage], open_calls: dict[str, ToolCallPart]) -> None:
    if open_calls:
        _add(result, ModelRequest(parts=[_lost(call) for call in open_calls.values()]))
        open_calls.clear()


def _lost(call: ToolCallPart) -> ToolReturnPart:
    return ToolReturnPart(
        tool_name=call.tool_name,
        content="(no result: the call was interrupted)",
        tool_call_id=call.tool_call_id,
    )


def role(message: ModelMessage) -> str:
    """user, assistant or tool."""
    if isinstance(message, ModelResponse):
        return "assistant"
    return "tool" if any(isinstance(part, ToolReturnPart) for part in message.parts) else "user"


def text(message: ModelMessage) -> str:
    """What a person reads of a message."""
    lines: list[str] = []
    for part in message.parts:
        if isinstance(part, TextPart):
            lines.append(part.content)
        elif isinstance(part, UserPromptPart):
            lines.append(part.content if isinstance(part.content, str) else str(part.content))
        elif isinstance(part, ToolReturnPart):
            lines.append(f"{part.tool_name}\n{part.model_response_str()}")
        elif isinstance(part, ToolCallPart):
            lines.append(f"(uses {part.tool_name})")
        elif isinstance(part, RetryFeedbackPart):
            lines.append(str(part.content))
    return "\n".join(lines).strip()


def size(message: ModelMessage) -> int:
    """The characters of a message, those of its calls' arguments included."""
    calls = (part for part in message.parts if isinstance(part, ToolCallPart))
    return len(text(message)) + sum(len(part.args_as_json_str()) for part in calls)


def user(content: str) -> ModelMessage:
    return ModelRequest(parts=[UserPromptPart(content)])


def assistant(content: str) -> ModelMessage:
    return ModelResponse(parts=[TextPart(content)])
