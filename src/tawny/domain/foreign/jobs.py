"""What every import of another scheduler's jobs shares: the finding, and reading what strangers wrote."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

import msgspec

from tawny.domain import holes

Document = dict[str, Any]

PROVIDERS = ("openai", "anthropic", "google", "ollama")
TOOLS = {
    "exec": "exec", "bash": "exec", "shell": "exec", "process": "process",
    "read": "read_file", "read_file": "read_file", "write": "write_file", "edit": "write_file",
    "write_file": "write_file", "web_fetch": "web_fetch", "web_search": "web_search",
    "message": "send_message", "memory_search": "memory_search", "cron": "automations",
    "automations": "automations", "sessions_spawn": "spawn",
}  # fmt: skip
"""Tools of the same purpose, by the name they have elsewhere."""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One job found: our `document` for it, or why there is none (`problem`).

    `changes` say in sentences what is different here; `holds` says why it comes in paused.
    """

    name: str
    document: Document | None = None
    changes: tuple[str, ...] = ()
    holds: str = ""
    problem: str = ""


class Unlike(Exception):
    """This job has no counterpart here; the text says why."""


def text(value: Any) -> str:
    """A text, without the white space around it; empty for anything else."""
    return value.strip() if isinstance(value, str) else ""


def words(value: str) -> str:
    """A text for an action's parameters: its braces mean nothing, as they did there."""
    return str(holes.literal(value))


def table(value: Any) -> Mapping[str, Any]:
    """A table; empty for anything else."""
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def whole(value: Any) -> int | None:
    """A whole number, `None` for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if abs(value) < 2**53 else None


def time_of_millis(millis: int) -> str:
    """ISO 8601 of milliseconds since 1970.

    Raises:
        Unlike: no calendar has that time.
    """
    try:
        return datetime.fromtimestamp(millis / 1000, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError) as error:
        raise Unlike(f"{millis} is no time") from error


def duration(seconds: float) -> str:
    """Seconds in the way our documents say durations."""
    millis = round(seconds * 1000)
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)):
        if millis % size == 0:
            return f"{millis // size}{unit}"
    return f"{millis}ms"


def model(name: str, changes: list[str]) -> str:
    """`anthropic/claude-x` as `anthropic:claude-x`; empty, with a word on it, where we have no such provider."""
    provider, slash, rest = name.partition("/")
    if slash and rest and provider in PROVIDERS:
        return f"{provider}:{rest}"
    changes.append(
        f"model {name!r} is left out: no provider here is called so; the model of [model] is asked"
    )
    return ""


def tools(names: list[Any], changes: list[str]) -> list[str] | None:
    """The tools of ours that such a list allows; `None` where it allows all."""
    if "*" in names:
        return None
    known = sorted({TOOLS[name] for name in names if isinstance(name, str) and name in TOOLS})
    unknown = [str(name) for name in names if name not in TOOLS]
    if unknown:
        changes.append(f"these tools are not here, and it may not use them: {', '.join(unknown)}")
    return known


def left_out(given: Mapping[str, Any], known: frozenset[str], where: str, changes: list[str]) -> None:
    """Say which keys were not understood; empty ones say nothing anyway."""
    odd = sorted(key for key, value in given.items() if key not in known and value not in (None, "", [], {}))
    if odd:
        changes.append(f"not taken over from {where}: {', '.join(odd)}")
