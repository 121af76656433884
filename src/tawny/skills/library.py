"""The skills of a home: the owner's own in the workspace, those installed (pinned by their hash), those bundled."""

import json
import posixpath
import shutil
from pathlib import Path, PurePosixPath

import msgspec

from tawny.domain.skills import Told, lines
from tawny.errors import Conflict, InvalidInput, NotFound, Refused
from tawny.skills.skill import Skill, read_skill, scan

_LOCK = "skills.lock"


class Shelved(msgspec.Struct, frozen=True, kw_only=True):
    """A skill and how it stands: `own`, `installed`, `bundled`, or `refused` with the reason."""

    name: str
    status: str
    description: str = ""
    folder: str = ""
    reason: str = ""
    skill: Skill | None = None


class Library:
    """Skills by precedence: the workspace's before the bundled ones; the first of a name counts."""

    def __init__(self, home: Path, workspace: Path, *, bundled: Path | None = None) -> None:
        self._lock = home / _LOCK
        self._workspace = workspace / "skills"
        self._bundled = bundled

    def all(self) -> list[Shelved]:
        """Every skill, the refused ones too, by name."""
        found: dict[str, Shelved] = {}
        pins = self._pins()
        for root, is_own in ((self._workspace, True), (self._bundled, False)):
            if root is None or not root.is_dir():
                continue
            for folder in sorted(one for one in root.iterdir() if (one / "SKILL.md").exists()):
                shelved = self._look(folder, pins, is_own=is_own)
                found.setdefault(shelved.name, shelved)
        for name in pins.keys() - found.keys():
            found[name] = Shelved(
                name=name, status="refused", reason="it is installed, and its folder is gone"
            )
        return [found[name] for name in sorted(found)]

    def usable(self) -> list[Skill]:
        """The skills the model may be told of."""
        return [shelved.skill for shelved in self.all() if shelved.skill is not None]

    def told(self) -> list[Told]:
        """The skills as the model is told of them."""
        return [Told(one.name, one.description, Path(one.folder).name) for one in self.usable()]

    def lines(self) -> list[str]:
        """What stands of them in the prompt, where there is little room."""
        return lines(self.told())

    def get(self, name: str) -> Shelved:
        """One skill.

        Raises:
            NotFound: there is none of that name.
        """
        for shelved in self.all():
            if shelved.name == name:
                return shelved
        raise NotFound(f"there is no skill {name!r}", hint="'tawny skills list' shows what there is")

    def objection(self, path: str) -> str:
        """Why a path of the workspace is not to be read: it is of a skill that has changed since it was installed."""
        parts = PurePosixPath(posixpath.normpath(path)).parts
        folder = self._workspace / parts[1] if len(parts) > 2 and parts[0] == "skills" else None
        if folder is None or not (pins := self._pins()) or not folder.is_dir():
            return ""
        shelved = self._look(folder, pins, is_own=True)
        return shelved.reason if folder.name in pins and shelved.skill is None else ""

    def install(self, source: Path, *, accept: bool = False) -> Skill:
        """Copy a skill into the workspace and pin its hash.

        Raises:
            Refused: the scan found something; `accept` takes it on all the same.
            Conflict: one of the name is there already.
        """
        skill = read_skill(source)
        if not accept and (findings := scan(source)):
            raise Refused(
                f"{skill.name}: {'; '.join(findings)}", hint="look at it; --accept takes it on all the same"
            )
        target = self._workspace / skill.name
        if target.exists():
            raise Conflict(f"a skill {skill.name!r} is there already", hint=f"remove {target} first")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target, symlinks=True)
        copied = read_skill(target)
        if copied.digest != skill.digest:
            shutil.rmtree(target)
            raise Refused(f"{skill.name} changed while it was copied")
        self._write_pins({**self._pins(), skill.name: copied.digest})
        return copied

    def _look(self, folder: Path, pins: dict[str, str], *, is_own: bool) -> Shelved:
        try:
            skill = read_skill(folder)
        except InvalidInput as error:
            return Shelved(name=folder.name, status="refused", folder=str(folder), reason=error.message)
        pinned = pins.get(skill.name) or pins.get(folder.name)
        if is_own and pinned is not None and pinned != skill.digest:
            return Shelved(
                name=skill.name,
                status="refused",
                folder=str(folder),
                description=skill.description,
                reason="its files have changed since it was installed; look at them, then install it anew",
            )
        status = "installed" if pinned else "own" if is_own else "bundled"
        return Shelved(
            name=skill.name, status=status, description=skill.description, folder=str(folder), skill=skill
        )

    def _pins(self) -> dict[str, str]:
        try:
            held: dict[str, str] = json.loads(self._lock.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise InvalidInput(
                f"{self._lock} cannot be read: {error}", hint="restore it, or install anew"
            ) from error
        return held

    def _write_pins(self, pins: dict[str, str]) -> None:
        fresh = self._lock.with_suffix(".new")
        fresh.write_text(json.dumps(pins, indent=1, sort_keys=True), encoding="utf-8")
        fresh.replace(self._lock)
