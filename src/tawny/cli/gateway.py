"""`tawny gateway`: run the always-on process in the foreground; let devices and programs in, and put them out."""

import argparse
import asyncio
import gc
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

from tawny import config, log
from tawny.cli import gateway_service, ledger
from tawny.cli.arguments import whole
from tawny.cli.complaint import complain
from tawny.cli.main import add_common
from tawny.cli.output import emit, local_time, table
from tawny.clock import Clock
from tawny.config import Config, Home
from tawny.errors import InvalidInput
from tawny.ledger import audit, credentials, pairing
from tawny.ledger.credentials import BROWSER, DEVICE, TOKEN, Credential

if TYPE_CHECKING:
    from tawny.app import App

SCOPES = ("read", "write", "approvals", "admin", "pairing")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def add(name: str, help: str) -> argparse.ArgumentParser:
        sub = actions.add_parser(name, help=help, description=help)
        add_common(sub)
        return sub

    serve = add("run", "run in the foreground until stopped")
    serve.add_argument(
        "--port", type=whole(0, 65_535), help="instead of the configured one; 0 takes a free one"
    )
    serve.add_argument(
        "--standby",
        action="store_true",
        help="where another gateway works on the database, wait and take over when it ends",
    )
    pair = add("pair", "a code (and QR code) that lets one device in, once, within ten minutes")
    pair.add_argument("--name", default="", help="what the list calls the device")
    pair.add_argument("--scopes", default=",".join(SCOPES), help="with commas; all unless told")
    add("devices", "signed-in browsers, paired devices and named tokens")
    revoke = add("revoke", "put a device or token out, with its open connections")
    revoke.add_argument("id", metavar="ID")
    token = add("token", "a named token for a program; it is shown this once")
    token.add_argument("name")
    token.add_argument("--scopes", default="read", help="with commas; read unless told")
    add("rotate", "a new owner's token; what the old one opened is closed")
    gateway_service.configure(add)


def run(args: argparse.Namespace, home: Home) -> int:
    """Do what the subcommand says."""
    actions = {
        "run": _serve,
        "pair": _pair,
        "devices": _devices,
        "revoke": _revoke,
        "token": _token,
        "rotate": _rotate,
        **dict.fromkeys(gateway_service.VERBS, gateway_service.run),
    }
    return actions[args.action](args, home)


def _serve(args: argparse.Namespace, home: Home) -> int:
    """Serve until SIGTERM or SIGINT; 0 after a clean end."""
    gc.disable()  # a start makes much and drops nothing; collecting would only cost time
    settings = config.load(home)
    home.prepare()
    log.to_file(home.logs)
    port = settings.gateway.port if args.port is None else args.port
    return asyncio.run(serve(home, settings, port, standby=args.standby))


async def serve(
    home: Home,
    settings: Config,
    port: int,
    *,
    clock: Clock | None = None,
    standby: bool = False,
    opened: Callable[["App"], None] | None = None,
) -> int:
    """The always-on process, until SIGTERM or SIGINT.

    The demo brings a `clock` of its own instead of the machine's, and is told when the house is `opened`.
    """
    from tawny.app import open_app, open_gateway  # noqa: PLC0415 - everything; the other subcommands need little
    from tawny.engine.members import Member  # noqa: PLC0415
    from tawny.gateway import running, server  # noqa: PLC0415
    from tawny.gateway.auth import owner_token  # noqa: PLC0415

    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    if standby:
        print("standing by; 'ready' follows when this gateway leads", flush=True)
    else:
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, stopping.set)
    async with open_app(home, settings, closed=True, clock=clock, member=Member(standby=standby)) as app:
        if opened is not None:
            opened(app)
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, stopping.set)
        if hasattr(signal, "SIGHUP"):
            loop.add_signal_handler(signal.SIGHUP, app.ledger.bell.ring, ["config"])
        listener = server.listen(settings.gateway.host, port)
        async with open_gateway(app) as gateway, gateway.serving(listener) as address:
            host, bound = listener.getsockname()[:2]
            with running.announced(home, host, bound):
                print(f"ready {address}", flush=True)
                app.dispatcher.open.set()
                gc.freeze()
                gc.enable()
                print(f"panel {address}/#token={owner_token(home.token_file)}", flush=True)
                async with asyncio.TaskGroup() as group:
                    # With a model configured somebody will speak to it: its library is loaded before they do.
                    preloading = group.create_task(app.agency.preload())
                    watching = group.create_task(_end_when(app.lost, stopping))
                    await stopping.wait()
                    preloading.cancel()
                    watching.cancel()
    if app.lost.is_set():
        complain("another gateway has taken over this database", "start this one with --standby")
        return 1
    return 0


