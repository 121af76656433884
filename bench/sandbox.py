"""What the sandbox adds to a command: the whole road through a supervisor, against starting the program directly.

python bench/sandbox.py [--runs 60] [--save]
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from tawny.sandbox.bubblewrap import Bubblewrap
from tawny.sandbox.commands import Commands
from tawny.sandbox.limits import find_holder
from tawny.sandbox.order import Order

PROGRAM = "/usr/bin/true"
BOUND = 60.0


class Meter:
    """Processor time of this program and everything it starts, by a control group of its own; 0.0 where none is had."""

    def __init__(self) -> None:
        self.kind = "none"
        self._read = lambda: 0.0
        group = Path("/sys/fs/cgroup/cpuacct") / f"tawny-bench-{os.getpid()}"
        try:
            group.mkdir()
            (group / "cgroup.procs").write_text(str(os.getpid()))
        except OSError:
            return
        self.kind = "cpuacct"
        self._group = group
        self._read = lambda: int((group / "cpuacct.usage").read_text()) / 1e6

    def milliseconds(self) -> float:
        return self._read()

    def close(self) -> None:
        if self.kind == "none":
            return
        (self._group.parent / "cgroup.procs").write_text(str(os.getpid()))
        for _ in range(500):
            try:
                self._group.rmdir()
            except OSError:
                time.sleep(0.01)  # the last supervisor and the nursery are still on their way out
            else:
                return


def direct(runs: int, meter: Meter) -> tuple[list[float], float]:
    times: list[float] = []
    before = meter.milliseconds()
    for _ in range(runs):
        begun = time.perf_counter()
        subprocess.run([PROGRAM], check=True)
        times.append((time.perf_counter() - begun) * 1000)
    return times, (meter.milliseconds() - before) / runs


async def sandboxed(runs: int, folder: Path, meter: Meter) -> tuple[list[float], float, float]:
    """The times, the processor time of each, and the time of the first, which starts the nursery."""
    workspace = folder / "workspace"
    workspace.mkdir()
    commands = Commands(folder / "run", Bubblewrap())
    order = Order(argv=(PROGRAM,), cwd=str(workspace), writable=(str(workspace),))
    begun = time.perf_counter()
    await commands.run("first", order)
    first = (time.perf_counter() - begun) * 1000
    times: list[float] = []
    before = meter.milliseconds()
    for number in range(runs):
        begun = time.perf_counter()
        outcome, _ = await commands.run(f"run-{number}", order)
        times.append((time.perf_counter() - begun) * 1000)
        assert outcome.succeeded, outcome
    return times, (meter.milliseconds() - before) / runs, first


def figures(times: list[float]) -> dict[str, float]:
    ordered = sorted(times)
    return {
        "min": round(ordered[0], 1),
        "p50": round(statistics.median(ordered), 1),
        "p95": round(ordered[int(len(ordered) * 0.95) - 1], 1),
        "max": round(ordered[-1], 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--save", action="store_true", help="write bench/results/sandbox.json")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        meter = Meter()
        try:
            times, plain_cpu = direct(args.runs, meter)
            plain = figures(times)
            times, within_cpu, first = asyncio.run(sandboxed(args.runs, Path(folder), meter))
            within = figures(times)
        finally:
            meter.close()
    added = round(within["p50"] - plain["p50"], 1)
    document = {
        "unit": "ms",
        "runs": args.runs,
        "direct": plain,
        "sandboxed": within,
        "first": round(first, 1),
        "added_p50": added,
        "added_min": round(within["min"] - plain["min"], 1),
        "cpu_direct": round(plain_cpu, 2),
        "cpu_sandboxed": round(within_cpu, 2),
        "cpu_by": meter.kind,
        "bound": BOUND,
        "met": added < BOUND,
        "as_root": os.geteuid() == 0,
        "limits": find_holder().kind,
        "machine": f"{os.cpu_count()} processors, Linux {platform.release().split('-')[0]}, Python "
        + platform.python_version(),
        "load_at_end": round(os.getloadavg()[0], 2),
    }
    text = json.dumps(document, indent=2)
    print(text)
    if args.save:
        target = Path(__file__).parent / "results" / "sandbox.json"
        target.write_text(text + "\n", encoding="utf-8")
    return 0 if document["met"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
