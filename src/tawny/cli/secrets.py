"""`tawny secrets`: what stands in secrets.age, for machines without a keyring. Values are never printed."""

import argparse
import sys

from tawny.cli.main import add_common
from tawny.cli.output import emit
from tawny.config import Home
from tawny.errors import InvalidInput, NotFound
from tawny.secrets import Strongbox


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    for name, help in {
        "list": "the names in secrets.age",
        "set": "put one in; its value is read from standard input",
        "remove": "take one out",
    }.items():
        sub = actions.add_parser(name, help=help, description=help)
        add_common(sub)
        if name != "list":
            sub.add_argument("name", metavar="NAME")


def run(args: argparse.Namespace, home: Home) -> int:
    """Do what the subcommand says."""
    box = Strongbox(home)
    kept = box.read()
    match args.action or "list":
        case "set":
            value = _value()
            home.prepare()
            box.write({**kept, args.name: value})
            emit({"name": args.name}, args, text=f"kept; use it as age:{args.name}")
        case "remove":
            if args.name not in kept:
                raise NotFound(f"secrets.age has no {args.name}", hint="see them with 'tawny secrets list'")
            box.write({name: value for name, value in kept.items() if name != args.name})
            emit({"name": args.name}, args, text=f"{args.name} is out")
        case _:
            items = [{"name": name, "reference": f"age:{name}"} for name in sorted(kept)]
            text = "\n".join(item["reference"] for item in items) or "nothing in secrets.age"
            emit({"items": items, "next_cursor": None}, args, text=text)
    return 0


def _value() -> str:
    if sys.stdin.isatty():
        import getpass  # noqa: PLC0415 - a terminal is the rare case

        value = getpass.getpass("value: ")
    else:
        value = sys.stdin.read().rstrip("\n")
    if not value:
        raise InvalidInput("the value is empty", hint="pipe it in: printf %s VALUE | tawny secrets set NAME")
    return value
