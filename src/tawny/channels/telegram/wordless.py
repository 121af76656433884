"""Words for messages whose content is not plain text: a place, a poll, a list, a page of rich text."""

from collections.abc import Iterator
from typing import Any, cast

from telegram import Message

_DEEPEST = 40
_WORDS = ("text", "label", "summary", "caption", "credit", "expression", "blocks", "items", "cells")
"""The keys of rich text under which words stand, in reading order."""


def described(message: Message) -> str:
    """What a message without text says; empty where that is nothing (a joined member, a pinned post)."""
    if message.venue is not None:
        place = message.venue.location
        return (
            f"A place: {message.venue.title}, {message.venue.address} ({place.latitude}, {place.longitude})"
        )
    if message.location is not None:
        return f"My location: {message.location.latitude}, {message.location.longitude}"
    if message.contact is not None:
        name = " ".join(filter(None, (message.contact.first_name, message.contact.last_name)))
        return f"A contact: {name}, {message.contact.phone_number}"
    if message.poll is not None:
        return "\n".join(
            [f"A poll: {message.poll.question}", *(f"- {each.text}" for each in message.poll.options)]
        )
    if message.checklist is not None:
        tasks = (
            f"- [{'x' if each.completion_date else ' '}] {each.text}" for each in message.checklist.tasks
        )
        return "\n".join([f"A checklist: {message.checklist.title}", *tasks])
    if message.dice is not None:
        return f"{message.dice.emoji} {message.dice.value}"
    if message.sticker is not None:
        return message.sticker.emoji or ""
    return _rich(message.api_kwargs.get("rich_message"))


def _rich(document: Any) -> str:
    """The words of a rich message, a line for each block; the library does not read these yet."""
    if not isinstance(document, dict):
        return ""
    blocks = cast("dict[str, Any]", document).get("blocks")
    if not isinstance(blocks, list):
        return ""
    lines = ("".join(_words(block, _DEEPEST)).strip() for block in cast("list[Any]", blocks))
    return "\n".join(line for line in lines if line)


def _words(node: Any, deepest: int) -> Iterator[str]:
    if deepest == 0:
        return
    if isinstance(node, str):
        yield node
    elif isinstance(node, list):
        for each in cast("list[Any]", node):
            yield from _words(each, deepest - 1)
    elif isinstance(node, dict):
        entry = cast("dict[str, Any]", node)
        for name in _WORDS:
            if name in entry:
                yield from _words(entry[name], deepest - 1)
        if "label" in entry or "summary" in entry or entry.get("type") in ("paragraph", "heading", "pre"):
            yield "\n"
