"""`tawny sessions`: conversations, what was said, and what the model is told."""

import argparse
from typing import Any
from zoneinfo import ZoneInfo

from tawny import config
from tawny.cli import ledger
from tawny.cli.arguments import amount, rows, whole
from tawny.cli.main import add_common
from tawny.cli.output import emit, local_time, table
from tawny.config import Home, owner_zone
from tawny.domain.budgets import Use, window
from tawny.domain.outline import outline
from tawny.errors import InvalidInput
from tawny.ledger import budgets, sessions
from tawny.ledger.database import Tx

_RECENT = 3


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION")

    def add(name: str, help: str) -> argparse.ArgumentParser:
        sub = actions.add_parser(name, help=help, description=help)
        add_common(sub)
        return sub

    listing = add("list", "the newest talk first")
    listing.add_argument("--limit", type=rows, default=50)
    listing.add_argument("--cursor")
    show = add("show", "what was said; --context: what the model is told, and how long it is")
    show.add_argument("session", metavar="KEY")
    show.add_argument("--context", action="store_true")
    show.add_argument("--limit", type=rows, default=50)
    add("reset", "begin a new conversation; the transcript stays").add_argument("session", metavar="KEY")
    add("compact", "sum up all but the last exchanges; nothing is deleted").add_argument(
        "session", metavar="KEY"
    )
    add("budgets", "what sessions, tasks and days have used")
    more = add("raise", "raise a budget; what waits for it goes on")
    more.add_argument("scope", metavar="SCOPE", help="as 'budgets' lists it, such as session:main")
    more.add_argument("--tokens", type=whole(), default=0)
    more.add_argument("--cost", type=amount, default=0.0, help="US dollars")
    more.add_argument("--model-calls", dest="model_calls", type=whole(), default=0)
    more.add_argument("--tool-calls", dest="tool_calls", type=whole(), default=0)
    more.add_argument("--seconds", type=amount, default=0.0, help="of work")


def run(args: argparse.Namespace, home: Home) -> int:
    """Do what the subcommand says."""
    actions = {
        "list": _list,
        "show": _show,
        "reset": _reset,
        "compact": _compact,
        "budgets": _budgets,
        "raise": _raise,
    }
    action = actions.get(args.action or "list")
    if action is None:
        raise InvalidInput(
            f"{args.action!r} is no action", hint="one of list, show, reset, compact, budgets, raise"
        )
    if args.action is None:
        args.limit, args.cursor = 50, None
    return action(args, home)


def _list(args: argparse.Namespace, home: Home) -> int:
    page = ledger.read(home, lambda tx: sessions.page(tx, limit=args.limit, cursor=args.cursor))
    rows = [
        (one.session, one.entries, local_time(one.updated_at), one.channel or "-", one.title)
        for one in page.items
    ]
    document = {"items": [one.document() for one in page.items], "next_cursor": page.next_cursor}
    emit(
        document,
        args,
        text=table(["session", "messages", "last", "channel", "title"], rows, none="No conversations yet."),
    )
    return 0


def _show(args: argparse.Namespace, home: Home) -> int:
    if args.context:
        return _context(args, home)

    def look(tx: Tx) -> tuple[sessions.Session, list[sessions.Entry]]:
        return sessions.get(tx, args.session), sessions.entries(
            tx, args.session, limit=args.limit, newest=True
        )

    session, entries = ledger.read(home, look)
    lines = [f"{local_time(entry.time)}  {entry.role:9}  {entry.text}" for entry in entries]
    document = {**session.document(), "items": [entry.document() for entry in entries]}
    emit(document, args, text="\n".join(lines))
    return 0


def _context(args: argparse.Namespace, home: Home) -> int:
    settings = config.load(home)
    from tawny.agent.context import context_of  # noqa: PLC0415 - it reads the skills; lists have no use for that

    pieces, entries = ledger.read(home, lambda tx: context_of(tx, home, settings, args.session))
    rows: list[tuple[str, int]] = [(piece.name, piece.size) for piece in pieces]
    rows.append((f"{len(entries)} messages", sum(len(entry.text.encode()) for entry in entries)))
    rows.append(("in all", sum(size for _, size in rows)))
    document: dict[str, Any] = {
        "session": args.session,
        "timezone": owner_zone(settings),
        "pieces": [{"name": piece.name, "bytes": piece.size, "text": piece.text} for piece in pieces],
        "messages": {"count": len(entries), "bytes": rows[-2][1]},
    }
    emit(document, args, text=table(["part", "bytes"], rows))
    return 0


def _reset(args: argparse.Namespace, home: Home) -> int:
    session = ledger.write(home, lambda tx: sessions.reset(tx, args.session))
    emit(session.document(), args, text=f"{session.session}: a new conversation begins.")
    return 0


def _compact(args: argparse.Namespace, home: Home) -> int:
    def sum_up(tx: Tx) -> sessions.Session:
        session = sessions.get(tx, args.session)
        kept = sessions.entries(tx, args.session, after=session.starts_after)
        starts = [entry.n for entry in kept if entry.role == "user"]
        if len(starts) <= _RECENT:
            return session
        upto = starts[-_RECENT] - 1
        old = [(entry.role, entry.text) for entry in kept if entry.n <= upto]
        return sessions.compact(tx, args.session, upto=upto, summary=outline(old, before=session.summary))

    session = ledger.write(home, sum_up)
    emit(session.document(), args, text=f"{session.session}: summed up to message {session.starts_after}.")
    return 0


def _budgets(args: argparse.Namespace, home: Home) -> int:
    accounts = ledger.read(home, budgets.recent)
    rows = [
        (one.scope, one.used.tokens, f"{one.used.micro_usd / 1_000_000:.4f}", one.used.model_calls)
        for one in accounts
    ]
    emit(
        {"items": [one.document() for one in accounts]},
        args,
        text=table(["scope", "tokens", "US dollars", "model calls"], rows, none="Nothing is counted yet."),
    )
    return 0


def _raise(args: argparse.Namespace, home: Home) -> int:
    more = Use(
        tokens=args.tokens,
        micro_usd=int(args.cost * 1_000_000),
        model_calls=args.model_calls,
        tool_calls=args.tool_calls,
        milliseconds=int(args.seconds * 1000),
    )
    if more == Use():
        raise InvalidInput(
            "raise: by how much?", hint="--tokens, --cost, --model-calls, --tool-calls or --seconds"
        )
    zone = ZoneInfo(owner_zone(config.load(home)))

    def grant(tx: Tx) -> budgets.Account:
        return budgets.grant(tx, args.scope, more, by="owner", since=window(args.scope, tx.now, zone).start)

    account = ledger.write(home, grant)
    emit(account.document(), args, text=f"{args.scope} is raised; what waited for it goes on.")
    return 0
