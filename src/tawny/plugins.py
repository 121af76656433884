"""Finds and registers plugins, bundled and installed.

A plugin is a module or object with functions marked `@tawny.api.hookimpl`, named by the entry point group
`tawny.plugins`. Bundled channels are known by name alone: their file is imported when a table of theirs is there.
"""

import functools
import importlib
from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import Any

import pluggy

from tawny.delivery.channel import ChannelKind
from tawny.engine.kinds import Kind
from tawny.errors import ConfigError
from tawny.log import Log
from tawny.sources.place import SourceKind
from tawny.sources.search import SearchKind
from tawny.tools.registry import Tool

GROUP = "tawny.plugins"
_hookspec = pluggy.HookspecMarker("tawny")
_log = Log("plugins")


class Hooks:
    """What a plugin may offer. Each hook returns a list; an empty one, or leaving the hook out, offers nothing."""

    @_hookspec
    def tawny_channels(self) -> list[ChannelKind]:  # pyright: ignore[reportReturnType]
        """Kinds of channel, made with `tawny.api.channel`. Import the channel's library in its `open` alone."""

    @_hookspec
    def tawny_kinds(self) -> list[Kind]:  # pyright: ignore[reportReturnType]
        """Kinds of task."""

    @_hookspec
    def tawny_tools(self) -> list[Tool]:  # pyright: ignore[reportReturnType]
        """Tools for the model."""

    @_hookspec
    def tawny_sources(self) -> list[SourceKind]:  # pyright: ignore[reportReturnType]
        """Kinds of source, made with `tawny.api.source`."""

    @_hookspec
    def tawny_searchers(self) -> list[SearchKind]:  # pyright: ignore[reportReturnType]
        """Providers of web search, made with `tawny.api.search_provider`."""


BUNDLED_CHANNELS: Mapping[str, str] = {
    "apprise": "tawny.channels.apprise",
    "chat": "tawny.channels.chat",
    "discord": "tawny.channels.discord",
    "email": "tawny.channels.email",
    "file": "tawny.channels.file",
    "inbox": "tawny.channels.inbox",
    "matrix": "tawny.channels.matrix",
    "memory": "tawny.channels.memory",
    "ntfy": "tawny.channels.ntfy",
    "slack": "tawny.channels.slack",
    "telegram": "tawny.channels.telegram",
    "terminal": "tawny.channels.terminal",
    "webhook": "tawny.channels.webhook",
    "webhook-url": "tawny.channels.webhook",
}
"""Each module has a `CHANNELS` mapping from kind to `ChannelKind`."""

BUILT_IN_CHANNELS = ("inbox", "chat", "file", "memory", "webhook-url")
"""Open in every house, without a table in the configuration."""


class ChannelKinds(Mapping[str, ChannelKind]):
    """Every kind of channel there is; a bundled one is imported when it is asked for."""

    def __init__(self, installed: Mapping[str, ChannelKind] | None = None) -> None:
        self._installed = dict(installed or {})

    def __getitem__(self, kind: str) -> ChannelKind:
        if kind in BUNDLED_CHANNELS:
            return importlib.import_module(BUNDLED_CHANNELS[kind]).CHANNELS[kind]
        return self._installed[kind]

    def __iter__(self) -> Iterator[str]:
        yield from dict.fromkeys((*BUNDLED_CHANNELS, *self._installed))

    def __len__(self) -> int:
        return len({*BUNDLED_CHANNELS, *self._installed})


class Plugins:
    """What bundled and installed plugins offer."""

    def __init__(self, manager: pluggy.PluginManager) -> None:
        self._manager = manager

    @property
    def channels(self) -> ChannelKinds:
        """Kinds of channel by name. A bundled kind cannot be replaced by an installed one."""
        return ChannelKinds({kind.kind: kind for kind in self._offered("tawny_channels")})

    @property
    def kinds(self) -> dict[str, Kind]:
        """Kinds of task by name."""
        return {kind.name: kind for kind in self._offered("tawny_kinds")}

    @property
    def tools(self) -> dict[str, Tool]:
        """Tools by name."""
        return {tool.name: tool for tool in self._offered("tawny_tools")}

    @property
    def sources(self) -> list[SourceKind]:
        """Kinds of source."""
        return list(self._offered("tawny_sources"))

    @property
    def searchers(self) -> dict[str, SearchKind]:
        """Providers of web search by name."""
        return {kind.name: kind for kind in self._offered("tawny_searchers")}

    @property
    def names(self) -> list[str]:
        """The installed plugins."""
        return [name for name, _ in self._manager.list_name_plugin()]

    def _offered(self, hook: str) -> Iterator[Any]:
        for answer in getattr(self._manager.hook, hook)():
            yield from answer


@functools.cache
def installed() -> Plugins:
    """The installed plugins, looked for once in a process.

    Raises:
        ConfigError: one cannot be loaded.
    """
    return find()


def find(*extra: object) -> Plugins:
    """All plugins: those installed under the entry point group, and `extra` ones given here (tests).

    Raises:
        ConfigError: an installed plugin cannot be loaded, or has a hook we do not know.
    """
    manager = pluggy.PluginManager("tawny")
    manager.add_hookspecs(Hooks)
    for point in metadata.entry_points(group=GROUP):
        try:
            manager.register(point.load(), name=point.name)
        except Exception as error:  # a plugin is a stranger's code; the owner must hear which one it is
            raise ConfigError(
                f"plugin {point.name!r} ({point.value}) cannot be loaded: {error}",
                hint="upgrade or uninstall it",
            ) from error
    for plugin in extra:
        manager.register(plugin)
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise ConfigError(f"plugin: {error}", hint="see docs/how-to/python.md for the hooks") from error
    _log.debug("plugins found", names=[name for name, _ in manager.list_name_plugin()])
    return Plugins(manager)
