"""The made-up model server speaks as the published protocols do: the providers' own clients understand it."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tawny.testing import FakeProvider
from tawny.testing.provider import Answer, Status, Text, Tools

PLAN: list[Answer] = [
    Text("hello there", chunks=3),
    Tools((("look", {"where": "here"}), ("look", {"where": "there"}))),
    Status(429, "rate_limit_error", "slow down", headers=(("retry-after", "7"),)),
]


@pytest.fixture
async def server() -> AsyncIterator[FakeProvider]:
    async with FakeProvider(lambda _body, n: PLAN[min(n, len(PLAN)) - 1]).running() as running:
        yield running


SCHEMA: dict[str, Any] = {"type": "object", "properties": {"where": {"type": "string"}}}
WANTED = [{"where": "here"}, {"where": "there"}]


async def test_openais_client(server: FakeProvider) -> None:
    from openai import AsyncOpenAI, RateLimitError

    async with AsyncOpenAI(base_url=server.base_url, api_key="k", max_retries=0) as client:

        async def ask() -> Any:
            tools: Any = [{"type": "function", "function": {"name": "look", "parameters": SCHEMA}}]
            messages: Any = [{"role": "user", "content": "hi"}]
            streaming = client.chat.completions.stream(model="fake", messages=messages, tools=tools)
            async with streaming as stream:
                return (await stream.get_final_completion()).choices[0]

        assert (await ask()).message.content == "hello there"
        called = await ask()
        assert called.finish_reason == "tool_calls"
        assert [json.loads(one.function.arguments) for one in called.message.tool_calls] == WANTED
        with pytest.raises(RateLimitError, match="slow down") as refused:
            await ask()
        assert refused.value.response.headers["retry-after"] == "7"


async def test_anthropics_client(server: FakeProvider) -> None:
    from anthropic import AsyncAnthropic, RateLimitError

    async with AsyncAnthropic(base_url=server.root, api_key="k", max_retries=0) as client:

        async def ask() -> Any:
            tools: Any = [{"name": "look", "input_schema": SCHEMA}]
            messages: Any = [{"role": "user", "content": "hi"}]
            streaming = client.messages.stream(model="fake", max_tokens=100, messages=messages, tools=tools)
            async with streaming as stream:
                return await stream.get_final_message()

        said = await ask()
        assert [block.text for block in said.content] == ["hello there"]
        assert (said.usage.input_tokens, said.usage.output_tokens) == (10, 5)
        called = await ask()
        assert called.stop_reason == "tool_use"
        assert [block.input for block in called.content] == WANTED
        with pytest.raises(RateLimitError, match="rate_limit_error") as refused:
            await ask()
        assert refused.value.response.headers["retry-after"] == "7"


@pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")
async def test_googles_client(server: FakeProvider) -> None:
    from google import genai
    from google.genai import errors, types

    client = genai.Client(api_key="k", http_options=types.HttpOptions(base_url=server.root))
    tools: Any = [{"function_declarations": [{"name": "look", "parameters_json_schema": SCHEMA}]}]

    async def ask() -> list[types.GenerateContentResponse]:
        config = types.GenerateContentConfig(tools=tools)
        stream = await client.aio.models.generate_content_stream(model="fake", contents="hi", config=config)
        return [chunk async for chunk in stream]

    assert "".join(chunk.text or "" for chunk in await ask()) == "hello there"
    called = [call.args for chunk in await ask() for call in chunk.function_calls or []]
    assert called == WANTED
    with pytest.raises(errors.ClientError) as refused:
        await ask()
    assert (refused.value.code, refused.value.status) == (429, "RESOURCE_EXHAUSTED")
    await client.aio.aclose()
