"""`tawny import`: what an OpenClaw assistant was told, remembers and has learnt. Nothing is overwritten."""  # noqa: N999 - a command's word

import argparse
import os
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tawny.cli.output import emit
from tawny.config import Home
from tawny.domain.foreign import workspace as theirs
from tawny.errors import InvalidInput, NotFound, TawnyError
from tawny.paths import Root
from tawny.skills.library import Library
from tawny.skills.skill import read_skill, scan

_LONGEST = 2_000_000
"""Bytes of a file of words; notes beyond that are not searched."""
_DEEPEST = 6
"""Folders under `skills/` in which OpenClaw still finds one."""
_SHOWN = 8
"""Names of further files that are listed."""
_HEARTBEAT = "nothing looks at it until a watch with a heartbeat probe does: docs/how-to/watches.md"


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was found there: `taken` (or `would take`) to a place here, or `left out` with the reason."""

    name: str
    outcome: str = "left out"
    to: str = ""
    notes: tuple[str, ...] = ()
    reason: str = ""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where things lie: OpenClaw's own folder (if that was named), the workspace that is taken, and other agents'."""

    workspace: Path
    state: Path | None = None
    others: tuple[Path, ...] = ()


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("folder", metavar="FOLDER", help="~/.openclaw, or one workspace of it")
    parser.add_argument("--apply", action="store_true", help="copy; without it only a preview is shown")


def run(args: argparse.Namespace, home: Home) -> int:
    """Exits 1 where there is nothing to take."""
    place = _find(Path(args.folder).expanduser())
    if args.apply:
        home.prepare()
    taker = _Taker(place, home, apply=args.apply)
    items = [*taker.words(), *taker.memory(), *taker.heartbeat(), *taker.skills(), *taker.rest()]
    taken = [item for item in items if item.outcome != "left out"]
    lines = [line for item in items for line in _lines(item)]
    lines.append(f"{len(taken)} of {len(items)} taken." if args.apply else _closing(len(taken), len(items)))
    answer = {"origin": "OpenClaw", "workspace": str(place.workspace), "items": msgspec.to_builtins(items)}
    emit(answer | {"taken": len(taken), "left_out": len(items) - len(taken)}, args, text="\n".join(lines))
    return 0 if taken else 1


def _closing(taken: int, found: int) -> str:
    return f"{taken} of {found} would be taken; nothing is copied yet" + (
        ". --apply does it." if taken else "."
    )


def _lines(item: Item) -> list[str]:
    if item.outcome == "left out":
        return [f"left out  {item.name}", f"    because {item.reason}"]
    return [f"{item.outcome}  {item.name} → {item.to}", *(f"    {note}" for note in item.notes)]


def _find(folder: Path) -> Place:
    """The workspace in a folder.

    Raises:
        InvalidInput: it is no folder of OpenClaw's.
    """
    if not folder.is_dir():
        raise InvalidInput(f"{folder} is no folder", hint="name ~/.openclaw, or a workspace")
    known = [folder / "workspace", *_configured(folder), folder / "agents" / "main" / "workspace"]
    found = next((one for one in known if _is_workspace(one)), None)
    if found is None:
        if not _is_workspace(folder):
            raise InvalidInput(
                f"{folder}: there is no workspace of OpenClaw in it (no AGENTS.md, SOUL.md, MEMORY.md or skills)",
                hint="name ~/.openclaw or the workspace; jobs alone: 'tawny automations import FILE'",
            )
        return Place(workspace=folder)
    more = [*sorted(folder.glob("workspace-*")), *sorted(folder.glob("agents/*/workspace"))]
    others = [one for one in more if one != found and _is_workspace(one)]
    return Place(workspace=found, state=folder, others=tuple(others))


def _configured(folder: Path) -> list[Path]:
    """The workspaces that `openclaw.json` names (JSON with comments and bare keys: only these are looked for)."""
    try:
        text = (folder / "openclaw.json").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    named = re.findall(r"""\bworkspace["']?\s*:\s*["']([^"'\n]+)["']""", text)
    return [folder / Path(one).expanduser() for one in named]


def _is_workspace(folder: Path) -> bool:
    return any((folder / name).exists() for name in (*theirs.WORDS[:2], "MEMORY.md", "skills"))


