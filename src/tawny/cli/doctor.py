"""`tawny doctor`: what is wrong here, and its mend in one line each."""

import argparse
from typing import Any

import msgspec

from tawny.cli.checks import CHECKS, ERROR, INFO, Finding, examine
from tawny.cli.output import emit
from tawny.config import Home

_SCHEMA = 1
_SIGNS = {"error": "✗", "warn": "!", "info": "·"}


def configure(parser: argparse.ArgumentParser) -> None:
    """`--fix` mends what can be mended without asking anybody."""
    parser.add_argument("--fix", action="store_true", help="mend what can be mended without asking")


def run(args: argparse.Namespace, home: Home) -> int:
    """Print what was found; 1 when something is wrong and not mended."""
    found = examine(home, fix=args.fix)
    document: dict[str, Any] = {
        "schemaVersion": _SCHEMA,
        "ok": not any(finding.severity == ERROR and not finding.fixed for finding in found),
        "checksRun": len(CHECKS),
        "findings": msgspec.to_builtins(found),
    }
    emit(document, args, text=_text(found))
    return 1 if any(finding.severity != INFO and not finding.fixed for finding in found) else 0


def _text(found: list[Finding]) -> str:
    lines = [f"{_SIGNS[one.severity]} {one.id}: {one.message}{_mend(one)}" for one in found]
    wrong = sum(1 for one in found if one.severity != INFO and not one.fixed)
    summary = f"{len(CHECKS)} checks, " + (f"{wrong} to mend" if wrong else "nothing to mend")
    return "\n".join([*lines, summary])


def _mend(finding: Finding) -> str:
    if finding.fixed:
        return " – mended"
    return f"\n    {finding.mend}" if finding.mend else ""
