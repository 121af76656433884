"""A command of a conversation outlives the gateway that started it: killed in the middle of the turn."""

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from machine import Machine, until
from tawny.testing.provider import Answer, Broken, FakeProvider, Text, Tools

pytestmark = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")

LINE = "for word in one two three; do echo $word; echo $word >> progress; until read -r go < gate; do :; done; done"
"""It says a word, and waits at the gate for a line: three times."""
TOLD = "(The background command "


class Assistant:
    """A model that builds, looks once after what it has started, and looks again when it is told of the end."""

    def __init__(self) -> None:
        self.provider = FakeProvider(self.plan)
        self.is_stuck = True
        self.started: list[dict[str, Any]] = []
        self.polled: dict[str, dict[str, Any]] = {}

    @property
    def output(self) -> str:
        """All that it has read of the command, in the order read."""
        return self.started[0]["tail"] + "".join(poll["output"] for poll in self.polled.values())

    def plan(self, body: dict[str, Any], n: int) -> Answer:
        messages: list[dict[str, Any]] = body["messages"]
        last = max(at for at, message in enumerate(messages) if message["role"] == "user")
        results = [message for message in messages[last + 1 :] if message["role"] == "tool"]
        is_told = TOLD in str(messages[last]["content"])
        if not results and not is_told:
            return Tools((("exec", {"command": LINE, "yieldMs": 200, "timeout": 300}),))
        read = [json.loads(message["content"]) for message in results]
        if not is_told:
            if read[0] not in self.started:
                self.started.append(read[0])
            if self.is_stuck:
                return Broken("hang")
        looks = read if is_told else read[1:]
        for look, message in zip(looks, results if is_told else results[1:], strict=True):
            self.polled[message["tool_call_id"]] = look
        if not looks:
            return Tools((("process", {"action": "poll", "sessionId": self.started[0]["sessionId"]}),))
        return Text(f"It is {looks[-1]['status']}.")


@pytest.fixture
async def assistant() -> AsyncIterator[Assistant]:
    made = Assistant()
    async with made.provider.running():
        yield made


@pytest.fixture
def home(tmp_path: Path, assistant: Assistant) -> Path:
    home = tmp_path / ".local" / "share" / "tawny"
    home.mkdir(parents=True)
    model = f'[model]\nname = "openai:fake"\nbase_url = "{assistant.provider.base_url}"\n'
    (home / "config.toml").write_text(f'{model}\n[exec]\nmode = "full"\n')
    return home


async def open_gate(workspace: Path) -> None:
    """Let it go on, once: whoever opens the gate waits until there is somebody at it."""
    await until(lambda: _opened(workspace / "gate"))


def _opened(gate: Path) -> bool:
    try:
        descriptor = os.open(gate, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return False  # nobody is at the gate yet
    os.write(descriptor, b"\n")
    os.close(descriptor)
    return True


@pytest.mark.crash
@pytest.mark.timeout(600)
async def test_a_command_goes_on_over_a_kill_and_its_end_is_told_to_the_conversation(
    tmp_path: Path, home: Path, assistant: Assistant
):
    machine = Machine(tmp_path)
    workspace = home / "workspace"
    workspace.mkdir()
    os.mkfifo(workspace / "gate")

    def said() -> list[str]:
        path = workspace / "progress"
        return path.read_text().split() if path.exists() else []

    async with machine.gateway() as gateway:
        asking = asyncio.create_task(_ask(machine))
        await until(lambda: assistant.started and said() == ["one"])
        gateway.kill()
        await gateway.wait()
        await asking
    (started,) = assistant.started
    assert started["status"] == "running"
    # There is no gateway, and it goes on.
    await open_gate(workspace)
    await until(lambda: said() == ["one", "two"])

    assistant.is_stuck = False
    async with machine.gateway():
        await until(lambda: assistant.polled)
        (look,) = assistant.polled.values()
        assert look["status"] == "running"
        assert "two" in assistant.output
        # It is over while nobody asks: the conversation is told, and answers.
        await open_gate(workspace)
        await until(lambda: said() == ["one", "two", "three"])
        await open_gate(workspace)
        await until(lambda: len(assistant.polled) == 2)
        shown: list[dict[str, Any]] = []

        async def ended() -> bool:
            shown[:] = json.loads(await machine.run("tawny sessions show main --json"))["items"]
            return any("It is completed." in str(one) for one in shown)

        async with asyncio.timeout(100):
            while not await ended():
                await asyncio.sleep(0.2)
    assert assistant.output == "one\ntwo\nthree\n"
    *_, last = assistant.polled.values()
    assert (last["status"], last["exitCode"]) == ("completed", 0)
    assert said() == ["one", "two", "three"]
    assert len(assistant.started) == 1
    assert sum(TOLD in str(one) for one in shown) == 1
    assert sum("It is completed." in str(one) for one in shown) == 1


async def _ask(machine: Machine) -> None:
    """The person says it; the gateway is killed before it is answered."""
    with pytest.raises(AssertionError):
        await machine.run("tawny chat build it")
