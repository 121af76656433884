"""What the sandbox adds to a command: the whole road through a supervisor, against starting the program directly.

python bench/sandbox.py [--runs 60] [--save bench/results/sandbox.json]
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


def direct(runs: int) -> list[float]:
    times: list[float] = []
    for _ in range(runs):
        begun = time.perf_counter()
        subprocess.run([PROGRAM], check=True)
        times.append((time.perf_counter() - begun) * 1000)
    return times


async def sandboxed(runs: int, folder: Path) -> list[float]:
    workspace = folder / "workspace"
    workspace.mkdir()
    commands = Commands(folder / "run", Bubblewrap())
    order = Order(argv=(PROGRAM,), cwd=str(workspace), writable=(str(workspace),))
    await commands.run("warm", order)
    times: list[float] = []
    for number in range(runs):
        begun = time.perf_counter()
        outcome, _ = await commands.run(f"run-{number}", order)
        times.append((time.perf_counter() - begun) * 1000)
        assert outcome.succeeded, outcome
    return times


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
    parser.add_argument("--save", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        plain = figures(direct(args.runs))
        within = figures(asyncio.run(sandboxed(args.runs, Path(folder))))
    added = round(within["p50"] - plain["p50"], 1)
    document = {
        "unit": "ms",
        "runs": args.runs,
        "direct": plain,
        "sandboxed": within,
        "added_p50": added,
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
        args.save.parent.mkdir(parents=True, exist_ok=True)
        args.save.write_text(text + "\n", encoding="utf-8")
    return 0 if document["met"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
