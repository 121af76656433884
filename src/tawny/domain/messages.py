"""Messages as every channel understands them."""

from typing import Any

import msgspec

from tawny.clock import Instant


class Button(msgspec.Struct, frozen=True, omit_defaults=True):
    """A tap the person may make. `value` comes back as the inbound's `action`; `url` opens instead."""

    label: str
    value: str = ""
    url: str = ""


class Attachment(msgspec.Struct, frozen=True, omit_defaults=True):
    """A file beside the text: `path` in the home, or an artifact's id."""

    name: str
    path: str = ""
    media_type: str = "application/octet-stream"
    artifact_id: str = ""


class Outgoing(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is to be said to somebody.

    `key` is the same for every resend of one delivery. `to` and `thread` are the channel's own addresses, empty for
    the channel's default. `document` is what machines get (webhooks): `{"type": …, "task": …}`. `tried_at` is set
    where a channel is asked after it: nobody can have sent it before.
    """

    key: str
    text: str
    to: str = ""
    thread: str = ""
    format: str = "markdown"
    buttons: tuple[Button, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    severity: str = "normal"
    title: str = ""
    document: dict[str, Any] = {}
    tried_at: Instant = 0


class Receipt(msgspec.Struct, frozen=True, omit_defaults=True):
    """The proof that a message arrived: the channel's own ids, in order of the chunks."""

    ids: tuple[str, ...] = ()
    detail: dict[str, Any] = {}


class Inbound(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What somebody said, or tapped. `event_id` is unique within the channel and makes it once-only.

    `sender` is the immutable id; `sender_name` may be anything and decides nothing. `action` is a tapped button's
    value. `mentioned` says whether a group message speaks to the assistant.
    """

    channel: str
    event_id: str
    sender: str
    text: str = ""
    sender_name: str = ""
    conversation: str = ""
    thread: str = ""
    group: bool = False
    mentioned: bool = True
    action: str = ""
    reply_to: str = ""
    attachments: tuple[Attachment, ...] = ()
    time: Instant = 0
    raw: dict[str, Any] = {}
