"""Runs as the only program of a machine of its own (`test_cgroup2.py` boots it): commands held by real control groups.

Prints one line of JSON with what became of each.
"""

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from tawny.sandbox.commands import Commands, Outcome
from tawny.sandbox.limits import find_holder
from tawny.sandbox.order import MEGABYTE, Limits, Order, Wrapped

ROOT = Path("/sys/fs/cgroup")
FORKS = """
import os, time
made = 0
try:
    for made in range(1, 100):
        if os.fork() == 0:
            time.sleep(60)
except BlockingIOError:
    pass
print(made, flush=True)
os.kill(0, 9)
"""
BURN = """
import time
begun, used = time.monotonic(), time.process_time()
while time.process_time() - used < 0.5: pass
print(time.monotonic() - begun)
"""


class Bare:
    """No sandbox but the limits: they are what is under test."""

    name = "none"

    def check(self) -> None:
        return

    def wrap(self, order: Order) -> Wrapped:
        return Wrapped(argv=order.argv, env={"PATH": "/usr/bin:/bin"}, cwd=order.cwd)


def python(code: str, **limits: Any) -> Order:
    return Order(argv=(sys.executable, "-I", "-S", "-c", code), cwd="/tmp", limits=Limits(**limits))


def delegate() -> Path:
    """A group as systemd delegates one: with this very process in it."""
    service = ROOT / "service"
    service.mkdir()
    (ROOT / "cgroup.subtree_control").write_text("+memory +pids +cpu")
    (service / "cgroup.procs").write_text(str(os.getpid()))
    return service


def membership() -> str:
    return Path("/proc/self/cgroup").read_text().strip()


async def main() -> dict[str, Any]:
    service = delegate()
    holder = find_holder()
    commands = Commands(Path("/tmp/run"), Bare(), holder=holder)
    found: dict[str, Any] = {"kind": holder.kind, "controllers": holder.controllers}
    found["gateway"] = membership()

    async def run(name: str, order: Order) -> tuple[Outcome, str]:
        outcome, output = await commands.run(name, order)
        return outcome, output["output"].decode(errors="replace")

    eat = "data = b'x' * (150 << 20); print(len(data))"
    outcome, _ = await run("memory", python(eat, memory=64 * MEGABYTE))
    found["memory"] = [outcome.state, outcome.clean]
    outcome, text = await run("enough", python(eat, memory=220 * MEGABYTE))
    found["enough"] = [outcome.state, text.strip()]
    outcome, text = await run("forks", python(FORKS, processes=10))
    found["forks"] = [int(text.split()[0]), outcome.clean]
    _, text = await run("slow", python(BURN, cpus=0.2))
    found["slow"] = float(text)
    _, text = await run("fast", python(BURN, cpus=1.0))
    found["fast"] = float(text)
    command = await commands.start("held", python("import time; time.sleep(600)"))
    (group,) = service.glob("tawny-held-*")
    found["files"] = {
        name: (group / name).read_text().strip() for name in ("memory.max", "pids.max", "cpu.max")
    }
    found["killed"] = (await command.kill(at_once=True)).state
    deadline = time.monotonic() + 30
    while (left := sorted(p.name for p in service.iterdir() if p.is_dir())) != ["tawny-gateway"]:
        if time.monotonic() > deadline:
            break
        await asyncio.sleep(0.01)
    found["left"] = left
    return found


if __name__ == "__main__":
    sys.stdout.write("RESULT " + json.dumps(asyncio.run(main())) + "\n")
