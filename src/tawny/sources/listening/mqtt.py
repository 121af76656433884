"""MQTT topics as a source of events."""

import hashlib
from collections.abc import Awaitable, Callable
from typing import Any, cast
from urllib.parse import urlsplit

import msgspec

from tawny.domain.automations import On
from tawny.domain.tasks import Json
from tawny.errors import PermanentError, TemporaryError
from tawny.sources.listening.host import Desk, Event, Listener

_MOST = 64 * 1024

Admit = Callable[[str, int], Awaitable[None]]
"""Raises `Refused` where the network list does not let us reach a host and port."""
Secret = Callable[[str], str]


def mqtt(admit: Admit, secret: Secret) -> Listener:
    """Subscribes to `on.topic` at `on.url` (`mqtt://user@host:1883`, `mqtts://…`); `on.secret` is the password.

    The session lasts: what is published at QoS 1 while we are away comes when we are back. A retained message is
    an event once, however often it is told again.
    """

    async def listen(on: On, desk: Desk) -> None:
        parts = urlsplit(on.url or "mqtt://127.0.0.1")
        host, port = parts.hostname or "127.0.0.1", parts.port or (8883 if parts.scheme == "mqtts" else 1883)
        await admit(host, port)
        library = _library()
        identifier = "tawny-" + hashlib.sha256(f"{on.url} {on.topic}".encode()).hexdigest()[:16]
        options: dict[str, Any] = {"tls_params": library.TLSParameters()} if parts.scheme == "mqtts" else {}
        try:
            connection = library.Client(
                host,
                port,
                username=parts.username,
                password=secret(on.secret) if on.secret else parts.password,
                identifier=identifier,
                clean_session=False,
                **options,
            )
            # Not until it is stored: the library itself acknowledges what has only just come in.
            wire = connection._client  # noqa: SLF001 - it has no way of its own to say so
            wire.manual_ack_set(on=True)
            async with connection as client:
                await client.subscribe(on.topic, qos=1)
                await desk.take([], {**desk.cursor, "subscribed": on.topic})
                async for message in client.messages:
                    await _take(on, desk, message)
                    wire.ack(message.mid, message.qos)
        except library.MqttError as error:
            raise TemporaryError(f"{host}:{port}: {error}", hint="is the broker running?") from error

    return listen


def _library() -> Any:
    try:
        import aiomqtt  # noqa: PLC0415 - a second that only MQTT pays
    except ImportError as error:
        raise PermanentError(
            "MQTT needs a library that is not installed", hint="install tawny[mqtt]"
        ) from error
    return aiomqtt


async def _take(on: On, desk: Desk, message: Any) -> None:
    payload = bytes(message.payload or b"")[:_MOST]
    topic = str(message.topic)
    digest = hashlib.sha256(topic.encode() + b"\0" + payload).hexdigest()[:24]
    count = desk.cursor.get("count")
    number = (count if isinstance(count, int) else 0) + 1
    # what a payload calls `url` or `topic` gives way: by these the automation is found
    data: dict[str, Json] = {
        **_body(payload),
        "url": on.url,
        "topic": topic,
        "retained": bool(message.retain),
    }
    once = f"{topic}:retained:{digest}" if message.retain else f"{topic}:{number}:{digest}"
    await desk.take([Event(event_id=f"{on.url}:{once}", data=data)], {**desk.cursor, "count": number})


def _body(payload: bytes) -> dict[str, Json]:
    text = payload.decode("utf-8", "replace")
    try:
        value: Any = msgspec.json.decode(payload)
    except msgspec.DecodeError:
        return {"payload": text}
    if isinstance(value, dict):
        return {**cast("dict[str, Json]", value), "payload": text}
    return {"payload": value}
