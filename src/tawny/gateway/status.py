"""How things stand: one small document for the head of a page, and the figures."""

from typing import Any

import msgspec

from tawny import __version__
from tawny.clock import iso
from tawny.engine import scheduler
from tawny.gateway.operation import Call, Nothing, Operation
from tawny.gateway.principal import READ
from tawny.ledger import events, roll, starts, tasks
from tawny.ledger.database import Tx


class You(msgspec.Struct):
    """What the server has granted to whoever asks."""

    id: str
    name: str
    role: str
    scopes: list[str]


class Status(msgspec.Struct):
    version: str
    time: str
    started_at: str
    seq: int
    ready: bool
    home: str
    timezone: str
    model: str
    counts: dict[str, int]
    devices: int
    you: You
    problems: list[dict[str, Any]]
    workers: list[roll.Worker] | None
    """The processes that share the ledger; null where one has it to itself."""


def status(tx: Tx, call: Call[Nothing, Nothing]) -> dict[str, Any]:
    site, asking = call.site, call.principal
    return {
        "version": __version__,
        "time": iso(tx.now),
        "started_at": iso(site.started_at),
        "seq": events.last_seq(tx),
        "ready": site.ready,
        "home": str(site.home.root),
        "timezone": site.limits.zone,
        "model": site.config.model.name,
        "counts": tasks.counts(tx),
        "devices": site.feed.devices,
        "you": {
            "id": asking.credential_id,
            "name": asking.name,
            "role": asking.role,
            "scopes": sorted(asking.scopes),
        },
        "problems": [
            *site.problems,
            *({"severity": "error", "message": text, "hint": ""} for text in scheduler.problems(tx)),
            *_storm(tx),
        ],
        "workers": msgspec.to_builtins(roll.workers(tx)),
    }


def _storm(tx: Tx) -> list[dict[str, Any]]:
    storm = starts.current(tx)
    if storm is None:
        return []
    return [
        {"severity": "warning", "message": f"background work waits: {storm.text}", "hint": "'tawny logs'"}
    ]


OPERATION = Operation(
    name="status",
    method="GET",
    path="/v1/status",
    scope=READ,
    summary="How things stand",
    answer=Status,
    read=status,
)
