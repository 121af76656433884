"""Answers of OpenAI-compatible servers, streamed: also those that keep to the declarations loosely."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic_ai.direct import model_request_stream
from pydantic_ai.messages import ModelRequest, ModelResponse, TextPart, ToolCallPart

from tawny.agent.toolbox import Toolbox
from tawny.models.classify import classify
from tawny.models.providers import build
from tawny.models.spec import ModelSpec
from tawny.tools.finish import finish

HEAD = "HTTP/1.1 {status}\r\ncontent-type: {media_type}\r\ntransfer-encoding: chunked\r\n\r\n"


class Server:
    """Answers every request with the same frames, or the same `body`; `ends` whether it does."""

    def __init__(
        self,
        frames: list[str],
        *,
        ends: bool = True,
        body: str = "",
        media_type: str = "text/event-stream",
        status: str = "200 OK",
    ) -> None:
        self.frames = frames
        self.ends = ends
        self.parts = [body] if body else [f"data: {frame}\n\n" for frame in frames]
        self.head = HEAD.format(status=status, media_type=media_type).encode()
        self.bodies: list[dict[str, Any]] = []
        self.connections = 0
        self.port = 0
        self._open: set[asyncio.StreamWriter] = set()

    @asynccontextmanager
    async def running(self) -> AsyncGenerator["Server"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for writer in self._open:
                writer.transport.abort()
            await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._open.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                size = int(head.partition("content-length:")[2].split("\r\n")[0])
                self.bodies.append(json.loads(await reader.readexactly(size)))
                parts = [part.encode() for part in self.parts]
                writer.write(self.head + b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts))
                if self.ends:
                    writer.write(b"0\r\n\r\n")
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._open.discard(writer)
            writer.close()


async def answers(server: Server, times: int = 1) -> list[ModelResponse]:
    """What the provider's adapter makes of the server's answers."""
    spec = ModelSpec(
        provider="openai", model="any", base_url=f"http://127.0.0.1:{server.port}/v1", timeout=20
    )
    built = build(spec, "")
    parameters = Toolbox({"finish": finish}).only(frozenset({"finish"})).parameters
    found: list[ModelResponse] = []
    try:
        for _ in range(times):
            asked = [ModelRequest.user_text_prompt("hi")]
            async with model_request_stream(
                built.model, asked, model_request_parameters=parameters
            ) as stream:
                async for _ in stream:
                    pass
                found.append(stream.get())
    finally:
        assert built.client is not None
        await built.client.aclose()
    return found


def chunk(text: str, **more: Any) -> str:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    whole = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return json.dumps({**whole, **more})


def words(answer: ModelResponse) -> str:
    return "".join(part.content for part in answer.parts if isinstance(part, TextPart))


LOOSE = {
    "as declared": chunk("b"),
    "without id, time and model": json.dumps({"choices": [{"index": 0, "delta": {"content": "b"}}]}),
    "without an index": json.dumps({"id": "1", "model": "m", "choices": [{"delta": {"content": "b"}}]}),
    "with a time in parts": chunk("b", created=1.5),
    "with a word nobody declared": chunk("b", service_tier="for-friends"),
    "with more fields": chunk("b", timings={"prompt_ms": 1.5}, choices=[
        {"index": 0, "delta": {"content": "b", "reasoning": None}, "finish_reason": None, "stop": 1}]),
    "ended by a word nobody declared": json.dumps(
        {"id": "1", "choices": [{"index": 0, "delta": {"content": "b"}, "finish_reason": "eos"}]}),
}  # fmt: skip


@pytest.mark.parametrize("frame", LOOSE.values(), ids=LOOSE)
async def test_chunks_are_taken_that_keep_to_the_declarations_loosely(frame: str) -> None:
    async with Server([chunk("a"), frame, chunk("c"), "[DONE]"]).running() as server:
        (answer,) = await answers(server)
    assert words(answer).startswith("ab")


@pytest.mark.parametrize(
    ("frame", "kind"),
    [
        (json.dumps({"error": {"message": "the GPU has melted", "code": 500}}), None),
        (chunk("b", error={"message": "the GPU has melted"}), None),
        (json.dumps({"error": "the GPU has melted"}), None),
        ("42", None),
        ("{", "format"),
        ("<html>", "format"),
    ],
)
async def test_an_error_in_the_stream_is_a_failure_of_the_model(frame: str, kind: str | None) -> None:
    async with Server([chunk("a"), frame, chunk("c"), "[DONE]"]).running() as server:
        try:
            await answers(server)
            failure = None
        except Exception as error:  # noqa: BLE001 - whatever it is, it must be classified
            failure = classify(error, "any")
    assert failure is not None
    assert kind is None or failure.kind == kind


@pytest.mark.parametrize(
    "frame",
    [
        {"error": {"message": "the GPU has melted", "code": 500}},
        {"error": "the GPU has melted"},
        {"object": "error", "message": "the GPU has melted", "code": 40303},
    ],
)
@pytest.mark.parametrize("media_type", ["text/event-stream", "application/json"])
async def test_the_servers_own_word_is_passed_on(frame: dict[str, Any], media_type: str) -> None:
    body = json.dumps(frame) if media_type == "application/json" else ""
    async with Server([json.dumps(frame)], body=body, media_type=media_type).running() as server:
        with pytest.raises(Exception, match=r".") as failed:
            await answers(server)
    failure = classify(failed.value, "any")
    assert failure is not None
    assert "(the GPU has melted)" in failure.message


def piece(index: int | None, call_id: str | None, name: str | None, arguments: str | None) -> dict[str, Any]:
    given = {"index": index, "id": call_id, "type": "function"}
    return {
        **{key: value for key, value in given.items() if value is not None},
        "function": {
            **({} if name is None else {"name": name}),
            **({} if arguments is None else {"arguments": arguments}),
        },
    }


def calls_chunk(*pieces: dict[str, Any]) -> str:
    choice = {"index": 0, "delta": {"tool_calls": list(pieces)}, "finish_reason": None}
    return json.dumps(
        {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    )


TWO = [("a", "look", '{"at": 1}'), ("b", "look", '{"at": 2}')]
CALLS = {
    "as declared": [
        calls_chunk(piece(0, "a", "look", "")),
        calls_chunk(piece(0, None, None, '{"at": 1}')),
        calls_chunk(piece(1, "b", "look", '{"at":')),
        calls_chunk(piece(1, None, None, " 2}")),
    ],
    "by turns": [
        calls_chunk(piece(0, "a", "look", ""), piece(1, "b", "look", "")),
        calls_chunk(piece(1, None, None, '{"at": 2}')),
        calls_chunk(piece(0, None, None, '{"at": 1}')),
    ],
    "all of one number": [
        calls_chunk(piece(0, "a", "look", '{"at": 1}')),
        calls_chunk(piece(0, "b", "look", '{"at":')),
        calls_chunk(piece(0, None, None, " 2}")),
    ],
    "with the name again and again": [
        calls_chunk(piece(0, "a", "look", '{"at":')),
        calls_chunk(piece(0, "a", "look", " 1}")),
        calls_chunk(piece(1, "b", "look", '{"at":')),
        calls_chunk(piece(1, None, "look", " 2}")),
    ],
    "with the name in pieces": [
        calls_chunk(piece(0, "a", "lo", "")),
        calls_chunk(piece(0, None, "ok", '{"at": 1}')),
        calls_chunk(piece(1, "b", "look", '{"at": 2}')),
    ],
    "without a number": [
        calls_chunk(piece(None, "a", "look", '{"at": 1}'), piece(None, "b", "look", '{"at": 2}'))
    ],
}


@pytest.mark.parametrize("frames", CALLS.values(), ids=CALLS)
async def test_calls_are_told_apart_however_they_are_numbered(frames: list[str]) -> None:
    async with Server([*frames, "[DONE]"]).running() as server:
        (answer,) = await answers(server)
    made = [
        (one.tool_call_id, one.tool_name, one.args) for one in answer.parts if isinstance(one, ToolCallPart)
    ]
    assert made == TWO


async def test_a_server_that_does_not_stream_is_understood() -> None:
    function = {"name": "look", "arguments": '{"at": 1}'}
    calls = [{"id": name, "type": "function", "function": function} for name in "ab"]
    message = {"role": "assistant", "content": "I look.", "tool_calls": calls}
    whole = {"id": "1", "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    body = json.dumps({**whole, "object": "chat.completion", "created": 1, "model": "m", "usage": usage})
    async with Server([], body=body, media_type="application/json; charset=utf-8").running() as server:
        (answer,) = await answers(server)
    assert words(answer) == "I look."
    assert [one.tool_call_id for one in answer.parts if isinstance(one, ToolCallPart)] == ["a", "b"]
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (7, 3)


@pytest.mark.parametrize(
    ("status", "media_type", "word"),
    [
        ("200 OK", "text/html; charset=utf-8", "a web page, “Sign in”"),
        ("204 No Content", "text/plain", "HTTP 204"),
        ("307 Temporary Redirect\r\nlocation: /elsewhere", "text/plain", "a redirect (HTTP 307)"),
    ],
)
async def test_what_is_no_stream_speaks_against_the_address(status: str, media_type: str, word: str) -> None:
    page = "<!doctype html><title>Sign\n in</title>"
    async with Server([], body=page, media_type=media_type, status=status).running() as server:
        with pytest.raises(Exception, match=r".") as failed:
            await answers(server)
    failure = classify(failed.value, "any")
    assert failure is not None
    assert f"(not a stream but {word})" in failure.message
    assert "base_url" in failure.hint


async def test_a_body_that_does_not_end_after_its_last_word_holds_nobody_up() -> None:
    async with asyncio.timeout(15), Server([chunk("a"), "[DONE]"], ends=False).running() as server:
        (answer,) = await answers(server)
    assert words(answer) == "a"


async def test_the_connection_is_used_again() -> None:
    async with Server([chunk("a"), "[DONE]"]).running() as server:
        assert [words(one) for one in await answers(server, 3)] == ["a", "a", "a"]
    assert server.connections == 1


async def test_a_tool_is_told_with_its_whole_schema() -> None:
    async with Server([chunk("a"), "[DONE]"]).running() as server:
        await answers(server)
    (tool,) = server.bodies[0]["tools"]
    assert tool["function"]["name"] == "finish"
    told = Toolbox({"finish": finish}).only(frozenset({"finish"})).parameters.function_tools[0]
    assert tool["function"]["parameters"] == dict(told.parameters_json_schema)
    assert tool["function"]["parameters"]["type"] == "object"
