"""All tools that come with the house, built once."""

from tawny.config import Config, Home, owner_zone
from tawny.engine.kinds import Kinds
from tawny.ledger.database import Ledger
from tawny.ledger.submission import Limits
from tawny.tools.finish import finish
from tawny.tools.registry import Tool
from tawny.tools.tasks import tasks_tool

# Kinds with a tool of their own, whose level and questions they must not go around.
_GUARDED = frozenset({"command", "http"})


def bundled_tools(home: Home, config: Config, ledger: Ledger, kinds: Kinds) -> dict[str, Tool]:
    """The tools by name. `kinds` may still grow after this."""
    del home
    limits = Limits(max_queued=config.limits.max_queued_per_owner, zone=owner_zone(config))
    tools = [
        tasks_tool(ledger, kinds, limits, allowed=lambda kind: kind not in _GUARDED),
        finish,
    ]
    return {tool.name: tool for tool in tools}
