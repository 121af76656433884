"""What skills may do beyond telling: programs to run, hosts to reach. Nothing, until the owner has granted it.

A grant covers the files as they were (by their digest): with one byte changed it is void. It counts for commands that
run a file of the skill, since only of those it is certain whose they are.
"""

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tawny.domain.network import parse_entry
from tawny.errors import InvalidInput, Refused
from tawny.skills.library import Library, Shelved
from tawny.skills.skill import Skill

_FILE = "skills.grants"
_PROGRAM = re.compile(r"[A-Za-z0-9_.+/-]{1,200}")


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """What was granted to the skill whose files have this digest."""

    digest: str
    network: tuple[str, ...] = ()
    exec: tuple[str, ...] = ()


class Leave(msgspec.Struct, frozen=True, kw_only=True):
    """What one command of a skill may: `runs` without a question, and reach `network` beside the owner's list."""

    skill: str
    runs: bool = False
    network: tuple[str, ...] = ()


class Grants:
    """The grants of a home, kept beside its skills' lock."""

    def __init__(self, home: Path, workspace: Path, library: Library | None = None) -> None:
        self._file = home / _FILE
        self._root = workspace / "skills"
        self._library = library or Library(home, workspace)

    def of(self, skill: Skill) -> Grant | None:
        """The grant a skill has as its files are now."""
        held = self._load().get(skill.name)
        return held if held is not None and held.digest == skill.digest else None

    def grant(self, name: str, *, network: Sequence[str] = (), exec: Sequence[str] = ()) -> Grant:
        """Grant what is named, or all that the skill asks for.

        Raises:
            NotFound: there is no such skill.
            Refused: it may not be used at all.
            InvalidInput: an entry is none, or there is nothing to grant.
        """
        skill = _usable(self._library.get(name))
        wanted = skill.permissions
        if not network and not exec:
            network, exec = wanted.network, wanted.exec
        if not network and not exec:
            raise InvalidInput(
                f"{name} asks for nothing",
                hint="--exec PROGRAM and --network HOST grant it something all the same",
            )
        for host in network:
            parse_entry(host)
        for program in exec:
            if not _PROGRAM.fullmatch(program):
                raise InvalidInput(
                    f"{program!r} is no program", hint="a name such as python3, or a file of the skill"
                )
        made = Grant(digest=skill.digest, network=tuple(network), exec=tuple(exec))
        self._save({**self._load(), name: made})
        return made

    def revoke(self, name: str) -> bool:
        """Take a grant back; whether there was one."""
        held = self._load()
        if held.pop(name, None) is None:
            return False
        self._save(held)
        return True

    def leave(self, words: Sequence[str] | None, line: str, cwd: Path) -> Leave | None:
        """What a command may as one of a skill's; `None` where it has to do with none.

        `words` is `None` where a shell reads `line`.

        Raises:
            Refused: it touches a skill that is not to be used, or was granted nothing to run.
        """
        folders = self._touched(words, line, cwd)
        leave: Leave | None = None
        for folder in sorted(folders):
            shelved = next((one for one in self._library.all() if Path(one.folder).name == folder), None)
            if shelved is None:
                continue
            skill = _usable(shelved)
            grant = self.of(skill)
            if grant is None or not grant.exec:
                raise Refused(
                    f"the skill {skill.name} has no leave to run anything",
                    hint=f"its files are read with read_file; 'tawny skills grant {skill.name} --exec PROGRAM' lets it",
                )
            leave = Leave(skill=skill.name)
            if words is not None and (program := self._runs(words, cwd, folder)) is not None:
                if program not in grant.exec:
                    raise Refused(
                        f"the skill {skill.name} has no leave to run {program}",
                        hint=f"it may run {', '.join(grant.exec)}; 'tawny skills grant' changes that",
                    )
                leave = Leave(skill=skill.name, runs=True, network=grant.network)
        return leave if len(folders) < 2 else (None if leave is None else Leave(skill=leave.skill))

    def _touched(self, words: Sequence[str] | None, line: str, cwd: Path) -> set[str]:
        """The folders of the skills a command has to do with."""
        root = os.path.realpath(self._root)
        found: set[str] = set()
        places = [str(cwd)]
        if words is None:
            found.update(re.findall(r"skills/+([A-Za-z0-9][\w.-]*)", line))
        else:
            for word in words:
                places.extend((word, word.partition("=")[2]))
        for place in places:
            path = os.path.realpath(os.path.join(cwd, place)) if place else ""
            if path.startswith(root + os.sep):
                found.add(path[len(root) + 1 :].split(os.sep)[0])
        return {name for name in found if (self._root / name / "SKILL.md").is_file()}

    def _runs(self, words: Sequence[str], cwd: Path, folder: str) -> str | None:
        """The program that runs a file of the skill: the file itself by its path in the skill, or its interpreter."""
        root = os.path.realpath(self._root / folder)
        # An interpreter counts by its name alone, as the system has it: ./python3 may be anything.
        for position, word in enumerate(words[: 1 if "/" in words[0] else 2]):
            path = os.path.realpath(os.path.join(cwd, word))
            if ("/" in word or position) and path.startswith(root + os.sep) and os.path.isfile(path):
                return os.path.basename(words[0]) if position else os.path.relpath(path, root)
        return None

    def _load(self) -> dict[str, Grant]:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=dict[str, Grant])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.DecodeError) as error:
            raise InvalidInput(
                f"{self._file} cannot be read: {error}", hint="restore it, or grant anew"
            ) from error

    def _save(self, grants: dict[str, Grant]) -> None:
        fresh = self._file.with_suffix(".new")
        fresh.write_text(json.dumps(msgspec.to_builtins(grants), indent=1, sort_keys=True), encoding="utf-8")
        fresh.replace(self._file)


def _usable(shelved: Shelved) -> Skill:
    if shelved.skill is None:
        raise Refused(
            f"the skill {shelved.name} is not to be used: {shelved.reason}", hint="'tawny skills list'"
        )
    return shelved.skill
