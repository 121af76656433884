"""The gateway's ASGI application: guard, then door-keeper, then the operation's endpoint."""

from collections.abc import Iterable, Mapping

from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.routing import Router as _Router
from starlette.types import ASGIApp, Receive, Scope, Send

from tawny.errors import NotFound
from tawny.gateway.auth import COOKIE
from tawny.gateway.endpoint import Endpoint, bearer_of, client_address, cookie_of, principal_of
from tawny.gateway.errors import forbidden
from tawny.gateway.guard import Guard, Hosts, refuse
from tawny.gateway.operation import Operation
from tawny.gateway.principal import Principal
from tawny.gateway.site import Site

NOBODY = Principal("", "nobody", "none", frozenset(), kind="nobody")


class Scoped:
    """Lets only those pass to an endpoint who were granted its scope."""

    def __init__(self, app: ASGIApp, needed: str | None) -> None:
        self._app = app
        self._needed = needed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._needed is not None and self._needed not in principal_of(scope).scopes:
            raise forbidden(self._needed)
        await self._app(scope, receive, send)


class Methods:
    """All that one path serves, by method."""

    def __init__(self, served: Mapping[str, ASGIApp]) -> None:
        self._served = dict(served)
        if "GET" in self._served:
            self._served.setdefault("HEAD", self._served["GET"])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self._served.get(scope["method"])
        if endpoint is None:
            raise HTTPException(405, headers={"allow": ", ".join(sorted(self._served))})
        await endpoint(scope, receive, send)


class Doorkeeper:
    """Lets nobody pass without a credential, but to the few doors named open. Deny is the default."""

    def __init__(
        self, app: ASGIApp, *, site: Site, open_paths: frozenset[str], open_prefixes: tuple[str, ...]
    ) -> None:
        self._app = app
        self._site = site
        self._open = open_paths
        self._prefixes = open_prefixes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        principal = NOBODY
        if scope["type"] == "http" and not self._is_open(path):
            principal = self._site.keyring.identify(
                bearer=bearer_of(scope), cookie=cookie_of(scope, COOKIE), address=client_address(scope)
            )
            await self._site.keyring.note_use(principal)
        scope["tawny.principal"] = principal
        await self._app(scope, receive, send)

    def _is_open(self, path: str) -> bool:
        return path in self._open or path.startswith(self._prefixes)


def application(
    site: Site,
    operations: Iterable[Operation],
    *,
    endpoints: Mapping[str, ASGIApp],
    extra: Iterable[BaseRoute] = (),
    sockets: ASGIApp | None = None,
    hosts: Hosts,
    open_paths: Iterable[str] = (),
) -> Guard:
    """The whole. `endpoints` serve operations, by name, that answer with something else than one JSON document."""
    by_path: dict[str, dict[str, ASGIApp]] = {}
    open_now = set(open_paths)
    prefixes: list[str] = []
    for operation in operations:
        endpoint = Scoped(endpoints.get(operation.name) or Endpoint(operation, site), operation.scope)
        by_path.setdefault(operation.path, {})[operation.method] = endpoint
        if operation.scope is None:
            head, brace, _ = operation.path.partition("{")
            if brace:
                prefixes.append(head)
            else:
                open_now.add(head)
    routes: list[BaseRoute] = [Route(path, Methods(served)) for path, served in by_path.items()]
    if sockets is not None:
        routes.append(WebSocketRoute("/ws", sockets))
    router = Router(_joined(routes), extra)
    keeper = Doorkeeper(router, site=site, open_paths=frozenset(open_now), open_prefixes=tuple(prefixes))
    return Guard(keeper, hosts=hosts, clock=site.clock)


def _joined(routes: Iterable[BaseRoute]) -> list[BaseRoute]:
    """Fixed paths before those with an id in them, so that `/v1/automations/preview` is no automation."""
    return sorted(routes, key=lambda route: "{" in getattr(route, "path", ""))


class Router:
    """Starlette's router, answering what it does not know as the contract says."""

    def __init__(self, routes: Iterable[BaseRoute], extra: Iterable[BaseRoute]) -> None:
        self._router = _Router([*routes, *extra], redirect_slashes=False, default=_unknown)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = self  # makes Starlette raise, rather than write, its own errors
        await self._router(scope, receive, send)


async def _unknown(scope: Scope, receive: Receive, send: Send) -> None:
    nothing = f"there is nothing at {scope['path']}"
    if scope["type"] == "websocket":
        await receive()
        await refuse(NotFound(nothing), send, prefix="websocket.http.response")
        return
    raise HTTPException(404, nothing)
