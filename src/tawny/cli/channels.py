"""`tawny channels`: where messages come and go, who is let in, what waits to be brought."""

import argparse
import asyncio
from typing import Any

from tawny import config as configuration
from tawny.cli import following, ledger, remote
from tawny.cli.arguments import rows
from tawny.cli.main import add_common
from tawny.cli.output import emit, local_time, table
from tawny.clock import SystemClock
from tawny.config import Config, Home
from tawny.delivery.opening import default_of
from tawny.domain.messages import Outgoing
from tawny.errors import NotFound, PermanentError, TawnyError
from tawny.ids import new_id
from tawny.ledger import channels, events, outbox
from tawny.ledger.database import Ledger, Tx

_OPEN = ("pending", "sending", "unknown", "failed")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION")

    def add(name: str, help: str) -> argparse.ArgumentParser:
        sub = actions.add_parser(name, help=help, description=help)
        add_common(sub)
        return sub

    add("list", "each channel's last contact, queue and errors")
    pair = add("pair", "let somebody in by the code they were given; without one, who has asked")
    pair.add_argument("code", metavar="CODE", nargs="?")
    unpair = add("unpair", "shut the door on somebody who was let in")
    unpair.add_argument("channel", metavar="NAME")
    unpair.add_argument("sender", metavar="ID")
    test = add("test", "send a real message and show its receipt")
    test.add_argument("name", metavar="NAME", help="a channel's name, or an address such as telegram:12345")
    queue = add("queue", "what is owed and has not arrived")
    queue.add_argument(
        "--status", action="append", help="pending sending delivered unknown failed suppressed expired"
    )
    queue.add_argument("--limit", type=rows, default=50)
    resend = add("resend", "send an unknown, failed or expired message again")
    resend.add_argument("delivery", metavar="DELIVERY")


def run(args: argparse.Namespace, home: Home) -> int:
    """Do what the subcommand says."""
    match args.action or "list":
        case "pair":
            return _pair(args, home)
        case "unpair":
            return _unpair(args, home)
        case "test":
            return _test(args, home)
        case "queue":
            return _queue(args, home)
        case "resend":
            fresh = ledger.write(home, lambda tx: outbox.resend(tx, args.delivery))
            emit({"delivery_id": fresh}, args, text=f"{fresh} is on its way")
            return 0
        case _:
            return _list(args, home)


def _list(args: argparse.Namespace, home: Home) -> int:
    config = configuration.load(home)
    configured = _configured(config)
    default = default_of(config.channels, config.delivery.default)
    states = {
        state.name: state
        for state in ledger.read(home, lambda tx: channels.states(tx, configured=configured, default=default))
    }
    found = [states[name] for name, _ in configured]
    rows = [
        (
            state.name,
            state.kind,
            "off" if state.disabled else "up" if state.last_sent_at or state.last_received_at else "idle",
            local_time(state.last_sent_at),
            local_time(state.last_received_at),
            state.queued,
            state.errors,
            state.disabled or state.last_error,
        )
        for state in found
    ]
    headers = ("name", "kind", "state", "last sent", "last heard", "queue", "errors", "trouble")
    text = table(headers, rows) if rows else "no channels; add one under [[channels.…]] in config.toml"
    emit({"items": [state.document() for state in found], "next_cursor": None}, args, text=text)
    return 0


def _configured(config: Config) -> list[tuple[str, str]]:
    """Name and kind of every table, without opening anything."""
    return [
        (str(table.get("name") or (kind if index == 1 else f"{kind}-{index}")), kind)
        for kind, tables in config.channels.items()
        for index, table in enumerate(tables, start=1)
    ]


def _pair(args: argparse.Namespace, home: Home) -> int:
    if args.code is None:
        waiting = ledger.read(home, channels.waiting_to_pair)
        rows = [
            (entry["channel"], entry["sender"], entry["sender_name"], entry["expires_at"])
            for entry in waiting
        ]
        text = table(("channel", "id", "calls itself", "until"), rows) if rows else "nobody has asked"
        emit({"items": waiting, "next_cursor": None}, args, text=text)
        return 0
    paired = ledger.write(home, lambda tx: channels.pair(tx, args.code))
    document = {"channel": paired.channel, "sender": paired.sender, "sender_name": paired.sender_name}
    emit(
        document,
        args,
        text=f"{paired.sender_name or paired.sender} ({paired.channel}:{paired.sender}) may speak now",
    )
    return 0


