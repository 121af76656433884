"""Answers of OpenAI-compatible servers, streamed: also those that keep to the declarations loosely."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic_ai.direct import model_request_stream
from pydantic_ai.messages import ModelRequest, ModelResponse, TextPart

from tawny.agent.toolbox import Toolbox
from tawny.models.classify import classify
from tawny.models.providers import build
from tawny.models.spec import ModelSpec
from tawny.tools.finish import finish

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


class Server:
    """Answers every request with the same frames; `ends` whether the body does."""

    def __init__(self, frames: list[str], *, ends: bool = True) -> None:
        self.frames = frames
        self.ends = ends
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
                parts = [f"data: {frame}\n\n".encode() for frame in self.frames]
                writer.write(HEAD + b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts))
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
