"""What a channel must be able to do. Every channel passes `tawny.testing.channel_contract`."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from tawny.domain.messages import Inbound, Outgoing, Receipt

Accept = Callable[[Inbound], Awaitable[None]]
"""Hands an inbound message to the house; returns once it is stored. Only then may the channel acknowledge it."""


class AmbiguousSend(Exception):
    """The message may or may not have arrived: never repeat it blindly.

    Raised by `Channel.send` when the connection broke, or timed out, after the request had gone out.
    `partial` holds the ids of chunks that certainly arrived.
    """

    def __init__(self, message: str, *, partial: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.partial = partial


class Channel(Protocol):
    """A place where messages come and go.

    `send` raises `TemporaryError` when nothing was sent and trying again may help, `PermanentError` when it
    never will (a blocked bot, a wrong address), `AmbiguousSend` when nobody can know.
    """

    name: str
    kind: str
    text_limit: int
    """Characters per message; the delivery chunks longer ones."""
    can_edit: bool
    has_buttons: bool
    idempotent: bool
    """Whether the other side drops a resend with the same key, so that an ambiguous send may be repeated."""

    async def send(self, message: Outgoing, /) -> Receipt: ...

    async def edit(self, receipt: Receipt, message: Outgoing, /) -> Receipt:
        """Replace a message sent before; only called where `can_edit`."""
        ...

    async def reconcile(self, message: Outgoing, /) -> Receipt | None:
        """After an ambiguous send: the receipt if it arrived after all, `None` if it certainly did not.

        Raises:
            AmbiguousSend: this channel cannot tell.
        """
        ...

    async def listen(self, accept: Accept, /) -> None:
        """Receive until cancelled, over reconnects; returns at once where nothing ever comes in."""
        ...

    async def close(self) -> None: ...
