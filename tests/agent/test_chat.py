"""A chat from end to end: message in, turn on the real engine, answer out."""

import asyncio
from typing import Any

import msgspec
import pytest

from agent.conftest import OpenChat
from tawny.agent.context import context_of
from tawny.agent.live import Delta
from tawny.config import Approvals, Home
from tawny.domain.approvals import Question
from tawny.domain.messages import Inbound
from tawny.domain.sessions import COMMANDS, LOCAL
from tawny.domain.tasks import Origin, Status, Submission, Task
from tawny.engine.kinds import Context, Kind
from tawny.ledger import approvals, automations, events, inputs, sessions, tasks
from tawny.ledger.submission import submit
from tawny.plugins import BUNDLED_CHANNELS
from tawny.testing import Say, ScriptedModel, Use


async def test_the_demo_model_answers_and_the_transcript_keeps_it(chat: OpenChat) -> None:
    async with chat() as app:
        reply = await app.say("The weather is fine")
        assert reply.text.strip() == "You said: The weather is fine"
        entries = await app.ledger.read(lambda tx: sessions.entries(tx, "main"))
        assert [(entry.role, entry.text.strip()) for entry in entries] == [
            ("user", "The weather is fine"),
            ("assistant", "You said: The weather is fine"),
        ]
        task = await app.until(reply.run_id, Status.SUCCEEDED)
        assert task.usage.model_calls == 1
        assert task.usage.cost == 0
        assert not task.detached


async def test_an_answer_is_streamed_while_it_is_made(chat: OpenChat) -> None:
    heard: list[Delta] = []
    async with chat(ScriptedModel([Say("one two three four", chunks=4)])) as app:
        app.app.agency.live.listen(heard.append)
        await app.say("count")
    assert "".join(delta.text for delta in heard) == "one two three four"
    assert len(heard) >= 4


async def test_the_model_sees_what_was_said_before(chat: OpenChat) -> None:
    script = ScriptedModel(["first answer", "second answer"])
    async with chat(script) as app:
        await app.say("first question")
        await app.say("second question")
    words = str(script.asked[1])
    assert words.index("first question") < words.index("first answer") < words.index("second question")


async def test_the_same_message_twice_is_answered_once(chat: OpenChat) -> None:
    script = ScriptedModel(["only once"])
    async with chat(script) as app:
        first = await app.say("hello", event_id="e1")
        second = await app.say("hello", event_id="e1")
        assert first.run_id == second.run_id or second.text == "only once"
        assert len(script.asked) == 1


async def test_a_background_task_is_started_shown_and_cancelled_by_plain_words(chat: OpenChat) -> None:
    async with chat() as app:
        started = await app.say("run a test task of 60 seconds")
        assert 'Started "test task" in the background' in started.text
        assert len(started.task_ids) == 1
        task_id = started.task_ids[0]
        await app.until(task_id, Status.RUNNING)
        going = await app.say("how is it going?")
        assert '"test task" is running' in going.text
        again = await app.say("run a test task of 60 seconds", event_id="again")
        assert "already running" in again.text
        assert again.task_ids == [task_id]
        await app.say("cancel that")
        ended = await app.until(task_id, Status.CANCELLED)
        assert ended.session == "main"


async def test_the_result_of_background_work_comes_into_the_chat(chat: OpenChat) -> None:
    script = ScriptedModel(
        [
            Use("tasks", {"action": "run", "kind": "simulate", "params": {"steps": 2, "step_seconds": 0}}),
            "It is under way.",
            lambda messages: "I know: " + str("Simulated 2 steps." in str(messages)),
        ]
    )
    async with chat(script) as app:
        started = await app.say("simulate")
        await app.until(started.task_ids[0], Status.SUCCEEDED)
        bell = app.ledger.bell.subscribe("events")
        async with asyncio.timeout(10):
            while not any(
                entry.text == "Simulated 2 steps."
                for entry in await app.ledger.read(lambda tx: sessions.entries(tx, "main"))
            ):
                await bell.wait()
                bell.clear()
        assert (await app.say("and?")).text == "I know: True"


