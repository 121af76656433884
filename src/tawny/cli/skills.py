"""`tawny skills`: what the assistant has learnt to do."""

import argparse
from pathlib import Path
from typing import Any

import msgspec

from tawny.cli.main import add_common
from tawny.cli.output import emit, table
from tawny.config import Home
from tawny.skills.grants import Grant, Grants
from tawny.skills.library import Library, Shelved
from tawny.skills.skill import Permissions


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
    install.add_argument("--grant", action="store_true", help="grant the programs and hosts it asks for, too")
    grant = actions.add_parser(
        "grant", help="let a skill run programs and reach hosts: all it asks for, or these"
    )
    add_common(grant)
    grant.add_argument("name", metavar="NAME")
    grant.add_argument(
        "--exec", action="append", default=[], metavar="PROGRAM", help="a program, or a file of its"
    )
    grant.add_argument(
        "--network", action="append", default=[], metavar="HOST", help="a host, as in [network] allow"
    )
    revoke = actions.add_parser("revoke", help="take back what a skill was granted")
    add_common(revoke)
    revoke.add_argument("name", metavar="NAME")


def run(args: argparse.Namespace, home: Home) -> int:
    """List exits 1 where a skill is refused."""
    home.prepare()
    library = Library(home.root, home.workspace)
    grants = Grants(home.root, home.workspace, library)
    if args.action == "grant":
        granted = grants.grant(args.name, network=args.network, exec=args.exec)
        emit(_document(library.get(args.name), grants), args, text=f"{args.name} may {_rights(granted)}.")
        return 0
    if args.action == "revoke":
        had = grants.revoke(args.name)
        text = f"{args.name} may do nothing any more." if had else f"{args.name} had been granted nothing."
        emit(_document(library.get(args.name), grants), args, text=text)
        return 0
    if args.action == "show":
        shelved = library.get(args.name)
        text = shelved.skill.instructions if shelved.skill else shelved.reason
        held = grants.of(shelved.skill) if shelved.skill else None
        asks = f"asks to {_rights(shelved.skill.permissions)}; " if shelved.skill else ""
        emit(
            _document(shelved, grants),
            args,
            text=f"{shelved.name} ({shelved.status}): {shelved.description}\n"
            f"{asks}may {_rights(held)}\n\n{text}",
        )
        return 0 if shelved.skill else 1
    if args.action == "install":
        skill = library.install(Path(args.folder).expanduser().resolve(), accept=args.accept)
        held = None
        if args.grant and skill.permissions != Permissions():
            held = grants.grant(skill.name)
        hint = (
            ""
            if held or skill.permissions == Permissions()
            else f" 'tawny skills grant {skill.name}' lets it."
        )
        emit(
            _document(library.get(skill.name), grants),
            args,
            text=f"{skill.name} is installed; it asks to {_rights(skill.permissions)}, and may {_rights(held)}.{hint}",
        )
        return 0
    shelved_all = library.all()
    rows = [(one.name, one.status, one.reason or one.description) for one in shelved_all]
    emit(
        {"items": [_document(one, grants) for one in shelved_all]},
        args,
        text=table(["skill", "status", "what"], rows, none="No skills yet."),
    )
    return 1 if any(one.status == "refused" for one in shelved_all) else 0


def _rights(rights: Permissions | Grant | None) -> str:
    """In words: `run python3; reach api.example.org`."""
    if rights is None:
        return "do nothing"
    parts = [f"run {', '.join(rights.exec)}" if rights.exec else ""]
    parts.append(f"reach {', '.join(rights.network)}" if rights.network else "")
    return "; ".join(part for part in parts if part) or "do nothing"


def _document(shelved: Shelved, grants: Grants) -> dict[str, Any]:
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
        held = grants.of(shelved.skill)
        document["granted"] = None if held is None else {"network": held.network, "exec": held.exec}
    return document
