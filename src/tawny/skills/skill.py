"""What a skill is: a folder with a `SKILL.md` (front matter, then instructions) and whatever it needs beside it."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from tawny.errors import InvalidInput

_FRONT = re.compile(r"\A---\s*\n(.*?)\n---\s*\n(.*)\Z", re.DOTALL)
# The standard's names, and what is found in the wild beside them: it must do for a folder and a word in a command.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}(?:\.[A-Za-z0-9_-]{1,20}){0,4}")
_TITLE = re.compile(r"[^\W_][\w ,.:+&()'!–-]{0,79}")
_MAX_FILES, _MAX_BYTES = 256, 8 * 1024 * 1024
_DESCRIPTION = 1024
"""Characters of a description that are read: as many as the standard allows."""
# What an honest set of instructions has no need of; found before a skill is let in.
_SUSPICIOUS = (
    (re.compile(r"curl[^\n|]*\|\s*(?:ba|z)?sh|wget[^\n|]*\|\s*(?:ba|z)?sh"), "pipes a download into a shell"),
    (
        re.compile(r"base64\s+(?:-d|--decode)[^\n]*\|\s*(?:ba|z)?sh|eval\s*\(\s*(?:atob|base64)"),
        "runs hidden code",
    ),
    (
        re.compile(r"(?i)ignore (?:all|any|the) (?:previous|prior) instructions"),
        "tries to override instructions",
    ),
    (re.compile(r"\.ssh/|id_rsa|\.aws/credentials|\.netrc|/etc/shadow"), "reaches for credentials"),
    (
        re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2064\U000e0000-\U000e007f]"),
        "has invisible characters",
    ),
    (re.compile(r"rm\s+-rf\s+(?:/|~)(?:\s|$)"), "deletes everything"),
)


class Permissions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a skill asks for beyond instructions: hosts to reach, programs to run. Nothing unless granted."""

    network: tuple[str, ...] = ()
    exec: tuple[str, ...] = ()


class Skill(msgspec.Struct, frozen=True, kw_only=True):
    """A skill as read from its folder. `digest` is over every file in it."""

    name: str
    description: str
    folder: str
    instructions: str
    permissions: Permissions
    digest: str


def read_skill(folder: Path) -> Skill:
    """The skill in a folder.

    Raises:
        InvalidInput: it is none; names what is wrong.
    """
    file = folder / "SKILL.md"
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = (error.strerror if isinstance(error, OSError) else "it is no UTF-8") or error
        raise InvalidInput(
            f"{folder}: no readable SKILL.md ({why})", hint="name the folder that holds it"
        ) from error
    match = _FRONT.match(text)
    if match is None:
        raise InvalidInput(
            f"{folder.name}/SKILL.md has no front matter", hint="begin with ---, name, description, ---"
        )
    front = _front(folder.name, match.group(1))
    name = str(front.get("name") or folder.name)
    if " " in name and _TITLE.fullmatch(name) and _NAME.fullmatch(folder.name):
        # Some write a title there ("Agent Browser"); the folder's name is what they are called by.
        name = folder.name
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"{folder.name}/SKILL.md: name {name!r}", hint="letters, digits, - and _, 64 at most"
        )
    description = str(front.get("description") or "").strip()
    if not description:
        raise InvalidInput(f"{folder.name}/SKILL.md has no description", hint="one line: what for, and when")
    asked: Any = front.get("permissions") or {}
    if isinstance(asked, list):
        asked = {}  # other assistants' words ([network, shell]): no grant of ours is meant by them
    try:
        permissions = msgspec.convert(asked, Permissions)
    except msgspec.ValidationError as error:
        raise InvalidInput(
            f"{folder.name}/SKILL.md: permissions: {error}", hint="network: [host:port], exec: [name]"
        ) from error
    return Skill(
        name=name,
        description=" ".join(description.split())[:_DESCRIPTION],
        folder=str(folder),
        instructions=match.group(2).strip(),
        permissions=permissions,
        digest=digest(folder),
    )


def _front(name: str, text: str) -> Mapping[str, Any]:
    try:
        front: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidInput(f"{name}/SKILL.md: front matter: {error}") from error
    if not isinstance(front, dict):
        raise InvalidInput(f"{name}/SKILL.md: the front matter is no table")
    return front  # pyright: ignore[reportUnknownVariableType]


def files_of(folder: Path) -> list[Path]:
    """Every file of a skill, in order.

    Raises:
        InvalidInput: too many, too big, or a link.
    """
    found: list[Path] = []
    size = 0
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            raise InvalidInput(f"{folder.name}: {path.name} is a link", hint="a skill holds its own files")
        if path.is_file():
            found.append(path)
            size += path.stat().st_size
        if len(found) > _MAX_FILES or size > _MAX_BYTES:
            raise InvalidInput(f"{folder.name}: more than {_MAX_FILES} files or 8 MB")
    return found


def digest(folder: Path) -> str:
    """The SHA-256 over the names and contents of all files: any changed byte changes it."""
    total = hashlib.sha256()
    for path in files_of(folder):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        total.update(f"{path.relative_to(folder).as_posix()}\0{content}\n".encode())
    return total.hexdigest()


def scan(folder: Path) -> list[str]:
    """What in a skill's files should make a person look twice: `scripts/run.sh: pipes a download into a shell`."""
    findings: list[str] = []
    for path in files_of(folder):
        text = path.read_text(encoding="utf-8", errors="ignore")
        findings.extend(
            f"{path.relative_to(folder).as_posix()}: {what}"
            for pattern, what in _SUSPICIOUS
            if pattern.search(text)
        )
    return findings
