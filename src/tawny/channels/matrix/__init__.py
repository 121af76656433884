"""Matrix: an account in rooms, end-to-end encrypted where the room is."""

import importlib
from typing import Any

from tawny.api import Channel, ChannelHost, ChatSettings, channel


class MatrixSettings(ChatSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[[channels.matrix]]`. `token` is a reference to an access token; `to` a room's id.

    `allow` holds full user ids (`@ann:example.org`), `groups` room ids (`!abc:example.org`); display names and aliases
    can be changed and are refused.
    """

    homeserver: str
    token: str
    to: str = ""

    def __post_init__(self) -> None:
        if not self.homeserver.startswith(("https://", "http://")):
            raise ValueError("homeserver: it must begin with https:// or http://")
        for entry in self.allow:
            if not str(entry).startswith("@") or ":" not in str(entry):
                raise ValueError(f"allow: {entry!r} is no Matrix user id; write it like @ann:example.org")
        for entry in (*self.groups, *((self.to,) if self.to else ())):
            if not str(entry).startswith("!"):
                raise ValueError(f"{entry!r} is no room id; it begins with ! (an alias can be moved)")


@channel(
    "matrix", settings=MatrixSettings, description="A Matrix account, end-to-end encrypted.", extra="matrix"
)
def matrix(settings: Any, host: ChannelHost) -> Channel:
    token = host.secret(settings.token)
    # The library takes most of a second to import: only now, when an account is really wanted.
    importlib.import_module("nio")
    rooms = importlib.import_module("tawny.channels.matrix.rooms")
    return rooms.MatrixChannel(settings, host, token=token)


CHANNELS = {"matrix": matrix}