class _Taker:
    """Goes through a place and takes, or with a preview says what it would take."""

    def __init__(self, place: Place, home: Home, *, apply: bool) -> None:
        self._place = place
        self._home = home
        self._apply = apply
        self._there = Root(place.workspace)
        self._names = {entry.name for entry in self._there.entries()}
        self._done = "taken" if apply else "would take"

    def words(self) -> Iterator[Item]:
        """AGENTS.md and what stands beside it, as one AGENTS.md."""
        texts: dict[str, str] = {}
        for name in (name for name in theirs.WORDS if name in self._names):
            text, reason = self._text(name)
            if not reason and not theirs.says_something(text):
                reason = "it says nothing (headings and comments at most)"
            if reason:
                yield Item(name=name, reason=reason)
            else:
                texts[name] = text
        if texts:
            notes = ["it speaks of OpenClaw's files and tools: read it through once"]
            if len(whole := theirs.joined(texts)) > theirs.TOLD:
                notes.append(
                    f"{len(whole):,} characters: a turn is shown the first and last of {theirs.TOLD:,}"
                )
            yield self._put(", ".join(texts), "AGENTS.md", whole, *notes)

    def memory(self) -> Iterator[Item]:
        """MEMORY.md and the notes of the days."""
        long_term = next((name for name in ("MEMORY.md", "memory.md") if name in self._names), None)
        if long_term is not None:
            yield self._copy(long_term, "MEMORY.md")
        if "memory" not in self._names:
            return
        try:
            entries = self._there.entries("memory")
        except TawnyError as error:
            yield Item(name="memory", reason=error.message)
            return
        for entry in entries:
            name = f"memory/{entry.name}"
            if entry.kind != "folder" and entry.name.endswith(".md"):
                yield self._copy(name, name)
            else:
                yield Item(name=name, reason="notes are the .md files directly in memory/")

    def heartbeat(self) -> Iterator[Item]:
        """HEARTBEAT.md."""
        if "HEARTBEAT.md" in self._names:
            yield self._copy("HEARTBEAT.md", "HEARTBEAT.md", _HEARTBEAT)

    def skills(self) -> Iterator[Item]:
        """The workspace's own skills, then those of all agents; the first of a name counts."""
        roots = [self._place.workspace / "skills", self._place.workspace / ".agents" / "skills"]
        if self._place.state is not None:
            roots.append(self._place.state / "skills")
        library = Library(self._home.root, self._home.workspace)
        seen: dict[str, Path] = {}
        for root in roots:
            for folder in _skills_in(root):
                yield self._skill(folder, library, seen)

    def rest(self) -> Iterator[Item]:
        """What is not taken, and why."""
        known = {*theirs.WORDS, "MEMORY.md", "memory.md", "memory", "HEARTBEAT.md", "skills", ".agents"}
        more = sorted(name for name in self._names - known if not name.startswith("."))
        for name in (name for name in more if name in theirs.NOT_TAKEN):
            yield Item(name=name, reason=theirs.NOT_TAKEN[name])
        if own := [name for name in more if name not in theirs.NOT_TAKEN]:
            shown = ", ".join(own[:_SHOWN]) + (f" and {len(own) - _SHOWN} more" if len(own) > _SHOWN else "")
            reason = f"the assistant is not told of them; copy to {self._home.workspace} what is needed there"
            yield Item(name=f"further files: {shown}", reason=reason)
        for folder in self._place.others:
            name = str(folder.relative_to(self._place.state or folder.parent))
            yield Item(name=name, reason=f"another agent's: 'tawny import {folder}' shows it")
        if (state := self._place.state) is None:
            return
        for name, reason in (
            ("cron/jobs.json", f"'tawny automations import {state / 'cron' / 'jobs.json'}' takes the jobs"),
            ("openclaw.json", "'tawny onboard' asks for a model; channels: docs/how-to/channels.md"),
            ("credentials", "keys and logins are never copied; give them anew: docs/how-to/secrets.md"),
            (".env", "keys and logins are never copied; give them anew: docs/how-to/secrets.md"),
            ("agents", "conversations are not carried on here; what was noted in memory is"),
        ):
            if (state / name).exists():
                yield Item(name=name, reason=reason)

    def _text(self, name: str) -> tuple[str, str]:
        """The text of a file there, or why there is none."""
        try:
            data = self._there.read(name, limit=_LONGEST + 1)
            if len(data) > _LONGEST:
                return "", f"it is longer than {_LONGEST // 1_000_000} MB"
            return data.decode("utf-8-sig"), ""
        except UnicodeDecodeError:
            return "", "it is no UTF-8"
        except TawnyError as error:
            return "", error.message

    def _copy(self, name: str, to: str, *notes: str) -> Item:
        text, reason = self._text(name)
        if not reason and not theirs.says_something(text):
            reason = "it says nothing (headings and comments at most)"
        return Item(name=name, reason=reason) if reason else self._put(name, to, text, *notes)

    def _put(self, name: str, to: str, text: str, *notes: str) -> Item:
        try:
            held = Root(self._home.workspace).read(to).decode("utf-8", errors="replace")
        except NotFound:
            held = None
        if held is not None:
            said = "it is there already" if held == text else f"there is another {to} already"
            return Item(name=name, reason=f"{said}; move {self._home.workspace / to} away to take this one")
        if self._apply:
            Root(self._home.workspace).write(to, text.encode())
        return Item(name=name, outcome=self._done, to=to, notes=notes)

    def _skill(self, folder: Path, library: Library, seen: dict[str, Path]) -> Item:
        shown = f"skill {folder.name}"
        try:
            skill = read_skill(folder)
            findings = scan(folder)
        except InvalidInput as error:
            return Item(name=shown, reason=error.message + (f" ({error.hint})" if error.hint else ""))
        except OSError as error:
            return Item(name=shown, reason=f"{error.filename}: {error.strerror}")
        shown = f"skill {skill.name}"
        if skill.name in seen:
            return Item(name=shown, reason=f"one of the name is in {seen[skill.name]} and goes before it")
        seen[skill.name] = folder
        to = f"skills/{skill.name}"
        if (self._home.workspace / to).exists():
            return Item(name=shown, reason="one of the name is there already")
        if findings:
            mend = f"look at it; 'tawny skills install --accept {folder}' takes it all the same"
            return Item(name=shown, reason=f"{'; '.join(findings)}: {mend}")
        if self._apply:
            library.install(folder)
        return Item(name=shown, outcome=self._done, to=to)


def _skills_in(root: Path) -> list[Path]:
    """Folders with a SKILL.md, up to six deep; nothing is looked for beneath one."""
    found: list[Path] = []
    for here, folders, files in os.walk(root, followlinks=True):
        folders.sort()
        if "SKILL.md" in files:
            found.append(Path(here).resolve())
            folders.clear()
        elif len(Path(here).relative_to(root).parts) >= _DEEPEST:
            folders.clear()
    return found
