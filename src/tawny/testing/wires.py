"""How model servers speak, as published: OpenAI's chat completions, Anthropic's messages, Google's generateContent.

Each wire reads a request into messages with roles, and writes an answer as the frames of its stream.
"""

import json
from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

Body = dict[str, Any]
Call = tuple[str, Body | str]
"""A tool's name and its arguments; given as a text they are sent as they are."""


class Wire(Protocol):
    """One protocol, as the scripted server needs it."""

    def messages(self, body: Body) -> list[Body]:
        """The request's messages: `{"role": "user│assistant│tool│system", "content": text}`."""
        ...

    def text(self, body: Body, pieces: Sequence[str]) -> list[bytes]:
        """The frames of an answer in words, one delta a piece."""
        ...

    def calls(self, body: Body, calls: Sequence[Call]) -> list[bytes]:
        """The frames of an answer that calls tools."""
        ...

    def error(self, status: int, code: str, message: str) -> Body:
        """The body of an HTTP error."""
        ...


def frame(document: Body, event: str = "") -> bytes:
    """One server-sent event."""
    head = f"event: {event}\n" if event else ""
    return f"{head}data: {json.dumps(document)}\n\n".encode()


def _text(content: Any) -> str:
    if isinstance(content, list):
        parts: list[Any] = content  # pyright: ignore[reportUnknownVariableType]
        return "\n".join(str(part.get("text") or _text(part.get("content")) or "") for part in parts)
    return str(content or "")


class ChatCompletions:
    """OpenAI's, and everybody's who is compatible with it."""

    def messages(self, body: Body) -> list[Body]:
        return [{**message, "content": _text(message.get("content"))} for message in body.get("messages", [])]

    def text(self, body: Body, pieces: Sequence[str]) -> list[bytes]:
        del body
        opening = self._chunk({"role": "assistant", "content": ""})
        return [opening, *(self._chunk({"content": piece}) for piece in pieces), *self._end("stop")]

    def calls(self, body: Body, calls: Sequence[Call]) -> list[bytes]:
        frames = [self._chunk({"role": "assistant", "content": None})]
        for index, (name, given) in enumerate(calls):
            arguments = given if isinstance(given, str) else json.dumps(given)
            call = {"id": f"call_{len(body['messages'])}_{index}", "type": "function"}
            function = {"name": name, "arguments": arguments}
            frames.append(self._chunk({"tool_calls": [{"index": index, **call, "function": function}]}))
        return [*frames, *self._end("tool_calls")]

    def error(self, status: int, code: str, message: str) -> Body:
        del status
        return {"error": {"message": message, "type": code, "code": code}}

    def _end(self, reason: str) -> list[bytes]:
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        return [self._chunk({}, reason), self._chunk({}, choices=[], usage=usage), b"data: [DONE]\n\n"]

    def _chunk(self, delta: Body, finish: str | None = None, **more: Any) -> bytes:
        document: Body = {
            "id": "cmpl",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "fake",
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        }
        return frame({**document, **more})