async def test_slash_commands_are_answered_without_a_model(chat: OpenChat) -> None:
    script = ScriptedModel()
    async with chat(script) as app:
        status = await app.say("/status")
        assert status.status == "answered"
        assert "Session main" in status.text
        assert "followup" in (await app.say("/queue followup debounce:1s")).text
        assert "none of steer" in (await app.say("/queue whatever")).text
        assert "/loop" in (await app.say("/help")).text
        assert "Nothing waits" in (await app.say("/approve")).text
        assert script.asked == []


async def test_new_begins_a_conversation_that_knows_nothing(chat: OpenChat) -> None:
    script = ScriptedModel(["noted", "who?"])
    async with chat(script) as app:
        await app.say("my name is Ann")
        await app.say("/new")
        await app.say("what is my name?")
        assert "Ann" not in str(script.asked[1])
        kept = await app.ledger.read(lambda tx: sessions.entries(tx, "main"))
        assert "Ann" in kept[0].text


async def test_turns_of_one_session_run_one_after_the_other_and_in_order(chat: OpenChat) -> None:
    script = ScriptedModel([f"answer {n}" for n in range(5)])
    async with chat(script) as app:
        await app.say("/queue followup")
        waiting = [app.say(f"question {n}") for n in range(5)]
        received = [await one for one in waiting]
        assert [reply.text for reply in received] == [f"answer {n}" for n in range(5)]
        entries = await app.ledger.read(lambda tx: sessions.entries(tx, "main"))
        assert [entry.text for entry in entries if entry.role == "user"] == [
            f"question {n}" for n in range(5)
        ]


async def test_a_message_during_a_turn_steers_it(chat: OpenChat) -> None:
    arrived = asyncio.Event()

    def second(messages: list[Any]) -> str:
        return "heard: " + str("make it short" in str(messages))

    script = ScriptedModel([Use("tasks", {"action": "list"}), second])
    async with chat(script) as app:
        app.app.agency.live.listen(lambda delta: arrived.set() if delta.kind == "tool" else None)
        first = asyncio.get_running_loop().create_task(app.say("write me something"))
        await arrived.wait()
        late = await app.say("make it short", wait=None)
        reply = await first
        if reply.text == "heard: True":
            folded = await app.until(late.run_id, Status.SUCCEEDED)
            assert folded.merged_into == reply.run_id
        kept = await app.ledger.read(lambda tx: inputs.queued(tx, "main"))
        assert kept == []


async def test_interrupt_breaks_off_the_running_turn(chat: OpenChat) -> None:
    script = ScriptedModel(["never", "second"])
    gate = asyncio.Event()

    async with chat(script) as app:
        await app.say("/queue interrupt")
        heard = asyncio.Event()
        app.app.agency.live.listen(lambda _delta: heard.set())
        del gate
        script.replies[:] = [Use("tasks", {"action": "list"})] * 3 + ["late", "second"]
        first = asyncio.get_running_loop().create_task(app.say("first"))
        await heard.wait()
        reply = await app.say("second")
        await first
        assert reply.status in ("succeeded", "running")


async def test_when_too_many_wait_the_newest_is_told_so(chat: OpenChat) -> None:
    held = asyncio.Event()

    async with chat(ScriptedModel([Use("tasks", {"action": "list"})] * 3 + ["x"] * 10)) as app:
        await app.say("/queue followup cap:2 drop:new")
        app.app.agency.live.listen(lambda _delta: held.set())
        await app.say("begin", wait=None)
        crowd = [await app.say(f"m{n}", wait=None) for n in range(6)]
        dropped = [one for one in crowd if one.status == "dropped"]
        assert all("Say it again later" in one.text for one in dropped)
        queued = await app.ledger.read(lambda tx: inputs.queued(tx, "main"))
        assert len(queued) <= 3


