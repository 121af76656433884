"""Webhooks out: a signed POST in the Standard Webhooks scheme, safe to repeat by its key.

`[[channels.webhook]]` names a place of the owner's; `webhook:URL` in a task is any place the network list allows, and
is signed with the house's own secret.
"""

import base64
import hashlib
import hmac
import json
import secrets
from typing import TYPE_CHECKING, Any

from tawny.api import (
    SECOND,
    Channel,
    ChannelHost,
    ChannelSettings,
    ConfigError,
    OneWay,
    Outgoing,
    PermanentError,
    Receipt,
    channel,
    request,
)

if TYPE_CHECKING:
    import httpx

_PREFIX = "whsec_"
_SECRET_NOTE = "secret"


def key_of(secret: str) -> bytes:
    """The signing key in a `whsec_…` secret (base64); any other text is its own bytes."""
    if not secret.startswith(_PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except ValueError as error:
        raise ConfigError("the webhook's secret is not base64 after whsec_", hint="copy it again") from error


def sign(key: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """The `webhook-signature` header: `v1,` and the base64 HMAC-SHA256 over id, timestamp (seconds) and body."""
    digest = hmac.new(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


class WebhookChannel(OneWay):
    """Posts `{"type": …, "task": {…}}`; whoever gets it drops a resend by its key."""

    home_address = ""
    text_limit = 10_000_000
    can_edit = False
    has_buttons = True
    idempotent = True

    def __init__(
        self, name: str, host: ChannelHost, *, url: str = "", secret: str = "", kind: str = "webhook"
    ) -> None:
        self.name = name
        self.kind = kind
        self.home_address = url
        self._host = host
        self._key = key_of(secret) if secret else None
        self._client: httpx.AsyncClient | None = None

    async def send(self, message: Outgoing, /) -> Receipt:
        url = message.to or self.home_address
        if not url.startswith(("http://", "https://")):
            raise PermanentError(f"{url!r} is no web address", hint="write webhook:https://…")
        if self.home_address and url != self.home_address:
            raise PermanentError(f"channel {self.name!r} posts to its own address only")
        body = json.dumps(self._document(message), ensure_ascii=False, separators=(",", ":")).encode()
        timestamp = self._host.clock.now() // SECOND
        headers = {
            "content-type": "application/json",
            "user-agent": "tawny",
            "webhook-id": message.key,
            "idempotency-key": message.key,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": sign(await self._signing_key(), message.key, timestamp, body),
        }
        try:
            response = await request(self._open(), "POST", url, content=body, headers=headers)
        except PermanentError as error:
            # A place that refuses us says nothing about other places.
            raise PermanentError(error.message, hint=error.hint, code=error.code) from error
        return Receipt(ids=(message.key,), detail={"status": response.status_code})

    def _document(self, message: Outgoing) -> dict[str, Any]:
        if message.document:
            return message.document
        return {
            "type": "message",
            "message": {"title": message.title, "text": message.text, "to": message.thread},
        }

    async def _signing_key(self) -> bytes:
        if self._key is None:
            # No secret was given: one of the house's own, kept, so that receivers may pin it.
            kept = await self._host.recall(_SECRET_NOTE)
            if kept is None:
                kept = _PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()
                await self._host.note(_SECRET_NOTE, kept)
            self._key = key_of(kept)
        return self._key

    def _open(self) -> "httpx.AsyncClient":
        if self._client is None:
            self._client = self._host.client(named_by_owner=bool(self.home_address))
        return self._client

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()


class WebhookSettings(ChannelSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[[channels.webhook]]`. `secret` is a reference such as `env:HOOK_SECRET`."""

    url: str
    secret: str = ""

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise ValueError("url: it must begin with https:// or http://")


@channel("webhook", settings=WebhookSettings, description="A signed POST to an address of yours.")
def webhook(settings: Any, host: ChannelHost) -> Channel:
    secret = host.secret(settings.secret) if settings.secret else ""
    return WebhookChannel(settings.name, host, url=settings.url, secret=secret)


@channel("webhook-url", settings=ChannelSettings, description="`webhook:URL` in a task.", built_in=True)
def webhook_url(settings: Any, host: ChannelHost) -> Channel:
    return WebhookChannel(settings.name or "webhook-url", host, kind="webhook-url")


CHANNELS = {"webhook": webhook, "webhook-url": webhook_url}
