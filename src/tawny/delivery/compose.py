"""Turning a message owed into what one channel can carry: pieces, numbered choices, an address."""

import msgspec

from tawny.delivery.channel import Channel
from tawny.delivery.roster import Route
from tawny.domain.chunks import chunk
from tawny.domain.messages import Outgoing

REPEAT = "(This may have reached you before.)\n\n"


def compose(message: Outgoing, route: Route, *, repeat: bool = False) -> list[Outgoing]:
    """The pieces to send, in order. Buttons and files hang on the last one; every piece has a key of its own."""
    text = numbered(message) if not route.channel.has_buttons else message.text
    if repeat:
        text = REPEAT + text
    files = message.attachments
    texts = chunk(text, route.channel.text_limit) or ([] if files and route.channel.files_apart else [""])
    pieces = [
        msgspec.structs.replace(
            message,
            text=piece,
            buttons=message.buttons if index == len(texts) - 1 and route.channel.has_buttons else (),
            attachments=files if index == len(texts) - 1 and not route.channel.files_apart else (),
        )
        for index, piece in enumerate(texts)
    ]
    if route.channel.files_apart:
        pieces += [
            msgspec.structs.replace(message, text="", buttons=(), attachments=(file,)) for file in files
        ]
    return [
        msgspec.structs.replace(
            piece,
            key=message.key if index == 0 else f"{message.key}.{index}",
            to=message.to or route.to,
            thread=message.thread or route.thread,
        )
        for index, piece in enumerate(pieces)
    ]


def numbered(message: Outgoing) -> str:
    """The text with its buttons as numbered choices, for channels where nobody can tap."""
    if not message.buttons:
        return message.text
    lines = [
        f"{number}. {button.label}" + (f": {button.url}" if button.url else "")
        for number, button in enumerate(message.buttons, start=1)
    ]
    choices = "\n".join(lines)
    ask = "\n\nReply with the number." if any(button.value for button in message.buttons) else ""
    return f"{message.text}\n\n{choices}{ask}"


def chosen(message: Outgoing, reply: str) -> str | None:
    """The button's value that a reply such as `1` or `Approve` stands for, `None` where it is something else."""
    word = reply.strip().strip(".)!").casefold()
    for number, button in enumerate(message.buttons, start=1):
        if button.value and word in (str(number), button.label.casefold()):
            return button.value
    return None


def fits(channel: Channel, text: str) -> str:
    """The first piece of a text, for an edit in place."""
    return (chunk(text, channel.text_limit) or ["…"])[0]
