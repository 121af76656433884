"""The same kind runs as a task of its own and as one item of a batch: what it names must not meet its neighbours'."""

import hashlib
import re

from tawny.engine.kinds import Context

_LONGEST = 40


def part_of(ctx: Context) -> str:
    """What part of its task a run is: empty where it is the whole, else a name for the item such as `items-3`."""
    within = ctx.idempotency_key("").partition(":")[2]
    name = re.sub(r"[^A-Za-z0-9]+", "-", within).strip("-")
    return name if len(name) <= _LONGEST else hashlib.sha256(within.encode()).hexdigest()[:16]


def file_of(ctx: Context, name: str) -> str:
    """The name of a file that every run of a kind makes: `stdout.txt`, of an item `items-3-stdout.txt`."""
    part = part_of(ctx)
    return f"{part}-{name}" if part else name
