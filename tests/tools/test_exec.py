"""exec and process through the one door, with the real sandbox."""

import asyncio
import shutil
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from tests.conftest import CONFIG, Engine
from tests.damage import Remote
from tests.tools.conftest import Runs, Script, World

from tawny.agent.endings import Endings
from tawny.app import open_app
from tawny.clock import SystemClock
from tawny.config import Config, Exec, Home
from tawny.domain.commands import Mode
from tawny.domain.rules import Rules
from tawny.domain.tasks import Origin, Status
from tawny.engine import commands as engine_commands
from tawny.engine.kinds import Kind
from tawny.errors import NotFound
from tawny.ledger import events, steps
from tawny.ledger.database import Ledger
from tawny.sandbox.processes import Process, Processes
from tawny.sandbox.workshop import Workshop
from tawny.skills.grants import Grants
from tawny.tools.call import Door
from tawny.tools.exec import AllowList, exec_tool
from tawny.tools.process import process_tool

pytestmark = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")


class Shop:
    """The tools on a live engine; `open` again on the same home for a restart."""

    def __init__(self, home: Home, stack: AsyncExitStack) -> None:
        self.home = home
        self.stack = stack
        self.mode = Mode.FULL
        self.allow: tuple[str, ...] = ()
        self.rules = Rules()
        self.grants: Grants | None = None
        self.config = CONFIG

    async def open(self) -> "Shop":
        self.door: Door | None = None
        self.app = await self.stack.enter_async_context(
            open_app(self.home, self.config, kinds={"script": _script(lambda: self.door)})
        )
        workshop = Workshop(self.home, self.config, SystemClock())
        self.processes: Processes = workshop.processes
        allowed = AllowList(self.mode, self.allow, self.home.workspace)
        run = exec_tool(self.processes, lambda: workshop.place, allowed, grants=self.grants)
        tools = [run, process_tool(self.processes, allowed)]
        self.door = Door({tool.name: tool for tool in tools}, self.app.ledger, rules=lambda: self.rules)
        self.engine = Engine(self.app, SystemClock())
        self.runs = Runs(self.engine, World(), self.door)
        return self

    async def call(self, name: str, **arguments: Any) -> Any:
        [result] = await self.runs.run((name, arguments))
        return result


def _script(door: Callable[[], Door | None]) -> Kind:
    from tests.tools.conftest import script_kind

    def opened() -> Door:
        found = door()
        assert found is not None
        return found

    kind = script_kind(opened)
    assert kind.params is Script
    return kind


@pytest.fixture
async def shop(home: Home) -> AsyncGenerator[Shop]:
    async with AsyncExitStack() as stack:
        yield await Shop(home, stack).open()


async def test_a_short_command_gives_its_output(shop: Shop) -> None:
    result = await shop.call("exec", command="echo hello; echo error >&2; exit 4")
    assert (result["status"], result["exitCode"]) == ("failed", 4)
    assert result["output"] == "hello\nerror\n"
    result = await shop.call("exec", argv=["echo", "a  b", "$HOME", "*"])
    assert (result["status"], result["output"]) == ("completed", "a  b $HOME *\n")


async def test_a_long_command_yields_and_is_polled_to_its_end(shop: Shop) -> None:
    line = "echo one; while [ ! -e go ]; do sleep 0.05; done; echo two; exit 3"
    shop.home.workspace.mkdir(exist_ok=True)
    started = await shop.call("exec", command=line, yieldMs=300, background=True)
    assert started["status"] == "running"
    session = started["sessionId"]
    seen = started["tail"]
    while "one" not in seen:
        seen += (await shop.call("process", action="poll", sessionId=session))["output"]
    again = await shop.call("process", action="poll", sessionId=session)
    assert (again["status"], again["output"]) == ("running", "")
    [listed] = (await shop.call("process", action="list"))["processes"]
    assert (listed["status"], listed["sessionId"]) == ("running", session)
    (shop.home.workspace / "go").touch()
    last = await shop.call("process", action="poll", sessionId=session, waitMs=10_000)
    assert (last["status"], last["exitCode"], last["output"]) == ("failed", 3, "two\n")
    log = await shop.call("process", action="log", sessionId=session, offset=0, limit=1)
    assert (log["output"], log["lines"]) == ("one", 2)
    assert (await shop.call("process", action="clear", sessionId=session))["status"] == "removed"
    assert (await shop.call("process", action="list"))["processes"] == []


