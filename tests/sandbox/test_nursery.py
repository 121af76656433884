"""Supervisors are forked from a nursery: one for many commands, replaceable at any moment, and never in their way."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from tests.sandbox.conftest import NoSandbox, needs_bubblewrap
from tests.sandbox.test_commands import until

from tawny.sandbox.commands import Command, Commands
from tawny.sandbox.order import Order
from tawny.sandbox.pids import is_alive

pytestmark = needs_bubblewrap
ROOT = str(Path(__file__).parents[2] / "src")
Shell = Callable[..., Order]


def parent_of(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def nursery_of(command: Command) -> int:
    record = msgspec.json.decode((command.folder / "supervisor.json").read_bytes())
    return parent_of(int(record["pid"]))


async def test_one_nursery_serves_many_commands(commands: Commands, shell: Shell) -> None:
    nurseries: set[int] = set()
    for name in "abc":
        command = await commands.start(name, shell("sleep 60"))
        nurseries.add(nursery_of(command))
        await command.kill(at_once=True)
    assert len(nurseries) == 1
    assert nurseries != {os.getpid()}


async def test_a_killed_nursery_takes_no_command_along_and_is_replaced(
    commands: Commands, shell: Shell
) -> None:
    first = await commands.start("first", shell("read line; echo got $line", keep_stdin=True))
    nursery = nursery_of(first)
    os.kill(nursery, signal.SIGKILL)
    await until(lambda: not is_alive(nursery))
    outcome, output = await commands.run("second", shell("echo still here"))
    assert (outcome.succeeded, output["output"]) == (True, b"still here\n")
    first.write(b"it\n", eof=True)
    assert (await first.wait()).succeeded
    assert first.read().data == b"got it\n"


async def test_a_nursery_ends_with_its_gateway_and_its_supervisors_go_on(tmp_path: Path) -> None:
    code = """
        import asyncio, os, sys
        from pathlib import Path
        from tawny.sandbox.bubblewrap import Bubblewrap
        from tawny.sandbox.commands import Commands
        from tawny.sandbox.order import Order
        order = Order(argv=("/bin/sh", "-c", "read line; echo $line"), cwd="/tmp", keep_stdin=True)
        asyncio.run(Commands(Path(sys.argv[1]), Bubblewrap()).start("a", order))
        print(open(Path(sys.argv[1]) / "a" / "supervisor.json").read(), flush=True)
        os.kill(os.getpid(), 9)
    """
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "run")],
        capture_output=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    supervisor = int(msgspec.json.decode(done.stdout)["pid"])
    await until(lambda: "tawny.sandbox.nursery" not in _command_line(parent_of(supervisor)))
    command = Commands(tmp_path / "run", NoSandbox()).find("a")
    command.write(b"on\n", eof=True)
    assert (await command.wait()).succeeded
    assert command.read().data == b"on\n"


def _command_line(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().decode()
    except OSError:
        return ""


def _nursery(theirs: socket.socket, idle: float) -> subprocess.Popen[bytes]:
    code = f"import sys; sys.path.append({ROOT!r}); from tawny.sandbox.nursery import main; main({idle})"
    return subprocess.Popen([sys.executable, "-I", "-S", "-c", code], stdin=theirs.fileno())


def test_an_idle_nursery_ends_by_itself_and_says_so_to_the_next_message() -> None:
    ours, theirs = socket.socketpair()
    with ours, _nursery(theirs, 0.05) as process:
        theirs.close()
        assert process.wait(timeout=60) == 0
        with pytest.raises(BrokenPipeError):
            ours.send(b"s")


async def test_the_next_command_after_an_idle_time_starts_another_nursery(
    tmp_path: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    boot = "import sys; sys.path.append(sys.argv[1]); from tawny.sandbox.nursery import main; main(0.05)"
    monkeypatch.setattr("tawny.sandbox.launcher._BOOT", boot)
    commands = Commands(tmp_path / "run", NoSandbox())
    first = await commands.start("a", shell("sleep 60"))
    nursery = nursery_of(first)
    await until(lambda: not is_alive(nursery) or parent_of(nursery) != os.getpid())
    outcome, output = await commands.run("b", shell("echo b"))
    assert (outcome.succeeded, output["output"]) == (True, b"b\n")
    await first.kill(at_once=True)


async def test_a_command_holds_nothing_of_the_nursery_s(commands: Commands) -> None:
    listing = Order(argv=("/bin/ls", "-l", "/proc/self/fd"), cwd="/tmp")
    await commands.run("before", listing)
    _, output = await commands.run("a", listing)
    links = [line.split(" -> ")[1] for line in output["output"].decode().splitlines() if " -> " in line]
    assert [link.split(":")[0] for link in links[:3]] == ["pipe", "pipe", "pipe"]
    assert len(links) == 4  # the fourth is the folder that ls itself reads
    assert "socket" not in output["output"].decode()


def test_the_nursery_imports_the_standard_library_alone() -> None:
    code = """
        import sys; sys.path.append(sys.argv[1])
        import tawny.sandbox.nursery
        print(sorted({'asyncio', 'msgspec', 'httpx', 'tawny.errors', 'tawny.config'} & set(sys.modules)))
    """
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", textwrap.dedent(code), ROOT],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
