"""Messages that come during a turn: collected, followed up, dropped by policy; nothing lost, nothing twice."""

import asyncio
from typing import Any

import msgspec

from agent.conftest import Chat, OpenChat
from tawny.app import open_app
from tawny.config import Chat as ChatConfig
from tawny.config import Config, Home
from tawny.domain.tasks import Status
from tawny.ledger import inputs, sessions
from tawny.testing import FakeClock, ScriptedModel
from tawny.testing import Use as Call
from tawny.tools.registry import READ, Operation, Tool, ToolContext


class Nothing(msgspec.Struct):
    pass


class Gate:
    """A tool that holds a turn open until it is let go."""

    def __init__(self, talk: Chat) -> None:
        self.reached, self.open = asyncio.Event(), asyncio.Event()

        async def run(scope: ToolContext, params: Nothing) -> str:
            self.reached.set()
            await self.open.wait()
            return "open"

        talk.app.agency.door.tools["gate"] = Tool(  # type: ignore[index]
            name="gate",
            description="waits",
            params=Nothing,
            operation=lambda _params: Operation(name="file.read", operation="read", level=READ),
            run=run,
        )


def newest(messages: list[Any]) -> str:
    return "heard: " + str(messages[-1].parts[-1].content)


async def begin(talk: Chat, queue: str = "") -> tuple[Gate, str]:
    """A turn that is held open, with the queue set where told; the gate and the turn's id."""
    gate = Gate(talk)
    if queue:
        await talk.say(f"/queue {queue}")
    first = await talk.say("begin", wait=None)
    await gate.reached.wait()
    return gate, first.run_id


async def users(talk: Chat) -> list[str]:
    entries = await talk.read(lambda tx: sessions.entries(tx, "main"))
    return [entry.text for entry in entries if entry.role == "user"]


async def test_collect_makes_one_turn_of_what_came_meanwhile(chat: OpenChat) -> None:
    script = ScriptedModel([Call("gate"), "begun", newest])
    async with chat(script) as talk:
        gate, _ = await begin(talk, "collect debounce:100ms")
        late = [await talk.say(f"part {n}", wait=None) for n in range(3)]
        gate.open.set()
        for one in late:
            await talk.until(one.run_id, Status.SUCCEEDED)
        assert (await users(talk))[1:] == ["part 0\n\npart 1\n\npart 2"]
        assert len(script.asked) == 3
        folded = [(await talk.until(one.run_id, Status.SUCCEEDED)).merged_into for one in late]
        assert folded == [None, late[0].run_id, late[0].run_id]
        assert await talk.read(lambda tx: inputs.queued(tx, "main")) == []


async def test_followup_gives_each_a_turn_of_its_own_in_order(chat: OpenChat) -> None:
    script = ScriptedModel([Call("gate"), "begun", newest, newest])
    async with chat(script) as talk:
        gate, _ = await begin(talk, "followup")
        late = [await talk.say(f"part {n}", wait=None) for n in range(2)]
        gate.open.set()
        for n, one in enumerate(late):
            done = await talk.until(one.run_id, Status.SUCCEEDED)
            assert (done.result or {})["text"] == f"heard: part {n}"


async def test_the_configured_way_of_queueing_holds_where_none_was_said(chat: OpenChat) -> None:
    script = ScriptedModel([Call("gate"), "begun", newest])
    async with chat(script, chat=ChatConfig(queue="followup")) as talk:
        gate, run_id = await begin(talk)
        late = await talk.say("part 0", wait=None)
        gate.open.set()
        assert ((await talk.until(run_id, Status.SUCCEEDED)).result or {})["text"] == "begun"
        assert ((await talk.until(late.run_id, Status.SUCCEEDED)).result or {})["text"] == "heard: part 0"


async def test_steer_puts_it_before_the_model_in_the_very_turn(chat: OpenChat) -> None:
    script = ScriptedModel([Call("gate"), newest])
    async with chat(script) as talk:
        gate, run_id = await begin(talk, "steer")
        late = await talk.say("make it short", wait=None)
        gate.open.set()
        done = await talk.until(run_id, Status.SUCCEEDED)
        assert (done.result or {})["text"] == "heard: make it short"
        assert (await talk.until(late.run_id, Status.SUCCEEDED)).merged_into == run_id
        assert len(script.asked) == 2