async def test_the_same_running_command_is_returned_and_not_started_again(shop: Shop) -> None:
    line = "echo x >> ran; while [ ! -e go ]; do sleep 0.05; done"
    first = await shop.call("exec", command=line, background=True)
    second = await shop.call("exec", command=line, background=True)
    assert second["sessionId"] == first["sessionId"]
    assert second["alreadyRunning"] is True
    third = await shop.call("exec", command=line + " # other", background=True)
    assert third["sessionId"] != first["sessionId"]
    (shop.home.workspace / "go").touch()
    await shop.processes.find("main", first["sessionId"]).command.wait()
    await shop.processes.find("main", third["sessionId"]).command.wait()
    assert (shop.home.workspace / "ran").read_text() == "x\nx\n"


NUMBERS = "".join(f"{number}\n" for number in range(1, 50_001))


async def counted(shop: Shop) -> Process:
    """A running command that has written all its numbers."""
    started = await shop.call("exec", command="seq 50000; cat", background=True)
    process = shop.processes.find("main", started["sessionId"])
    async with asyncio.timeout(20):
        while process.command.size() < len(NUMBERS):
            await asyncio.sleep(0.02)
    return process


async def test_the_tail_is_the_end_of_what_there_is(shop: Shop) -> None:
    process = await counted(shop)
    again = await shop.call("exec", command="seq 50000; cat", background=True)
    assert (again["sessionId"], again["alreadyRunning"]) == (process.id, True)
    assert again["tail"] == NUMBERS[-2000:]
    assert "beginning is left out" in again["truncated"]
    polled = await shop.call("process", action="poll", sessionId=process.id)
    assert (polled["status"], polled["output"]) == ("running", "")
    await shop.call("process", action="remove", sessionId=process.id)


async def test_what_is_killed_shows_its_last_words(shop: Shop) -> None:
    process = await counted(shop)
    # Longer than the share of this model's window, so it is shown as text with its middle left out.
    ended = await shop.call("process", action="kill", sessionId=process.id)
    assert r"49999\n50000\n" in ended
    assert "beginning is left out" in ended


async def test_a_poll_whose_answer_was_lost_reads_the_same_again(shop: Shop) -> None:
    process = await counted(shop)
    first = process.poll(limit=100, call="task_1:0")
    assert first.data.decode() == NUMBERS[:100]
    assert process.poll(limit=100, call="task_1:0") == first
    assert process.poll(limit=100, call="task_2:0").data.decode() == NUMBERS[100:200]
    assert process.poll(limit=100, call="task_1:0").data.decode() == NUMBERS[200:300]
    await shop.call("process", action="remove", sessionId=process.id)


async def test_typing_into_a_terminal(shop: Shop) -> None:
    line = "stty -echo; read a; echo got $a; read b; echo then $b; cat"
    session = (await shop.call("exec", command=line, pty=True, background=True))["sessionId"]
    await shop.call("process", action="submit", sessionId=session, data="one")
    await shop.call("process", action="send-keys", sessionId=session, keys=["two", "Enter"])
    await shop.call("process", action="send-keys", sessionId=session, keys=["C-d"])
    last = await shop.call("process", action="poll", sessionId=session, waitMs=10_000)
    assert "got one" in last["output"]
    assert "then two" in last["output"]
    assert last["status"] == "completed"


async def test_writing_and_closing_the_input(shop: Shop) -> None:
    session = (await shop.call("exec", command="cat | tr a-z A-Z", background=True))["sessionId"]
    await shop.call("process", action="write", sessionId=session, data="hello", eof=True)
    last = await shop.call("process", action="poll", sessionId=session, waitMs=10_000)
    assert (last["status"], last["output"]) == ("completed", "HELLO")


async def begun(shop: Shop, **call: Any) -> str:
    """The id of a process that a person has said yes to."""
    assert await shop.call("exec", background=True, **call) == "asked"
    ended = await shop.runs.answer()
    assert ended.result is not None
    return str(ended.result["results"][0]["sessionId"])


