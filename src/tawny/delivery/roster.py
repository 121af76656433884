"""The channels there are, by name and kind, and where an address leads."""

from collections.abc import Iterable, Mapping

import msgspec

from tawny.delivery.channel import Channel, ChannelSettings, ChatSettings
from tawny.domain import notify
from tawny.domain.addresses import Address, parse_address
from tawny.errors import PermanentError

FILE = "file:undelivered.md"
_MACHINES = frozenset({"webhook", "file", "memory", "inbox", "chat"})


class Route(msgspec.Struct, frozen=True):
    """Where an address leads. `sent_to` is the address with everything filled in."""

    channel: Channel
    to: str
    thread: str
    sent_to: str
    needs_home: bool = False


def first_for_people(channels: Iterable[tuple[str, str, bool]]) -> str:
    """The first of (name, kind, failures only) that reaches people, else the inbox."""
    for name, kind, failures_only in channels:
        if kind not in _MACHINES and not failures_only:
            return name
    return notify.INBOX


class Roster:
    """All channels of the house. A disabled one stays on the list with its reason."""

    def __init__(
        self,
        channels: Iterable[Channel],
        *,
        settings: Mapping[str, ChannelSettings] | None = None,
        default: str = "",
        disabled: Mapping[str, tuple[str, str]] | None = None,
    ) -> None:
        """`disabled` are channels that could not even be opened: name → (kind, reason)."""
        self.channels = {channel.name: channel for channel in channels}
        self.settings = dict(settings or {})
        self.disabled: dict[str, str] = {name: reason for name, (_, reason) in (disabled or {}).items()}
        self.unopened = {name: kind for name, (kind, _) in (disabled or {}).items()}
        self._default = default
        self.homes: dict[str, str] = {}
        """Where the first person who paired with a channel is spoken to."""

    @property
    def monitors(self) -> list[str]:
        """The channels that want failures only."""
        return [name for name, settings in self.settings.items() if settings.failures_only]

    @property
    def default(self) -> str:
        """The person's default: the one named, else the first one that reaches people, else the inbox."""
        if self._default:
            return self._default
        return first_for_people(
            (name, channel.kind, self.settings[name].failures_only)
            for name, channel in self.channels.items()
            if name in self.settings and name not in self.disabled
        )

    def disable(self, name: str, reason: str) -> bool:
        """Take a channel out of service; whether it was in service."""
        if name in self.disabled:
            return False
        self.disabled[name] = reason
        return True

    def route(self, target: str) -> Route:
        """Where the target leads now.

        Raises:
            PermanentError: no such channel, or it is disabled.
        """
        try:
            address = parse_address(target)
            if address.channel == notify.DEFAULT:
                address = parse_address(self.default)
        except ValueError as error:
            raise PermanentError(str(error)) from error
        channel = self._find(address)
        if reason := self.disabled.get(channel.name):
            raise PermanentError(f"channel {channel.name!r} is disabled: {reason}")
        to = address.to or channel.home_address or self.homes.get(channel.name, "")
        needs_home = not to and isinstance(self.settings.get(channel.name), ChatSettings)
        return Route(channel, to, address.thread, str(Address(channel.name, to, address.thread)), needs_home)

    def _find(self, address: Address) -> Channel:
        if address.channel == "webhook" and "://" in address.to:
            # An address in a task is never sent with the keys of a configured webhook.
            address = Address("webhook-url", address.to)
        if found := self.channels.get(address.channel):
            return found
        for channel in self.channels.values():
            if channel.kind == address.channel:
                return channel
        for name, kind in self.unopened.items():
            if address.channel in (name, kind):
                raise PermanentError(f"channel {name!r} is disabled: {self.disabled[name]}")
        raise PermanentError(
            f"there is no channel {address.channel!r}",
            hint="see 'tawny channels list'; add one under [[channels.…]] in config.toml",
        )

    def is_for_people(self, target: str) -> bool:
        """Whether quiet hours and the digest apply."""
        try:
            return self.route(target).channel.kind not in _MACHINES
        except (PermanentError, ValueError):
            return False

    def next_rung(self, target: str) -> str | None:
        """One rung down the ladder: origin thread, the person's default, the inbox, a file, nothing."""
        kind = target.partition(":")[0]
        if kind == "file":
            return None if target == FILE else notify.INBOX
        if kind == notify.INBOX:
            return FILE
        if kind in ("webhook", "memory", notify.DEFAULT):
            return notify.INBOX
        default = self.default
        try:
            usable = default != notify.INBOX and self.route(notify.DEFAULT).sent_to != self.sent_to(target)
        except PermanentError:
            usable = False
        return notify.DEFAULT if usable and target != default else notify.INBOX

    def sent_to(self, target: str) -> str | None:
        """The address the target leads to now, `None` where it leads nowhere."""
        try:
            return self.route(target).sent_to
        except (PermanentError, ValueError):
            return None