async def test_over_the_cap_the_oldest_is_dropped_and_summed_up_where_wanted(chat: OpenChat) -> None:
    for drop in ("old", "summarize"):
        script = ScriptedModel([Call("gate"), "begun", *[lambda m: str(m[-1].instructions)] * 3])
        async with chat(script) as talk:
            session = f"over-{drop}"
            gate = Gate(talk)
            await talk.say(f"/queue followup cap:2 drop:{drop}", session=session, event_id=f"{drop}q")
            await talk.say("begin", wait=None, session=session, event_id=f"{drop}b")
            await gate.reached.wait()
            late = [
                await talk.say(f"part {n}", wait=None, session=session, event_id=f"{drop}{n}")
                for n in range(3)
            ]
            gate.open.set()
            assert (await talk.until(late[0].run_id, Status.CANCELLED)).status is Status.CANCELLED
            told = [(await talk.until(one.run_id, Status.SUCCEEDED)).result or {} for one in late[1:]]
            assert ("A message was dropped as too many waited: part 0" in str(told)) is (drop == "summarize")


async def test_over_the_cap_the_new_one_is_turned_away_by_a_sentence(chat: OpenChat) -> None:
    async with chat(ScriptedModel([Call("gate"), "begun", "one", "two"])) as talk:
        gate, _ = await begin(talk, "followup cap:2 drop:new")
        late = [await talk.say(f"part {n}", wait=None) for n in range(3)]
        assert [one.status for one in late] == ["queued", "queued", "dropped"]
        assert "Say it again later" in late[2].text
        gate.open.set()
        await talk.until(late[1].run_id, Status.SUCCEEDED)


async def test_interrupt_ends_the_running_turn_and_its_sentence_says_so(chat: OpenChat) -> None:
    async with chat(ScriptedModel([Call("gate"), "the second answer"])) as talk:
        _, run_id = await begin(talk, "interrupt")
        second = await talk.say("rather this")
        assert second.text == "the second answer"
        assert (await talk.until(run_id, Status.CANCELLED)).status is Status.CANCELLED
        entries = await talk.read(lambda tx: sessions.entries(tx, "main"))
        said = [(entry.role, entry.text) for entry in entries]
        assert said[:2] == [("user", "begin"), ("assistant", "(interrupted by the next message)")]


async def test_a_bare_cancel_ends_the_turn_at_work_and_its_sentence_says_so(chat: OpenChat) -> None:
    async with chat(ScriptedModel([Call("gate"), "the next answer"])) as talk:
        _, run_id = await begin(talk)
        assert (await talk.say("/cancel")).text == '"begin" is being cancelled.'
        await talk.until(run_id, Status.CANCELLED)

        async def told() -> bool:
            return "cancelled on request" in [
                entry.text for entry in await talk.read(lambda tx: sessions.entries(tx, "main"))
            ]

        await talk.wait_for(told)
        assert (await talk.say("and now?")).text == "the next answer"
        assert "there is no task" in (await talk.say("/cancel")).text


async def test_what_comes_within_the_debounce_is_one_turn_and_what_comes_after_another(home: Home) -> None:
    clock = FakeClock()
    script = ScriptedModel([Call("gate"), "begun", newest, newest])
    async with open_app(home, Config(), clock=clock, model=script) as app:
        talk = Chat(app)
        gate, run_id = await begin(talk, "collect debounce:30s")
        first = await talk.say("part 0", wait=None)
        gate.open.set()
        await talk.until(run_id, Status.SUCCEEDED)
        # Nothing holds it any more but the debounce: without it, this would be answered by now.
        await clock.advance("20s")
        assert len(script.asked) == 2
        second = await talk.say("part 1", wait=None)
        await clock.advance("11s")
        done = await talk.until(first.run_id, Status.SUCCEEDED)
        assert (done.result or {})["text"] == "heard: part 0\n\npart 1"
        assert (await talk.until(second.run_id, Status.SUCCEEDED)).merged_into == first.run_id
        late = await talk.say("part 2")
        assert late.text == "heard: part 2"
        assert len(script.asked) == 4


async def test_twenty_wait_unless_told_and_the_oldest_is_dropped(chat: OpenChat) -> None:
    script = ScriptedModel([Call("gate"), "begun", *[newest] * 20])
    async with chat(script, chat=ChatConfig(queue="followup")) as talk:
        gate, _ = await begin(talk)
        late = [await talk.say(f"part {n}", wait=None) for n in range(21)]
        gate.open.set()
        dropped = await talk.until(late[0].run_id, Status.CANCELLED)
        assert "too many messages wait" in dropped.error.message
        told = [((await talk.until(one.run_id, Status.SUCCEEDED)).result or {})["text"] for one in late[1:]]
        assert told == [f"heard: part {n}" for n in range(1, 21)]
