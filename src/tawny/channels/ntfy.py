"""ntfy: pushes to a phone without an account, from ntfy.sh or a server of one's own."""

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

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


class _Message(msgspec.Struct):
    """What is read of a message in the server's list."""

    id: str = ""
    tags: list[str] = []


def _message(line: str) -> _Message:
    try:
        return msgspec.json.decode(line, type=_Message)
    except msgspec.DecodeError:
        return _Message()


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
        self._host = host
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
        arrived = text_at(json_object(response), "id")
        await self._host.note(self._witness(message), json.dumps([arrived, self._host.clock.now()]))
        return Receipt(ids=(arrived,))

    def _witness(self, message: Outgoing) -> str:
        """Where the last message that certainly lies in the topic is noted."""
        return f"last:{message.to or self.home_address}"

    async def reconcile(self, message: Outgoing, /) -> Receipt | None:
        """Look for the mark among all the messages that the server still has of the topic.

        It forgets them, after hours or with a restart. So a mark that is not there proves something only where a
        message from before it still is.
        """
        topic = quote(message.to or self.home_address, safe="")
        url = f"{self._server}/{topic}/json?poll=1&since=all"
        try:
            response = await request(self._client, "GET", url, headers=self._headers)
        except PermanentError as error:
            raise AmbiguousSend(f"the topic cannot be read: {error.message}") from error
        kept = [_message(line) for line in response.text.splitlines()]
        for each in kept:
            if message.key in each.tags:
                return Receipt(ids=(each.id,), detail={"reconciled": True})
        witness, at = json.loads(await self._host.recall(self._witness(message)) or '["", 0]')
        if at <= message.tried_at and any(each.id == witness for each in kept):
            return None
        raise AmbiguousSend("the server may have forgotten it by now")

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
