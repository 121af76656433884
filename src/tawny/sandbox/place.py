"""Where commands work: the workspace, a folder for each task, and what in them stays as it is."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from tawny.domain import standing
from tawny.errors import NotFound, Refused
from tawny.paths import Root
from tawny.sandbox.order import SYSTEM_PATH

_SYSTEM = tuple(
    Path(name)
    for name in ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc", "/proc", "/sys", "/dev", "/boot", "/run")
)


class NetworkList(Protocol):
    """The two lists of `[network]`."""

    @property
    def allow(self) -> tuple[str, ...]: ...

    @property
    def allow_private(self) -> tuple[str, ...]: ...


class Workplace:
    """The folders of one home that commands may see."""

    def __init__(
        self,
        workspace: Path,
        tasks: Path,
        network: NetworkList,
        *,
        home: Path | None = None,
        within: Sequence[Path] = (),
    ) -> None:
        """`within` are the workspaces of other agents that lie in this one."""
        self.workspace = workspace
        self._within = within
        self._home = home if home is not None else workspace.parent
        self.network = network
        self._tasks = tasks

    def folder(self, wanted: str | None) -> Path:
        """The folder to work in: the workspace, or one inside it.

        Raises:
            Refused: it lies elsewhere.
            NotFound: there is none.
        """
        self.workspace.mkdir(parents=True, exist_ok=True, mode=0o700)
        root = self.workspace.resolve()
        path = (root / (wanted or ".")).resolve()
        if not path.is_relative_to(root):
            raise Refused(f"{wanted} lies outside of the workspace", hint=f"commands work in {root}")
        if not path.is_dir():
            raise NotFound(f"there is no folder {wanted}", hint=f"make it in {root} first")
        return path

    def named(self, wanted: str | None) -> Path:
        """The folder to work in where the owner's own hand has named it: also one outside of the workspace.

        Raises:
            Refused: it is the system's, holds a home, or lies in Tawny's own or in a hidden folder.
            NotFound: there is none.
        """
        if wanted is None or not os.path.isabs(wanted):
            return self.folder(wanted)
        path = Path(os.path.realpath(wanted))
        if path.is_relative_to(self.workspace.resolve()):
            return self.folder(wanted)
        if not path.is_dir():
            raise NotFound(f"there is no folder {wanted}")
        homes = (self._home.resolve(), Path.home().resolve())
        hidden = any(part.startswith(".") for part in path.parts)
        if (
            hidden
            or any(home.is_relative_to(path) for home in homes)
            or path.is_relative_to(homes[0])
            or any(path.is_relative_to(system) for system in _SYSTEM)
        ):
            raise Refused(
                f"{wanted} is no folder for a command to work in",
                hint="name a folder of your own that is neither hidden, nor a home, nor the system's",
            )
        return path

    def task_folder(self, task_id: str) -> Path:
        """The task's own folder, made if it is missing."""
        path = self._tasks / task_id
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        return path.resolve()

    def writable(self) -> tuple[str, ...]:
        """The workspace; and each agent's part of it once more, so that a command cannot move the whole part away."""
        return tuple(dict.fromkeys(str(Root(folder).path) for folder in (self.workspace, *self._within)))

    def protected(self) -> tuple[str, ...]:
        """What in the workspace commands may read and not change: what steers later work, which is for tools to change.

        Those pass the policy. What is missing is made, empty: what is not there cannot be held.
        """
        held: list[str] = []
        for folder in (self.workspace, *self._within):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            root = Root(folder)
            for name in standing.FOLDERS:
                (root.path / name).mkdir(parents=True, exist_ok=True, mode=0o700)
            for name in standing.FILES:
                if not root.exists(name):
                    root.append(name, b"")
            held += [str(root.path / name) for name in (*standing.FOLDERS, *standing.FILES)]
        return tuple(held)


def find_program(name: str, cwd: Path) -> str:
    """The program's path, as it will be found inside the sandbox.

    Raises:
        NotFound: there is none of that name.
    """
    if "/" in name:
        path = name if name.startswith("/") else os.path.normpath(cwd / name)
        if os.path.isfile(path):
            return path
    elif found := shutil.which(name, path=SYSTEM_PATH):
        return found
    raise NotFound(f"there is no program {name!r}", hint=f"programs are looked for in {SYSTEM_PATH}")
