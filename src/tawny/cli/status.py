"""`tawny status`: how things stand, with the gateway up or down."""

import argparse
from typing import Any

from tawny import config as configuration
from tawny.cli import ledger, remote
from tawny.cli.output import emit
from tawny.config import Home
from tawny.ledger import tasks


def configure(parser: argparse.ArgumentParser) -> None:
    """No arguments of its own."""


def run(args: argparse.Namespace, home: Home) -> int:
    """Print the state of the gateway and the tasks; 1 when something is wrong."""
    configuration.load(home)
    gateway = remote.find(home)
    counts = ledger.read(home, tasks.counts)
    document: dict[str, Any] = {
        "home": str(home.root),
        "gateway": None if gateway is None else {"address": f"http://{gateway.host}:{gateway.port}"},
        "tasks": counts,
        "ready": None,
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
    if troubles := counts.get("failed", 0) + counts.get("timed_out", 0) + counts.get("lost", 0):
        lines.append(f"issues   {troubles} ended badly ('tawny tasks list --status failed,timed_out,lost')")
    if not healthy:
        lines.append(f"health   not ready: {document['ready']}")
    emit(document, args, text="\n".join(lines))
    return 0 if healthy else 1
