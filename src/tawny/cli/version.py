"""`tawny version`: the version; `tawny.__main__` answers the plain word without coming here."""

import argparse

from tawny import __version__
from tawny.cli.output import emit
from tawny.config import Home


def configure(_: argparse.ArgumentParser) -> None:
    """Nothing but what every command takes."""


def run(args: argparse.Namespace, _: Home) -> int:
    """Say it."""
    emit({"version": __version__}, args, text=f"tawny {__version__}")
    return 0
