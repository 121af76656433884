"""Commands under their supervisors: they outlive the gateway, end when they must, and their record is never false."""

import asyncio
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from tests.sandbox.conftest import NoSandbox, needs_bubblewrap

import servers
from tawny.errors import Conflict, NotFound, Refused
from tawny.sandbox.bubblewrap import Bubblewrap
from tawny.sandbox.commands import Command, Commands
from tawny.sandbox.limits import Holder, find_holder
from tawny.sandbox.order import MEGABYTE, Limits, Order, Wrapped

pytestmark = needs_bubblewrap
Shell = Callable[..., Order]


async def until(condition: Callable[[], object], *, seconds: float = 40) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


async def test_output_and_exit_code_are_recorded(commands: Commands, shell: Shell) -> None:
    outcome, output = await commands.run("a", shell("echo out; echo err >&2; exit 7", split=True))
    assert (outcome.state, outcome.exit_code, outcome.succeeded) == ("exited", 7, False)
    assert output == {"stdout": b"out\n", "stderr": b"err\n"}
    assert commands.all() == []


async def test_a_signal_shows_as_128_and_more(commands: Commands, shell: Shell) -> None:
    outcome, _ = await commands.run("a", shell("kill -SEGV $$"))
    assert (outcome.state, outcome.exit_code) == ("exited", 128 + signal.SIGSEGV)


async def test_input_is_handed_over_and_closed(commands: Commands, shell: Shell) -> None:
    _, output = await commands.run("a", shell("cat; echo end", input=b"x" * 300_000))
    assert output["output"] == b"x" * 300_000 + b"end\n"


async def test_a_program_that_does_not_exist_is_no_success(commands: Commands) -> None:
    outcome, output = await commands.run("a", Order(argv=("/usr/bin/nonesuch",), cwd="/tmp"))
    assert not outcome.succeeded
    assert b"nonesuch" in output["output"]


