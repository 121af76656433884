"""All tools that come with the house, built once."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tawny.clock import Clock
from tawny.config import AgentProfile, Config, Home, owner_zone
from tawny.domain.commands import parse_mode
from tawny.engine.kinds import Kinds
from tawny.files import make_folder
from tawny.ledger.database import Ledger
from tawny.ledger.submission import Limits
from tawny.memory.notes import Notes
from tawny.paths import Root
from tawny.sandbox.wayout import WayOut
from tawny.sandbox.workshop import Workshop
from tawny.secrets import resolve_secret, secret_filler
from tawny.skills.grants import Grants
from tawny.skills.library import Library
from tawny.sources.search import SearchKind
from tawny.sources.shelf import Shelf
from tawny.tools.agents import Agents
from tawny.tools.automations import automations_tool
from tawny.tools.engine import Engine
from tawny.tools.exec import AllowList, exec_tool
from tawny.tools.files import file_tools
from tawny.tools.finish import finish
from tawny.tools.flows import flows_tool
from tawny.tools.memory import memory_tools
from tawny.tools.message import message_tool
from tawny.tools.once import digest
from tawny.tools.process import process_tool
from tawny.tools.registry import Tool
from tawny.tools.sessions import sessions_tool
from tawny.tools.skills import skills_tool
from tawny.tools.sources import source_tools
from tawny.tools.spawn import spawn_tool
from tawny.tools.tasks import tasks_tool
from tawny.tools.web import web_tools

if TYPE_CHECKING:
    from tawny.sandbox.egress import Fetched

# Kinds with a tool of their own, whose level and questions must not be gone around.
_GUARDED = frozenset({"command", "http"})


_MAIN = AgentProfile(name="")


def notes_of(home: Home, agent: AgentProfile = _MAIN) -> Notes:
    """The notes of the owner, or of an agent with a workspace of its own.

    The index lies beside the database, as it can be made anew.
    """
    own = f"-{digest(agent.workspace)[:12]}" if agent.workspace else ""
    return Notes(Root(home.workspace_of(agent)), home.run / f"memory{own}.db")


def bundled_tools(
    home: Home,
    config: Config,
    ledger: Ledger,
    kinds: Kinds,
    *,
    shelf: Shelf,
    channels: Callable[[], list[str]],
    workshop: Workshop,
    further: Iterable[Tool] = (),
    searchers: Mapping[str, SearchKind] | None = None,
) -> dict[str, Tool]:
    """The tools by name. `kinds` may still grow after this; `channels` lists what is configured.

    `further` tools and `searchers` are plugins'; none of them replaces what comes with the house.
    """
    zone = owner_zone(config)
    limits = Limits(max_queued=config.limits.max_queued_per_owner, zone=zone)
    way_out = WayOut(config.network, fill=secret_filler(home, config))

    async def page_text(page: "Fetched") -> str:
        kind = page.headers.get("content-type", "").partition(";")[0].strip().lower()
        is_markup = "html" in kind or page.text.lstrip()[:1] == "<"
        return await shelf.page_text(page.url, page.text) if is_markup else page.text

    names: list[str] = []
    agents = Agents(names, {one.name: one for one in config.agents})
    tools = [
        tasks_tool(ledger, kinds, limits, agents=agents, allowed=lambda kind: kind not in _GUARDED),
        automations_tool(ledger, kinds, zone, agents=agents),
        *workspace_tools(home, config, _MAIN, clock=ledger.clock, shelf=shelf, workshop=workshop),
        process_tool(
            workshop.processes, AllowList(parse_mode(config.exec.mode), config.exec.allow, home.workspace)
        ),
        *web_tools(
            way_out.egress,
            page_text,
            Engine(config.search, lambda ref: resolve_secret(ref, home), searchers or {}),
        ),
        message_tool(ledger, channels),
        *source_tools(shelf, ledger.clock),
        sessions_tool(ledger),
        flows_tool(ledger, kinds, limits),
        spawn_tool(ledger, agents),
        finish,
    ]
    made = {tool.name: tool for tool in (*further, *tools)}
    names.extend(made)
    return made


def workspace_tools(
    home: Home, config: Config, agent: AgentProfile, *, clock: Clock, shelf: Shelf, workshop: Workshop
) -> list[Tool]:
    """The tools that work in a folder, on that of one agent: it sees nothing beside it.

    Raises:
        ConfigError: the agent's workspace leads elsewhere.
    """
    folder = home.workspace_of(agent)
    make_folder(folder)
    library = Library(home.root, folder)
    place = workshop.place_in(folder)

    async def document(path: Path) -> str:
        return await shelf.document(path)

    return [
        exec_tool(
            workshop.processes,
            lambda: place,
            # What is allowed by name means the programs of the owner's own workspace, whoever calls them.
            AllowList(parse_mode(config.exec.mode), config.exec.allow, home.workspace),
            limits=workshop.limits,
            grants=Grants(home.root, folder, library),
        ),
        *file_tools(folder, document, objection=library.objection),
        *memory_tools(notes_of(home, agent), clock, owner_zone(config)),
        skills_tool(library),
    ]
