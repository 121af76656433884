"""`tawny audit`: who did what, with what outcome; export it, and prove that nobody has changed it."""

import argparse
import csv
import io
import sys

import msgspec

from tawny.cli import ledger
from tawny.cli.arguments import rows
from tawny.cli.main import add_common
from tawny.cli.output import emit, line, local_time, table
from tawny.clock import Instant, SystemClock, parse_duration, parse_time
from tawny.config import Home
from tawny.domain.display import visible
from tawny.errors import InvalidInput
from tawny.ledger import audit
from tawny.ledger.audit import AuditRow, Filter
from tawny.ledger.database import Tx

_COLUMNS = ("seq", "time", "actor", "action", "task_id", "detail", "usage", "decision", "hash", "previous")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    for name, help in {
        "list": "newest first",
        "export": "every row, oldest first; the head's hash goes to stderr",
        "verify": "look over the whole chain; exits 1 at the first broken link",
    }.items():
        sub = actions.add_parser(name, help=help, description=help)
        add_common(sub)
        if name == "verify":
            sub.add_argument("--head", metavar="HASH", help="a head printed before: find a cut-off end")
            continue
        sub.add_argument("--task", metavar="ID")
        sub.add_argument("--actor")
        sub.add_argument("--what", metavar="ACTION", help="such as tool.call or approval.answer")
        sub.add_argument("--after", metavar="TIME", help="a time, or how long ago: 2h")
        sub.add_argument("--before", metavar="TIME")
        if name == "list":
            sub.add_argument("--limit", type=rows, default=50)
            sub.add_argument("--cursor")
        else:
            sub.add_argument("--format", choices=["jsonl", "csv"], default="jsonl")


def run(args: argparse.Namespace, home: Home) -> int:
    """Do what the subcommand says."""
    action = args.action or "list"
    if action == "verify":
        return _verify(args, home)
    return _export(args, home) if action == "export" else _list(args, home)


def _list(args: argparse.Namespace, home: Home) -> int:
    rows, cursor = ledger.read(
        home,
        lambda tx: audit.page(
            tx,
            _filter(args),
            limit=max(1, min(500, getattr(args, "limit", 50))),
            cursor=getattr(args, "cursor", None),
        ),
    )
    text = table(
        ["seq", "time", "actor", "action", "decision", "task", "detail"],
        [
            (
                row.seq,
                local_time(row.time),
                visible(row.actor),
                row.action,
                row.decision or "",
                row.task_id or "",
                visible(_short(row), keep_lines=False),
            )
            for row in rows
        ],
        none="Nothing is recorded.",
    )
    emit({"items": [row.document() for row in rows], "next_cursor": cursor}, args, text=text)
    return 0


def _short(row: AuditRow) -> str:
    return " ".join(f"{key}={value}" for key, value in row.detail.items() if value not in (None, "", []))[
        :120
    ]


def _export(args: argparse.Namespace, home: Home) -> int:
    def write(tx: Tx) -> str:
        rows = audit.export(tx, _filter(args))
        if args.format == "csv":
            print(",".join(_COLUMNS))
        for row in rows:
            if args.format == "csv":
                print(_csv(row), end="")
            else:
                line(row.document())
        return audit.head(tx)

    print(f"head {ledger.read(home, write)}", file=sys.stderr)
    return 0


def _csv(row: AuditRow) -> str:
    out = io.StringIO()
    document = row.document()
    cells = [document[name] for name in _COLUMNS]
    csv.writer(out, lineterminator="\n").writerow([_cell(value) for value in cells])
    return out.getvalue()


def _cell(value: object) -> str:
    text = "" if value is None else value if isinstance(value, str) else msgspec.json.encode(value).decode()
    # A spreadsheet would take these for a formula.
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _verify(args: argparse.Namespace, home: Home) -> int:
    found = ledger.read(home, lambda tx: audit.verify(tx, known_head=args.head))
    if found.ok:
        text = f"{found.rows} rows, no link broken\nhead {found.head}"
    else:
        text = f"broken at row {found.broken_at}: {found.problem}\n{found.rows} rows before it are whole"
    emit(msgspec.structs.asdict(found), args, text=text)
    return 0 if found.ok else 1


def _filter(args: argparse.Namespace) -> Filter:
    return Filter(
        action=getattr(args, "what", None),
        actor=getattr(args, "actor", None),
        task_id=getattr(args, "task", None),
        after=_moment(getattr(args, "after", None)),
        before=_moment(getattr(args, "before", None)),
    )


def _moment(text: str | None) -> Instant | None:
    if text is None:
        return None
    now = SystemClock().now()
    try:
        return now - parse_duration(text)
    except ValueError:
        pass
    try:
        return parse_time(text, now=now)
    except ValueError as error:
        raise InvalidInput(str(error)) from error
