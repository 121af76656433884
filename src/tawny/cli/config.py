"""`tawny config`: read, change and check `config.toml`; comments are kept."""

import argparse
import os
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import tomlkit
from tomlkit.exceptions import TOMLKitError

from tawny import config as configuration
from tawny.cli import remote
from tawny.cli.main import add_common
from tawny.cli.output import emit
from tawny.config import Config, Home
from tawny.errors import ConfigError, NotFound


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the subcommands."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    get = actions.add_parser("get", help="print a key, or everything")
    get.add_argument("key", nargs="?")
    add_common(get)
    put = actions.add_parser("set", help="set a key, such as limits.concurrency 5")
    put.add_argument("key")
    put.add_argument("value", help="a TOML value; what is none is taken as text")
    add_common(put)
    check = actions.add_parser("check", help="check the file")
    add_common(check)


def run(args: argparse.Namespace, home: Home) -> int:
    """Do what the subcommand says."""
    return {"get": _get, "set": _set, "check": _check}[args.action](args, home)


def _get(args: argparse.Namespace, home: Home) -> int:
    value: Any = msgspec.to_builtins(configuration.load(home))
    for part in filter(None, (args.key or "").split(".")):
        if not isinstance(value, dict) or part not in value:
            raise NotFound(f"there is no key {args.key!r}", hint="'tawny config get' prints them all")
        value = value[part]  # pyright: ignore[reportUnknownVariableType]
    text = value if isinstance(value, str) else msgspec.json.format(msgspec.json.encode(value)).decode()
    emit(value, args, text=text)
    return 0


def _set(args: argparse.Namespace, home: Home) -> int:
    home.prepare()
    text = home.config_file.read_text(encoding="utf-8") if home.config_file.exists() else ""
    document = tomlkit.parse(text)
    *tables, key = args.key.split(".")
    target: Any = document
    for name in tables:
        if name not in target:
            target[name] = tomlkit.table()
        target = target[name]
    target[key] = _value(args.value)
    changed = tomlkit.dumps(document)
    configuration.parse(changed, file=str(home.config_file))
    replace(home.config_file, changed)
    remote.wake(home, {"config"})
    emit({"key": args.key, "value": _value(args.value)}, args, text=f"{args.key} is set")
    return 0


def _value(text: str) -> Any:
    try:
        return tomlkit.parse(f"value = {text}")["value"].unwrap()
    except (TOMLKitError, AttributeError):
        return text


def replace(path: Path, text: str) -> None:
    """Write beside and rename, so that no reader ever sees half a file."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".config")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    Path(name).replace(path)


def _check(args: argparse.Namespace, home: Home) -> int:
    if not home.config_file.exists():
        emit({"ok": True, "file": None}, args, text=f"{home.config_file} does not exist; the defaults hold")
        return 0
    config: Config = configuration.load(home)
    for name in (config.owner.timezone,):
        _check_zone(name, home)
    emit({"ok": True, "file": str(home.config_file)}, args, text=f"{home.config_file} is good")
    return 0


def _check_zone(name: str, home: Home) -> None:
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - only `config check` needs it

    if name:
        try:
            ZoneInfo(name)
        except (KeyError, OSError, ValueError) as error:
            raise ConfigError(
                f"{home.config_file}: [owner] timezone: {name!r} is no zone",
                hint="write it like Europe/Berlin",
            ) from error
