"""`tawny skills`: what the assistant has learnt to do."""

import argparse
from pathlib import Path
from typing import Any

import msgspec

from tawny.cli.main import add_common
from tawny.cli.output import emit, table
from tawny.config import Home
from tawny.skills.library import Library, Shelved


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    add_common(actions.add_parser("list", help="all skills, the refused ones with the reason"))
    show = actions.add_parser("show", help="a skill's instructions and permissions")
    add_common(show)
    show.add_argument("name", metavar="NAME")
    install = actions.add_parser("install", help="copy a skill's folder in and pin its hash")
    add_common(install)
    install.add_argument("folder", metavar="FOLDER")
    install.add_argument("--accept", action="store_true", help="also when the scan found something")


def run(args: argparse.Namespace, home: Home) -> int:
    """List exits 1 where a skill is refused."""
    home.prepare()
    library = Library(home.root, home.workspace)
    if args.action == "show":
        shelved = library.get(args.name)
        text = shelved.skill.instructions if shelved.skill else shelved.reason
        emit(
            _document(shelved),
            args,
            text=f"{shelved.name} ({shelved.status}): {shelved.description}\n\n{text}",
        )
        return 0 if shelved.skill else 1
    if args.action == "install":
        skill = library.install(Path(args.folder).expanduser().resolve(), accept=args.accept)
        wanted = msgspec.to_builtins(skill.permissions)
        emit(
            _document(library.get(skill.name)), args, text=f"{skill.name} is installed; it asks for {wanted}."
        )
        return 0
    shelved_all = library.all()
    rows = [(one.name, one.status, one.reason or one.description) for one in shelved_all]
    emit(
        {"items": [_document(one) for one in shelved_all]},
        args,
        text=table(["skill", "status", "what"], rows),
    )
    return 1 if any(one.status == "refused" for one in shelved_all) else 0


def _document(shelved: Shelved) -> dict[str, Any]:
    document: dict[str, Any] = {
        "name": shelved.name,
        "status": shelved.status,
        "description": shelved.description,
        "path": shelved.folder,
        "enabled": shelved.skill is not None,
        "reason": shelved.reason or None,
    }
    if shelved.skill is not None:
        document["permissions"] = msgspec.to_builtins(shelved.skill.permissions)
        document["digest"] = shelved.skill.digest
    return document
