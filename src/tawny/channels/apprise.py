"""Apprise: more than a hundred other services, outbound only, each by its Apprise URL."""

import asyncio
import importlib
from typing import Any

from tawny.api import (
    AmbiguousSend,
    Channel,
    ChannelHost,
    ChannelSettings,
    ConfigError,
    OneWay,
    Outgoing,
    Receipt,
    channel,
)


class AppriseChannel(OneWay):
    """Apprise tells no more than yes or no, so a no may still have arrived."""

    kind = "apprise"
    home_address = ""
    can_edit = False
    has_buttons = False
    idempotent = False

    def __init__(self, name: str, urls: tuple[str, ...]) -> None:
        """`urls` are Apprise URLs, secrets filled in."""
        apprise = importlib.import_module("apprise")
        self.name = name
        self._apprise = apprise.Apprise()
        for number, url in enumerate(urls, start=1):
            if not self._apprise.add(url):
                raise ConfigError(
                    f"channel {name!r}: url number {number} is none Apprise knows", hint="see its list"
                )
        self.text_limit = max(100, min((server.body_maxlen for server in self._apprise), default=4000))
        self._kinds = {"low": "info", "normal": "info", "high": "warning", "critical": "failure"}

    async def send(self, message: Outgoing, /) -> Receipt:
        sent = await asyncio.to_thread(
            self._apprise.notify,
            body=message.text,
            title=message.title,
            notify_type=self._kinds.get(message.severity, "info"),
            body_format="markdown" if message.format == "markdown" else "text",
        )
        if not sent:
            raise AmbiguousSend("Apprise could not bring it to every service, and does not say to which")
        return Receipt(ids=(message.key,))


class AppriseSettings(ChannelSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[[channels.apprise]]`. Each of `urls` is an Apprise URL, or a reference to one (`env:NAME`)."""

    urls: tuple[str, ...]


@channel("apprise", settings=AppriseSettings, description="100 more services, outbound.", extra="apprise")
def apprise(settings: Any, host: ChannelHost) -> Channel:
    urls = tuple(
        host.secret(url) if url.startswith(("env:", "file:", "keyring:")) else url for url in settings.urls
    )
    return AppriseChannel(settings.name, urls)


CHANNELS = {"apprise": apprise}
