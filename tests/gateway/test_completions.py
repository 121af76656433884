"""OpenAI's own client talks to us."""

from typing import Any

import msgspec
import openai
import pytest

from .conftest import House


@pytest.fixture
async def speaker(house: House):
    async with (
        house.door.listening() as address,
        openai.AsyncOpenAI(api_key=house.door.token, base_url=f"{address}/v1", max_retries=0) as client,
    ):
        yield client


async def test_whole_answers(speaker: openai.AsyncOpenAI, house: House) -> None:
    made = await speaker.chat.completions.create(
        model="tawny", messages=[{"role": "user", "content": "hello"}], user="main"
    )
    assert made.choices[0].message.content
    assert made.choices[0].finish_reason == "stop"
    assert made.model == "tawny"
    assert made.usage is not None
    async with house.door.browser(
        house.door.site.address, authorization=f"Bearer {house.door.token}"
    ) as client:
        said = (await client.get("/v1/sessions/main/messages")).json()["items"]
    assert said[0]["text"] == "hello"


async def test_streamed_answers_add_up_to_the_whole(speaker: openai.AsyncOpenAI) -> None:
    whole = await speaker.chat.completions.create(
        model="tawny", messages=[{"role": "user", "content": "hello"}], user="one"
    )
    stream = await speaker.chat.completions.create(
        model="tawny",
        messages=[{"role": "user", "content": "hello"}],
        user="two",
        stream=True,
        stream_options={"include_usage": True},
    )
    pieces, usage, finish = [], None, None
    async for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            pieces.append(choice.delta.content or "")
            finish = choice.finish_reason or finish
    assert len([piece for piece in pieces if piece]) > 1
    assert "".join(pieces) == whole.choices[0].message.content
    assert finish == "stop"
    assert usage is not None


async def test_models_are_listed(speaker: openai.AsyncOpenAI) -> None:
    assert [model.id async for model in speaker.models.list()] == ["tawny"]
    assert (await speaker.models.retrieve("tawny")).id == "tawny"
    with pytest.raises(openai.NotFoundError):
        await speaker.models.retrieve("gpt-x")


async def test_wrong_requests_are_the_clients_errors(speaker: openai.AsyncOpenAI, house: House) -> None:
    for messages in ([], [{"role": "user", "content": ""}], [{"role": "assistant", "content": "hi"}]):
        with pytest.raises(openai.UnprocessableEntityError):
            await speaker.chat.completions.create(model="tawny", messages=messages)  # type: ignore[arg-type]
    wrong = speaker.with_options(api_key="wrong")
    with pytest.raises(openai.AuthenticationError):
        await wrong.models.list()


async def test_unusable_key_is_refused_and_nothing_said(house: House) -> None:
    body = {"messages": [{"role": "user", "content": "hello"}]}
    for stream in (False, True):
        for key in ("a b", "é", "x" * 256):
            answer = await house.client.post(
                "/v1/chat/completions",
                json=body | {"stream": stream},
                headers={"idempotency-key": key.encode()},
            )
            assert answer.status_code == 400
    assert (await house.client.get("/v1/tasks")).json()["items"] == []
    assert (await house.client.get("/v1/sessions")).json()["items"] == []


async def test_same_key_is_answered_once(house: House) -> None:
    body = {"messages": [{"role": "user", "content": "hello"}], "user": "k"}
    key = {"idempotency-key": "c-1"}
    first = await house.client.post("/v1/chat/completions", json=body, headers=key)
    again = await house.client.post("/v1/chat/completions", json=body, headers=key)
    assert first.json() == again.json()
    said = (await house.client.get("/v1/sessions/k/messages")).json()["items"]
    assert [entry["role"] for entry in said].count("user") == 1


async def test_earlier_messages_count_where_no_session_holds_them(house: House) -> None:
    body = {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "hello"}]},
        ]
    }
    answer = await house.client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200
    session = answer.json()["tawny"]["session"]
    said = (await house.client.get(f"/v1/sessions/{session}/messages")).json()["items"]
    assert "Be brief." in said[0]["text"]


# What two well-known chat programs send, with their own fields and parts.
OPEN_WEBUI = {
    "stream": True,
    "model": "tawny",
    "messages": [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "Hello!"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "hello"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
            ],
        },
    ],
    "stream_options": {"include_usage": True},
    "features": {"web_search": False, "code_interpreter": False},
    "params": {},
    "tool_servers": [],
    "metadata": {"chat_id": "c1", "session_id": "s1"},
}
LIBRECHAT = {
    "model": "tawny",
    "user": "librechat-user",
    "messages": [
        {"role": "system", "content": "You are a helpful assistant.", "name": "instructions"},
        {"role": "user", "content": "hello"},
    ],
    "stream": True,
    "temperature": 1,
    "top_p": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "stop": ["||>", "\nUser:"],
    "n": 1,
}


