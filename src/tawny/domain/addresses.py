"""Where a message goes, in one line: `telegram`, `telegram:12345#7`, `webhook:https://…`, `file:notes.md`, `inbox`."""

import msgspec

_WHOLE = frozenset({"webhook", "file"})
"""Kinds whose address is taken as it stands: a `#` in it is part of it."""


class Address(msgspec.Struct, frozen=True):
    """`channel` is a channel's name or kind; `to` and `thread` are its own words, empty for its default."""

    channel: str
    to: str = ""
    thread: str = ""

    def __str__(self) -> str:
        text = f"{self.channel}:{self.to}" if self.to or self.thread else self.channel
        return f"{text}#{self.thread}" if self.thread else text


def parse_address(text: str) -> Address:
    """The address in a target such as `telegram:12345#7`.

    Raises:
        ValueError: it names no channel.
    """
    channel, _, to = text.strip().partition(":")
    if not channel:
        raise ValueError(
            f"{text!r} names no channel; write it like telegram, telegram:12345 or webhook:https://…"
        )
    if channel in _WHOLE:
        return Address(channel, to)
    to, _, thread = to.partition("#")
    return Address(channel, to, thread)
