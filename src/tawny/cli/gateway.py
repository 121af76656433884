"""`tawny gateway run`: the always-on process in the foreground."""

import argparse
import asyncio
import signal

from tawny import config, log
from tawny.app import open_app, open_gateway
from tawny.config import Config, Home
from tawny.gateway import running, server
from tawny.gateway.auth import owner_token


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True)
    run_parser = actions.add_parser("run", help="run in the foreground until stopped")
    run_parser.add_argument("--port", type=int, help="instead of the configured one; 0 takes a free one")


def run(args: argparse.Namespace, home: Home) -> int:
    """Serve until SIGTERM or SIGINT; 0 after a clean end."""
    settings = config.load(home)
    home.prepare()
    log.to_file(home.logs)
    port = settings.gateway.port if args.port is None else args.port
    return asyncio.run(_run(home, settings, port))


async def _run(home: Home, settings: Config, port: int) -> int:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stopping.set)
    async with open_app(home, settings) as app:
        listener = server.listen(settings.gateway.host, port)
        async with open_gateway(app) as gateway, gateway.serving(listener) as address:
            host, bound = listener.getsockname()[:2]
            with running.announced(home, host, bound):
                print(f"ready {address}", flush=True)
                print(f"panel {address}/#token={owner_token(home.token_file)}", flush=True)
                async with asyncio.TaskGroup() as group:
                    # With a model configured somebody will speak to it: its library is loaded before they do.
                    preloading = group.create_task(app.agency.preload())
                    await stopping.wait()
                    preloading.cancel()
    return 0
