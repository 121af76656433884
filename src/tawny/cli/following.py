"""Following the log from the command line: what is stored, then what comes, over restarts of the gateway."""

import contextlib
import threading
from collections.abc import Generator
from functools import partial
from typing import Any

from tawny.cli import ledger, remote
from tawny.config import Home
from tawny.errors import TemporaryError
from tawny.ledger import events
from tawny.ledger.database import Tx

_RESTART_SECONDS = 30


def events_of(
    home: Home, after: int, *, task_id: str | None = None, wait: bool = True
) -> Generator[dict[str, Any]]:
    """What is stored, then what comes, without gap or repeat; a gateway that starts again is waited for.

    Raises:
        TemporaryError: it has gone and does not come back.
    """
    seen, place = after, 0
    gateway = remote.find(home) if wait else None
    while True:
        while batch := ledger.read(home, partial(_batch, after=seen, task_id=task_id)):
            for event in batch:
                seen = event.seq
                yield event.document()
        seen = max(seen, place)
        if gateway is None:
            return
        heard, gateway = gateway, None
        with contextlib.suppress(TemporaryError):
            for document in heard.stream(seen):
                if document["type"] == "system.snapshot":
                    # It went on without us, and the record has what it left out; or it never was where we are.
                    gateway, place = heard, document["seq"]
                    seen = min(seen, place)
                    break
                seen = document["seq"] or seen
                if task_id is None or document["task_id"] == task_id:
                    yield document
        gateway = gateway or _come_back(home)


def _come_back(home: Home) -> remote.Remote:
    """The gateway that follows one that has gone."""
    for _ in range(_RESTART_SECONDS):
        threading.Event().wait(1)
        if (gateway := remote.find(home)) is not None:
            return gateway
    raise TemporaryError("the gateway has gone", hint="start it with 'tawny gateway run'")


def _batch(tx: Tx, *, after: int, task_id: str | None) -> list[events.Event]:
    return events.after(tx, after, task_id=task_id)
