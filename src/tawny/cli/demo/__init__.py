"""`tawny demo`: the main job on bundled data in a temporary home; no key, no network, nothing left behind."""

import argparse

from tawny.cli.arguments import whole
from tawny.cli.ending import ended_in_order
from tawny.config import Home


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--once", action="store_true", help="exit when done, instead of leaving the panel open"
    )
    parser.add_argument(
        "--port", type=whole(0, 65_535), default=0, help="the panel's port; a free one by default"
    )
    parser.add_argument("--keep", action="store_true", help="keep the temporary home")


def run(args: argparse.Namespace, _: Home) -> int:
    """0 when every scene ran and every check held, else 1."""
    from tawny.cli.demo.show import Show  # noqa: PLC0415 - heavy, and only the demo needs it

    with ended_in_order():
        return Show(once=args.once, port=args.port, keep=args.keep, as_json=args.json).run()
