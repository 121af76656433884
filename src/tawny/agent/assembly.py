"""Puts the agent together from its parts: tools, door, commands."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tawny.agent.agency import Agency
from tawny.agent.commands import Commands
from tawny.agent.settings import turn_settings
from tawny.config import AgentProfile, Config, Home
from tawny.domain.addresses import Address
from tawny.domain.outline import outline
from tawny.engine import automations
from tawny.engine.kinds import Kind
from tawny.ledger import approvals, sessions
from tawny.ledger.database import Ledger, Tx
from tawny.ledger.sessions import Session
from tawny.sandbox.workshop import Workshop
from tawny.secrets import resolve_secret
from tawny.sources.search import SearchKind
from tawny.sources.shelf import Shelf
from tawny.tools.call import Door
from tawny.tools.catalog import bundled_tools, workspace_tools
from tawny.tools.registry import Tool, Tools
from tawny.tools.rulebook import Rulebook

_RECENT = 3


def build_agency(
    home: Home,
    config: Config,
    ledger: Ledger,
    kinds: Mapping[str, Kind],
    *,
    shelf: Shelf,
    channels: Callable[[], list[str]],
    workshop: Workshop | None = None,
    further: Iterable[Tool] = (),
    searchers: Mapping[str, SearchKind] | None = None,
    model: Any = None,
) -> Agency:
    """The agency of a home. `model` is a `ScriptedModel` in tests; `kinds` may still grow.

    `further` tools and `searchers` (providers of web search, by name) are plugins'.
    """
    settings = turn_settings(config)
    workshop = workshop or Workshop(home, config, ledger.clock)
    tools = bundled_tools(
        home,
        config,
        ledger,
        kinds,
        shelf=shelf,
        channels=channels,
        workshop=workshop,
        further=further,
        searchers=searchers,
    )

    def own_tools(agent: AgentProfile) -> Tools:
        hands = workspace_tools(home, config, agent, clock=ledger.clock, shelf=shelf, workshop=workshop)
        return {**tools, **{tool.name: tool for tool in hands}}

    door = Door(
        tools,
        ledger,
        rules=Rulebook(home.policy_file),
        contacts=lambda: _contacts(shelf),
    )
    return Agency(
        home,
        config,
        ledger,
        door=door,
        own_tools=own_tools,
        secret=lambda reference: resolve_secret(reference, home),
        commands=Commands(
            queueing=settings.queueing,
            answer_approval=_answer_approval,
            begin_loop=lambda tx, session, every, what: _begin_loop(
                tx, session, every, what, kinds=kinds, timezone=settings.zone
            ),
            compact=_compact,
            model=config.model.name,
        ),
        build=None if model is None else model.build,
    )


def _answer_approval(tx: Tx, lookup: str, yes: bool, note: str, by: str) -> str:  # noqa: FBT001 - a callback's shape
    pending, _ = approvals.page(tx, status="pending", limit=10)
    if lookup:
        approval = approvals.find(tx, lookup)
    elif len(pending) == 1:
        approval = pending[0]
    elif not pending:
        return "Nothing waits for a yes."
    else:
        lines = "\n".join(f"{one.approval_id}: {one.tool} – {one.reason}" for one in pending)
        return f"Several questions wait; say which:\n{lines}"
    always = note.strip() == "always"
    answered = approvals.answer(
        tx,
        approval.approval_id,
        status="approved" if yes else "denied",
        by=by,
        note="" if always else note,
        always=always,
    )
    return f"{answered.tool}: {answered.status}."


async def _contacts(shelf: Shelf) -> frozenset[str]:
    """Names and addresses of the owner's contacts, for rules that speak of them."""
    known: set[str] = set()
    for name in shelf.names("contacts"):
        for contact in (await shelf.contacts(name)).items:
            known.update((contact.name, *contact.emails, *contact.phones))
    return frozenset(known)


def _begin_loop(
    tx: Tx, session: Session, every: str, what: str, *, kinds: Mapping[str, Kind], timezone: str
) -> str:
    """`/loop 10m check the build`: an automation that speaks in this session."""
    where = str(Address(session.channel, session.address, session.thread)) if session.channel else ""
    document = {
        "name": f"loop: {what}"[:60],
        "schedule": {"type": "every", "interval": every},
        "action": {"type": "agent_turn", "parameters": {"message": what, "session": session.session}},
        "delivery": {"channels": [where or f"chat:{session.session}"]},
    }
    made = automations.add(tx, document, kinds=kinds, timezone=timezone)
    return f"Every {every} from now on: {what} ({made.automation_id}). 'tawny automations remove' ends it."


def _compact(tx: Tx, session: Session) -> str:
    """`/compact`: an outline, made without a model, stands for all but the last three exchanges."""
    kept = sessions.entries(tx, session.session, after=session.starts_after)
    starts = [entry.n for entry in kept if entry.role == "user"]
    if len(starts) <= _RECENT:
        return "There is nothing to compact: the conversation is short."
    upto = starts[-_RECENT] - 1
    old = [(entry.role, entry.text) for entry in kept if entry.n <= upto]
    sessions.compact(tx, session.session, upto=upto, summary=outline(old, before=session.summary))
    return f"{len(old)} messages are summed up; the last {_RECENT} exchanges stay as they are. Nothing was deleted."
