"""`tawny chat`: one message, or a conversation at the terminal."""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from tawny import config
from tawny.cli import remote
from tawny.cli.complaint import complain
from tawny.cli.output import emit
from tawny.config import Home
from tawny.errors import Conflict, TemporaryError

_WAIT = 3600.0
Say = Callable[[str], Awaitable[dict[str, Any]]]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "message", nargs="*", metavar="MESSAGE", help="what to say; without it, a conversation"
    )
    parser.add_argument("--session", default="main", metavar="KEY", help="the conversation (main)")


def run(args: argparse.Namespace, home: Home) -> int:
    """Through the gateway where one runs, else on the home itself."""
    gateway = remote.find(home)
    if gateway is not None and not args.message and not args.json and sys.stdin.isatty():
        from tawny.cli.conversation import Conversation  # noqa: PLC0415 - readline changes the terminal

        return Conversation(gateway, args.session).run()
    if gateway is not None:
        connected = gateway

        async def say(text: str) -> dict[str, Any]:
            return await asyncio.to_thread(connected.say, args.session, text, wait=True)

        return asyncio.run(_talk(args, say))
    return asyncio.run(_on_the_home(args, home))


async def _on_the_home(args: argparse.Namespace, home: Home) -> int:
    from tawny.app import open_app  # noqa: PLC0415 - where a gateway runs, it is all there already

    try:
        async with open_app(home, config.load(home)) as app:

            async def say(text: str) -> dict[str, Any]:
                reply = await app.agency.inbox.say(
                    args.session, text, event_id=remote.message_id(), source="cli", wait=_WAIT
                )
                return msgspec.to_builtins(reply)

            return await _talk(args, say)
    except Conflict as conflict:
        complain(conflict.message, conflict.hint)
        return 1


async def _talk(args: argparse.Namespace, say: Say) -> int:
    if args.message:
        reply = await say(" ".join(args.message))
        emit(reply, args, text=str(reply.get("text", "")).strip())
        return 1 if reply.get("status") in ("failed", "timed_out", "lost") else 0
    return await _converse(args, say)


async def _converse(args: argparse.Namespace, say: Say) -> int:
    """Line by line until the end of input; /help shows the commands."""
    is_terminal = sys.stdin.isatty()
    if is_terminal and not args.json:
        print(f"Session {args.session}. /help for commands, Ctrl-D to leave.")
    while True:
        line = await asyncio.to_thread(_read_line, "> " if is_terminal else "")
        if line is None:
            return 0
        if not line.strip():
            continue
        try:
            reply = await say(line)
        except TemporaryError as error:
            complain(error.message, error.hint)
            continue
        emit(reply, args, text=str(reply.get("text", "")).strip())


def _read_line(prompt: str) -> str | None:
    try:
        return input(prompt)
    except EOFError:
        return None
