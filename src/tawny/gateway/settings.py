"""The configuration over HTTP: read without its secrets, described, changed with its comments kept, read again."""

import asyncio
import re
from typing import Any

import msgspec

from tawny import config as configuration
from tawny.config import Config
from tawny.editing import edited
from tawny.errors import ConfigError, InvalidInput
from tawny.files import write_text
from tawny.gateway.operation import Call, Nothing, Operation
from tawny.gateway.principal import ADMIN
from tawny.gateway.site import Site
from tawny.ledger import audit, events
from tawny.log import Log
from tawny.secrets import SECRET_KEY

HIDDEN = "•••"
LIVE = ("limits.", "gateway.allowed_hosts")
"""What takes effect without a restart."""
_REFERENCE = re.compile(r"(env|file|keyring|age):.+", re.DOTALL)
_USERINFO = re.compile(r"(?<=://)([^/@:\s]*):([^/@\s]+)@")
_LINE = re.compile(r"^(?P<head>\s*(?P<key>[\w.\-\"]+)\s*=\s*)(?P<value>.+)$")
_TABLE = re.compile(r"\s*\[+([^\]]+)\]")
_log = Log("gateway.settings")


class Settings(msgspec.Struct):
    """What holds now; secrets that are no references are hidden."""

    values: dict[str, Any]
    text: str


class Changes(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Keys by their path, such as `limits.concurrency`; null takes one away."""

    set: dict[str, Any]


class Changed(msgspec.Struct):
    """What holds now; `restart` when something of it takes effect at the next start only."""

    values: dict[str, Any]
    restart: bool


def hidden(value: Any, key: str = "") -> Any:
    """The value with its secrets hidden; references to secrets may be seen."""
    if isinstance(value, dict):
        return {name: hidden(held, str(name)) for name, held in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, list):
        return [hidden(held, key) for held in value]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, str):
        if value and SECRET_KEY.fullmatch(key) and not _REFERENCE.fullmatch(value):
            return HIDDEN
        return _USERINFO.sub(rf"\1:{HIDDEN}@", value)
    return value


def hidden_text(text: str) -> str:
    """The same for the file's text, line by line."""
    lines: list[str] = []
    table = ""
    for line in text.splitlines():
        if head := _TABLE.match(line):
            table = head[1] + "."
        match = _LINE.match(line)
        if match and _holds_secret(table + match["key"]):
            value = match["value"].split("#")[0].strip().strip("\"'")
            if value and not _REFERENCE.fullmatch(value):
                line = f'{match["head"]}"{HIDDEN}"'
        lines.append(_USERINFO.sub(rf"\1:{HIDDEN}@", line))
    return "\n".join(lines) + ("\n" if lines else "")


def _holds_secret(path: str) -> bool:
    first, _, key = path.replace('"', "").replace(" ", "").partition(".")
    key = key.rpartition(".")[2] or first
    return bool(SECRET_KEY.fullmatch(key)) or (first == "secrets" and key == "value")


def _values(config: Config) -> dict[str, Any]:
    values = hidden(msgspec.to_builtins(config))
    for entry in values["secrets"].values():
        entry["value"] = hidden(entry["value"], "secret")
    return values


async def get(call: Call[Nothing, Nothing]) -> dict[str, Any]:
    text = await asyncio.to_thread(configuration.text_of, call.site.home)
    return {"values": _values(call.site.config), "text": hidden_text(text)}


async def schema(_: Call[Nothing, Nothing]) -> dict[str, Any]:
    return msgspec.json.schema(Config)


async def change(call: Call[Nothing, Changes]) -> dict[str, Any]:
    """Write the keys, whole or not at all; then read the file again."""
    site, changes = call.site, call.body.set
    if any(HIDDEN in str(value) for value in changes.values()):
        raise InvalidInput(
            "a hidden secret cannot be written back", hint="write a reference such as env:NAME"
        )
    async with site.doing("config"):
        text = await asyncio.to_thread(configuration.text_of, site.home)
        changed = edited(text, changes, file=str(site.home.config_file))
        configuration.parse(changed, file=str(site.home.config_file))
        await asyncio.to_thread(write_text, site.home.config_file, changed)
        await reload(site)
    detail = {"keys": sorted(changes)}
    actor = call.principal.actor
    await site.ledger.write(lambda tx: audit.append(tx, "config.set", actor=actor, detail=detail))
    return {"values": _values(site.config), "restart": not all(key.startswith(LIVE) for key in changes)}


async def reload(site: Site) -> bool:
    """Read the configuration again; a wrong one is told and changes nothing. Whether it was good."""
    site.problems[:] = [entry for entry in site.problems if entry.get("about") != "config"]
    try:
        fresh = await asyncio.to_thread(configuration.load, site.home)
    except ConfigError as error:
        message = error.message
        _log.error("configuration is wrong; the last good one stays", error=message)
        site.problems.append({"about": "config", "severity": "error", "message": message, "hint": error.hint})
        await site.ledger.write(lambda tx: events.append(tx, "system.config_rejected", {"message": message}))
        return False
    if fresh != site.config:
        site.config = fresh
        site.apply(fresh)
        await site.ledger.write(lambda tx: events.append(tx, "system.config_changed", {}))
    return True


OPERATIONS = (
    Operation(
        name="config.get",
        method="GET",
        path="/v1/config",
        scope=ADMIN,
        summary="The configuration without its secrets",
        answer=Settings,
        act=get,
    ),
    Operation(
        name="config.schema",
        method="GET",
        path="/v1/config/schema",
        scope=ADMIN,
        summary="What the configuration may hold, as JSON schema",
        answer=dict[str, Any],
        act=schema,
    ),
    Operation(
        name="config.change",
        method="PATCH",
        path="/v1/config",
        scope=ADMIN,
        summary="Set keys; comments stay, a wrong value changes nothing",
        body=Changes,
        answer=Changed,
        act=change,
    ),
)
