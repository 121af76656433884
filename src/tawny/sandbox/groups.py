"""Control groups as their files: made, entered and removed by the supervisor (`limits.py` decides which)."""

import os
import select
from typing import Any


def make_group(group: dict[str, Any]) -> None:
    path, files = str(group["path"]), dict[str, str](group["files"])
    os.makedirs(path, exist_ok=True)
    for name, text in files.items():
        with open(os.path.join(path, name), "w") as file:
            file.write(text)


def enter_group(group: dict[str, Any]) -> None:
    with open(os.path.join(group["path"], "cgroup.procs"), "w") as file:
        file.write(str(os.getpid()))


def members(group: dict[str, Any]) -> list[int]:
    try:
        with open(os.path.join(group["path"], "cgroup.procs")) as file:
            return [int(line) for line in file]
    except OSError:
        return []


def out_of_memory(group: dict[str, Any]) -> bool:
    """Whether the kernel killed something in the group for want of memory."""
    for name in ("memory.events", "memory.oom_control"):
        try:
            with open(os.path.join(group["path"], name)) as file:
                counts = dict(line.split()[:2] for line in file if " " in line)
        except OSError:
            continue
        if int(counts.get("oom_kill", "0")):
            return True
    return False


def remove_group(group: dict[str, Any]) -> None:
    for _ in range(200):
        try:
            os.rmdir(group["path"])
        except FileNotFoundError:
            return
        except OSError:
            select.select([], [], [], 0.005)
        else:
            return
