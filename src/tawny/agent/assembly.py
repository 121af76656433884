"""Puts the agent together from its parts: tools, door, commands."""

from collections.abc import Callable, Mapping
from typing import Any

from tawny.agent.agency import Agency
from tawny.agent.commands import Commands
from tawny.agent.settings import turn_settings
from tawny.config import Config, Home, resolve_secret
from tawny.engine.kinds import Kind
from tawny.ledger import approvals
from tawny.ledger.database import Ledger, Tx
from tawny.sources.shelf import Shelf
from tawny.tools.call import Door
from tawny.tools.catalog import bundled_tools
from tawny.tools.rulebook import Rulebook


def build_agency(
    home: Home,
    config: Config,
    ledger: Ledger,
    kinds: Mapping[str, Kind],
    *,
    shelf: Shelf,
    channels: Callable[[], list[str]],
    model: Any = None,
) -> Agency:
    """The agency of a home. `model` is a `ScriptedModel` in tests; `kinds` may still grow."""
    settings = turn_settings(config)
    tools = bundled_tools(home, config, ledger, kinds, shelf=shelf, channels=channels)
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
        secret=lambda reference: resolve_secret(reference, home),
        commands=Commands(
            queueing=settings.queueing, answer_approval=_answer_approval, model=config.model.name
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
