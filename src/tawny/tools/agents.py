"""Which agent asks, and what it may hand on: what it starts has no tool and no workspace that it has not itself."""

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from tawny.config import AgentProfile
from tawny.domain.tasks import Json
from tawny.errors import InvalidInput, Refused
from tawny.ledger import sessions
from tawny.ledger.database import Tx
from tawny.tools.registry import ToolContext


class Agents:
    """The configured agents as tools see them; `names` are all tools there are, and may still grow."""

    def __init__(self, names: Sequence[str], profiles: Mapping[str, AgentProfile]) -> None:
        self._names = names
        self._profiles = profiles

    def asking(self, scope: ToolContext, session_agent: str) -> str:
        """The agent whose turn makes the call; empty is the assistant itself."""
        given: Any = scope.run.task.params
        return str(given.get("agent") or session_agent)

    def handed_on(self, own: str, wanted: str) -> str:
        """The agent of what `own` starts: itself, unless it names one whose workspace is its own or within.

        Raises:
            InvalidInput: there is no such agent.
            Refused: it works elsewhere.
        """
        if not wanted or wanted == own:
            return own
        if wanted not in self._profiles:
            known = ", ".join(self._profiles) or "none"
            raise InvalidInput(f"there is no agent {wanted!r}", hint=f"[[agents]] names {known}")
        if not self._folder(wanted).is_relative_to(self._folder(own)):
            raise Refused(
                f"the agent {wanted!r} works in a folder that is not {own}'s",
                hint="do it yourself, or ask the owner",
            )
        return wanted

    def tools_of(self, scope: ToolContext, agent: str) -> list[str]:
        """The names of the tools the asking turn has."""
        given: Any = scope.run.task.params
        profile = self._profiles.get(agent)
        own = (profile.tools if profile is not None else ()) or self._names
        narrowed = given.get("tools") or own
        return [name for name in self._names if name in own and name in narrowed]

    def turn_params(self, tx: Tx, scope: ToolContext, params: Mapping[str, Json]) -> dict[str, Json]:
        """The parameters of a turn (`agent_turn`) that this one starts: by its agent, with no tool it has not.

        Raises:
            InvalidInput, Refused: as `handed_on`.
        """
        session = sessions.find(tx, scope.session) if scope.session else None
        own = self.asking(scope, session.agent if session is not None else "")
        bound: dict[str, Any] = dict(params)
        if agent := self.handed_on(own, str(bound.get("agent") or "")):
            bound["agent"] = agent
        tools = self.tools_of(scope, own)
        if len(tools) < len(self._names):
            bound["tools"] = [name for name in bound.get("tools") or tools if name in tools]
        return bound

    def _folder(self, agent: str) -> PurePosixPath:
        profile = self._profiles.get(agent)
        return PurePosixPath(profile.workspace if profile is not None else "")
