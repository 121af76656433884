"""Which conversation a message belongs to, what it means while a turn runs, and which words are commands."""

import re
from collections.abc import Mapping, Sequence

import msgspec

from tawny.clock import parse_duration
from tawny.domain.messages import Inbound

MODES = ("steer", "followup", "collect", "interrupt")
DROPS = ("old", "new", "summarize")
MAIN = "main"
LOCAL = frozenset({"cli", "http", "panel", "web", "api", "chat"})
"""Channels of the owner's own, whose answers go nowhere but into the session."""


class Queueing(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What becomes of messages that come during a turn. `debounce` in µs; `cap` waiting messages at most."""

    mode: str = "steer"
    debounce: int = 500_000
    cap: int = 20
    drop: str = "old"


def session_key(
    inbound: Inbound, *, scope: str = MAIN, links: Mapping[str, Sequence[str]] | None = None, agent: str = ""
) -> str:
    """The session of a message: per group and thread, else by `scope` and who is speaking.

    `links` names persons: `{"ann": ["telegram:123", "email:ann@example.org"]}`.
    """
    own = f"agent:{agent}:" if agent else ""
    thread = f"#{inbound.thread}" if inbound.thread else ""
    if inbound.group:
        return f"{own}{inbound.channel}:group:{inbound.conversation}{thread}"
    if scope == MAIN or inbound.channel in LOCAL:
        return f"{own}{MAIN}{thread}"
    peer = f"{inbound.channel}:{inbound.sender}"
    person = next((name for name, known in (links or {}).items() if peer in known), None)
    if scope == "per-peer":
        return f"{own}peer:{person or peer}{thread}"
    return f"{own}{peer}{thread}"


def agent_of(key: str) -> str:
    """The agent a session's key names: `librarian` in `agent:librarian:main`; empty where it names none."""
    word, _, rest = key.partition(":")
    name, colon, _ = rest.partition(":")
    return name if word == "agent" and colon else ""


class Command(msgspec.Struct, frozen=True):
    """A slash command: its word, and what stands behind it."""

    name: str
    rest: str


COMMANDS = {
    "status": "what is going on here",
    "tasks": "the newest tasks",
    "cancel": "cancel a task: /cancel [which]",
    "pause": "pause a task: /pause [which]",
    "resume": "let a paused task go on: /resume [which]",
    "approve": "say yes: /approve [which] [always]",
    "deny": "say no: /deny [which] [why]",
    "new": "begin a new conversation",
    "compact": "summarise the older part of this conversation",
    "model": "show or set the model of this conversation: /model [NAME]",
    "queue": "what happens to messages during a turn: /queue [steer|followup|collect|interrupt]",
    "loop": "repeat: /loop EVERY WHAT",
    "help": "these commands",
}
_COMMAND = re.compile(r"^/([a-z]+)(?:@\w+)?(?:\s+(.*))?$", re.DOTALL | re.IGNORECASE)


def parse_command(text: str) -> Command | None:
    """The slash command in a message, `None` where it is none of ours."""
    match = _COMMAND.match(text.strip())
    if match is None or match.group(1).lower() not in COMMANDS:
        return None
    return Command(match.group(1).lower(), (match.group(2) or "").strip())


_TAP = re.compile(r"(approve|always|deny):(appr_\w+)|(cancel|pause|resume):(task_\w+)")


def parse_tap(action: str) -> Command | None:
    """The command a tapped button stands for: `approve:ID`, `always:ID`, `deny:ID`, `cancel:ID` and so on."""
    match = _TAP.fullmatch(action.strip())
    if match is None:
        return None
    word, approval, order, task = match.groups()
    if word == "always":
        return Command("approve", f"{approval} always")
    return Command(word, approval) if word else Command(order, task)


def parse_queueing(text: str, current: Queueing) -> Queueing:
    """`followup debounce:1s cap:10 drop:new` over what holds now.

    Raises:
        ValueError: names the word that is wrong.
    """
    changes: dict[str, str | int] = {}
    for word in text.split():
        key, colon, value = word.partition(":")
        if not colon and key in MODES:
            changes["mode"] = key
        elif key == "debounce" and value:
            changes["debounce"] = parse_duration(value)
        elif key == "cap" and value.isdigit() and 1 <= int(value) <= 500:
            changes["cap"] = int(value)
        elif key == "drop" and value in DROPS:
            changes["drop"] = value
        else:
            raise ValueError(
                f"{word!r} is none of {', '.join(MODES)}, debounce:TIME, cap:NUMBER, drop:{'|'.join(DROPS)}"
            )
    return msgspec.structs.replace(current, **changes)
