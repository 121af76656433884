"""Every source of events that is always there, with its way to the outside."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tawny.domain.network import parse_authority
from tawny.runners import streams
from tawny.sandbox.wayout import WayOut
from tawny.sandbox.workshop import Workshop
from tawny.sources.listening.calendars import calendars
from tawny.sources.listening.feeds import feeds
from tawny.sources.listening.files import files
from tawny.sources.listening.host import Listener
from tawny.sources.listening.mail import mail
from tawny.sources.listening.mqtt import mqtt
from tawny.sources.shelf import Shelf


def bundled_listeners(
    shelf: Shelf, workspace: Path, way_out: WayOut, workshop: Workshop, secret: Callable[[str], str]
) -> Mapping[str, Listener]:
    """The listeners by the name that `on.source` says."""

    async def fetch(url: str, headers: Mapping[str, str]) -> Any:
        return await way_out.egress().fetch("GET", url, headers=headers)

    async def admit(host: str, port: int) -> None:
        await way_out.admit(parse_authority(f"[{host}]:{port}" if ":" in host else f"{host}:{port}"))

    return {
        "file": files(workspace),
        "rss": feeds(shelf, fetch),
        "email": mail(shelf),
        "calendar": calendars(shelf),
        "mqtt": mqtt(admit, secret),
        "process": streams.process(workshop.commands, workshop.place),
        "stream": streams.stream(workshop.commands, workshop.place),
    }