async def test_what_is_typed_into_a_shell_is_a_command_of_its_own(home: Home) -> None:
    """The yes that started the shell was none to whatever it is told later."""
    async with AsyncExitStack() as stack:
        shop = Shop(home, stack)
        shop.mode, shop.allow = Mode.ASK, ("cat",)
        await shop.open()
        session = await begun(shop, command="bash")
        ran = home.workspace / "ran"
        last: dict[str, Any] = {"action": "write", "data": "touch ran\n", "eof": True}
        for typed in (
            {"action": "write", "data": "touch ran\n"},
            {"action": "submit", "data": "touch ran"},
            {"action": "submit"},
            {"action": "paste", "data": "touch ran\n"},
            {"action": "send-keys", "keys": ["touch ran", "Enter"]},
            {"action": "send-keys", "keys": ["Up", "C-c"]},
            last,
        ):
            assert await shop.call("process", sessionId=session, **typed) == "asked", typed
            [question] = await shop.runs.pending()
            assert (question.operation, question.level) == ("process.run", 4)
            assert f"a yes holds for bash ({session[:23]}" in question.reason
            if typed is not last:
                await shop.runs.answer("denied")
        assert not ran.exists()
        await shop.runs.answer()
        ended = await shop.call("process", action="poll", sessionId=session, waitMs=20_000)
        assert (ended["status"], ran.exists()) == ("completed", True)


async def test_stopping_a_program_and_feeding_one_that_only_reads_ask_nobody(home: Home) -> None:
    async with AsyncExitStack() as stack:
        shop = Shop(home, stack)
        shop.mode, shop.allow = Mode.ASK, ("cat", "bash -s")
        await shop.open()
        session = await begun(shop, command="bash", pty=True)
        stopped = await shop.call("process", action="send-keys", sessionId=session, keys=["C-c", "C-d"])
        assert stopped["written"] == 2
        await shop.call("process", action="remove", sessionId=session)
        reader = (await shop.call("exec", command="cat", background=True))["sessionId"]
        await shop.call("process", action="submit", sessionId=reader, data="hello")
        await shop.call("process", action="write", sessionId=reader, eof=True)
        last = await shop.call("process", action="poll", sessionId=reader, waitMs=20_000)
        assert last["output"] == "hello\n"
        # A shell that the list lets start is not let do what it is told.
        other = (await shop.call("exec", command="bash -s", background=True))["sessionId"]
        assert await shop.call("process", action="submit", sessionId=other, data="x") == "asked"
        await shop.runs.answer("denied")
        await shop.call("process", action="remove", sessionId=other)


async def test_an_untrusted_run_types_nothing_without_a_yes(shop: Shop) -> None:
    """Also where the mode lets every command of a trusted one through."""
    session = (await shop.call("exec", command="cat > typed", background=True))["sessionId"]
    stranger = Origin(by="webhook", via="hook", trusted=False)
    calls: tuple[dict[str, Any], ...] = (
        {"action": "submit", "data": "x"},
        {"action": "send-keys", "keys": ["x"]},
    )
    for typed in calls:
        run = ("process", {"sessionId": session, **typed})
        assert await shop.runs.run(run, origin=stranger) == ["asked"]
        await shop.runs.answer("denied")
    await shop.call("process", action="submit", sessionId=session, data="mine")
    await shop.call("process", action="write", sessionId=session, eof=True)
    await shop.call("process", action="poll", sessionId=session, waitMs=20_000)
    assert (shop.home.workspace / "typed").read_text() == "mine\n"


async def test_modes_that_never_ask_let_nothing_be_typed_into_what_may_run_it(home: Home) -> None:
    async with AsyncExitStack() as stack:
        shop = Shop(home, stack)
        shop.mode, shop.allow = Mode.ALLOWLIST, ("cat", "bash -s")
        await shop.open()
        session = (await shop.call("exec", command="bash -s", background=True))["sessionId"]
        said = await shop.call("process", action="submit", sessionId=session, data="touch ran")
        assert said.startswith("refused: process: what is typed into 'bash -s' may run anything")
        await shop.call("process", action="remove", sessionId=session)


async def test_kill_ends_it_and_says_so(shop: Shop) -> None:
    session = (await shop.call("exec", command="echo on; trap '' TERM; cat", background=True))["sessionId"]
    ended = await shop.call("process", action="kill", sessionId=session)
    assert ended["status"] == "killed"
    assert shop.processes.find("main", session).command.outcome() is not None


async def test_another_conversations_process_is_not_there(shop: Shop) -> None:
    session = (await shop.call("exec", command="cat", background=True))["sessionId"]
    note = shop.processes.find("main", session).note
    assert note.conversation == "main"
    result = await shop.call("process", action="poll", sessionId="proc_of_somebody_else")
    assert "not_found" in str(result)
    with pytest.raises(NotFound):
        shop.processes.find("other", session)
    assert shop.processes.of("other") == []
    await shop.call("process", action="remove", sessionId=session)


