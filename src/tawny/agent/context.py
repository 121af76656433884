"""What a session's next turn would be told, measured: for people who wonder."""

from zoneinfo import ZoneInfo

from tawny.agent.prompt import Piece, Workspace, pieces
from tawny.agent.settings import background_rules
from tawny.clock import to_datetime
from tawny.config import Config, Home, owner_zone
from tawny.ledger import sessions
from tawny.ledger.database import Tx
from tawny.ledger.sessions import Entry
from tawny.skills.library import Library


def context_of(tx: Tx, home: Home, config: Config, key: str) -> tuple[list[Piece], list[Entry]]:
    """The parts of the system prompt, and the messages that would go along.

    Raises:
        NotFound: there is no such session.
    """
    session = sessions.get(tx, key)
    zone = owner_zone(config)
    now = to_datetime(tx.now, ZoneInfo(zone))
    profile = next((one for one in config.agents if one.name == session.agent), None)
    root = home.workspace_of(profile) if profile is not None else home.workspace
    parts = pieces(
        name=session.agent or "Tawny",
        day=now.strftime("%A, %Y-%m-%d"),
        time=now.strftime("%H:%M"),
        zone=zone,
        workspace=Workspace(root),
        rules=background_rules(config.background),
        skills=Library(home.root, root).lines(),
        summary=session.summary,
        notes=[note.text for note in sessions.notes(tx, key, "")],
        helper=session.depth > 0,
    )
    return parts, sessions.entries(tx, key, after=session.starts_after)
