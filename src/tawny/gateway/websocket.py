"""Uvicorn's WebSocket protocol with two things more: frames that are written out already, and the contract's errors.

An event's frame is the same for every device, as a server masks nothing. It is made once and written to all.
"""

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidHeader
from websockets.http11 import Request

from tawny.gateway.errors import HttpError
from tawny.gateway.server import refusal
from tawny.gateway.socket import FRAMES

_VERSION = "Sec-WebSocket-Version"


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """One connection."""

    def handle_connect(self, event: Request) -> None:
        if self.conn.accept(event).status_code == 101:
            super().handle_connect(event)
            return
        self.handshake_initiated = self.handshake_complete = self.close_sent = True
        wrong = self.conn.handshake_exc
        error = HttpError(400, "no_websocket", f"this opens no WebSocket: {wrong}")
        if isinstance(wrong, InvalidHeader) and wrong.name == _VERSION:
            error = HttpError(
                426, "no_websocket", "WebSockets are spoken in version 13", headers={_VERSION.lower(): "13"}
            )
        self.transport.write(refusal(error))
        self.transport.close()

    async def run_asgi(self) -> None:
        extensions = self.scope.get("extensions") or {}
        extensions[FRAMES] = {"write": self.write_frames}
        self.scope["extensions"] = extensions
        await super().run_asgi()

    async def write_frames(self, frames: bytes) -> None:
        """Write whole frames, once the other end has taken what went before.

        Raises:
            ClientDisconnected: it has gone.
        """
        await self.writable.wait()
        if self.disconnected or self.close_sent:
            raise ClientDisconnected
        self.transport.write(frames)
