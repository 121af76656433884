"""What a channel must be able to do. Every channel passes `tawny.testing.channel_contract`."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from tawny.clock import Clock
from tawny.domain.messages import Inbound, Outgoing, Receipt
from tawny.errors import PermanentError

if TYPE_CHECKING:
    import httpx

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


class ChannelDown(PermanentError):
    """The channel as a whole cannot work until its owner mends something: a bad token, a closed account.

    Raised by `send` or `listen`; the house disables this one channel, says so once, and goes on with the others.
    """

    code = "channel_down"


class Channel(Protocol):
    """A place where messages come and go.

    `send` raises `TemporaryError` when nothing was sent and trying again may help, `PermanentError` when it
    never will (a blocked bot, a wrong address), `ChannelDown` when the whole channel cannot work, `AmbiguousSend`
    when nobody can know.
    """

    name: str
    kind: str
    home_address: str
    """Where a message goes that names no address; empty where there is no such place."""
    text_limit: int
    """UTF-16 units per message; the delivery chunks longer ones."""
    can_edit: bool
    has_buttons: bool
    """Whether a person can tap; where not, the delivery writes numbered choices and understands the reply."""
    idempotent: bool
    """Whether the other side drops a resend with the same key, so that an ambiguous send may be repeated."""

    files_apart: bool
    """Whether a file is a message of its own; then each piece has text, or one file."""

    async def send(self, message: Outgoing, /) -> Receipt: ...

    async def edit(self, receipt: Receipt, message: Outgoing, /) -> Receipt:
        """Replace a message sent before; only called where `can_edit`."""
        ...

    async def reconcile(self, message: Outgoing, /) -> Receipt | None:
        """After an ambiguous send: the receipt if it arrived after all, `None` if it certainly did not.

        `None` needs a look-up that has seen all since `message.tried_at`: it has the message sent again.

        Raises:
            AmbiguousSend: this channel cannot tell.
        """
        ...

    async def listen(self, accept: Accept, /) -> None:
        """Receive until cancelled, over reconnects; returns at once where nothing ever comes in."""
        ...

    async def close(self) -> None: ...


class OneWay:
    """What a channel does that only sends: it cannot edit, cannot tell what arrived, hears nothing, holds nothing."""

    files_apart = False

    async def edit(self, receipt: Receipt, message: Outgoing, /) -> Receipt:
        raise PermanentError(f"{message.key} cannot replace {receipt.ids} here")

    async def reconcile(self, message: Outgoing, /) -> Receipt | None:
        raise AmbiguousSend(f"nobody can tell here whether {message.key} arrived")

    async def listen(self, accept: Accept, /) -> None:
        """Nothing ever comes in."""

    async def close(self) -> None:
        """Nothing is open."""


class ChannelHost(Protocol):
    """What the house lends a channel: its clock, its folder, secrets, a client for the network, a memory."""

    clock: Clock
    home: Path
    folder: Path
    """A folder of the channel's own, for files that come in."""

    def secret(self, reference: str) -> str:
        """The secret behind `env:NAME`, `file:PATH` or `keyring:NAME`.

        Raises:
            ConfigError: there is none.
        """
        ...

    def client(self, *, named_by_owner: bool = True, timeout: float = 30.0) -> "httpx.AsyncClient":
        """An HTTP client. For addresses that a task named, `named_by_owner=False`: then the network list holds.

        A request the list refuses raises `Refused`.
        """
        ...

    async def note(self, name: str, value: str) -> None:
        """Remember something over restarts (an offset, a cursor)."""
        ...

    async def recall(self, name: str) -> str | None: ...

    async def knows(self, sender: str) -> bool:
        """Whether the owner has let this sender in by a code: he may speak where both are alone."""
        ...

    async def say(self, session: str, message: Outgoing) -> str:
        """Put a message into a session, where every device sees it; its id. The same key says it once."""
        ...


class ChannelKind(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of channel as a plugin offers it.

    `settings` is the struct of one `[[channels.<kind>]]` table; `open` makes a channel of checked settings and is the
    place to import a library. `built_in` kinds need no table.
    """

    kind: str
    settings: type[msgspec.Struct]
    open: Callable[[Any, ChannelHost], Channel]
    description: str = ""
    extra: str = ""
    """The optional dependency it needs, as in `pip install "tawny[telegram]"`."""
    built_in: bool = False


def channel(
    kind: str,
    *,
    settings: type[msgspec.Struct],
    description: str = "",
    extra: str = "",
    built_in: bool = False,
) -> "Callable[[Callable[[Any, ChannelHost], Channel]], ChannelKind]":
    """Make a kind of channel of the function that opens one."""

    def wrap(open: Callable[[Any, ChannelHost], Channel]) -> ChannelKind:
        return ChannelKind(
            kind=kind, settings=settings, open=open, description=description, extra=extra, built_in=built_in
        )

    return wrap


class ChannelSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every channel's table may hold. Extend it for a kind's own keys.

    `failures_only` makes it a monitoring channel: it gets every failure and nothing else of its own accord.
    """

    name: str = ""
    failures_only: bool = False


class ChatSettings(ChannelSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The table of a channel people speak through.

    `allow` holds immutable ids; an empty list lets nobody in but those who paired. `pairing = false` turns codes off.
    `groups` are ids of groups in which the allowed are answered when they mention the assistant.
    """

    allow: tuple[int | str, ...] = ()
    pairing: bool = True
    groups: tuple[int | str, ...] = ()