async def _end_when(lost: asyncio.Event, stopping: asyncio.Event) -> None:
    await lost.wait()
    stopping.set()


def _scopes(text: str) -> frozenset[str]:
    names = frozenset(name.strip() for name in text.split(",") if name.strip())
    if unknown := names - set(SCOPES):
        raise InvalidInput(f"--scopes: {min(unknown)!r} is none", hint=f"of {', '.join(SCOPES)}")
    return names


def _pair(args: argparse.Namespace, home: Home) -> int:
    from tawny.gateway import running  # noqa: PLC0415

    scopes = _scopes(args.scopes)
    code, expires_at = ledger.write(
        home,
        lambda tx: pairing.offer(
            tx, name=args.name, role="owner", scopes=scopes, granted_by=None, actor="owner"
        ),
    )
    settings, now = config.load(home), running.running(home)
    names = settings.gateway.allowed_hosts
    port = now.port if now else settings.gateway.port
    address = f"https://{names[0]}" if names else f"http://{settings.gateway.host}:{port}"
    url = f"{address}/#pair={code}"
    text = f"{_qr(url)}{url}\ncode {code}, until {local_time(expires_at)}"
    if not names and settings.gateway.host in ("127.0.0.1", "localhost", "::1"):
        text += "\nother machines cannot reach this address: see docs/how-to/remote-access.md"
    emit({"code": code, "url": url}, args, text=text)
    return 0


def _qr(url: str) -> str:
    """The address as a QR code for the terminal."""
    import io  # noqa: PLC0415

    import segno  # noqa: PLC0415

    out = io.StringIO()
    segno.make(url, error="m").terminal(out, compact=True)
    return out.getvalue()


def _devices(args: argparse.Namespace, home: Home) -> int:
    found = ledger.read(home, lambda tx: credentials.everything(tx, kinds=(BROWSER, DEVICE, TOKEN)))
    rows = [
        (
            entry.credential_id,
            entry.kind,
            entry.name,
            ",".join(sorted(entry.scopes)),
            local_time(entry.last_seen_at),
            "revoked" if entry.revoked_at else "",
        )
        for entry in found
    ]
    text = table(["id", "kind", "name", "scopes", "last seen", ""], rows, none="No devices yet.")
    emit({"items": [entry.document() for entry in found], "next_cursor": None}, args, text=text)
    return 0


def _revoke(args: argparse.Namespace, home: Home) -> int:
    ledger.write(home, lambda tx: credentials.revoke(tx, args.id, actor="owner"))
    emit({"id": args.id, "revoked": True}, args, text=f"{args.id} is out")
    return 0


def _token(args: argparse.Namespace, home: Home) -> int:
    scopes = _scopes(args.scopes)
    made: tuple[Credential, str] = ledger.write(
        home,
        lambda tx: credentials.create(tx, TOKEN, name=args.name, role="guest", scopes=scopes, actor="owner"),
    )
    entry, secret = made
    emit({"id": entry.credential_id, "token": secret, "scopes": sorted(scopes)}, args, text=secret)
    if not args.json:
        complain(f"{entry.credential_id} has {', '.join(sorted(scopes))}", "it is not shown again")
    return 0


def _rotate(args: argparse.Namespace, home: Home) -> int:
    from tawny.cli import remote  # noqa: PLC0415
    from tawny.gateway.auth import rotate_owner_token  # noqa: PLC0415

    home.prepare()
    token = rotate_owner_token(home.token_file)
    remote.wake(home, {"credentials"})
    emit({"token": token}, args, text=token)
    ledger.write(home, lambda tx: audit.append(tx, "credential.rotate", actor="owner"))
    return 0
