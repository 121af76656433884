"""`tawny gateway install | uninstall | start | stop | restart | status`: the platform's service manager."""

import argparse
import getpass
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tawny import config as configuration
from tawny.cli import remote
from tawny.cli.output import emit
from tawny.config import Home
from tawny.errors import PermanentError
from tawny.service.launchd import Launchd
from tawny.service.manager import ServiceManager, gateway_service
from tawny.service.systemd import Systemd

VERBS = {
    "install": "keep the gateway running, by systemd or launchd",
    "uninstall": "stop doing so; the home stays",
    "start": "start the service",
    "stop": "stop the service; running commands go on",
    "restart": "restart the service, after checking the configuration",
    "status": "how the gateway stands",
}


def configure(add: Callable[[str, str], argparse.ArgumentParser]) -> None:
    """Declare the subcommands."""
    for verb, what in VERBS.items():
        add(verb, what)


def run(args: argparse.Namespace, home: Home) -> int:
    """Do what the subcommand says."""
    if args.action == "status":
        return _status(args, home)
    configuration.load(home)
    home.prepare()
    service, manager = gateway_service(home.root), manager_of()
    if args.action == "install":
        done = manager.install(service)
    elif args.action == "uninstall":
        done = manager.uninstall(service)
    else:
        done = [manager.order(args.action, service)]
    emit({"done": done, "file": str(manager.file(service))}, args, text="\n".join(done))
    return 0


def _status(args: argparse.Namespace, home: Home) -> int:
    gateway = remote.find(home)
    installed = False
    detail = ""
    try:
        service, manager = gateway_service(home.root), manager_of()
    except PermanentError:
        pass
    else:
        installed = manager.file(service).exists()
        detail = manager.order("status", service) if installed else ""
    address = None if gateway is None else f"http://{gateway.host}:{gateway.port}"
    document = {"running": gateway is not None, "address": address, "installed": installed, "detail": detail}
    words = f"running at {address}" if address else "not running ('tawny gateway run')"
    kept = "kept running by the service manager" if installed else "not installed as a service"
    emit(document, args, text=f"{words}; {kept}" + (f"\n{detail}" if detail else ""))
    return 0 if gateway is not None else 1


def manager_of() -> ServiceManager:
    """The platform's service manager.

    Raises:
        PermanentError: there is none we know.
    """
    if sys.platform == "darwin":
        folder = Path.home() / "Library" / "LaunchAgents"
        return Launchd(_run, folder=folder, domain=f"gui/{os.getuid()}")
    if shutil.which("systemctl") and Path("/run/systemd/system").exists():
        folder = Path.home() / ".config" / "systemd" / "user"
        return Systemd(_run, folder=folder, user=getpass.getuser())
    raise PermanentError(
        "there is no systemd or launchd here", hint="run 'tawny gateway run' under your own supervisor"
    )


def _run(argv: list[str]) -> tuple[int, str]:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return 127, str(error)
    return done.returncode, done.stdout + done.stderr
