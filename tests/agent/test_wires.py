"""Each provider's adapter against a server that speaks its protocol, well and badly."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from agent.conftest import OpenChat
from agent.test_faults import is_valid, trouble
from tawny.clock import stopwatch
from tawny.config import Model
from tawny.ledger import sessions
from tawny.testing import FakeProvider
from tawny.testing.provider import Answer, Broken, Status, Text, Tools, echo

PROVIDERS = ("openai", "ollama", "anthropic", "google")


@pytest.fixture
async def server() -> AsyncIterator[FakeProvider]:
    async with FakeProvider().running() as running:
        yield running


def model(provider: str, server: FakeProvider, *, timeout: str = "20s") -> Model:
    base_url = server.base_url if provider in ("openai", "ollama") else server.root
    return Model(name=f"{provider}:fake", base_url=base_url, api_key="env:FAKE_KEY", timeout=timeout)


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_KEY", "a-key-of-ours-1234")


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_conversation_with_tools(chat: OpenChat, server: FakeProvider, provider: str) -> None:
    def plan(body: dict[str, Any], n: int) -> Answer:
        if "two at once" in body["messages"][-1]["content"]:
            return Tools((("memory_search", {"query": "tea"}), ("list_files", {"path": "."})))
        return echo(body, n)

    server.plan = plan
    async with chat(None, model=model(provider, server)) as talk:
        assert (await talk.say("hello")).text == "echo: hello"
        assert (await talk.say('use memory_save {"text": "The cat is called Mia."}')).text.startswith(
            "done: "
        )
        assert (await talk.say("two at once")).text.startswith("done: ")
        assert (await talk.say("and now?")).text == "echo: and now?"
        assert await is_valid(talk, "main")
        held = await talk.read(lambda tx: sessions.entries(tx, "main"))
        roles = [entry.role for entry in held]
        assert roles == [
            "user",
            "assistant",
            *["user", "assistant", "tool", "assistant"] * 2,
            "user",
            "assistant",
        ]
    # All of the conversation went along each time, the tools' answers as such; the key went along too.
    last = server.requests[-1]["messages"]
    assert [one["role"] for one in last if one["role"] != "system"][:2] == ["user", "assistant"]
    assert sum(one["role"] == "tool" for one in last) == 3
    assert "Mia" in str(last)
    assert {key.removeprefix("Bearer ") for key in server.keys} == {"a-key-of-ours-1234"}


RECOVERS = [
    *(Broken(how) for how in ("reset", "half", "garbage", "nothing", "html")),
    *(Status(code) for code in (500, 503, 529)),
    Status(429, "rate_limit_error", headers=(("retry-after", "1"),)),
]


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_passing_trouble_is_got_over(chat: OpenChat, server: FakeProvider, provider: str) -> None:
    async with chat(None, model=model(provider, server)) as talk:
        for answer in RECOVERS:
            server.plan = trouble(answer, 1)
            reply = await talk.say("trouble", session=f"s{RECOVERS.index(answer)}")
            assert (reply.text, reply.status) == ("echo: trouble", "succeeded"), answer
            assert await is_valid(talk, f"s{RECOVERS.index(answer)}"), answer


ENDS = [
    (Broken("hang"), "did not answer in time"),
    (Broken("stall"), "did not answer in time"),
    (Broken("huge"), "sent an answer that makes no sense"),
    (Status(400, "invalid_request", "tools: no such thing"), "refused the request"),
    (Status(404, "not_found"), "is not known to its server"),
]
OTHERS = ("anthropic", "google")
"""OpenAI's way is put through the same in `test_faults`, and Ollama's is the same adapter."""


@pytest.mark.parametrize("provider", OTHERS)
@pytest.mark.parametrize(("answer", "words"), ENDS, ids=["hang", "stall", "huge", "400", "404"])
async def test_what_stays_ends_in_a_sentence_while_others_keep_their_pace(
    chat: OpenChat, server: FakeProvider, provider: str, answer: Answer, words: str
) -> None:
    server.plan = trouble(answer, 99)
    async with chat(None, model=model(provider, server, timeout="2s")) as talk:
        assert (await talk.say("warm up", session="other")).text == "echo: warm up"
        bad = asyncio.get_running_loop().create_task(talk.say("trouble", session="bad", wait=60))
        elapsed = stopwatch()
        for n in range(3):
            assert (await talk.say(f"fine {n}", session="other")).text == f"echo: fine {n}"
        assert elapsed() < 15
        reply = await bad
        assert reply.status == "failed"
        assert reply.text.startswith("I could not answer: ")
        assert words in reply.text
        assert f"{provider}:fake" in reply.text
        assert await is_valid(talk, "bad")


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Status(401, "invalid_api_key", "no such key"), "did not accept our key"),
        (Status(403, "forbidden", "not for you"), "did not accept our key"),
        (Status(402, "billing_error", "no credit"), "has run out of credit or quota"),
        (Status(429, "rate_limit_error", headers=(("retry-after", "120"),)), "has had too many requests"),
    ],
    ids=["401", "403", "402", "429"],
)
async def test_an_account_that_is_turned_away_is_not_asked_again(
    chat: OpenChat, server: FakeProvider, provider: str, answer: Answer, words: str
) -> None:
    server.plan = lambda _body, _n: answer
    async with chat(None, model=model(provider, server)) as talk:
        assert words in (await talk.say("hello")).text
        asked = len(server.requests)
        assert words in (await talk.say("hello again")).text
    assert len(server.requests) == asked == 1


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_unknown_tools_and_broken_arguments_are_told_to_the_model(
    chat: OpenChat, server: FakeProvider, provider: str
) -> None:
    # Google sends arguments as an object, never as a text.
    broken: Answer = (
        Tools((("tasks", '{"action": "li'),)) if provider != "google" else Tools((("tasks", {}),))
    )
    answers: list[Answer] = [
        Tools((("teleport", {"to": "moon"}),)),
        broken,
        Tools((("tasks", {"action": 7}),)),
        Text("never mind"),
    ]
    server.plan = lambda _body, n: answers[min(n, len(answers)) - 1]
    async with chat(None, model=model(provider, server)) as talk:
        assert (await talk.say("confuse yourself")).text == "never mind"
        assert await is_valid(talk, "main")
    told = str(server.requests[1]["messages"][-1])
    assert "There is no tool" in told
    assert "teleport" in told


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_too_long_a_conversation_is_known_as_such(
    chat: OpenChat, server: FakeProvider, provider: str
) -> None:
    words = {
        "openai": "This model's maximum context length is 8192 tokens.",
        "ollama": "the input exceeds the context length",
        "anthropic": "prompt is too long: 214315 tokens > 200000 maximum",
        "google": "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
    }[provider]

    def plan(body: dict[str, Any], n: int) -> Answer:
        if "Summarise this conversation" in str(body["messages"]):
            return Text("They spoke about numbers.")
        if sum(one["role"] != "system" for one in body["messages"]) > 8:
            return Status(400, "invalid_request_error", words)
        return echo(body, n)

    server.plan = plan
    async with chat(None, model=model(provider, server)) as talk:
        for n in range(6):
            assert (await talk.say(f"number {n}")).status == "succeeded"
        assert "They spoke about numbers." in (await talk.read(lambda tx: sessions.get(tx, "main"))).summary


async def test_a_model_that_never_makes_sense_is_left(chat: OpenChat, server: FakeProvider) -> None:
    server.plan = lambda _body, _n: Tools((("teleport", {"to": "moon"}),))
    async with chat(None, model=model("openai", server)) as talk:
        reply = await talk.say("go")
        assert "it calls tools there are not" in reply.text
        assert await is_valid(talk, "main")
    assert len(server.requests) == 4


async def test_an_empty_answer_is_asked_for_again_and_leaves_no_trace(
    chat: OpenChat, server: FakeProvider
) -> None:
    server.plan = lambda _body, n: Text("" if n < 3 else "here I am")
    async with chat(None, model=model("openai", server)) as talk:
        assert (await talk.say("hello?")).text == "here I am"
        entries = await talk.read(lambda tx: sessions.entries(tx, "main"))
        assert [(one.role, one.text) for one in entries] == [("user", "hello?"), ("assistant", "here I am")]
    assert "Your answer was empty" in str(server.requests[1]["messages"][-1])
