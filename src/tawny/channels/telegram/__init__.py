"""Telegram: a bot over the Bot API, by long polling or webhook."""

import importlib
from typing import Any

from tawny.api import Channel, ChannelHost, ChatSettings, ConfigError, channel, numeric_ids


class TelegramSettings(ChatSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[[channels.telegram]]`. `token` is a reference; `allow` and `groups` hold numeric ids only.

    With `webhook_url` (the public address) updates come to `webhook_listen`, guarded by `webhook_secret`; without it
    the bot polls.
    """

    token: str
    api_base: str = "https://api.telegram.org"
    webhook_url: str = ""
    webhook_listen: str = "127.0.0.1:8766"
    webhook_secret: str = ""

    def __post_init__(self) -> None:
        numeric_ids((*self.allow, *self.groups), kind="Telegram")
        if not self.api_base.startswith(("https://", "http://")):
            raise ValueError("api_base: it must begin with https:// or http://")
        if self.webhook_url and not self.webhook_secret:
            raise ValueError("webhook_secret: it is needed with webhook_url, or anybody could forge updates")
        if self.webhook_url:
            host_and_port(self.webhook_listen)


def host_and_port(listen: str) -> tuple[str, int]:
    """The parts of `host:port`.

    Raises:
        ValueError: it is none.
    """
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"webhook_listen: {listen!r} is no address; write it like 127.0.0.1:8766")
    return host.strip("[]"), int(port)


@channel("telegram", settings=TelegramSettings, description="A Telegram bot.", extra="telegram")
def telegram(settings: Any, host: ChannelHost) -> Channel:
    token = host.secret(settings.token)
    if ":" not in token:
        raise ConfigError(
            "the Telegram token is none", hint="it looks like 123456:ABC…; @BotFather gives one"
        )
    secret = host.secret(settings.webhook_secret) if settings.webhook_secret else ""
    # The library takes half a second to import: only now, when a bot is really wanted.
    bot = importlib.import_module("tawny.channels.telegram.bot")
    return bot.TelegramChannel(settings, host, token=token, webhook_secret=secret)


CHANNELS = {"telegram": telegram}
