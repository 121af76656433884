"""The inbox: what lies in the outbox's own table under the target `inbox`, read by CLI and panel."""

from typing import Any

from tawny.api import Channel, ChannelHost, ChannelSettings, OneWay, Outgoing, Receipt, channel


class InboxChannel(OneWay):
    """The row itself is the message, so it has arrived as soon as it is told so."""

    kind = "inbox"
    home_address = ""
    text_limit = 10_000_000
    can_edit = False
    has_buttons = True
    idempotent = True

    def __init__(self, name: str = "inbox") -> None:
        self.name = name

    async def send(self, message: Outgoing, /) -> Receipt:
        return Receipt(ids=(message.key,))


@channel(
    "inbox", settings=ChannelSettings, description="The list of messages in the panel and CLI.", built_in=True
)
def inbox(settings: Any, host: ChannelHost) -> Channel:
    del host
    return InboxChannel(settings.name or "inbox")


CHANNELS = {"inbox": inbox}
