"""The kind `command` on the real engine and the real sandbox."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.conftest import Engine
from tests.runners.conftest import Opened, Server

from tawny.config import Home
from tawny.domain.origin import OWNER, UNTRUSTED, is_from_outside, trust_of
from tawny.domain.tasks import Status, Task
from tawny.engine import commands as engine_commands
from tawny.engine.submit import parse_request
from tawny.ledger import approvals, steps
from tawny.ledger.submission import submit
from tawny.sandbox.commands import Command, Commands
from tawny.tools.summaries import brief_task, reading

pytestmark = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")


async def run(live: Any, *argv: str, **params: Any) -> Task:
    body = {"params": {"argv": list(argv), **params.pop("params", {})}, **params}
    task = await live.submit("command", **body)
    return await live.done(task.task_id)


async def test_a_command_gives_its_output_and_exit_code(live: Any) -> None:
    task = await run(live, "sh", "-c", "echo out; echo err >&2; cat", params={"input": "given"})
    assert task.status is Status.SUCCEEDED
    assert task.result is not None
    assert (task.result["exit_code"], task.result["stdout"], task.result["stderr"]) == (
        0,
        "out\ngiven",
        "err\n",
    )


async def test_another_exit_code_is_a_failure_that_shows_the_output(live: Any) -> None:
    task = await run(live, "sh", "-c", "echo out; echo sorry >&2; exit 3")
    assert task.status is Status.FAILED
    assert task.error is not None
    assert "exit code 3: sorry" in task.error.message
    assert task.result is not None
    assert (task.result["exit_code"], task.result["stdout"]) == (3, "out\n")


async def test_it_works_in_the_workspace_and_not_above(live: Any, home: Home) -> None:
    task = await run(live, "sh", "-c", "pwd; echo x > made; cat ../token ../state.db 2>&1; ls ..")
    assert task.result is not None
    assert task.result["stdout"].startswith(str(home.workspace.resolve()))
    assert "No such file" in task.result["stdout"]
    assert "state.db\n" not in task.result["stdout"].split("No such file")[-1]
    assert (home.workspace / "made").read_text() == "x\n"


async def test_a_folder_outside_of_the_workspace_is_refused(live: Any) -> None:
    task = await run(live, "true", params={"cwd": "/etc"})
    assert task.error is not None
    assert (task.status, task.error.kind) == (Status.FAILED, "refused")


@pytest.mark.parametrize(
    "name", ["LD_PRELOAD", "PYTHONSTARTUP", "NODE_OPTIONS", "BASH_ENV", "PATH", "GIT_SSH_COMMAND"]
)
async def test_hooks_in_the_environment_are_refused(live: Any, name: str) -> None:
    task = await run(live, "true", params={"env": {name: "x"}})
    assert task.error is not None
    assert task.error.kind == "refused"


async def test_other_names_are_added(live: Any) -> None:
    task = await run(live, "sh", "-c", "echo $COLOUR", params={"env": {"COLOUR": "red"}})
    assert task.result is not None
    assert task.result["stdout"] == "red\n"


async def test_a_program_that_is_not_there_fails_by_name(live: Any) -> None:
    task = await run(live, "nonesuch")
    assert task.error is not None
    assert "nonesuch" in task.error.message


async def test_standing_orders_are_not_changed_by_a_command(live: Any, home: Home) -> None:
    task = await run(
        live, "sh", "-c", "echo evil > skills/x; echo evil > memory/x; echo evil > flows/x; ls skills"
    )
    assert task.result is not None
    assert list((home.workspace / "skills").iterdir()) == []
    assert list((home.workspace / "memory").iterdir()) == []


async def test_a_refused_address_is_told(live: Any) -> None:
    task = await run(
        live, "/usr/bin/python3", "-c", "import urllib.request as u; u.urlopen('http://example.com/')"
    )
    assert task.status is Status.FAILED
    assert task.result is not None
    assert "example.com:80 is not in [network] allow" in task.result["network_refused"][0]


FETCH = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1]).read().decode())"


@pytest.mark.parametrize("own", [None, ["127.0.0.1:{port}"], []])
async def test_a_task_reaches_no_more_than_its_own_list(
    listed: Engine, server: Server, own: list[str] | None
) -> None:
    """Not even a private address that the configuration lists; and what it has reached counts as read."""
    here = f"127.0.0.1:{server.port}"
    params = {} if own is None else {"allow": [text.format(port=server.port) for text in own]}
    task = await run(listed, "/usr/bin/python3", "-c", FETCH, f"http://{here}/", params=params)
    assert task.result is not None
    if own == []:
        assert task.status is Status.FAILED
        assert f"{here} is a loopback address" in task.result["network_refused"][0]
        assert server.requests == []
    else:
        assert (task.status, task.result["stdout"]) == (Status.SUCCEEDED, "fine\n")
        assert task.result["reached"] == [here]
        assert task.origin.detail["read"][0]["what"] == f"a command that reached {here}"
        assert not task.origin.trusted


async def test_a_task_starts_nothing_that_was_exchanged_since_it_was_decided_on(
    listed: Engine, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = home.workspace / "run.sh"
    script.write_text("echo good\n")
    start = Commands._start

    def exchanged(self: Commands, *given: Any) -> Command:
        script.write_text("echo bad\n")
        return start(self, *given)

    monkeypatch.setattr(Commands, "_start", exchanged)
    task = await run(listed, "sh", "run.sh")
    assert task.error is not None
    assert f"{script.resolve()} was exchanged after it was decided on" in task.error.message


async def test_who_reads_of_a_command_that_failed_outside_has_read_that(
    listed: Engine, server: Server
) -> None:
    """Its output came from there, whatever it ended with; it is itself as before, so that a retry asks nobody."""
    here = f"127.0.0.1:{server.port}"
    task = await run(listed, "/usr/bin/python3", "-c", f"{FETCH}; sys.exit(3)", f"http://{here}/")
    assert task.status is Status.FAILED
    assert task.result is not None
    assert task.result["reached"] == [here]
    assert is_from_outside(task)
    assert trust_of(task.origin) == OWNER
    read = reading(None, {"items": [brief_task(task, listed.clock.now())]})
    assert read is not None
    assert trust_of(read) == UNTRUSTED
    inside = await run(listed, "sh", "-c", "echo no; exit 3")
    assert reading(None, brief_task(inside, listed.clock.now())) is None


async def test_a_step_after_one_that_failed_outside_is_no_order_of_the_owners(
    listed: Engine, server: Server
) -> None:
    """What a failed step says goes into the next one's words: then it is another's."""
    here = f"http://127.0.0.1:{server.port}/"
    steps = [
        {
            "id": "look",
            "command": ["/usr/bin/python3", "-c", f"{FETCH}; sys.exit(3)", here],
            "on_error": "continue",
        },
        {"id": "tell", "command": ["echo", "{steps.look.error}"]},
    ]
    flow = await listed.submit("flow", params={"document": {"name": "looking", "steps": steps}})
    changed = listed.ledger.bell.subscribe("events")
    while not (found := await listed.ledger.read(lambda tx: approvals.page(tx, status="pending")))[0]:
        await changed.wait()
        changed.clear()
    [question] = found[0]
    assert question.arguments["argv"][0] == "echo"
    assert "the result of look" in question.reason
    await listed.ledger.write(lambda tx: engine_commands.cancel(tx, flow.task_id))


async def test_long_output_is_an_artifact(live: Any) -> None:
    task = await run(live, "sh", "-c", "seq 1 100000")
    assert task.result is not None
    assert task.result["stdout"].endswith("100000\n")
    assert len(task.result["stdout"]) <= 256 * 1024
    from tawny.ledger import artifacts

    [kept] = await live.ledger.read(lambda tx: artifacts.of_task(tx, task.task_id))
    assert kept.size == 588895


async def test_cancelling_ends_every_process_first(live: Any, home: Home) -> None:
    body = {
        "argv": ["sh", "-c", "trap '' TERM; (trap '' TERM; while :; do date > beat; sleep 0.02; done) & wait"]
    }
    task = await live.submit("command", params=body)
    beat = home.workspace / "beat"
    async with asyncio.timeout(10):
        while not beat.exists():
            await asyncio.sleep(0.01)
    await live.ledger.write(lambda tx: engine_commands.cancel(tx, task.task_id, by="owner"))
    ended = await live.done(task.task_id)
    assert ended.status is Status.CANCELLED
    beat.unlink(missing_ok=True)
    await asyncio.sleep(0.2)
    assert not beat.exists()


async def test_a_timeout_ends_it(live: Any, home: Home) -> None:
    task = await live.submit("command", params={"argv": ["sleep", "60"]}, timeout="300ms")
    ended = await live.done(task.task_id)
    assert ended.status is Status.TIMED_OUT
    assert not any(path.is_dir() and (path / "lock").exists() and _alive(path) for path in _folders(home))


def _folders(home: Home) -> list[Path]:
    place = home.run / "commands"
    return list(place.iterdir()) if place.is_dir() else []


def _alive(path: Path) -> bool:
    from tawny.sandbox.commands import Command

    return Command(path).is_alive


async def test_the_start_is_recorded_as_at_most_once(live: Any) -> None:
    task = await run(live, "true")
    journal = await live.ledger.read(lambda tx: steps.of_task(tx, task.task_id))
    assert [(step.key, str(step.effect), step.status) for step in journal] == [
        ("start", "at_most_once", "succeeded"),
        ("end", "pure", "succeeded"),
    ]


GATEWAY = """
import asyncio, sys
from pathlib import Path
from tawny.app import open_app
from tawny.config import Config, Home
async def main():
    async with open_app(Home(Path(sys.argv[1])), Config()) as app:
        print("ready", flush=True)
        await asyncio.sleep(600)