async def test_a_channel_message_is_answered_through_the_outbox_once(chat: OpenChat) -> None:
    async with chat(ScriptedModel(["hi Ann"])) as app:
        inbound = Inbound(channel="telegram", event_id="u1", sender="42", conversation="42", text="hello")
        received = await app.app.agency.inbox.receive(inbound)
        assert (await app.app.agency.inbox.receive(inbound)).status == "seen"
        assert received.run_id is not None
        await app.until(received.run_id, Status.SUCCEEDED)
        rows = await app.ledger.read(
            lambda tx: tx.all(
                "SELECT target, message FROM outbox WHERE task_id = :id AND fallback_of IS NULL",
                id=received.run_id,
            )
        )
        assert [row["target"] for row in rows] == ["telegram:42"]
        assert "hi Ann" in rows[0]["message"]


async def test_wrong_arguments_and_unknown_tools_are_corrected_by_the_model(chat: OpenChat) -> None:
    script = ScriptedModel(
        [
            Use("tasks", {"action": "fly"}),
            Use("teleport", {"to": "moon"}),
            lambda messages: "sorry: " + str("fly" in str(messages)),
        ]
    )
    async with chat(script) as app:
        reply = await app.say("do something odd")
        assert reply.text == "sorry: True"
        assert reply.status == "succeeded"


async def test_a_turn_that_calls_the_same_thing_for_ever_is_ended(chat: OpenChat) -> None:
    script = ScriptedModel([Use("tasks", {"action": "list"})] * 40)
    async with chat(script) as app:
        reply = await app.say("loop")
        assert "over and over" in reply.text
        assert len(script.asked) <= 12


async def test_events_tell_every_device_what_was_said(chat: OpenChat) -> None:
    async with chat(ScriptedModel(["pong"])) as app:
        await app.say("ping")
        log = await app.ledger.read(lambda tx: events.after(tx, 0))
        said = [event.data for event in log if event.type in ("message.received", "message.sent")]
        assert [(one["role"], one["text"]) for one in said] == [("user", "ping"), ("assistant", "pong")]


async def test_a_tapped_button_answers_the_approval_once_and_only_for_who_may(chat: OpenChat) -> None:
    script = ScriptedModel(
        [Use("exec", {"command": "id -u"}), lambda messages: "ran: " + str(messages[-1])[:2000]]
    )
    async with chat(script, approvals=Approvals(approvers=("telegram:42",))) as app:
        waiting = await app.say("who are you?", wait=1)
        await app.until(waiting.run_id, Status.WAITING)
        (approval,), _ = await app.read(lambda tx: approvals.page(tx, status="pending"))
        assert waiting.status == "waiting"
        assert f"/approve {approval.approval_id}" in waiting.text

        async def tap(sender: str, event: str) -> str:
            tapped = Inbound(
                channel="telegram",
                event_id=event,
                sender=sender,
                conversation=sender,
                action=f"approve:{approval.approval_id}",
            )
            return (await app.app.agency.inbox.receive(tapped)).text

        assert "may not answer" in await tap("13", "t1")
        assert await tap("42", "t2") == "exec: approved."
        assert "approved" in await tap("42", "t3")
        done = await app.until(waiting.run_id, Status.SUCCEEDED, Status.FAILED)
        assert done.status is Status.SUCCEEDED


async def test_whoever_waits_a_moment_too_late_hears_the_reply_all_the_same(chat: OpenChat) -> None:
    async with chat(ScriptedModel(["hello"])) as app:
        inbox = app.app.agency.inbox
        said = Inbound(channel="http", event_id="one", sender="owner", text="hi")
        received = await inbox.receive(said, session="main")
        assert received.begun
        assert received.run_id is not None
        await app.until(received.run_id, Status.SUCCEEDED)
        late = await inbox.answer(received.run_id, "main", wait=20, begun=True)
        assert (late.text, late.status) == ("hello", "succeeded")
        again = await inbox.receive(said, session="main")
        assert not again.begun
        assert (await inbox.answer(received.run_id, "main", wait=20)).text == "hello"


