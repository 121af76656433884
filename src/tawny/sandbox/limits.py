"""Who holds a command to its limits: control groups version 2, else version 1, else the limits of each process."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from tawny.sandbox.order import Limits

_MOUNT = Path("/sys/fs/cgroup")
_PERIOD = 100_000


class Holder(msgspec.Struct, frozen=True):
    """What this machine offers: `kind` is cgroup2, cgroup1 or rlimits; `bases` are folders we may make groups in.

    `controllers` are those of memory, pids and cpu that can be had.
    """

    kind: str
    bases: dict[str, str] = {}
    controllers: tuple[str, ...] = ()

    def groups(self, name: str, limits: Limits) -> list[dict[str, Any]]:
        """The groups to make for one command, each with the files to write."""
        if self.kind == "cgroup2":
            files = {file: text for c in self.controllers for file, text in _VERSION2[c](limits).items()}
            return [{"path": f"{self.bases['unified']}/tawny-{name}", "files": files}]
        if self.kind == "cgroup1":
            return [
                {"path": f"{self.bases[c]}/tawny-{name}", "files": _VERSION1[c](limits)}
                for c in self.controllers
            ]
        return []

    def rlimits(self, limits: Limits) -> list[tuple[str, int, int]]:
        """The limits of each process, as the last resort for memory and processes too."""
        wanted = [("CORE", 0), ("FSIZE", limits.file_size), ("NOFILE", limits.open_files)]
        if limits.cpu_seconds is not None:
            wanted.append(("CPU", limits.cpu_seconds))
        if "memory" not in self.controllers:
            wanted.append(("AS", limits.memory))
        if "pids" not in self.controllers:
            wanted.append(("NPROC", limits.processes))
        return [(name, value, value) for name, value in wanted]


_VERSION2: dict[str, Callable[[Limits], dict[str, str]]] = {
    "memory": lambda limits: {"memory.max": str(limits.memory), "memory.swap.max": "0"},
    "pids": lambda limits: {"pids.max": str(limits.processes)},
    "cpu": lambda limits: {"cpu.max": f"{int(limits.cpus * _PERIOD)} {_PERIOD}"},
}
_VERSION1: dict[str, Callable[[Limits], dict[str, str]]] = {
    "memory": lambda limits: {"memory.limit_in_bytes": str(limits.memory)},
    "pids": lambda limits: {"pids.max": str(limits.processes)},
    "cpu": lambda limits: {
        "cpu.cfs_period_us": str(_PERIOD),
        "cpu.cfs_quota_us": str(int(limits.cpus * _PERIOD)),
    },
}


def find_holder(*, mount: Path = _MOUNT, memberships: str | None = None) -> Holder:
    """Look, by making a group and removing it, for what can be had here."""
    if memberships is None:
        try:
            memberships = Path("/proc/self/cgroup").read_text(encoding="utf-8")
        except OSError:
            return Holder("rlimits")
    places = _places(memberships)
    if "" in places:
        for root in (mount, mount / "unified"):
            if (root / "cgroup.controllers").exists():
                found = _version2(root, places[""])
                if found is not None:
                    return found
    return _version1(mount, places) or Holder("rlimits")


def _places(memberships: str) -> dict[str, str]:
    """Controller (`""` for version 2) → the group this process is in."""
    places: dict[str, str] = {}
    for line in memberships.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            places[controller] = path
    return places


def _version2(root: Path, path: str) -> Holder | None:
    base = root / path.lstrip("/")
    try:
        offered = (base / "cgroup.controllers").read_text(encoding="utf-8").split()
    except OSError:
        return None
    wanted = tuple(c for c in ("memory", "pids", "cpu") if c in offered)
    if "memory" not in wanted or "pids" not in wanted or not _enable(base, wanted):
        return None
    return Holder("cgroup2", {"unified": str(base)}, wanted) if _may_make_groups(base) else None


def _enable(base: Path, controllers: tuple[str, ...]) -> bool:
    """Hand the controllers down; a group with members must first move them into a leaf of its own."""
    wanted = " ".join(f"+{controller}" for controller in controllers)
    switch = base / "cgroup.subtree_control"
    try:
        if set(controllers) <= set(switch.read_text(encoding="utf-8").split()):
            return True
        try:
            switch.write_text(wanted, encoding="utf-8")
        except OSError:
            leaf = base / "tawny-gateway"
            leaf.mkdir(exist_ok=True)
            for process in (base / "cgroup.procs").read_text(encoding="utf-8").split():
                (leaf / "cgroup.procs").write_text(process, encoding="utf-8")
            switch.write_text(wanted, encoding="utf-8")
    except OSError:
        return False
    return True


def _version1(mount: Path, places: dict[str, str]) -> Holder | None:
    bases: dict[str, str] = {}
    for controller in ("memory", "pids", "cpu"):
        base = mount / controller / places.get(controller, "").lstrip("/")
        if controller in places and _may_make_groups(base):
            bases[controller] = str(base)
    if "memory" not in bases or "pids" not in bases:
        return None
    return Holder("cgroup1", bases, tuple(bases))


def _may_make_groups(base: Path) -> bool:
    probe = base / f"tawny-probe-{os.getpid()}"
    try:
        probe.mkdir()
        probe.rmdir()
    except OSError:
        return False
    return True
