"""The small server that takes Telegram's updates where polling is not wanted. Put a TLS proxy before it."""

import hmac
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from uvicorn.config import Config
from uvicorn.server import Server

from tawny.api import ConfigError

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
    listen: str, secret: str, receive: Callable[[bytes], Awaitable[None]]
) -> AsyncGenerator[Callable[[], Awaitable[None]]]:
    """Listen at `host:port`; yields the function that serves until cancelled.

    An update without the right secret gets 401 before its body is read; 200 is said once it is stored, so that
    Telegram sends it again otherwise.
    """
    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit():
        raise ConfigError(f"webhook_listen: {listen!r} is no address", hint="write it like 127.0.0.1:8766")

    async def update(request: Request) -> Response:
        given = request.headers.get(_HEADER, "")
        if not secret or not hmac.compare_digest(given.encode(), secret.encode()):
            return Response(status_code=401)
        if int(request.headers.get("content-length") or _LARGEST + 1) > _LARGEST:
            return Response(status_code=413)
        try:
            await receive(await request.body())
        except ValueError:
            # It will be no better next time.
            return Response(status_code=400)
        except Exception:  # noqa: BLE001 - the house could not keep it, for whatever reason: it shall come again
            _log.exception("update not kept")
            return Response(status_code=503)
        return Response(status_code=200)

    app = Starlette(routes=[Route("/{path:path}", update, methods=["POST"])])
    server = _Server(
        Config(app, host=host.strip("[]"), port=int(port), log_config=None, access_log=False, lifespan="off")
    )
    try:
        yield server.serve
    finally:
        if server.started:
            await server.shutdown()
