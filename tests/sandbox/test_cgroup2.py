"""Control groups version 2 for real: on User Mode Linux, which has them whatever the machine's own kernel has."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

KERNEL = shutil.which("linux.uml")
pytestmark = [
    pytest.mark.skipif(
        KERNEL is None, reason="User Mode Linux is not installed (apt install user-mode-linux)"
    ),
    pytest.mark.xdist_group("uml"),
]
INIT = """#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmp /tmp
mount -t cgroup2 none /sys/fs/cgroup
ulimit -c 0
PYTHONPATH={path} {python} {guest} 2>&1
echo o > /proc/sysrq-trigger
sleep 60
"""


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the program of the little machine has printed; it boots in some seconds and needs no privilege."""
    assert KERNEL is not None
    folder = tmp_path_factory.mktemp("uml")
    init = folder / "init"
    path = os.pathsep.join(entry for entry in sys.path if entry)
    script = Path(__file__).with_name("uml_guest.py")
    init.write_text(INIT.format(path=path, python=sys.executable, guest=script))
    init.chmod(0o755)
    command = [KERNEL, "mem=384M", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", f"init={init}"]
    done = subprocess.run(
        [*command, "con=null", "con0=null,fd:1", "quiet", f"uml_dir={folder}"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=110,
        check=False,
    )
    said = done.stdout.decode(errors="replace")
    for line in said.splitlines():
        if line.startswith("RESULT "):
            return json.loads(line.removeprefix("RESULT "))
    raise AssertionError(f"the little machine did not report: {said[-2000:]}")


def test_version_2_is_found_and_the_gateway_moves_into_a_leaf(guest: dict[str, Any]) -> None:
    assert (guest["kind"], guest["controllers"]) == ("cgroup2", ["memory", "pids", "cpu"])
    assert guest["gateway"].endswith("/service/tawny-gateway")


def test_memory_max_ends_a_command_that_wants_more(guest: dict[str, Any]) -> None:
    assert guest["memory"] == ["out_of_memory", True]
    assert guest["enough"] == ["exited", str(150 << 20)]


def test_pids_max_stops_a_fork_bomb(guest: dict[str, Any]) -> None:
    made, clean = guest["forks"]
    assert made == 10  # nine children beside the first process; the tenth fork fails
    assert clean


def test_cpu_max_shares_out_the_processor(guest: dict[str, Any]) -> None:
    # Half a second of processor time at a fifth of a processor.
    assert guest["slow"] > 1.8
    assert guest["slow"] > 1.5 * guest["fast"]


def test_the_limits_are_written_as_asked_and_the_groups_are_gone_afterwards(guest: dict[str, Any]) -> None:
    assert guest["files"] == {"memory.max": str(1 << 30), "pids.max": "256", "cpu.max": "200000 100000"}
    assert guest["killed"] == "killed"
    assert guest["left"] == ["tawny-gateway"]
