"""`tawny config`: read, change and check `config.toml`; comments are kept."""

import argparse
from typing import Any

import msgspec
import tomlkit
from tomlkit.exceptions import TOMLKitError

from tawny import config as configuration
from tawny.cli import remote
from tawny.cli.main import add_common
from tawny.cli.output import emit
from tawny.config import Config, Home
from tawny.editing import edited
from tawny.errors import ConfigError, NotFound
from tawny.files import write_text
from tawny.mistakes import line_of


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
    text = configuration.text_of(home)
    changed = edited(text, {args.key: _value(args.value)}, file=str(home.config_file))
    configuration.parse(changed, file=str(home.config_file))
    write_text(home.config_file, changed)
    remote.wake(home, {"config"})
    emit({"key": args.key, "value": _value(args.value)}, args, text=f"{args.key} is set")
    return 0


def _value(text: str) -> Any:
    try:
        return tomlkit.parse(f"value = {text}")["value"].unwrap()
    except (TOMLKitError, AttributeError):
        return text


def _check(args: argparse.Namespace, home: Home) -> int:
    if not home.config_file.exists():
        emit({"ok": True, "file": None}, args, text=f"{home.config_file} does not exist; the defaults hold")
        return 0
    _check_files(configuration.load(home), home)
    emit({"ok": True, "file": str(home.config_file)}, args, text=f"{home.config_file} is good")
    return 0


def _check_files(config: Config, home: Home) -> None:
    """The sources that are files have to be there."""
    from tawny.sources.fetch import path_of  # noqa: PLC0415 - only `config check` needs them
    from tawny.sources.place import Place, split  # noqa: PLC0415

    for noun in config.sources.__struct_fields__:
        for number, source in enumerate(getattr(config.sources, noun)):
            place = Place(noun=noun, name=source.name or noun, url=source.url, root=str(home.root))
            parts = split(place)
            if parts.scheme not in ("file", "maildir", "mbox") or (path := path_of(place, parts)).exists():
                continue
            line = line_of(configuration.text_of(home), f"sources.{noun}[{number}].url")
            raise ConfigError(
                f"{home.config_file}:{line}: 'sources.{noun}.url': there is no file {path}",
                hint="create it, or correct the url",
            )
