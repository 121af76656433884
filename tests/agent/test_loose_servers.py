"""Servers that speak OpenAI's protocol in their own way: a person reads words, and all of them."""

import json
from typing import Any

from agent.conftest import OpenChat
from agent.test_faults import is_valid
from models.test_lean import Server, calls_chunk, chunk, piece
from tawny.agent.transcript import CONTEXT_OVERHEAD
from tawny.config import Model
from tawny.ledger import budgets, events, sessions, steps


def end(reason: str, **delta: Any) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return json.dumps(
        {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    )


SAID = [
    ([chunk("<thi"), chunk("nk>my inner words</think>"), chunk("fin"), end("stop")], "fin"),
    ([chunk("my inner words\n</think>\n\nfin"), end("stop")], "fin"),
    ([chunk("a smile: \ud83d"), chunk("\ude00"), end("stop")], "a smile: \N{GRINNING FACE}"),
    ([chunk("half an"), end("length")], "half an\n\n(The answer stops here: it has reached the length"),
    ([chunk("half an"), end("content_filter")], "half an\n\n(The answer stops here: the provider's content filter"),
    ([end("stop", refusal="That I will not do.")], "I could not answer: openai:m refused the request (That I will not"),
]  # fmt: skip


async def test_a_person_reads_words_and_is_told_where_they_were_cut_off(chat: OpenChat) -> None:
    async with Server([]).running() as server:
        base_url = f"http://127.0.0.1:{server.port}/v1"
        async with chat(None, model=Model(name="openai:m", base_url=base_url)) as talk:
            streamed: list[str] = []
            talk.app.agency.live.listen(lambda delta: streamed.append(delta.text))
            for frames, heard in SAID:
                server.parts = [f"data: {frame}\n\n" for frame in (*frames, "[DONE]")]
                reply = await talk.say("go on")
                assert reply.text.startswith(heard)
                assert await is_valid(talk, "main")
            log = await talk.read(lambda tx: events.after(tx, 0, limit=500))
            entries = await talk.read(lambda tx: sessions.entries(tx, "main"))
    told = [str(one.data) for one in log if one.type.startswith("message.")]
    shown = ["".join(streamed), *told, *(entry.text for entry in entries)]
    assert not [text for text in shown if "inner words" in text]
    "".join(streamed).encode()


async def test_what_a_server_does_not_count_is_estimated_for_the_budget(chat: OpenChat) -> None:
    async with Server([]).running() as server:
        server.parts = [f"data: {frame}\n\n" for frame in (chunk("words" * 400), end("stop"), "[DONE]")]
        base_url = f"http://127.0.0.1:{server.port}/v1"
        async with chat(None, model=Model(name="openai:m", base_url=base_url)) as talk:
            await talk.say("go on")
            account = await talk.read(lambda tx: budgets.get(tx, "session:main"))
    assert account.used.tokens == CONTEXT_OVERHEAD + 500


async def test_calls_with_one_id_are_two_calls(chat: OpenChat) -> None:
    """Each is recorded by itself: after a crash neither is taken for the other."""
    both = calls_chunk(
        piece(0, "call", "memory_save", '{"text": "The cat is called Mia."}'),
        piece(1, "call", "memory_save", '{"text": "The dog is called Bo."}'),
    )
    async with Server([]).running() as server:
        server.parts = [f"data: {both}\n\ndata: [DONE]\n\n"]
        base_url = f"http://127.0.0.1:{server.port}/v1"
        async with chat(None, model=Model(name="openai:m", base_url=base_url)) as talk:
            live = talk.app.agency.live
            fin = [f"data: {frame}\n\n" for frame in (chunk("fin"), end("stop"), "[DONE]")]
            live.listen(lambda delta: setattr(server, "parts", fin) if delta.kind == "tool" else None)
            reply = await talk.say("remember both")
            assert reply.text == "fin"
            kept = await talk.read(lambda tx: steps.of_task(tx, reply.run_id))
    saved = [one for one in kept if one.key.startswith("call:")]
    assert [one.key for one in saved] == ["call:1:call", "call:1:call-2"]
    assert "Mia" in str(server.bodies[-1])
    assert "Bo" in str(server.bodies[-1])
