"""Kinds that touch the world outside ask leave first, like a tool: no way round for models and events."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from tawny.domain.commands import Request, bound, runs_files
from tawny.domain.mentions import host_and_path
from tawny.domain.origin import is_inert, read_from
from tawny.engine.kinds import Context, Kind, Result
from tawny.errors import InvalidInput
from tawny.sandbox.identity import files_among, find_binary
from tawny.tools.call import Door
from tawny.tools.registry import REACH_OUT, READ, SENSITIVE, Operation

_Describe = Callable[[Any, Path], Operation | None]
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def guarded(kinds: Mapping[str, Kind], door: Door, workspace: Path) -> dict[str, Kind]:
    """Those of the kinds that need it, with the door in front."""
    return {
        name: _behind(kinds[name], door, workspace, describe)
        for name, describe in _OUTSIDE.items()
        if name in kinds
    }


def _behind(kind: Kind, door: Door, workspace: Path, describe: _Describe) -> Kind:
    async def run(ctx: Context, params: Any) -> Result:
        operation = describe(params, workspace)
        if operation is not None:
            given = ctx.task.params
            allowed = await door.permit(
                ctx, tool=kind.name, operation=operation, arguments=given, key="leave"
            )
            if allowed != given:
                try:
                    params = msgspec.convert(allowed, kind.params)
                except msgspec.ValidationError as error:
                    raise InvalidInput(f"the edited parameters of {kind.name} do not fit: {error}") from error
        result = await kind.run(ctx, params)
        what = _READ.get(kind.name, _nothing)(params, result)
        if what and not is_inert(result):
            ctx.add_origin(read_from(what))
        return result

    return msgspec.structs.replace(kind, run=run)


def _command(params: Any, workspace: Path) -> Operation:
    cwd = workspace / (params.cwd or ".")
    request = Request(
        line="",
        words=params.argv,
        binary=find_binary(params.argv[0], cwd),
        files=files_among(params.argv[1:], cwd) if runs_files(params.argv) else (),
    )
    return Operation(
        name="exec.run",
        operation="execute",
        level=SENSITIVE,
        text=tuple(params.argv),
        targets=(params.argv[0],),
        bound=bound(request),
    )


def _http(params: Any, _: Path) -> Operation:
    method = params.method.upper()
    body = params.body if isinstance(params.body, str) else msgspec.json.encode(params.body).decode()
    name, level = ("http.get", READ) if method in _SAFE else ("http.send", REACH_OUT)
    if method == "DELETE":
        name, level = "http.delete", SENSITIVE
    verb = {"http.get": "read", "http.send": "update", "http.delete": "delete"}[name]
    return Operation(name=name, operation=verb, level=level, targets=(params.url,), text=(body,))


def _simulate(params: Any, _: Path) -> Operation | None:
    if not params.effect_url:
        return None
    return Operation(name="http.send", operation="update", level=REACH_OUT, targets=(params.effect_url,))


def _nothing(_params: Any, _result: Result) -> str:
    return ""


def _command_read(_params: Any, result: Result) -> str:
    reached: Any = result.get("reached") if isinstance(result, dict) else None
    return f"a command that reached {', '.join(map(str, reached))}" if reached else ""


_READ: dict[str, Callable[[Any, Result], str]] = {
    "http": lambda params, _result: f"what {host_and_path(params.url)[0]} answered",
    "command": _command_read,
}

_OUTSIDE: dict[str, _Describe] = {
    "command": _command,
    "http": _http,
    "simulate": _simulate,
}
