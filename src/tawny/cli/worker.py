"""`tawny worker`: run background tasks on one more machine, against the same database."""

import argparse
import asyncio
import signal

import msgspec

from tawny import config, log
from tawny.cli.arguments import whole
from tawny.config import Config, Home
from tawny.errors import InvalidInput


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "--concurrency",
        type=whole(1, 10_000),
        metavar="N",
        help="background tasks at once, instead of [limits] concurrency",
    )
    parser.add_argument(
        "--kinds", default="", metavar="KIND,…", help="run only tasks of these kinds; all unless told"
    )


def run(args: argparse.Namespace, home: Home) -> int:
    """Work until SIGTERM or SIGINT; what runs then is released and goes on elsewhere. 0 after a clean end."""
    settings = config.load(home)
    if args.concurrency is not None:
        if args.concurrency < 1:
            raise InvalidInput(
                f"--concurrency: {args.concurrency} is no number of places", hint="give 1 or more"
            )
        limits = msgspec.structs.replace(
            settings.limits, concurrency=args.concurrency, max_running_per_owner=args.concurrency
        )
        settings = msgspec.structs.replace(settings, limits=limits)
    kinds = frozenset(name.strip() for name in args.kinds.split(",") if name.strip())
    home.prepare()
    log.to_file(home.logs)
    return asyncio.run(_run(home, settings, kinds))


async def _run(home: Home, settings: Config, kinds: frozenset[str]) -> int:
    from tawny.app import open_app  # noqa: PLC0415 - everything; the arguments need little
    from tawny.engine.members import Member  # noqa: PLC0415

    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stopping.set)
    async with open_app(home, settings, member=Member(leads=False, kinds=kinds)):
        print("ready worker", flush=True)
        await stopping.wait()
    return 0