@pytest.mark.parametrize("body", [OPEN_WEBUI, LIBRECHAT], ids=["open-webui", "librechat"])
async def test_other_programs_requests_are_understood(house: House, body: dict[str, Any]) -> None:
    answer = await house.client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = [line[6:] for line in answer.text.split("\n") if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    chunks = [msgspec.json.decode(line) for line in lines[:-1]]
    assert all(chunk["object"] == "chat.completion.chunk" for chunk in chunks)
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    words = "".join(c["delta"].get("content") or "" for chunk in chunks for c in chunk["choices"])
    assert words
    assert [c["finish_reason"] for chunk in chunks for c in chunk["choices"]][-1] == "stop"
    if "stream_options" in body:
        assert chunks[-1]["usage"]["total_tokens"] >= 0
        assert chunks[-1]["choices"] == []
    models = (await house.client.get("/v1/models")).json()
    assert models["object"] == "list"
    assert {"id", "object", "created", "owned_by"} <= models["data"][0].keys()


async def test_a_callers_own_tools_are_left_to_the_caller(speaker: openai.AsyncOpenAI) -> None:
    """Ours run here; a request that brings some of its own gets an answer in words, never a call it did not ask for."""
    tool: Any = {
        "type": "function",
        "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {}}},
    }
    async with speaker.chat.completions.stream(
        model="tawny", messages=[{"role": "user", "content": "hello"}], tools=[tool], user="tools"
    ) as stream:
        final = await stream.get_final_completion()
    assert final.choices[0].message.content
    assert not final.choices[0].message.tool_calls
    history: Any = [
        {"role": "user", "content": "weather?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
    ]
    made = await speaker.chat.completions.create(model="tawny", messages=history, tools=[tool])
    assert made.choices[0].message.content


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n", 2),
        ("response_format", {"type": "json_object"}),
        ("response_format", {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}),
        ("tool_choice", "required"),
        ("tool_choice", {"type": "function", "function": {"name": "get_weather"}}),
        ("function_call", {"name": "get_weather"}),
        ("logprobs", True),
        ("modalities", ["text", "audio"]),
    ],
)
async def test_an_answer_of_another_form_is_refused_by_name(house: House, name: str, value: Any) -> None:
    body = {"messages": [{"role": "user", "content": "hello"}], name: value}
    refused = await house.client.post("/v1/chat/completions", json=body)
    assert refused.status_code == 422
    error = refused.json()["error"]
    assert error["message"].startswith(f"{name}: ")
    assert error["hint"]


async def test_what_changes_nothing_is_named_in_the_answer(house: House) -> None:
    body = {
        "messages": [{"role": "user", "content": "hello"}],
        "temperature": 0.5,
        "max_tokens": 5,
        "stop": None,
        "n": 1,
        "response_format": {"type": "text"},
        "tool_choice": "auto",
        "tools": [],
    }
    whole = (await house.client.post("/v1/chat/completions", json=body)).json()
    assert whole["tawny"]["ignored"] == ["temperature", "max_tokens", "tools"]
    streamed = (await house.client.post("/v1/chat/completions", json=body | {"stream": True})).text
    chunks = [msgspec.json.decode(line[6:]) for line in streamed.split("\n") if line.startswith("data: {")]
    assert [chunk["tawny"] for chunk in chunks if "tawny" in chunk] == [
        {"ignored": ["temperature", "max_tokens", "tools"]}
    ]
    plain = await house.client.post("/v1/chat/completions", json={"messages": body["messages"]})
    assert "ignored" not in plain.json()["tawny"]


async def test_the_assistant_is_told_of_what_it_cannot_see(house: House) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    words = {"type": "text", "text": "what is on it?"}

    async def ask(*parts: dict[str, Any]) -> Any:
        body = {"messages": [{"role": "user", "content": list(parts)}], "user": "pictures"}
        return await house.client.post("/v1/chat/completions", json=body)

    assert (await ask(words, picture)).status_code == 200
    said = (await house.client.get("/v1/sessions/pictures/messages")).json()["items"][0]["text"]
    assert said == "what is on it?\n\n[came along, and cannot be seen here: image_url]"
    refused = await ask(picture)
    assert refused.status_code == 422
    assert "images" in refused.json()["error"]["hint"]