async def test_what_was_streamed_is_what_was_said(chat: OpenChat) -> None:
    """To the last space: whoever has heard the stream must not be told the whole again."""
    heard: list[Delta] = []
    async with chat(ScriptedModel([Say(" one two \n", chunks=3)])) as app:
        app.app.agency.live.listen(heard.append)
        reply = await app.say("count")
    assert "".join(delta.text for delta in heard) == reply.text == " one two \n"


async def test_the_context_shown_is_the_context_told(chat: OpenChat, home: Home) -> None:
    home.prepare()
    for name, text in (("AGENTS.md", "Be kind."), ("MEMORY.md", "The cat is Mia.")):
        (home.workspace / name).write_text(text)
    skill = home.workspace / "skills" / "brew-tea"
    skill.mkdir(parents=True)
    (skill / "SKILL.md").write_text("---\nname: brew-tea\ndescription: Makes tea.\n---\nBoil.\n")
    script = ScriptedModel(["hello"])
    async with chat(script) as app:
        await app.say("hi")
        parts, _ = await app.ledger.read(lambda tx: context_of(tx, home, app.app.config, "main"))
    told = str(script.asked[0][-1].instructions)
    assert [part.name for part in parts] == [
        "own words",
        "background rules",
        "skills",
        "AGENTS.md",
        "MEMORY.md",
        "clock",
    ]
    assert all(part.text in told for part in parts[1:-1])


async def test_many_skills_leave_room_and_the_rest_is_found_by_words(chat: OpenChat, home: Home) -> None:
    home.prepare()

    def write(name: str, description: str) -> None:
        folder = home.workspace / "skills" / name
        folder.mkdir(parents=True)
        (folder / "SKILL.md").write_text(f"---\nname: {name}\ndescription: {description}\n---\nDo it.\n")

    for n in range(120):
        write(f"skill-{n:03}", f"Something of the kind {n}. " + "It is of use now and then. " * 12)
    script = ScriptedModel(
        ["hello", Use("skills", {"query": "zebra"}), lambda messages: str(messages[-1].parts)]
    )
    async with chat(script) as app:
        await app.say("hi")
        write("zzz-zebra", "Draws a zebra.")
        found = await app.say("draw a zebra")
    before, after = (str(asked[-1].instructions) for asked in script.asked[:2])
    assert "skill-000: Something of the kind 0." in before
    listed = sum(f"- skill-{n:03}" in before for n in range(120))
    assert 40 < listed < 120
    assert f"and {120 - listed} more that are not listed here" in before
    # A file that is new is known in the next turn.
    assert f"and {121 - listed} more that are not listed here" in after
    assert "skills/zzz-zebra/SKILL.md" in found.text


@pytest.mark.parametrize("channel", ["telegram", "email", "slack", "discord", "matrix", "http", "cli"])
async def test_every_command_works_in_every_channel_without_a_model(chat: OpenChat, channel: str) -> None:
    script = ScriptedModel()
    orders = {
        **dict.fromkeys(COMMANDS, ""),
        "queue": "collect",
        "loop": "10m look",
        "cancel": "it",
        "pause": "it",
    }
    async with chat(script) as app:
        inbox = app.app.agency.inbox
        for name, rest in orders.items():
            inbound = Inbound(
                channel=channel, event_id=name, sender="42", conversation="42", text=f"/{name} {rest}"
            )
            received = await inbox.receive(inbound)
            assert (received.status, received.run_id) == ("answered", None), name
            assert received.text, name
        rows = await app.ledger.read(lambda tx: tx.all("SELECT target FROM outbox WHERE fallback_of IS NULL"))
        outside = channel not in ("http", "cli")
        assert [row["target"] for row in rows] == [f"{channel}:42"] * (len(orders) if outside else 0)
    assert script.asked == []


# Those that bring and take nothing but what is sent out.
ONE_WAY = {"apprise", "chat", "file", "inbox", "memory", "ntfy", "webhook", "webhook-url"}
EVERYWHERE = sorted({*BUNDLED_CHANNELS} - ONE_WAY | LOCAL)


class Nothing(msgspec.Struct):
    pass


