"""A chat with llama.cpp's own server: streaming, a tool it calls, and a context that is too small. It is fetched."""

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import servers
from agent.conftest import OpenChat
from tawny.agent.live import Delta
from tawny.config import AgentProfile, Home, Model
from tawny.domain.tasks import Status
from tawny.ledger import sessions

FETCHED = ("xllamacpp==2026.10.11549", "gguf==0.19.0")
SMALL = AgentProfile(name="small", tools=("list_files",))
"""The model reads a token a byte, so it is told of one tool."""

pytestmark = [
    pytest.mark.skipif(
        os.environ.get("TAWNY_TEST_PROFILE") != "long" or shutil.which("uv") is None,
        reason="fetches llama.cpp by uv: TAWNY_TEST_PROFILE=long",
    ),
    pytest.mark.timeout(600),
]


@asynccontextmanager
async def llama(folder: Path, *, context: int) -> AsyncGenerator[str]:
    """The server's address for OpenAI's clients."""
    fetched = [part for package in FETCHED for part in ("--with", package)]
    script = Path(__file__).with_name("llama_server.py")
    process = await asyncio.create_subprocess_exec(
        *("uv", "run", "--quiet", "--no-project", "--isolated", *fetched, "python", str(script)),
        *(str(folder), str(context)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async for line in process.stdout:
            if line.startswith(b"serving "):
                yield line.split()[1].decode() + "/v1"
                return
        raise AssertionError("llama.cpp's server did not start")
    finally:
        process.stdin.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(20):
                await process.wait()
        await servers.reap(process)


async def test_llama_cpp_is_talked_to_by_streams_and_tools(
    chat: OpenChat, home: Home, tmp_path: Path
) -> None:
    (home.workspace / "note.txt").write_text("a note")
    heard: list[Delta] = []
    async with llama(tmp_path, context=32768) as url:
        model = Model(name="openai:scripted", base_url=url)
        async with chat(None, model=model, agents=(SMALL,)) as talk:
            talk.app.agency.live.listen(heard.append)
            said = await talk.say("what is the weather?", session="agent:small:main", wait=240)
            assert said.text == "Rain and sun."
            assert [one.text for one in heard if one.kind == "text"] == ["Rain", " and", " sun."]
            said = await talk.say("which files are there?", session="agent:small:main", wait=240)
            assert said.text == "The files are listed."
            done = await talk.until(said.run_id, Status.SUCCEEDED)
            told = await talk.read(lambda tx: sessions.entries(tx, "agent:small:main"))
    assert [one.role for one in told] == ["user", "assistant", "user", "assistant", "tool", "assistant"]
    assert "note.txt" in told[4].text
    assert done.usage.input_tokens > 1000
    assert done.usage.output_tokens >= 10


async def test_llama_cpps_full_context_is_told_in_words(chat: OpenChat, tmp_path: Path) -> None:
    async with llama(tmp_path, context=1024) as url:
        model = Model(name="openai:scripted", base_url=url)
        async with chat(None, model=model, agents=(SMALL,)) as talk:
            said = await talk.say("what is the weather?", session="agent:small:main", wait=240)
    assert said.status == "failed"
    assert "the conversation has become too long" in said.text
