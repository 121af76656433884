"""Two engines that are broken on purpose: a proof that does not find what is wrong with them proves nothing.

Both have three steps, each with an effect in the world. The naive one remembers only that it is done; the at-most-once
one remembers each step before it does it.
"""

import http.client
import os
from collections.abc import Callable
from pathlib import Path

_STEPS = 3


def naive(home: Path, port: int, die: Callable[[str], None]) -> None:
    """Runs everything again unless it had finished, with a new key each time."""
    done = home / "done"
    if done.exists():
        return
    for step in range(_STEPS):
        die("before")
        _effect(port, f"{step}-{os.getpid()}")
        die("after")
    done.write_text("yes")


def at_most_once(home: Path, port: int, die: Callable[[str], None]) -> None:
    """Marks each step as done before doing it."""
    for step in range(_STEPS):
        mark = home / f"step-{step}"
        if mark.exists():
            continue
        mark.write_text("done")
        die("before")
        _effect(port, str(step))
        die("after")


def _effect(port: int, key: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST", "/toy", "{}", {"Idempotency-Key": key})
        connection.getresponse().read()
    finally:
        connection.close()


TOYS: dict[str, Callable[[Path, int, Callable[[str], None]], None]] = {
    "naive": naive,
    "at_most_once": at_most_once,
}
