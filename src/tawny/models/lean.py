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
from typing import Any, cast

import msgspec
from openai import APIError, AsyncOpenAI, AsyncStream, NotGiven, Omit
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import ValidationError

from tawny.models.schemas import FixedSchema

_OPTIONS = {"extra_headers": "headers", "extra_query": "params", "timeout": "timeout"}
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
    """The chunks of an answer, as the SDK's own stream gives them."""

    async def __stream__(self) -> AsyncIterator[ChatCompletionChunk]:
        response = self.response
        try:
            events = self._iter_events()
            async for event in events:
                if event.data.startswith("[DONE]"):
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(_END_SECONDS):
                            async for _ in events:
                                pass
                    break
                yield self._chunk(event.data)
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
            if (error := loose.get("error")) is not None:
                raise self._told(error) from None
            return ChatCompletionChunk.construct(**loose)
        if chunk.model_extra and (error := chunk.model_extra.get("error")):
            raise self._told(error)
        return chunk

    def _told(self, error: Any) -> APIError:
        """An error that came as a chunk: the answer had begun, so no status can tell of it."""
        message = (_object(error) or {}).get("message")
        if not isinstance(message, str) or not message:
            message = "an error occurred during streaming"
        return APIError(message, self.response.request, body=error)


def _object(value: Any) -> dict[str, Any] | None:
    return cast(dict[str, Any], value) if isinstance(value, dict) else None


def _encoded(tool: dict[str, Any]) -> dict[str, Any]:
    """A tool's definition with its schema in JSON already, where it has one."""
    function = _object(tool.get("function")) or {}
    schema = function.get("parameters")
    if not isinstance(schema, FixedSchema):
        return tool
    return {**tool, "function": {**function, "parameters": schema.encoded}}