asyncio.run(main())
"""


async def _crashed_gateway(home: Home, line: str, **body: Any) -> tuple[str, int]:
    """Run a gateway with the command until it has begun, and kill it; the task and the supervisor's process."""
    from tawny.app import bundled_kinds
    from tawny.clock import SystemClock
    from tawny.config import Config
    from tawny.ledger.database import write_now
    from tawny.ledger.migrations import migrate
    from tawny.ledger.sqlite import SqliteStore

    store, clock = SqliteStore(home.database), SystemClock()
    migrate(store, clock)
    request = {"kind": "command", "params": {"argv": ["sh", "-c", line]}, **body}
    submission = parse_request(request, kinds=bundled_kinds(home, Config()), now=clock.now())
    task = write_now(store, clock, lambda tx: submit(tx, submission))
    gateway = await asyncio.create_subprocess_exec(
        sys.executable, "-c", GATEWAY, str(home.root), stdout=subprocess.PIPE
    )
    began = home.workspace / "began"
    record = home.run / "commands" / f"cmd-{task.task_id}" / "supervisor.json"
    async with asyncio.timeout(20):
        while not began.exists():
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.2)  # the start step is written right after
    gateway.kill()
    await gateway.communicate()
    return task.task_id, int(msgspec.json.decode(record.read_bytes())["pid"])