async def _ask(ctx: Context, _: Nothing) -> str:
    question = Question(
        tool="pay", operation="payment.make", arguments={}, level=4, reason="5 dollars", origin=Origin()
    )
    return (await ctx.ask("may I", question)).status


@pytest.mark.parametrize("channel", EVERYWHERE)
async def test_a_command_does_what_it_says_in_every_channel_without_a_model(
    chat: OpenChat, channel: str
) -> None:
    script = ScriptedModel()
    said = 0
    # Who is asked for a yes is the owner: a person of a channel is one where he is listed.
    async with chat(script, approvals=Approvals(approvers=(f"{channel}:42",))) as app:
        inbox = app.app.agency.inbox
        app.app.kinds["ask"] = Kind(name="ask", params=Nothing, run=_ask)  # type: ignore[index]

        async def say(text: str) -> str:
            nonlocal said
            said += 1
            inbound = Inbound(channel=channel, event_id=str(said), sender="42", conversation="42", text=text)
            received = await inbox.receive(inbound)
            assert (received.status, received.run_id) == ("answered", None), text
            outside = await app.ledger.read(
                lambda tx: tx.all(
                    "SELECT target, message FROM outbox WHERE fallback_of IS NULL AND task_id IS NULL"
                )
            )
            sent = [row["message"] for row in outside if row["target"] == f"{channel}:42"]
            assert len(sent) == (0 if channel in LOCAL else said)
            assert not sent or msgspec.json.decode(sent[-1])["text"] == received.text
            return received.text

        async def begin(kind: str, params: dict[str, Any]) -> Task:
            wanted = Submission(kind=kind, params=params, title=f"The {kind} one", session="main")
            return await app.ledger.write(lambda tx: submit(tx, wanted))

        long = await begin("simulate", {"steps": 1000, "step_seconds": 60})
        await app.until(long.task_id, Status.RUNNING)
        assert '"The simulate one"' in await say("/status")
        assert f'"The simulate one" ({long.task_id}) is running' in await say("/tasks")
        assert await say("/pause simulate") == '"The simulate one" pauses after its current step.'
        assert (await app.read(lambda tx: tasks.get(tx, long.task_id))).intent == "pause"
        assert '"The simulate one" is ' in await say("/resume simulate")
        assert not (await app.read(lambda tx: tasks.get(tx, long.task_id))).intent
        assert '"The simulate one" is ' in await say("/cancel")
        await app.until(long.task_id, Status.CANCELLED)
        for word, status in (("approve", "approved"), ("deny", "denied")):
            asking = await begin("ask", {})
            await app.until(asking.task_id, Status.WAITING)
            assert await say(f"/{word}") == f"pay: {status}."
            done = await app.until(asking.task_id, Status.SUCCEEDED)
            assert (done.result or {})["text"] == status
        assert "collect" in await say("/queue collect cap:3")
        assert "demo from now on" in await say("/model demo")
        assert "to compact" in await say("/compact")
        assert "every 10m" in (await say("/loop 10m look at it")).lower()
        assert "A new conversation begins" in await say("/new")
        assert "/cancel" in await say("/help")
        session = (await app.read(lambda tx: sessions.page(tx))).items[0]
        assert (session.settings["queue"]["mode"], session.settings["queue"]["cap"]) == ("collect", 3)
        assert session.settings["model"] == "demo"
        loops = (await app.read(lambda tx: automations.page(tx))).items
        assert [one.name for one in loops] == ["loop: look at it"]
    assert script.asked == []


async def test_a_long_file_of_the_owners_keeps_its_head_and_its_tail(chat: OpenChat, home: Home) -> None:
    home.prepare()
    (home.workspace / "AGENTS.md").write_text("Begin kindly.\n" + "x" * 60_000 + "\nEnd kindly.")
    script = ScriptedModel(["hello"])
    async with chat(script) as app:
        await app.say("hi")
    told = str(script.asked[0][-1].instructions)
    assert "Begin kindly." in told
    assert "End kindly." in told
    assert len(told) < 30_000
