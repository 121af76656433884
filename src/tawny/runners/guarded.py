"""Kinds that touch the world outside ask leave first, like a tool: no way round for models and events."""

from collections.abc import Callable, Mapping
from typing import Any, cast

import msgspec

from tawny.domain.commands import Verdict, bound, decide
from tawny.domain.mentions import host_and_path
from tawny.domain.origin import is_owners, of_strangers
from tawny.domain.tasks import Json, Origin
from tawny.engine.kinds import Context, Kind, Result
from tawny.errors import InvalidInput, Refused, TawnyError
from tawny.sandbox.held import HELD
from tawny.tools.call import Door
from tawny.tools.exec import AllowList, Exec
from tawny.tools.registry import REACH_OUT, READ, SENSITIVE, Operation

_Describe = Callable[[Any, Origin, AllowList], Operation | None]
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def guarded(kinds: Mapping[str, Kind], door: Door, allowed: AllowList) -> dict[str, Kind]:
    """Those of the kinds that need it, with the door in front."""
    return {
        name: _behind(kinds[name], door, allowed, describe)
        for name, describe in _OUTSIDE.items()
        if name in kinds
    }


def _behind(kind: Kind, door: Door, allowed: AllowList, describe: _Describe) -> Kind:
    async def run(ctx: Context, params: Any) -> Result:
        operation = describe(params, ctx.task.origin, allowed)
        if operation is not None:
            HELD.set(operation.bound)
            given = ctx.task.params
            permitted = await door.permit(
                ctx, tool=kind.name, operation=operation, arguments=given, key="leave"
            )
            if permitted != given:
                try:
                    params = msgspec.convert(permitted, kind.params)
                except msgspec.ValidationError as error:
                    raise InvalidInput(f"the edited parameters of {kind.name} do not fit: {error}") from error
                edited = describe(params, ctx.task.origin, allowed)
                HELD.set(edited.bound if edited is not None else ())
        try:
            result = await kind.run(ctx, params)
        except TawnyError as error:
            if kind.name in _READ_IN_FAILURE and not error.own_words:
                _note(ctx, kind, params, [error.result, error.message])
            raise
        _note(ctx, kind, params, result)
        return result

    return msgspec.structs.replace(kind, run=run)


def _note(ctx: Context, kind: Kind, params: Any, result: Json) -> None:
    what = _READ.get(kind.name, _nothing)(params, result)
    if what and (read := of_strangers(what, result)) is not None:
        ctx.add_origin(read)


def _command(params: Any, origin: Origin, allowed: AllowList) -> Operation:
    """What `[exec] mode` refuses a model asks nobody either; the owner's own order is beyond it.

    Raises:
        Refused: the mode refuses it.
    """
    cwd = allowed.workspace / (params.cwd or ".")
    request = allowed.request(Exec(argv=[*params.argv], env=params.env), cwd)
    decision = decide(allowed.mode, allowed.entries, request)
    if decision.verdict is Verdict.REFUSE and not is_owners(origin):
        raise Refused(f"command: {decision.reason}", hint="see [exec] in config.toml")
    return Operation(
        name="exec.run",
        operation="execute",
        level=SENSITIVE,
        text=tuple(params.argv),
        targets=(params.argv[0],),
        bound=bound(request),
    )


def _http(params: Any, _origin: Origin, _allowed: AllowList) -> Operation:
    method = params.method.upper()
    body = params.body if isinstance(params.body, str) else msgspec.json.encode(params.body).decode()
    name, level = ("http.get", READ) if method in _SAFE else ("http.send", REACH_OUT)
    if method == "DELETE":
        name, level = "http.delete", SENSITIVE
    verb = {"http.get": "read", "http.send": "update", "http.delete": "delete"}[name]
    return Operation(name=name, operation=verb, level=level, targets=(params.url,), text=(body,))


def _simulate(params: Any, _origin: Origin, _allowed: AllowList) -> Operation | None:
    if not params.effect_url:
        return None
    return Operation(name="http.send", operation="update", level=REACH_OUT, targets=(params.effect_url,))


def _nothing(_params: Any, _result: Json) -> str:
    return ""


def _command_read(_params: Any, result: Json) -> str:
    reached: Any = cast(dict[str, Any], result).get("reached") if isinstance(result, dict) else None
    return f"a command that reached {', '.join(map(str, reached))}" if reached else ""


_READ: dict[str, Callable[[Any, Json], str]] = {
    "http": lambda params, _result: f"what {host_and_path(params.url)[0]} answered",
    "command": _command_read,
}

_READ_IN_FAILURE = frozenset({"http"})
"""What these show of a failure counts as read. A command's does not: the owner's own retry of it would ask him."""

_OUTSIDE: dict[str, _Describe] = {
    "command": _command,
    "http": _http,
    "simulate": _simulate,
}
