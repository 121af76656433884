"""Times as people say them, on the command line: what only a model could read is shown and confirmed first."""

import sys
from typing import Any

from tawny import config as configuration
from tawny.cli.output import local_time
from tawny.clock import SystemClock, parse_time
from tawny.config import Home
from tawny.domain.definitions import compile_schedule
from tawny.domain.phrases import NotUnderstood
from tawny.engine.spoken import asking, reading
from tawny.errors import InvalidInput
from tawny.ledger.submission import Limits

_AGREE = frozenset({"y", "yes", "j", "ja", "是", "好", "ok"})


def understood(phrase: str, home: Home, *, timezone: str) -> tuple[str | dict[str, Any], list[str]]:
    """The phrase itself where the grammar knows it, else the schedule a model read, and its next times.

    Raises:
        InvalidInput: nobody understands it, or it could mean several things.
    """
    try:
        compile_schedule(phrase, now=SystemClock().now(), timezone=timezone)
    except NotUnderstood:
        config = configuration.load(home)
        if config.model.name == "demo":
            raise
    else:
        return phrase, []
    from tawny.cli.tasks_run import run_to_end  # noqa: PLC0415 - the whole app, for what the grammar cannot read

    return reading(run_to_end(home, config, asking(phrase, timezone=timezone), Limits(zone=timezone)))


def confirmed(
    phrase: str, schedule: dict[str, Any], times: list[str], *, timezone: str, agreed: bool
) -> None:
    """Go on only with a yes to what a model has read.

    Raises:
        InvalidInput: there was none.
    """
    shown = [local_time(parse_time(time, now=0), zone=timezone) for time in times]
    said = {key: value for key, value in schedule.items() if key != "timezone"}
    lines = [
        f"The model reads {phrase!r} as {said}.",
        "Its next times would be:",
        *(f"  {time}" for time in shown),
    ]
    print("\n".join(lines), file=sys.stderr)
    if agreed:
        return
    if sys.stdin.isatty():
        print("Is that meant? [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() in _AGREE:
            return
    raise InvalidInput(
        f"what a model read in {phrase!r} is not confirmed",
        hint="look at the times above, then say it again with --yes, or write the schedule yourself",
    )
