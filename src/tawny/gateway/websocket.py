"""Uvicorn's WebSocket protocol with one thing more: frames that are written out already.

An event's frame is the same for every device, as a server masks nothing. It is made once and written to all.
"""

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from tawny.gateway.socket import FRAMES


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """One connection."""

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