class Messages:
    """Anthropic's: named events, blocks with a beginning and an end."""

    _ERRORS: ClassVar = {
        400: "invalid_request_error",
        401: "authentication_error",
        402: "billing_error",
        403: "permission_error",
        404: "not_found_error",
        413: "request_too_large",
        429: "rate_limit_error",
        529: "overloaded_error",
    }

    def messages(self, body: Body) -> list[Body]:
        read: list[Body] = [{"role": "system", "content": _text(body.get("system"))}]
        for message in body.get("messages", []):
            content: Any = message.get("content")
            blocks: list[Body] = [{"type": "text", "text": content}] if isinstance(content, str) else content
            results = [block for block in blocks if block.get("type") == "tool_result"]
            words = [block for block in blocks if block.get("type") == "text"]
            read.extend({"role": "tool", "content": _text(block.get("content"))} for block in results)
            if words or not results:
                read.append({"role": message["role"], "content": _text(words)})
        return read

    def text(self, body: Body, pieces: Sequence[str]) -> list[bytes]:
        deltas = [{"type": "text_delta", "text": piece} for piece in pieces]
        return [
            *self._start(body),
            *self._block(0, {"type": "text", "text": ""}, deltas),
            *self._end("end_turn"),
        ]

    def calls(self, body: Body, calls: Sequence[Call]) -> list[bytes]:
        frames = self._start(body)
        for index, (name, given) in enumerate(calls):
            arguments = given if isinstance(given, str) else json.dumps(given)
            nothing: Body = {}
            call_id = f"toolu_{len(body['messages'])}_{index}"
            block: Body = {"type": "tool_use", "id": call_id, "name": name, "input": nothing}
            half = len(arguments) // 2
            parts = [part for part in (arguments[:half], arguments[half:]) if part]
            deltas = [{"type": "input_json_delta", "partial_json": part} for part in parts]
            frames += self._block(index, block, deltas)
        return [*frames, *self._end("tool_use")]

    def error(self, status: int, code: str, message: str) -> Body:
        kind = self._ERRORS.get(status, "api_error")
        if "billing" in code or "credit" in message:
            kind = "billing_error"
        return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}

    def _start(self, body: Body) -> list[bytes]:
        message: Body = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "content": [],
            "model": body.get("model", "fake"),
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 10, "output_tokens": 1},
        }
        return [
            frame({"type": "message_start", "message": message}, "message_start"),
            frame({"type": "ping"}, "ping"),
        ]

    def _block(self, index: int, block: Body, deltas: list[dict[str, str]]) -> list[bytes]:
        def one(kind: str, **more: Any) -> bytes:
            return frame({"type": kind, "index": index, **more}, kind)

        return [
            one("content_block_start", content_block=block),
            *(one("content_block_delta", delta=delta) for delta in deltas),
            one("content_block_stop"),
        ]

    def _end(self, reason: str) -> list[bytes]:
        delta: Body = {"stop_reason": reason, "stop_sequence": None}
        return [
            frame({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 5}}, "message_delta"),
            frame({"type": "message_stop"}, "message_stop"),
        ]


class GenerateContent:
    """Google's: whole parts, the last with a reason."""

    _STATUS: ClassVar = {
        400: "INVALID_ARGUMENT",
        401: "UNAUTHENTICATED",
        403: "PERMISSION_DENIED",
        404: "NOT_FOUND",
        429: "RESOURCE_EXHAUSTED",
        500: "INTERNAL",
        503: "UNAVAILABLE",
        504: "DEADLINE_EXCEEDED",
    }

    def messages(self, body: Body) -> list[Body]:
        read: list[Body] = [{"role": "system", "content": self._words(body.get("systemInstruction") or {})}]
        for content in body.get("contents", []):
            parts: list[Body] = content.get("parts", [])
            answers = [part["functionResponse"] for part in parts if "functionResponse" in part]
            read.extend({"role": "tool", "content": json.dumps(one.get("response"))} for one in answers)
            if not answers or self._words(content):
                role = "assistant" if content.get("role") == "model" else "user"
                read.append({"role": role, "content": self._words(content)})
        return read

    def text(self, body: Body, pieces: Sequence[str]) -> list[bytes]:
        del body
        parts = [{"text": piece} for piece in pieces]
        return [self._chunk([part], last=part is parts[-1]) for part in parts]

    def calls(self, body: Body, calls: Sequence[Call]) -> list[bytes]:
        del body
        read = [(name, json.loads(given) if isinstance(given, str) else given) for name, given in calls]
        parts = [{"functionCall": {"name": name, "args": arguments}} for name, arguments in read]
        return [self._chunk(parts, last=True)]

    def error(self, status: int, code: str, message: str) -> Body:
        del code
        return {"error": {"code": status, "message": message, "status": self._STATUS.get(status, "UNKNOWN")}}

    @staticmethod
    def _words(content: Body) -> str:
        return "\n".join(str(part["text"]) for part in content.get("parts", []) if "text" in part)

    @staticmethod
    def _chunk(parts: Sequence[Body], *, last: bool) -> bytes:
        candidate: Body = {"content": {"parts": parts, "role": "model"}, "index": 0}
        if last:
            candidate["finishReason"] = "STOP"
        usage = {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15}
        return frame(
            {
                "candidates": [candidate],
                "usageMetadata": usage,
                "modelVersion": "fake",
                "responseId": "resp_1",
            }
        )


def wire_of(path: str) -> Wire | None:
    """The wire that a request's path belongs to."""
    plain = path.partition("?")[0]
    if plain.endswith("/chat/completions"):
        return ChatCompletions()
    if plain.endswith("/messages"):
        return Messages()
    return GenerateContent() if plain.endswith(":streamGenerateContent") else None
