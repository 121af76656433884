"""Everything that commands of one home need, opened at the first of them."""

from pathlib import Path

from tawny.clock import Clock, SystemClock
from tawny.config import Config, Home
from tawny.sandbox.choice import open_sandbox
from tawny.sandbox.commands import Commands
from tawny.sandbox.order import MEGABYTE, Limits
from tawny.sandbox.place import Workplace
from tawny.sandbox.processes import Processes


class Workshop:
    """The sandbox, the folders and the limits of the configuration."""

    def __init__(self, home: Home, config: Config, clock: Clock | None = None) -> None:
        self._home = home
        self._network = config.network
        self._owned = tuple(home.workspace_of(one) for one in config.agents if one.workspace)
        self.place = self.place_in(home.workspace)
        self.limits = Limits(memory=config.sandbox.memory * MEGABYTE, processes=config.sandbox.processes)
        self._settings = config.sandbox
        self._commands: Commands | None = None
        self.processes = Processes(self.commands, clock or SystemClock())

    def place_in(self, workspace: Path) -> Workplace:
        """Where commands of an agent work that has this workspace; what steers the agents within stays as it is."""
        within = [own for own in self._owned if own != workspace and own.is_relative_to(workspace.resolve())]
        home = self._home
        return Workplace(workspace, home.artifacts, self._network, home=home.root, within=within)

    def commands(self) -> Commands:
        """The commands of this home, those of an earlier life included."""
        if self._commands is None:
            sandbox = open_sandbox(self._settings.backend, image=self._settings.image)
            self._commands = Commands(self._home.run / "commands", sandbox)
        return self._commands
