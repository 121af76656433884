"""`tawny logs`: the runtime's own log."""

import argparse
import contextlib
from pathlib import Path

import msgspec

from tawny.cli.arguments import whole
from tawny.config import Home
from tawny.errors import NotFound


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--follow", action="store_true", help="go on as lines come")
    parser.add_argument("-n", "--lines", type=whole(0), default=50)


def run(args: argparse.Namespace, home: Home) -> int:
    """Print the newest lines, and what comes where asked."""
    path = home.logs / "tawny.jsonl"
    if not path.exists():
        raise NotFound(f"there is no log at {path}", hint="'tawny gateway run' writes it")
    for raw in path.read_text(encoding="utf-8").splitlines()[-args.lines :]:
        _show(raw, json=args.json)
    if args.follow:
        with contextlib.suppress(KeyboardInterrupt):
            _follow(path, json=args.json)
    return 0


def _follow(path: Path, *, json: bool) -> None:
    from watchfiles import watch  # noqa: PLC0415 - only `--follow` needs it

    with path.open(encoding="utf-8") as file:
        file.seek(0, 2)
        for _ in watch(path):
            for raw in file:
                _show(raw.rstrip("\n"), json=json)


def _show(raw: str, *, json: bool) -> None:
    if json:
        print(raw)
        return
    entry = msgspec.json.decode(raw)
    facts = " ".join(
        f"{name}={value}"
        for name, value in entry.items()
        if name not in ("time", "level", "logger", "event", "traceback")
    )
    print(f"{entry['time']} {entry['level']:<7} {entry['logger']}: {entry['event']} {facts}".rstrip())
