"""`tawny inbox`: messages kept for you, also where no channel is set up."""

import argparse

from tawny.cli import ledger
from tawny.cli.arguments import rows
from tawny.cli.output import emit, local_time, table
from tawny.clock import iso
from tawny.config import Home
from tawny.ledger import outbox


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--limit", type=rows, default=20)
    parser.add_argument("--full", action="store_true", help="whole messages")


def run(args: argparse.Namespace, home: Home) -> int:
    """Print what lies in the inbox, newest first."""
    lines = ledger.read(home, lambda tx: outbox.page(tx, target="inbox", limit=args.limit))
    items = [
        {
            "delivery_id": line.delivery_id,
            "task_id": line.task_id,
            "time": iso(line.created_at),
            "severity": line.severity,
            "title": line.message.title,
            "text": line.message.text,
        }
        for line in lines
    ]
    if args.full:
        parts = [
            f"── {local_time(line.created_at)}  {line.message.title}\n{line.message.text}" for line in lines
        ]
        text = "\n\n".join(parts)
    else:
        rows = [(local_time(line.created_at), line.severity, line.message.text[:90]) for line in lines]
        text = table(["time", "severity", "message"], rows) if rows else ""
    emit({"items": items, "next_cursor": None}, args, text=text or "Nothing in the inbox.")
    return 0
