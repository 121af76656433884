"""The small server that takes Telegram's updates where polling is not wanted. Put a TLS proxy before it."""

import hmac
import json
import logging
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from uvicorn.config import Config
from uvicorn.server import Server

from tawny.api import TemporaryError
from tawny.channels.telegram import host_and_port

_HEADER = "x-telegram-bot-api-secret-token"
_LARGEST = 1_000_000
_log = logging.getLogger("tawny.telegram")


class _Server(Server):
    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Signals belong to the process, which has more to do than this server."""
        yield


@asynccontextmanager
async def serve(
    listen: str, secret: str, receive: Callable[[Any], Awaitable[None]]
) -> AsyncGenerator[Callable[[], Awaitable[None]]]:
    """Listen at `host:port`; yields the function that serves until cancelled.

    An update without the right secret gets 401 before its body is read; 200 is said once it is stored, so that
    Telegram sends it again otherwise. It may come at any path: proxies change those, and the secret is what counts.

    Raises:
        TemporaryError: nobody can listen there now.
    """

    async def update(request: Request) -> Response:
        given = request.headers.get(_HEADER, "")
        if not secret or not hmac.compare_digest(given.encode(), secret.encode()):
            return Response(status_code=401)
        if int(request.headers.get("content-length") or _LARGEST + 1) > _LARGEST:
            return Response(status_code=413)
        try:
            document: Any = json.loads(await request.body())
        except (ValueError, RecursionError):
            # It will be no better next time.
            return Response(status_code=400)
        try:
            await receive(document)
        except Exception:  # noqa: BLE001 - the house could not keep it, for whatever reason: it shall come again
            _log.exception("update not kept")
            return Response(status_code=503)
        return Response(status_code=200)

    app = Starlette(routes=[Route("/{path:path}", update, methods=["POST"])])
    server = _Server(Config(app, log_config=None, access_log=False, lifespan="off"))
    # Bound here: where it cannot, the server would end the whole process.
    with _bound(listen) as bound:
        try:
            yield lambda: server.serve(sockets=[bound])
        finally:
            if server.started:
                await server.shutdown(sockets=[bound])


def _bound(listen: str) -> socket.socket:
    host, port = host_and_port(listen)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise TemporaryError(
            f"webhook_listen: cannot listen at {listen}: {error.strerror or error}"
        ) from None