@pytest.mark.crash
async def test_after_a_kill_the_running_command_is_taken_up_again(home: Home, opened: Opened) -> None:
    line = "echo x >> began; while [ ! -e go ]; do sleep 0.02; done; echo finished; exit 0"
    task_id, _ = await _crashed_gateway(home, line)
    live = await opened()
    (home.workspace / "go").touch()
    task = await live.done(task_id)
    assert task.status is Status.SUCCEEDED
    assert task.result is not None
    assert task.result["stdout"] == "finished\n"
    assert (home.workspace / "began").read_text() == "x\n"


@pytest.mark.crash
async def test_after_a_kill_the_result_of_a_command_that_ended_meanwhile_is_taken(
    home: Home, opened: Opened
) -> None:
    line = "echo x >> began; while [ ! -e go ]; do sleep 0.02; done; echo finished"
    task_id, _ = await _crashed_gateway(home, line)
    (home.workspace / "go").touch()
    place = home.run / "commands" / f"cmd-{task_id}"
    async with asyncio.timeout(10):
        while not (place / "exit.json").exists():
            await asyncio.sleep(0.02)
    live = await opened()
    task = await live.done(task_id)
    assert task.result is not None
    assert task.result["stdout"] == "finished\n"
    assert (home.workspace / "began").read_text() == "x\n"


