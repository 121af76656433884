"""All tools that come with the house, built once."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tawny.config import Config, Home, owner_zone
from tawny.domain.commands import parse_mode
from tawny.engine.kinds import Kinds
from tawny.ledger.database import Ledger
from tawny.ledger.submission import Limits
from tawny.memory.notes import Notes
from tawny.sandbox.paths import Root
from tawny.sandbox.wayout import WayOut
from tawny.sandbox.workshop import Workshop
from tawny.secrets import secret_filler
from tawny.skills.grants import Grants
from tawny.skills.library import Library
from tawny.sources.markup import text_of
from tawny.sources.shelf import Shelf
from tawny.tools.automations import automations_tool
from tawny.tools.exec import AllowList, exec_tool
from tawny.tools.files import file_tools
from tawny.tools.finish import finish
from tawny.tools.flows import flows_tool
from tawny.tools.memory import memory_tools
from tawny.tools.message import message_tool
from tawny.tools.process import process_tool
from tawny.tools.registry import Tool
from tawny.tools.sessions import sessions_tool
from tawny.tools.sources import source_tools
from tawny.tools.spawn import spawn_tool
from tawny.tools.tasks import tasks_tool
from tawny.tools.web import Searching, web_tools

if TYPE_CHECKING:
    from tawny.sandbox.egress import Fetched

# Kinds with a tool of their own, whose level and questions must not be gone around.
_GUARDED = frozenset({"command", "http"})


def notes_of(home: Home) -> Notes:
    """The owner's notes; the index lies beside the database, as it can be made anew."""
    return Notes(Root(home.workspace), home.run / "memory.db")


def bundled_tools(
    home: Home,
    config: Config,
    ledger: Ledger,
    kinds: Kinds,
    *,
    shelf: Shelf,
    channels: Callable[[], list[str]],
    workshop: Workshop | None = None,
) -> dict[str, Tool]:
    """The tools by name. `kinds` may still grow after this; `channels` lists what is configured."""
    zone = owner_zone(config)
    limits = Limits(max_queued=config.limits.max_queued_per_owner, zone=zone)
    way_out = WayOut(config.network, fill=secret_filler(home, config))
    clock = ledger.clock
    workshop = workshop or Workshop(home, config, clock)
    allowed = AllowList(parse_mode(config.exec.mode), config.exec.allow, home.workspace)

    library = Library(home.root, home.workspace)

    async def document(path: Path) -> str:
        return await shelf.document(path)

    tools = [
        tasks_tool(ledger, kinds, limits, allowed=lambda kind: kind not in _GUARDED),
        automations_tool(ledger, kinds, zone),
        exec_tool(
            workshop.processes,
            lambda: workshop.place,
            allowed,
            limits=workshop.limits,
            grants=Grants(home.root, home.workspace, library),
        ),
        process_tool(workshop.processes),
        *file_tools(home.workspace, document, objection=library.objection),
        *memory_tools(notes_of(home), clock, zone),
        *web_tools(way_out.egress, _page_text, Searching(config.search.url)),
        message_tool(ledger, channels),
        *source_tools(shelf, clock),
        sessions_tool(ledger),
        flows_tool(ledger, kinds, limits),
        finish,
    ]
    profiles = {one.name: one.tools for one in config.agents}
    tools.append(spawn_tool(ledger, [*(tool.name for tool in tools), "spawn"], profiles))
    return {tool.name: tool for tool in tools}


async def _page_text(page: "Fetched") -> str:
    kind = page.headers.get("content-type", "").partition(";")[0].strip().lower()
    return text_of(page.text) if "html" in kind or page.text.lstrip()[:1] == "<" else page.text
