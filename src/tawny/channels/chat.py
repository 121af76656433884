"""Web chat: messages into a session, seen by every device that looks at it. They come in over the gateway."""

from typing import Any

from tawny.api import Channel, ChannelHost, ChannelSettings, OneWay, Outgoing, Receipt, channel


class ChatChannel(OneWay):
    """`chat:SESSION` speaks in that session; without one, in `main`."""

    kind = "chat"
    home_address = "main"
    text_limit = 1_000_000
    can_edit = False
    has_buttons = True
    # A session drops a second message of the same key.
    idempotent = True

    def __init__(self, name: str, host: ChannelHost) -> None:
        self.name = name
        self._host = host

    async def send(self, message: Outgoing, /) -> Receipt:
        return Receipt(ids=(await self._host.say(message.to or self.home_address, message),))

    async def reconcile(self, message: Outgoing, /) -> Receipt | None:
        return await self.send(message)


@channel("chat", settings=ChannelSettings, description="The panel's chat and `tawny chat`.", built_in=True)
def chat(settings: Any, host: ChannelHost) -> Channel:
    return ChatChannel(settings.name or "chat", host)


CHANNELS = {"chat": chat}