@pytest.mark.parametrize("line", ["sleep 3600", "while true; do date; sleep 5; done"])
async def test_waiting_in_a_command_gets_the_hint(shop: Shop, line: str) -> None:
    result = await shop.call("exec", command=line)
    assert "use_automations" in result
    assert "automations tool" in result


async def test_hooks_in_the_environment_are_refused(shop: Shop) -> None:
    assert "refused" in await shop.call("exec", command="ls", env={"LD_PRELOAD": "x"})


async def test_the_allow_list_runs_what_it_names_and_asks_for_the_rest(home: Home) -> None:
    async with AsyncExitStack() as stack:
        shop = Shop(home, stack)
        shop.mode, shop.allow = Mode.ASK, ("echo", "ls")
        await shop.open()
        assert (await shop.call("exec", command="echo hi"))["output"] == "hi\n"
        assert await shop.call("exec", command="echo hi | cat") == "asked"
        [approval] = await shop.runs.pending()
        assert approval.document()["arguments"]["command"] == "echo hi | cat"
        ended = await shop.runs.answer()
        assert ended.result is not None
        assert ended.result["results"][0]["output"] == "hi\n"


@pytest.mark.parametrize("mode", [Mode.ASK, Mode.ALLOWLIST, Mode.FULL])
@pytest.mark.parametrize("swap", ["the script", "the link to it", "the folder of it", "nothing"])
async def test_what_is_exchanged_between_the_decision_and_the_start_does_not_run(
    home: Home, mode: Mode, swap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As late as can be: after the door has looked, and the tool too, and before the program is there."""
    for folder, says in (("good", "good"), ("bad", "bad")):
        (home.workspace / folder).mkdir()
        (home.workspace / folder / "run.sh").write_text(f"echo {says}\n")
    (home.workspace / "link.sh").symlink_to("good/run.sh")
    name = "link.sh" if swap == "the link to it" else "good/run.sh"
    async with AsyncExitStack() as stack:
        shop = Shop(home, stack)
        shop.mode, shop.allow = mode, () if mode is Mode.ASK else (f"sh {name}",)
        await shop.open()
        start = shop.processes.start

        async def exchanged(*given: Any) -> Any:
            if swap == "the script":
                (home.workspace / "good" / "run.sh").write_text("echo bad\n")
            elif swap == "the link to it":
                (home.workspace / "link.sh").unlink()
                (home.workspace / "link.sh").symlink_to("bad/run.sh")
            elif swap == "the folder of it":
                (home.workspace / "good").rename(home.workspace / "away")
                (home.workspace / "good").symlink_to("bad")
            return await start(*given)

        monkeypatch.setattr(shop.processes, "start", exchanged)
        result = await shop.call("exec", argv=["sh", name])
        if mode is Mode.ASK:
            assert result == "asked"
            ended = await shop.runs.answer()
            assert ended.result is not None
            [result] = ended.result["results"]
        if swap == "nothing":
            assert result["output"] == "good\n"
        else:
            assert result.startswith("refused: exec: it was not started: "), result
            assert "was exchanged after it was decided on" in result


async def test_the_modes_deny_and_allowlist_never_ask(home: Home) -> None:
    async with AsyncExitStack() as stack:
        shop = Shop(home, stack)
        shop.mode, shop.allow = Mode.ALLOWLIST, ("echo",)
        await shop.open()
        assert "refused" in await shop.call("exec", command="id")
        assert (await shop.call("exec", command="echo hi"))["status"] == "completed"


async def test_a_call_that_runs_again_finds_its_command(shop: Shop) -> None:
    """What a crash between the start and the journal would do: the same call once more."""
    task = await shop.runs.start(("exec", {"command": "echo x >> ran; sleep 0.5; echo done"}))
    await shop.engine.done(task.task_id)
    [process] = shop.processes.of("main")
    await shop.app.ledger.write(lambda tx: steps.forget(tx, task.task_id, "call:0"))
    order = process.command
    again, _ = await shop.processes.start(process.id, _never_used(), process.note)
    assert again.command.folder == order.folder
    assert (shop.home.workspace / "ran").read_text() == "x\n"


def _never_used() -> Any:
    from tawny.sandbox.order import Order

    return Order(argv=("/bin/false",), cwd="/tmp")


@pytest.mark.crash
async def test_where_the_supervisor_died_the_run_waits_for_a_person(shop: Shop) -> None:
    import os
    import signal

    import msgspec

    task = await shop.runs.start(
        ("exec", {"command": "echo x >> ran; [ -e go ] || sleep 20", "yieldMs": 60_000})
    )
    async with asyncio.timeout(10):
        while not (ran := shop.home.workspace / "ran").exists() or not ran.read_text():
            await asyncio.sleep(0.02)
    [process] = shop.processes.of("main")
    record = msgspec.json.decode((process.command.folder / "supervisor.json").read_bytes())
    (shop.home.workspace / "go").touch()
    os.kill(record["pid"], signal.SIGKILL)
    waiting = await shop.engine.until(task.task_id, Status.WAITING)
    assert waiting.waiting_for is not None
    assert waiting.waiting_for.kind == "reconcile"
    await shop.app.ledger.write(lambda tx: engine_commands.reconcile(tx, task.task_id, "redo"))
    ended = await shop.engine.done(task.task_id)
    assert ended.result is not None
    assert ended.result["results"][0]["status"] == "completed"
    assert (shop.home.workspace / "ran").read_text() == "x\nx\n"


async def test_the_end_in_the_background_is_told_once_as_event_and_turn(shop: Shop) -> None:
    told = Endings(shop.app.ledger, shop.processes)
    watching = asyncio.ensure_future(told.run())
    started = await shop.call(
        "exec", command="while [ ! -e go ]; do sleep 0.02; done; echo built", background=True
    )
    (shop.home.workspace / "go").touch()
    process = shop.processes.find("main", started["sessionId"])
    outcome = await process.command.wait()
    async with asyncio.timeout(10):
        while not process.is_marked("told"):
            await asyncio.sleep(0.02)
    await told.tell(process, outcome)
    log = await shop.app.ledger.read(lambda tx: events.after(tx, 0, limit=5000))
    ended = [event for event in log if event.type == "system.process_ended"]
    assert [(e.data["status"], e.data["exit_code"], e.session) for e in ended] == [("completed", 0, "main")]
    queued = [
        event for event in log if event.type == "task.queued" and event.data.get("kind") == "agent_turn"
    ]
    assert len(queued) <= 1
    watching.cancel()


async def test_the_end_is_told_when_the_disk_is_back(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    disk = Remote(shop.home.database)
    async with Ledger(disk, SystemClock()) as ledger:
        watching = asyncio.ensure_future(Endings(ledger, shop.processes).run())
        started = await shop.call("exec", command="cat", background=True)
        process = shop.processes.find("main", started["sessionId"])
        disk.is_away = True
        await shop.call("process", action="write", sessionId=process.id, eof=True)
        async with asyncio.timeout(40):
            while "the end of a process was not told" not in caplog.text:
                await asyncio.sleep(0.02)
            assert not process.is_marked("told")
            disk.is_away = False
            while not process.is_marked("told"):
                await asyncio.sleep(0.02)
        watching.cancel()
    log = await shop.app.ledger.read(lambda tx: events.after(tx, 0, limit=5000))
    assert [event.type for event in log].count("system.process_ended") == 1


async def test_a_polled_end_is_not_told_again(shop: Shop) -> None:
    session = (await shop.call("exec", command="cat", background=True))["sessionId"]
    await shop.call("process", action="write", sessionId=session, eof=True)
    await shop.call("process", action="poll", sessionId=session, waitMs=10_000)
    assert shop.processes.find("main", session).is_marked("told")


async def test_processes_are_found_again_after_a_restart(home: Home) -> None:
    async with AsyncExitStack() as stack:
        shop = await Shop(home, stack).open()
        line = "echo one; while [ ! -e go ]; do sleep 0.05; done; echo two"
        started = await shop.call("exec", command=line, background=True)
        session, seen = started["sessionId"], started["tail"]
        while "one" not in seen:
            seen += (await shop.call("process", action="poll", sessionId=session))["output"]
        assert seen == "one\n"
    async with AsyncExitStack() as stack:
        shop = await Shop(home, stack).open()
        (home.workspace / "go").touch()
        last = await shop.call("process", action="poll", sessionId=session, waitMs=10_000)
        assert (last["status"], last["output"]) == ("completed", "two\n")


def test_a_wrong_mode_is_an_error_of_the_configuration() -> None:
    from tawny.domain.commands import parse_mode
    from tawny.errors import ConfigError

    with pytest.raises(ConfigError):
        parse_mode(Config(exec=Exec(mode="auto")).exec.mode)
