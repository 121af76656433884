"""`tawny status`: how things stand, with the gateway up or down."""

import argparse
from typing import Any

import msgspec

from tawny import config as configuration
from tawny.cli import ledger, remote
from tawny.cli.output import emit
from tawny.clock import iso
from tawny.config import Home
from tawny.ledger import roll, starts, tasks
from tawny.ledger.roll import Worker


def configure(parser: argparse.ArgumentParser) -> None:
    """No arguments of its own."""


def run(args: argparse.Namespace, home: Home) -> int:
    """Print the state of the gateway and the tasks; 1 when something is wrong."""
    configuration.load(home)
    gateway = remote.find(home)
    counts, workers, storm = ledger.read(
        home, lambda tx: (tasks.counts(tx), roll.workers(tx), starts.current(tx))
    )
    document: dict[str, Any] = {
        "home": str(home.root),
        "gateway": None if gateway is None else {"address": f"http://{gateway.host}:{gateway.port}"},
        "tasks": counts,
        "ready": None,
        "held": None if storm is None else {"until": iso(storm.until), "reason": storm.text},
        "workers": msgspec.to_builtins(workers),
    }
    healthy = True
    if gateway is not None:
        status, detail = gateway.request("GET", "/readyz")
        document["ready"] = detail
        healthy = status == 200
    active = ", ".join(
        f"{counts[name]} {name}" for name in ("queued", "running", "waiting", "paused") if name in counts
    )
    lines = [
        f"home     {home.root}",
        "gateway  "
        + (
            f"running at http://{gateway.host}:{gateway.port}"
            if gateway
            else "not running ('tawny gateway run')"
        ),
        f"tasks    {active or 'nothing under way'}",
    ]
    if storm is not None:
        lines.append(f"held     {storm.text}")
    lines += [f"worker   {_line(worker)}" for worker in workers or ()]
    if workers == [] or (workers and not any(worker.alive for worker in workers)):
        lines.append("worker   nobody is at work on this database")
    if troubles := counts.get("failed", 0) + counts.get("timed_out", 0) + counts.get("lost", 0):
        lines.append(f"issues   {troubles} ended badly ('tawny tasks list --status failed,timed_out,lost')")
    if not healthy:
        lines.append(f"health   not ready: {document['ready']}")
    emit(document, args, text="\n".join(lines))
    return 0 if healthy else 1


def _line(worker: Worker) -> str:
    heard = worker.last_heartbeat or "its start"
    state = f"heard of {heard}" if worker.alive else f"not heard of since {heard}, taken for gone"
    kinds = ", ".join(worker.kinds) or "all kinds"
    doing = ", ".join(one.title for one in worker.running[:5]) or "nothing"
    more = f" and {len(worker.running) - 5} more" if len(worker.running) > 5 else ""
    return f"{worker.role} on {worker.host or '?'} ({worker.worker}): {kinds}, {state}, runs {doing}{more}"
