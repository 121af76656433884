"""`POST /hooks/{name}`: what other services send, signed by them; the signature stands in the token's place."""

from typing import Any

import msgspec
from starlette.types import Receive, Scope, Send

from tawny.engine import hooks
from tawny.errors import ConfigError, Refused
from tawny.gateway.endpoint import answer, path_of, read_body
from tawny.gateway.errors import HttpError
from tawny.gateway.operation import Call, Operation
from tawny.gateway.site import Site
from tawny.ledger.database import Tx
from tawny.log import Log
from tawny.secrets import resolve_secret

_log = Log("gateway.hooks")


class Taken(msgspec.Struct):
    """It is stored; `duplicate` when it was known already."""

    accepted: bool
    duplicate: bool


async def _elsewhere(_: Call[Any, Any]) -> None:
    raise AssertionError("hooks are served by their own endpoint")


OPERATION = Operation(
    name="hooks.receive",
    method="POST",
    path="/hooks/{name}",
    scope=None,
    summary="A signed webhook, or the ping of an expectation",
    body=dict[str, Any],
    answer=Taken,
    status=202,
    errors=(401, 404),
    act=_elsewhere,
)


class HookEndpoint:
    def __init__(self, site: Site) -> None:
        self._site = site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = path_of(scope)["name"]
        body = await read_body(receive)
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}

        def take(tx: Tx) -> dict[str, Any]:
            return hooks.receive(tx, name, headers=headers, body=body, secret=self._secret)

        try:
            taken = await self._site.ledger.write(take)
        except Refused as error:
            raise HttpError(401, "unsigned", error.message, hint=error.hint) from None
        except ConfigError as error:
            _log.error("hook's secret is missing", hook=name, error=error.message)
            raise HttpError(
                503, "not_ready", f"hook {name!r} is not set up", hint="see the gateway's log"
            ) from None
        await answer(send, 202, taken)

    def _secret(self, reference: str) -> str:
        return resolve_secret(reference, self._site.home)
