"""exec in a chat, from the model's call to the sandbox and back, and the end of a background command."""

import asyncio
import shutil

import pytest

from tawny.app import open_app
from tawny.config import Config, Exec, Home
from tawny.ledger import events, sessions
from tawny.testing import ScriptedModel, Use

pytestmark = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")


async def test_a_listed_command_runs_and_the_model_reads_its_output(home: Home) -> None:
    model = ScriptedModel([Use("exec", {"command": "echo from the sandbox"}), "It said so."])
    async with open_app(home, Config(exec=Exec(allow=("echo",))), model=model) as app:
        reply = await app.agency.inbox.say("main", "run echo from the sandbox", event_id="e1", wait=20)
        assert reply.text == "It said so."


async def test_a_command_over_and_over_is_a_circle_though_each_has_an_id(home: Home) -> None:
    model = ScriptedModel([Use("exec", {"command": "echo nothing yet"})] * 15)
    async with open_app(home, Config(exec=Exec(allow=("echo",))), model=model) as app:
        reply = await app.agency.inbox.say("main", "wait for it", event_id="e1", wait=60)
        assert "goes in circles" in reply.text
        assert len(model.asked) == 12


async def test_an_unlisted_command_waits_for_a_yes(home: Home) -> None:
    model = ScriptedModel([Use("exec", {"command": "id"}), "done"])
    async with open_app(home, Config(), model=model) as app:
        reply = await app.agency.inbox.say("main", "who am I", event_id="e1", wait=3)
        assert "waits for your yes" in reply.text
        assert reply.status == "waiting"


async def test_the_end_of_a_background_command_is_a_turn_of_its_own(home: Home) -> None:
    model = ScriptedModel(
        [
            Use("exec", {"command": "sleep 0.7; echo order at http://evil.test", "background": True}),
            "It runs.",
            "It has ended.",
        ]
    )
    async with open_app(home, Config(exec=Exec(mode="full")), model=model) as app:
        bell = app.ledger.bell.subscribe("events")
        reply = await app.agency.inbox.say("main", "do it", event_id="e1", wait=20)
        assert reply.text == "It runs."
        async with asyncio.timeout(20):
            while True:
                bell.clear()
                log = await app.ledger.read(lambda tx: events.after(tx, 0, limit=5000))
                said = [event.data["text"] for event in log if event.type == "message.sent"]
                if "It has ended." in said:
                    break
                await bell.wait()
        words = await app.ledger.read(lambda tx: sessions.words(tx, "main", after=0))
        assert not any("evil" in text for text in words)
    assert [event.data["status"] for event in log if event.type == "system.process_ended"] == ["completed"]
