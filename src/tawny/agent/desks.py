"""What each agent works with: its profile, the files that steer it, its skills, its tools."""

import asyncio
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from tawny.agent.prompt import Workspace
from tawny.config import AgentProfile, Config, Home
from tawny.errors import InvalidInput
from tawny.skills.library import Library
from tawny.tools.registry import Tools


class Desk:
    """One agent's. `tools` are all there are, with hands in its own workspace; its profile may name fewer."""

    def __init__(self, profile: AgentProfile, root: Path, *, library: Library, tools: Tools) -> None:
        self.profile = profile
        self.words = Workspace(root)
        self.tools = tools
        self._skills = root / "skills"
        self._library = library
        self._told: tuple[int, list[str]] | None = None

    def may_use(self, given: tuple[str, ...] | None) -> frozenset[str]:
        """The names of its tools; of those a task was `given`, where it was."""
        own = frozenset(self.profile.tools or self.tools)
        return own if given is None else own.intersection(given)

    async def skills(self) -> list[str]:
        """The lines about its skills, looked up again when a file has changed."""
        if not self._skills.is_dir():
            return []
        return await asyncio.to_thread(self._look)

    def _look(self) -> list[str]:
        stamp = hash(tuple(_stamps(self._skills)))
        if self._told is None or self._told[0] != stamp:
            self._told = (stamp, self._library.lines())
        return self._told[1]


class Desks:
    """The desks of the configured agents; that of the assistant itself has no name."""

    def __init__(
        self, home: Home, config: Config, *, tools: Tools, own_tools: Callable[[AgentProfile], Tools]
    ) -> None:
        """`own_tools` makes the tools of an agent that has a workspace of its own."""
        self._home = home
        self._tools = tools
        self._own_tools = own_tools
        self._profiles: Mapping[str, AgentProfile] = {one.name: one for one in config.agents}
        self._made: dict[str, Desk] = {}

    def of(self, agent: str) -> Desk:
        """The agent's desk.

        Raises:
            InvalidInput: there is no such agent.
            ConfigError: its workspace leads out of the workspace.
        """
        desk = self._made.get(agent)
        if desk is None:
            profile = self._profile(agent)
            root = self._home.workspace_of(profile)
            library = Library(self._home.root, root)
            tools = self._own_tools(profile) if profile.workspace else self._tools
            desk = self._made[agent] = Desk(profile, root, library=library, tools=tools)
        return desk

    def _profile(self, agent: str) -> AgentProfile:
        profile = self._profiles.get(agent) if agent else AgentProfile(name="")
        if profile is None:
            names = ", ".join(self._profiles) or "none"
            raise InvalidInput(f"there is no agent {agent!r}", hint=f"[[agents]] names {names}")
        return profile


def _stamps(folder: Path) -> Iterator[tuple[int, int, int]]:
    """What changes when anything below a folder does."""
    for where, _, names in os.walk(folder):
        for path in (where, *(os.path.join(where, name) for name in names)):
            try:
                seen = os.lstat(path)
            except FileNotFoundError:
                continue
            yield seen.st_mtime_ns, seen.st_size, seen.st_ino