def _unpair(args: argparse.Namespace, home: Home) -> int:
    if not ledger.write(home, lambda tx: channels.unpair(tx, args.channel, args.sender)):
        raise NotFound(
            f"{args.channel}:{args.sender} is not paired", hint="'allow' in config.toml is another list"
        )
    emit({"channel": args.channel, "sender": args.sender}, args, text=f"{args.sender} may speak no more")
    return 0


def _queue(args: argparse.Namespace, home: Home) -> int:
    wanted = tuple(args.status) if args.status else _OPEN
    lines = ledger.read(home, lambda tx: outbox.page(tx, statuses=wanted, limit=args.limit))
    rows = [
        (line.delivery_id, line.target, line.status, line.attempts, local_time(line.created_at), line.error)
        for line in lines
    ]
    text = table(("delivery", "target", "status", "tries", "since", "why"), rows) if rows else "nothing waits"
    emit({"items": [line.document() for line in lines], "next_cursor": None}, args, text=text)
    return 0


def _test(args: argparse.Namespace, home: Home) -> int:
    message = Outgoing(
        key="",
        title="Test",
        text="This is a test from Tawny. If you can read it, this channel works.",
        severity="high",
    )
    if remote.find(home) is None:
        document = asyncio.run(_send_here(home, args.name, message))
    else:
        document = _send_there(home, args.name, message)
    arrived = document["status"] == "delivered"
    receipt = ", ".join(document["receipt"])
    text = f"delivered to {args.name}: {receipt}" if arrived else f"{document['status']}: {document['error']}"
    emit(document, args, text=text)
    return 0 if arrived else 1


def _send_there(home: Home, target: str, message: Outgoing) -> dict[str, Any]:
    """Through the running gateway's own delivery, and that of one which follows it; what the log tells of it."""

    def put(tx: Tx) -> str:
        made = outbox.put(
            tx, task_id=None, transition="test", target=target, message=message, severity="high"
        )
        assert made is not None, "a message without a task is always put"
        return made

    after = ledger.read(home, events.last_seq)
    delivery_id = ledger.write(home, put)
    for event in following.events_of(home, after):
        if event["data"].get("delivery_id") == delivery_id and _says_how_it_went(event):
            break
    return ledger.read(home, lambda tx: outbox.get(tx, delivery_id)).document()


def _says_how_it_went(event: dict[str, Any]) -> bool:
    """Whether an event of a delivery is its end, or a wait; what a gateway's end interrupts, the next tries at once."""
    if event["type"] == "delivery.retry_scheduled":
        return event["data"]["at"] > event["time"]
    return event["type"].startswith("delivery.")


async def _send_here(home: Home, target: str, message: Outgoing) -> dict[str, Any]:
    """Straight through the channel, as the gateway is not running."""
    from tawny.app import open_roster  # noqa: PLC0415 - the composition root is heavy; only this command needs it
    from tawny.delivery.channel import AmbiguousSend  # noqa: PLC0415
    from tawny.delivery.compose import compose  # noqa: PLC0415

    clock = SystemClock()
    config = configuration.load(home)
    key = new_id("dlv", clock.now())
    ids: list[str] = []
    status, error = "delivered", None
    async with Ledger(ledger.store_of(home), clock) as book:
        roster = open_roster(home, config, clock, book)
        try:
            route = roster.route(target)
            for piece in compose(Outgoing(key=key, text=message.text, title=message.title), route):
                ids += (await route.channel.send(piece)).ids
        except AmbiguousSend as doubt:
            status, error = "unknown", str(doubt)
        except (PermanentError, TawnyError) as failure:
            hint = f" ({failure.hint})" if failure.hint else ""
            status, error = "failed", failure.message + hint
        finally:
            for channel in roster.channels.values():
                await channel.close()
    return {"delivery_id": key, "target": target, "status": status, "error": error, "receipt": ids}
