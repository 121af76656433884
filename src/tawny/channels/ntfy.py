"""ntfy: pushes to a phone without an account, from ntfy.sh or a server of one's own."""

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tawny.api import (
    AmbiguousSend,
    Channel,
    ChannelHost,
    ChannelSettings,
    OneWay,
    Outgoing,
    PermanentError,
    Receipt,
    channel,
    json_object,
    request,
    text_at,
)

if TYPE_CHECKING:
    import httpx

_PRIORITY = {"low": 2, "normal": 3, "high": 4, "critical": 5}


class NtfyChannel(OneWay):
    """Publishes to a topic; buttons that open an address are shown, others cannot come back and are numbered."""

    kind = "ntfy"
    # ntfy takes 4,096 bytes; a UTF-16 unit is three of them at most.
    text_limit = 1300
    can_edit = False
    has_buttons = False
    idempotent = False

    def __init__(self, name: str, host: ChannelHost, *, server: str, topic: str, token: str = "") -> None:
        self.name = name
        self.home_address = topic
        self._server = server.rstrip("/")
        self._headers = {"authorization": f"Bearer {token}"} if token else {}
        self._client: httpx.AsyncClient = host.client()

    async def send(self, message: Outgoing, /) -> Receipt:
        body = {
            "topic": message.to or self.home_address,
            "message": message.text,
            "title": message.title or "Tawny",
            "priority": _PRIORITY.get(message.severity, 3),
            "markdown": message.format == "markdown",
            # The mark by which an unanswered publish is found again.
            "tags": [message.key],
        }
        response = await request(
            self._client, "POST", self._server + "/", asks_back=True, json=body, headers=self._headers
        )
        return Receipt(ids=(text_at(json_object(response), "id"),))

    async def reconcile(self, message: Outgoing, /) -> Receipt | None:
        """Look for the mark among all the messages that the server still has of the topic."""
        topic = quote(message.to or self.home_address, safe="")
        url = f"{self._server}/{topic}/json?poll=1&since=all"
        try:
            response = await request(self._client, "GET", url, headers=self._headers)
        except PermanentError as error:
            raise AmbiguousSend(f"the topic cannot be read: {error.message}") from error
        for line in response.text.splitlines():
            if f'"{message.key}"' in line:
                return Receipt(ids=(message.key,), detail={"reconciled": True})
        return None

    async def close(self) -> None:
        await self._client.aclose()


class NtfySettings(ChannelSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[[channels.ntfy]]`. `token` is a reference such as `env:NTFY_TOKEN`."""

    topic: str
    server: str = "https://ntfy.sh"
    token: str = ""


@channel("ntfy", settings=NtfySettings, description="Push notifications through ntfy.")
def ntfy(settings: Any, host: ChannelHost) -> Channel:
    token = host.secret(settings.token) if settings.token else ""
    return NtfyChannel(settings.name, host, server=settings.server, topic=settings.topic, token=token)


CHANNELS = {"ntfy": ntfy}
