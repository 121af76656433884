"""Processes as the kernel knows them: by id and start time, with those they have started."""

import os


def start_time(process: int) -> int:
    """When the process started, in clock ticks since boot: with its id, a name that is never given twice."""
    try:
        with open(f"/proc/{process}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[19])
    except OSError:
        return 0


def is_alive(process: int) -> bool:
    """Whether the process exists and is more than a record waiting to be read."""
    try:
        with open(f"/proc/{process}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except OSError:
        return False


def descendants(process: int) -> list[int]:
    found: list[int] = []
    waiting = [process]
    while waiting:
        parent = waiting.pop()
        try:
            with open(f"/proc/{parent}/task/{parent}/children") as file:
                children = [int(number) for number in file.read().split()]
        except OSError:
            continue
        found += children
        waiting += children
    return found


def send_signal(process: int, number: int, *, group: bool = False) -> None:
    try:
        (os.killpg if group else os.kill)(process, number)
    except (ProcessLookupError, PermissionError):
        return
