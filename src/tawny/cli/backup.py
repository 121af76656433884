"""`tawny backup take | restore | show`: copies of the home's record."""

import argparse
from pathlib import Path

from tawny import config as configuration
from tawny.cli.main import add_common
from tawny.cli.output import emit
from tawny.clock import SystemClock, iso
from tawny.config import Home
from tawny.errors import InvalidInput
from tawny.ledger import backup
from tawny.ledger.homelock import HomeLock


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands; without one, a copy is taken."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    take = actions.add_parser("take", help="write a copy; also while the gateway runs")
    take.add_argument("file", nargs="?", type=Path)
    add_common(take)
    restore = actions.add_parser("restore", help="put a copy back; the gateway must be stopped")
    restore.add_argument("file", type=Path)
    add_common(restore)
    show = actions.add_parser("show", help="what a copy holds")
    show.add_argument("file", type=Path)
    add_common(show)


def _left_out(names: list[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"; left out, as they lead out of the home or are no files: {', '.join(names[:3])}{more}"


def run(args: argparse.Namespace, home: Home) -> int:
    """Do what the subcommand says."""
    if configuration.load(home).ledger.url:
        raise InvalidInput(
            "[ledger] url names a PostgreSQL database", hint="copy it with pg_dump, restore with psql"
        )
    if args.action == "restore":
        home.prepare()
        lock = HomeLock(home)
        lock.acquire()
        try:
            done = backup.restore(home, args.file)
        finally:
            lock.release()
        aside = home.root / "before-restore"
        emit(
            {"restored": done.put, "left_out": done.left_out, "aside": str(aside)},
            args,
            text=f"restored {', '.join(done.put)}; what was there is in {aside}" + _left_out(done.left_out),
        )
        return 0
    if args.action == "show":
        rows = backup.describe(args.file)
        emit(rows, args, text=", ".join(f"{count} {name}" for name, count in rows.items()))
        return 0
    stamp = iso(SystemClock().now())[:19].replace(":", "").replace("-", "")
    target = getattr(args, "file", None) or Path(f"tawny-{stamp}.tar.gz")
    written = backup.take(home, target.absolute())
    rows = backup.describe(written)
    text = f"{written}  ({', '.join(f'{count} {name}' for name, count in rows.items())})"
    emit({"file": str(written), **rows}, args, text=text)
    return 0
