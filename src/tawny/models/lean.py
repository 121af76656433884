"""Sends chat completions through the SDK without what it does to each part of a request and of an answer.

`AsyncCompletions.create` compares each part of a request with its type declarations, to rename fields; chat
completions rename none, and the walk costs more than all the rest of a call (12 ms at 200 messages). The client's
own public `post` does the rest: keys, errors, streaming. The body goes in as bytes: the SDK's own encoder takes ten
times as long over the schemas of the tools, which are put into JSON once. The chunks of an answer are checked by
pydantic's compiled code; what does not pass goes the SDK's lenient and slow way.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, cast

import msgspec
from openai import APIError, AsyncOpenAI, AsyncStream, NotGiven, Omit
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import ValidationError

from tawny.models.complaints import NoStream, complaint
from tawny.models.schemas import FixedSchema

_OPTIONS = {"extra_headers": "headers", "extra_query": "params", "timeout": "timeout"}
_OK = 200
_END_SECONDS = 0.1
"""How long the end of a body is waited for after its last word, so that the connection can be used again."""


class LeanCompletions:
    """Stands in for `client.chat.completions`."""

    def __init__(self, client: AsyncOpenAI) -> None:
        self._client = client

    async def create(self, **params: Any) -> Any:
        """A completion, or a stream of chunks with `stream=True`; parameters as the SDK's own `create` takes them."""
        given = {key: value for key, value in params.items() if not isinstance(value, Omit | NotGiven)}
        options: dict[str, Any] = {
            new: given.pop(old) for old, new in _OPTIONS.items() if given.get(old) is not None
        }
        extra: dict[str, Any] = given.pop("extra_body", None) or {}
        for name in _OPTIONS:
            given.pop(name, None)
        if tools := given.get("tools"):
            given["tools"] = [_encoded(tool) for tool in tools]
        post: Any = self._client.post
        return await post(
            "/chat/completions",
            content=msgspec.json.encode({**given, **extra}),
            options=options,
            cast_to=ChatCompletion,
            stream=bool(given.get("stream")),
            stream_cls=LeanStream,
        )


class LeanStream(AsyncStream[ChatCompletionChunk]):
    """The chunks of an answer, as the SDK's own stream gives them; of a server that does not stream, one."""

    async def __stream__(self) -> AsyncIterator[ChatCompletionChunk]:
        response = self.response
        media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        try:
            if response.status_code != _OK:
                raise NoStream(f"HTTP {response.status_code}")
            if media_type in ("application/json", "text/html"):
                body = (await response.aread()).decode("utf-8", "replace")
                if media_type == "text/html":
                    raise NoStream(complaint(body))
                yield self._chunk(body)
                return
            calls = Indexes()
            events = self._iter_events()
            async for event in events:
                if event.data.startswith("[DONE]"):
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(_END_SECONDS):
                            async for _ in events:
                                pass
                    break
                chunk = self._chunk(event.data)
                calls.settle(chunk)
                yield chunk
        finally:
            await response.aclose()

    def _chunk(self, data: str) -> ChatCompletionChunk:
        """One chunk.

        Raises:
            APIError: it tells of an error, or is no object.
            JSONDecodeError: it is no JSON.
        """
        try:
            chunk = ChatCompletionChunk.model_validate_json(data)
        except ValidationError:
            # Some servers leave out fields, or know words that the declarations do not.
            loose = _object(json.loads(data))
            if loose is None:
                raise APIError(
                    "the stream holds something that is no chunk", self.response.request, body=None
                ) from None
            if (error := loose.get("error")) is not None or loose.get("object") == "error":
                raise self._told(loose if error is None else error) from None
            return ChatCompletionChunk.construct(**_as_chunk(loose))
        if chunk.model_extra and (error := chunk.model_extra.get("error")):
            raise self._told(error)
        return chunk

    def _told(self, error: Any) -> APIError:
        """An error that came as a chunk: the answer had begun, so no status can tell of it."""
        message = complaint(error) or "an error occurred during streaming"
        return APIError(message, self.response.request, body=error)


class Indexes:
    """Tells the calls of one answer apart where their server numbers all of them alike, or repeats their names."""

    def __init__(self) -> None:
        self._calls: dict[int, _Call] = {}
        """By the number the server gives, the call that is being written under it."""
        self._used = 0

    def settle(self, chunk: ChatCompletionChunk) -> None:
        """Give each piece of a call the number of its own call, and no name that was given before."""
        for choice in chunk.choices or ():
            for piece in (choice.delta and choice.delta.tool_calls) or ():
                # Loosely built pieces may lack what is declared.
                given = cast("int | None", getattr(piece, "index", None))
                name = piece.function.name if piece.function else None
                if given is None:
                    continue
                call = self._calls.get(given)
                if call is None or (name and piece.id and call.id and piece.id != call.id):
                    number = given if call is None and given >= self._used else self._used
                    call = self._calls[given] = _Call(number, piece.id or "", name or "")
                    self._used = max(self._used, number + 1)
                elif piece.function is not None and name:
                    if name == call.name:
                        piece.function.name = None
                    else:
                        call.name += name
                piece.index = call.number


@dataclass
class _Call:
    number: int
    id: str
    name: str


def _as_chunk(loose: dict[str, Any]) -> dict[str, Any]:
    """A whole completion in the form of a chunk; a chunk as it is."""
    choices: list[Any] = loose.get("choices") or []
    made = [_as_delta(choice) for choice in choices]
    return {**loose, "choices": made} if choices != made else loose


def _as_delta(choice: Any) -> Any:
    message = _object(choice.get("message")) if _object(choice) is not None else None
    if message is None or choice.get("delta") is not None:
        return choice
    calls: list[Any] = message.get("tool_calls") or []
    numbered = [
        {"index": number, **call} if _object(call) is not None else call for number, call in enumerate(calls)
    ]
    return {**choice, "delta": {**message, **({"tool_calls": numbered} if calls else {})}}


def _object(value: Any) -> dict[str, Any] | None:
    return cast(dict[str, Any], value) if isinstance(value, dict) else None


def _encoded(tool: dict[str, Any]) -> dict[str, Any]:
    """A tool's definition with its schema in JSON already, where it has one."""
    function = _object(tool.get("function")) or {}
    schema = function.get("parameters")
    if not isinstance(schema, FixedSchema):
        return tool
    return {**tool, "function": {**function, "parameters": schema.encoded}}
