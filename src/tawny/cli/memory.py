"""`tawny memory`: search what is remembered, and add to it."""

import argparse
from zoneinfo import ZoneInfo

from tawny import config
from tawny.cli.arguments import rows
from tawny.cli.main import add_common
from tawny.cli.output import emit
from tawny.clock import SystemClock, to_datetime
from tawny.config import Home, owner_zone
from tawny.errors import InvalidInput
from tawny.tools.catalog import notes_of


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    search = actions.add_parser("search", help="find notes by their words")
    add_common(search)
    search.add_argument("text", nargs="+", metavar="TEXT")
    search.add_argument("--limit", type=rows, default=10)
    save = actions.add_parser("save", help="keep a note")
    add_common(save)
    save.add_argument("text", nargs="+", metavar="TEXT")


def run(args: argparse.Namespace, home: Home) -> int:
    """Search exits 1 where nothing is found."""
    home.prepare()
    notes = notes_of(home)
    text = " ".join(getattr(args, "text", []))
    if args.action == "search":
        found = notes.search(text, limit=args.limit)
        lines = [f"{one.file}:{one.line}: {one.text}" for one in found]
        items = [{"file": one.file, "line": one.line, "text": one.text, "score": one.score} for one in found]
        emit({"items": items}, args, text="\n".join(lines) or "Nothing is found.")
        return 0 if found else 1
    if args.action == "save":
        now = to_datetime(SystemClock().now(), ZoneInfo(owner_zone(config.load(home))))
        path = notes.save(text, day=now.strftime("%Y-%m-%d"), time=now.strftime("%H:%M"), source="by hand")
        emit({"saved": path}, args, text=f"kept in {path}")
        return 0
    raise InvalidInput("memory: say what to do", hint="tawny memory search TEXT, or tawny memory save TEXT")