async def test_the_environment_is_ours_alone(
    commands: Commands, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_KEY", "leak")
    _, output = await commands.run("a", shell("env", env={"GREETING": "hello"}))
    text = output["output"].decode()
    assert "GREETING=hello" in text
    assert "leak" not in text
    assert "HTTPS_PROXY=http://127.0.0.1:3128" in text


async def test_a_secret_in_the_environment_is_in_no_argument_and_no_file(
    commands: Commands, shell: Shell
) -> None:
    command = await commands.start("a", shell("sleep 5", env={"KEY": "s3cret-value"}))
    await until(lambda: command.was_started and b"sleep" in _cmdlines())
    assert b"s3cret-value" not in _cmdlines()
    for path in command.folder.iterdir():
        if path.is_file():
            assert b"s3cret-value" not in path.read_bytes()
    await command.kill(at_once=True)


def _cmdlines() -> bytes:
    found = b""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += path.read_bytes()
        except OSError:
            continue
    return found


async def test_a_timeout_ends_everything(commands: Commands, shell: Shell) -> None:
    limits = Limits(seconds=2)
    outcome, output = await commands.run("a", shell("echo begun; sleep 60", limits=limits))
    assert (outcome.state, outcome.clean) == ("timed_out", True)
    assert outcome.exit_code != 0
    assert output["output"] == b"begun\n"


STUBBORN = """
import os, signal, sys, time
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT): signal.signal(number, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.setsid()
        while True:
            open('beat', 'w').write(str(time.time())); time.sleep(0.02)
    time.sleep(600)
time.sleep(600)
"""


@pytest.mark.parametrize("end", ["kill", "timeout", "supervisor"])
async def test_processes_that_ignore_term_and_fork_away_are_gone_in_five_seconds(
    end: str, commands: Commands, workspace: Path
) -> None:
    order = Order(
        argv=("/usr/bin/python3", "-c", STUBBORN),
        cwd=str(workspace),
        writable=(str(workspace),),
        limits=Limits(seconds=0.5 if end == "timeout" else 600),
    )
    command = await commands.start("a", order)
    beat = workspace / "beat"
    await until(beat.exists)
    begun = time.monotonic()
    if end == "kill":
        outcome = await command.kill()
        assert (outcome.state, outcome.clean) == ("killed", True)
    elif end == "timeout":
        outcome = await command.wait()
        assert (outcome.state, outcome.clean) == ("timed_out", True)
    else:
        os.kill(msgspec.json.decode((command.folder / "supervisor.json").read_bytes())["pid"], signal.SIGKILL)
        outcome = await command.wait()
        assert outcome.state == "unknown"
        await asyncio.sleep(0.3)
    assert time.monotonic() - begun < 5
    beat.unlink(missing_ok=True)
    await asyncio.sleep(0.2)
    assert not beat.exists()


async def test_a_command_left_behind_in_the_background_ends_with_it(
    commands: Commands, shell: Shell, workspace: Path
) -> None:
    outcome, _ = await commands.run(
        "a", shell("(setsid sh -c 'while :; do date >beat; sleep 0.02; done' &); sleep 0.3")
    )
    assert outcome.clean
    (workspace / "beat").unlink(missing_ok=True)
    await asyncio.sleep(0.2)
    assert not (workspace / "beat").exists()


async def test_output_is_kept_to_its_newest_part(commands: Commands, shell: Shell) -> None:
    command = await commands.start("a", shell("head -c 60000000 /dev/zero | tr '\\0' x; echo; echo last"))
    outcome = await command.wait()
    assert outcome.sizes["output"] == 60_000_006
    kept = sum(path.stat().st_size for path in command.folder.glob("output.*"))
    assert kept <= 8 * MEGABYTE
    assert command.tail(limit=6).data == b"\nlast\n"
    chunk = command.read("output", 0, limit=10)
    assert chunk.dropped == chunk.start > 50_000_000
    command.remove()


async def test_reading_goes_on_where_it_stopped(commands: Commands, shell: Shell) -> None:
    command = await commands.start("a", shell("seq 1 100000"))
    await command.wait()
    offset, text = 0, b""
    while (chunk := command.read("output", offset, limit=1000)).data:
        assert chunk.start == offset
        text += chunk.data
        offset = chunk.end
    assert text.split() == [str(n).encode() for n in range(1, 100001)]


async def test_writing_to_a_running_command(commands: Commands, shell: Shell) -> None:
    command = await commands.start(
        "a", shell("while read line; do echo got $line; done; echo over", keep_stdin=True)
    )
    await until(lambda: (command.folder / "control").exists())
    command.write(b"one\n")
    await until(lambda: b"got one" in command.read().data)
    command.write(b"two\n", eof=True)
    outcome = await command.wait()
    assert outcome.succeeded
    assert command.read().data == b"got one\ngot two\nover\n"
    with pytest.raises(Conflict):
        command.write(b"three\n")


async def test_a_terminal_is_a_terminal(commands: Commands, shell: Shell) -> None:
    command = await commands.start(
        "a", shell("test -t 0 && stty size && read x && echo $x", pty=True, keep_stdin=True)
    )
    await until(lambda: b"24 80" in command.read().data)
    command.write(b"typed\n")
    await command.wait()
    assert command.read().data.replace(b"\r", b"").endswith(b"typed\ntyped\n")


async def test_control_c_in_a_terminal_interrupts(commands: Commands, shell: Shell) -> None:
    command = await commands.start(
        "a",
        shell(
            "trap 'echo stopped; exit 3' INT; echo on; while :; do sleep 0.05; done",
            pty=True,
            keep_stdin=True,
        ),
    )
    await until(lambda: b"on" in command.read().data)
    command.write(b"\x03")
    outcome = await command.wait()
    assert outcome.exit_code == 3
    assert b"stopped" in command.read().data


async def test_starting_twice_starts_once(commands: Commands, shell: Shell, workspace: Path) -> None:
    order = shell("echo x >> ran; sleep 0.3")
    first, second = await asyncio.gather(
        commands.start("a", order), commands.start("a", order), return_exceptions=True
    )
    running = first if isinstance(first, Command) else second
    assert isinstance(running, Command)
    await running.wait()
    again = await commands.start("a", order)
    assert (await again.wait()).succeeded
    assert (workspace / "ran").read_text() == "x\n"


GATEWAY = """
import asyncio, sys
from pathlib import Path
from tawny.sandbox.bubblewrap import Bubblewrap
from tawny.sandbox.commands import Commands
from tawny.sandbox.order import Order
async def main():
    run, workspace, line = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    order = Order(argv=("/bin/sh", "-c", line), cwd=workspace, writable=(workspace,))
    command = await Commands(run, Bubblewrap()).start("a", order)
    print("started", flush=True)
    await command.wait()
asyncio.run(main())
"""


@pytest.mark.crash
async def test_a_killed_gateway_leaves_the_command_running_and_finds_it_again(
    commands: Commands, workspace: Path
) -> None:
    line = "echo one; while [ ! -e go ]; do sleep 0.02; done; echo two; exit 5"
    argv = [sys.executable, "-c", GATEWAY, str(commands.folder), str(workspace), line]
    gateway = await asyncio.create_subprocess_exec(*argv, stdout=subprocess.PIPE)
    assert gateway.stdout is not None
    assert await gateway.stdout.readline() == b"started\n"
    command = commands.find("a")
    await until(lambda: command.read().data == b"one\n")
    await servers.reap(gateway)
    assert command.is_alive
    assert command.outcome() is None
    waiting = asyncio.ensure_future(command.wait())
    await asyncio.sleep(0.1)
    assert not waiting.done()
    (workspace / "go").touch()
    outcome = await waiting
    assert (outcome.state, outcome.exit_code) == ("exited", 5)
    assert command.read().data == b"one\ntwo\n"


async def test_a_dead_supervisor_means_unknown_never_success(commands: Commands, shell: Shell) -> None:
    command = await commands.start("a", shell("sleep 60"))
    await until(lambda: command.was_started)
    os.kill(msgspec.json.decode((command.folder / "supervisor.json").read_bytes())["pid"], signal.SIGKILL)
    outcome = await command.wait()
    assert (outcome.state, outcome.exit_code, outcome.succeeded) == ("unknown", None, False)


async def test_a_supervisor_that_never_started_is_told_from_one_that_did(
    commands: Commands, shell: Shell
) -> None:
    folder = commands.folder / "a"
    folder.mkdir(parents=True)
    (folder / "lock").touch()
    outcome = Command(folder).outcome()
    assert outcome is not None
    assert outcome.state == "refused"
    command = await commands.start("a", shell("echo now"))
    assert (await command.wait()).succeeded


async def test_a_reused_process_id_is_not_taken_for_the_supervisor(commands: Commands, shell: Shell) -> None:
    command = await commands.start("a", shell("sleep 60"))
    await until(lambda: (command.folder / "supervisor.json").exists())
    record = msgspec.json.decode((command.folder / "supervisor.json").read_bytes())
    record["start"] -= 1
    (command.folder / "supervisor.json").write_bytes(msgspec.json.encode(record))
    assert await command.supervisor() is None
    await command.kill(at_once=True)


async def test_memory_is_bounded_for_all_processes_together(commands: Commands) -> None:
    if find_holder().kind == "rlimits":
        pytest.skip("no control groups to be had here")
    line = """
import os
for _ in range(4): os.fork()
x = bytearray(40 << 20)
for i in range(0, len(x), 4096): x[i] = 1
print('survived')
"""
    order = Order(
        argv=("/usr/bin/python3", "-c", line),
        cwd="/tmp",
        limits=Limits(memory=128 * MEGABYTE, seconds=20),
    )
    outcome, output = await commands.run("a", order)
    assert output["output"].count(b"survived") < 16
    assert outcome.clean


async def test_the_limits_of_each_process_hold_where_there_are_no_groups(tmp_path: Path) -> None:
    commands = Commands(tmp_path / "run", Bubblewrap(), holder=Holder("rlimits"))
    order = Order(
        argv=("/usr/bin/python3", "-c", "x = bytearray(600 << 20); print('survived')"),
        cwd="/tmp",
        limits=Limits(memory=256 * MEGABYTE),
    )
    outcome, output = await commands.run("a", order)
    assert not outcome.succeeded
    assert b"MemoryError" in output["output"]


def test_no_groups_are_left_behind(commands: Commands, shell: Shell) -> None:
    asyncio.run(commands.run("groups-gone", shell("true")))
    assert list(Path("/sys/fs/cgroup").glob("**/tawny-groups-gone-*")) == []


async def test_no_process_is_left_behind(commands: Commands, shell: Shell) -> None:
    def children() -> list[str]:
        return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()

    before = set(children())
    for name in "abc":
        await commands.run(name, shell("true"))
    command = await commands.start("last", shell("true"))
    await command.wait()
    # One stays: the nursery, until it has had nothing to do for a while.
    await until(lambda: len(set(children()) - before) <= 1)


async def test_a_missing_sandbox_is_a_refusal_and_nothing_runs(tmp_path: Path, shell: Shell) -> None:
    missing = Bubblewrap(program="/nonexistent/bwrap")
    with pytest.raises(Refused) as refusal:
        await Commands(tmp_path / "run", missing).start("a", shell("touch ran"))
    assert "apt install bubblewrap" in refusal.value.hint
    assert not (tmp_path / "run").exists()


async def test_unknown_and_strange_ids(commands: Commands) -> None:
    with pytest.raises(NotFound):
        commands.find("nobody")
    for name in ("../x", "", "a/b", "x" * 200):
        with pytest.raises(Refused):
            commands.find(name)


async def test_a_cancelled_run_takes_its_command_along(
    commands: Commands, shell: Shell, workspace: Path
) -> None:
    task = asyncio.ensure_future(commands.run("a", shell("while :; do date > beat; sleep 0.02; done")))
    await until((workspace / "beat").exists)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (workspace / "beat").unlink(missing_ok=True)
    await asyncio.sleep(0.1)
    assert not (workspace / "beat").exists()


class Slow(NoSandbox):
    """Holds a start until it is let go on."""

    def __init__(self) -> None:
        super().__init__()
        self.wrapping, self.go = threading.Event(), threading.Event()

    def wrap(self, order: Order) -> Wrapped:
        self.wrapping.set()
        assert self.go.wait(60)
        return super().wrap(order)


async def test_a_start_that_is_cancelled_is_over_when_it_says_so(tmp_path: Path, shell: Shell) -> None:
    slow = Slow()
    commands = Commands(tmp_path / "run", slow)
    starting = asyncio.ensure_future(commands.start("a", shell("sleep 60")))
    await until(slow.wrapping.is_set)
    starting.cancel()
    await asyncio.sleep(0)
    slow.go.set()
    with pytest.raises(asyncio.CancelledError):
        await starting
    command = commands.find("a")
    assert command.is_alive
    assert (await command.kill(at_once=True)).state == "killed"


async def test_two_homes_with_a_command_of_one_name_do_not_end_each_others(
    tmp_path: Path, shell: Shell, workspace: Path
) -> None:
    """They share the machine's control groups: what ends with one of them must be its own."""
    long = await Commands(tmp_path / "one", Bubblewrap()).start("same", shell("sleep 1; echo whole"))
    await until(lambda: long.was_started)
    for _ in range(3):
        outcome, _ = await Commands(tmp_path / "other", Bubblewrap()).run("same", shell("true"))
        assert outcome.succeeded
    outcome = await long.wait()
    assert (outcome.state, outcome.exit_code, long.read().data) == ("exited", 0, b"whole\n")


async def test_what_has_been_waited_for_can_be_removed(commands: Commands, shell: Shell) -> None:
    """Its supervisor writes the record, and ends a little later: that too is waited for."""
    command = await commands.start("a", shell("true"))
    lock = os.open(command.folder / "lock", os.O_RDWR)
    await until(lambda: (command.folder / "exit.json").exists() and not command.is_alive)
    fcntl.flock(lock, fcntl.LOCK_EX)
    waiting = asyncio.ensure_future(command.wait())
    await asyncio.sleep(0.05)
    assert not waiting.done()
    os.close(lock)
    assert (await waiting).succeeded
    command.remove()


async def test_a_run_that_is_cancelled_while_it_starts_leaves_nothing(tmp_path: Path, shell: Shell) -> None:
    slow = Slow()
    commands = Commands(tmp_path / "run", slow)
    running = asyncio.ensure_future(commands.run("a", shell("sleep 60")))
    await until(slow.wrapping.is_set)
    running.cancel()
    await asyncio.sleep(0)
    slow.go.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert commands.all() == []
