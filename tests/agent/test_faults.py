"""A provider that misbehaves: the turn recovers or ends with a sentence; others keep their pace."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from pydantic_ai.messages import ModelMessagesTypeAdapter

from agent.conftest import Chat, OpenChat
from tawny.clock import stopwatch
from tawny.config import Model
from tawny.ledger import sessions
from tawny.testing import FakeProvider
from tawny.testing.provider import Answer, Broken, Status, Text, Tools, echo


@pytest.fixture
async def provider() -> AsyncIterator[FakeProvider]:
    async with FakeProvider().running() as server:
        yield server


def model(provider: FakeProvider, *, timeout: str = "10s") -> Model:
    return Model(name="openai:fake", base_url=provider.base_url, timeout=timeout)


def trouble(answer: Answer, times: int) -> Callable[[dict[str, Any], int], Answer]:
    """`answer` to the first requests that speak of trouble, an echo to everything else."""
    left = times

    def plan(body: dict[str, Any], n: int) -> Answer:
        nonlocal left
        if "trouble" in str(body["messages"]) and left > 0:
            left -= 1
            return answer
        return echo(body, n)

    return plan


async def is_valid(talk: Chat, session: str) -> bool:
    entries = await talk.read(lambda tx: sessions.entries(tx, session))
    messages = ModelMessagesTypeAdapter.validate_json("[" + ",".join(one.message for one in entries) + "]")
    return len(messages) == len(entries) and entries[-1].role == "assistant"


RECOVERS = [Broken("reset"), Broken("half"), Broken("garbage"), Status(500), Status(503)]
ENDS = [Broken("hang"), Broken("stall"), Broken("huge"), Status(400, "invalid_request"), Status(404)]


def name(answer: Answer) -> str:
    return getattr(answer, "how", "") or str(getattr(answer, "status", ""))


@pytest.mark.parametrize("answer", RECOVERS, ids=name)
async def test_the_turn_recovers(chat: OpenChat, provider: FakeProvider, answer: Answer) -> None:
    provider.plan = trouble(answer, 1)
    async with chat_with(chat, model(provider)) as talk:
        reply = await talk.say("trouble")
        assert reply.text == "echo: trouble"
        assert reply.status == "succeeded"
        assert await is_valid(talk, "main")


def chat_with(chat: OpenChat, configured: Model) -> Any:
    return chat(None, model=configured)


@pytest.mark.parametrize("answer", ENDS, ids=name)
async def test_or_ends_with_a_sentence_while_others_keep_their_pace(
    chat: OpenChat, provider: FakeProvider, answer: Answer
) -> None:
    provider.plan = trouble(answer, 99)
    async with chat_with(chat, model(provider, timeout="2s")) as talk:
        assert (await talk.say("warm up", session="other")).text == "echo: warm up"
        bad = asyncio.get_running_loop().create_task(talk.say("trouble", session="bad"))
        elapsed = stopwatch()
        for n in range(5):
            assert (await talk.say(f"fine {n}", session="other")).text == f"echo: fine {n}"
        assert elapsed() < 5
        reply = await bad
        assert reply.status == "failed"
        assert reply.text.startswith("I could not answer: ")
        assert "openai:fake" in reply.text
        assert "Traceback" not in reply.text
        assert await is_valid(talk, "bad")
        assert await is_valid(talk, "other")


async def test_429_waits_as_long_as_it_is_told(chat: OpenChat, provider: FakeProvider) -> None:
    provider.plan = trouble(Status(429, "rate_limit_exceeded", headers=(("retry-after", "1"),)), 1)
    async with chat_with(chat, model(provider)) as talk:
        elapsed = stopwatch()
        assert (await talk.say("trouble")).text == "echo: trouble"
        assert elapsed() >= 1


async def test_unknown_tools_and_broken_arguments_are_told_to_the_model(
    chat: OpenChat, provider: FakeProvider
) -> None:
    answers: list[Answer] = [
        Tools((("teleport", {"to": "moon"}),)),
        Tools((("tasks", '{"action": "li'),)),
        Tools((("tasks", {"action": 7}),)),
        Text("never mind"),
    ]
    provider.plan = lambda _body, n: answers[min(n, len(answers)) - 1]
    async with chat_with(chat, model(provider)) as talk:
        reply = await talk.say("confuse yourself")
        assert reply.text == "never mind"
        assert await is_valid(talk, "main")


async def test_too_long_a_conversation_is_summed_up_and_goes_on(
    chat: OpenChat, provider: FakeProvider
) -> None:
    def plan(body: dict[str, Any], n: int) -> Answer:
        text = str(body["messages"])
        if "Summarise this conversation" in text:
            return Text("They spoke about numbers.")
        if len(body["messages"]) > 12:
            return Status(400, "context_length_exceeded", "maximum context length is 10 tokens")
        return echo(body, n)

    provider.plan = plan
    async with chat_with(chat, model(provider)) as talk:
        for n in range(9):
            reply = await talk.say(f"number {n} for https://example.org/{n}")
            assert reply.status == "succeeded"
        held = await talk.read(lambda tx: sessions.get(tx, "main"))
        assert "They spoke about numbers." in held.summary
        assert "https://example.org/0" in held.summary
        assert len(await talk.read(lambda tx: sessions.entries(tx, "main"))) == 18


async def test_what_can_never_fit_fails_plainly(chat: OpenChat, provider: FakeProvider) -> None:
    provider.plan = lambda _body, _n: Status(400, "context_length_exceeded", "maximum context length")
    async with chat_with(chat, model(provider)) as talk:
        reply = await talk.say("hello")
        assert "too long" in reply.text
        assert len(provider.requests) <= 4


@pytest.mark.parametrize(("status", "words"), [(401, "did not accept our key"), (402, "run out of credit")])
async def test_an_account_that_cannot_pay_is_not_asked_again(
    chat: OpenChat, provider: FakeProvider, status: int, words: str
) -> None:
    provider.plan = lambda _body, _n: Status(status)
    async with chat_with(chat, model(provider)) as talk:
        for _ in range(5):
            assert words in (await talk.say("hello")).text
        assert len(provider.requests) == 1