@pytest.mark.crash
@pytest.mark.parametrize("effect", ["at_most_once", "idempotent"])
async def test_where_nobody_knows_the_outcome_it_is_asked_or_run_again(
    effect: str, home: Home, opened: Opened
) -> None:
    line = "echo x >> began; [ -e go ] || sleep 60; echo finished"
    body = {"effect": "idempotent"} if effect == "idempotent" else {}
    task_id, supervisor = await _crashed_gateway(home, line, **body)
    os.kill(supervisor, signal.SIGKILL)
    (home.workspace / "go").touch()
    live = await opened()
    if effect == "idempotent":
        task = await live.done(task_id)
    else:
        task = await live.until(task_id, Status.WAITING)
        assert task.waiting_for is not None
        assert task.waiting_for.kind == "reconcile"
        await live.ledger.write(lambda tx: engine_commands.reconcile(tx, task_id, "redo"))
        task = await live.done(task_id)
    assert task.status is Status.SUCCEEDED
    assert (home.workspace / "began").read_text() == "x\nx\n"


async def test_a_gateway_that_is_stopped_leaves_the_command_and_takes_it_up_again(
    home: Home, opened: Opened
) -> None:
    from tests.conftest import CONFIG

    from tawny.app import open_app
    from tawny.clock import SystemClock

    line = "echo x >> began; while [ ! -e go ]; do sleep 0.02; done; echo finished"
    async with open_app(home, CONFIG) as app:
        task = await Engine(app, SystemClock()).submit("command", params={"argv": ["sh", "-c", line]})
        async with asyncio.timeout(10):
            while not (home.workspace / "began").exists():
                await asyncio.sleep(0.02)
    assert _alive(home.run / "commands" / f"cmd-{task.task_id}")
    live = await opened()
    (home.workspace / "go").touch()
    ended = await live.done(task.task_id)
    assert ended.result is not None
    assert ended.result["stdout"] == "finished\n"
    assert (home.workspace / "began").read_text() == "x\n"


async def test_a_persons_retry_runs_it_again(live: Any, home: Home) -> None:
    """What the failed run recorded, its exit code above all, is that run's; each retry is a run of its own."""
    task = await run(live, "sh", "-c", "echo x >> ran; test -e go")
    for _ in range(2):
        assert task.status is Status.FAILED
        failed = task.task_id
        again = await live.ledger.write(lambda tx, failed=failed: engine_commands.retry(tx, failed))
        task = await live.done(again.task_id)
    (home.workspace / "go").touch()
    failed = task.task_id
    again = await live.ledger.write(lambda tx: engine_commands.retry(tx, failed))
    assert (await live.done(again.task_id)).status is Status.SUCCEEDED
    assert (home.workspace / "ran").read_text() == "x\n" * 4


async def test_the_items_of_a_batch_have_commands_of_their_own(live: Any, home: Home) -> None:
    action = {
        "kind": "command",
        "params": {"argv": ["sh", "-c", "sleep 0.2; echo {item}; echo {item} >> ran"]},
    }
    task = await live.submit("batch", params={"items": ["a", "b", "c"], "action": action, "concurrency": 3})
    ended = await live.done(task.task_id, deadline=30.0)
    assert ended.status is Status.SUCCEEDED, ended.error
    assert sorted((home.workspace / "ran").read_text().split()) == ["a", "b", "c"]
