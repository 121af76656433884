"""What stands on the command line: one line for what is wrong with it, and numbers that stay within bounds."""

import argparse
import math
import re
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from tawny.cli.complaint import complain

_CHOICES = re.compile(r"invalid choice: '(.*)' \(choose from (.*)\)$", re.DOTALL)
_BIGGEST = 10**12


class Parser(argparse.ArgumentParser):
    """argparse, that says what is wrong in one line; the words for it are a `--help` away."""

    def print_help(self, file: Any = None) -> None:
        """Nowhere where there is no output at all: `>&- 2>&-`, which Python 3.11.2 stumbles over."""
        if file or sys.stdout or sys.stderr:
            super().print_help(file)

    def error(self, message: str) -> NoReturn:
        found = _CHOICES.search(message)
        if found:
            known = [name.strip("' ") for name in found[2].split(",")]
            message = f"{message[: found.start()]}there is no {found[1]!r}, only {', '.join(known)}"
            meant = close(found[1], known)
            hint = f"did you mean {meant!r}?" if meant else f"'{self.prog} --help' tells more"
        else:
            hint = f"'{self.prog} --help' tells more"
        complain(f"{self.prog.removeprefix('tawny ')}: {message}", hint)
        self.exit(2)


def close(word: str, known: list[str]) -> str:
    """The one of the known words that was probably meant, else nothing."""
    import difflib  # noqa: PLC0415 - only a mistake needs it

    return next(iter(difflib.get_close_matches(word[:100], known, n=1)), "")


def whole(least: int = 0, most: int = _BIGGEST) -> Callable[[str], int]:
    """The type of an option that is a whole number within bounds."""

    def read(text: str) -> int:
        try:
            value = int(text) if len(text) < 30 else most + 1
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text[:30]} is not within {least} and {most}")
        return value

    return read


def amount(text: str) -> float:
    """The type of an option that is a number, not negative and not beyond all bounds."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from None
    if not math.isfinite(value) or not 0 <= value <= _BIGGEST:
        raise argparse.ArgumentTypeError(f"{text[:30]} is not within 0 and {_BIGGEST}")
    return value


rows = whole(1, 500)
"""How many rows of a listing, 500 at most."""
