"""Everything that commands of one home need, opened at the first of them."""

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
        self.place = Workplace(home.workspace, home.artifacts, config.network, home=home.root)
        self.limits = Limits(memory=config.sandbox.memory * MEGABYTE, processes=config.sandbox.processes)
        self._home = home
        self._settings = config.sandbox
        self._commands: Commands | None = None
        self.processes = Processes(self.commands, clock or SystemClock())

    def commands(self) -> Commands:
        """The commands of this home, those of an earlier life included."""
        if self._commands is None:
            sandbox = open_sandbox(self._settings.backend, image=self._settings.image)
            self._commands = Commands(self._home.run / "commands", sandbox)
        return self._commands
