"""Ending before the end: whatever asks for it, what is temporary is taken away."""

import signal
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any


@contextmanager
def ended_in_order() -> Generator[None]:
    """SIGTERM and a terminal that is closed end what runs in here as Ctrl-C does."""
    before: dict[int, Any] = {}
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # `nohup` stays what it is
            before[number] = signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
