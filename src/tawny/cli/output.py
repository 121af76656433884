"""What commands print: one JSON document with `--json`, else plain text for people."""

import argparse
import re
from collections.abc import Iterable, Sequence
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from tawny.clock import Instant, to_datetime

_FRACTION = re.compile(r"\.\d+(?=[Z+-]|$)")


def emit(document: Any, args: argparse.Namespace, *, text: str | None = None) -> None:
    """Print the document with `--json`, else the text (the document again where there is none)."""
    if args.json or text is None:
        print(msgspec.json.encode(document).decode())
    elif text:
        print(text)


def line(document: Any) -> None:
    """One line of a stream of JSON lines, at once."""
    print(msgspec.json.encode(document).decode(), flush=True)


def table(headers: Sequence[str], rows: Iterable[Sequence[object]], *, none: str = "") -> str:
    """Columns that line up, as wide as their widest cell; `none` where there is no row."""
    cells = [[_cell(value) for value in row] for row in rows]
    if none and not cells:
        return none
    widths = [max([len(header), *(len(row[n]) for row in cells)]) for n, header in enumerate(headers)]
    lines = [[header.upper() for header in headers], *cells]
    return "\n".join(
        "  ".join(value.ljust(width) for value, width in zip(row, widths, strict=True)).rstrip()
        for row in lines
    )


def local_time(instant: Instant | None, *, zone: str = "") -> str:
    """A time as a person reads it, in the named zone, else the machine's; empty for none."""
    if instant is None:
        return ""
    moment = to_datetime(instant)
    return moment.astimezone(ZoneInfo(zone) if zone else None).strftime("%Y-%m-%d %H:%M:%S")


def to_the_second(time: str) -> str:
    """A time of a document as a person reads it, with its zone and without a fraction."""
    return _FRACTION.sub("", time)


def seconds(micros: int | None) -> str:
    """A span of time as a person reads it; empty for none."""
    if micros is None:
        return ""
    total = micros / 1_000_000
    if total < 100:
        return f"{total:.1f} s"
    return f"{int(total // 60)} min {int(total % 60)} s"


def _cell(value: object) -> str:
    return "" if value is None else str(value).replace("\n", " ")
