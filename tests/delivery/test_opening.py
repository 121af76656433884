from pathlib import Path
from typing import Any

import msgspec
import pytest

from tawny import plugins
from tawny.api import ChannelKind, ChannelSettings, channel, hookimpl
from tawny.delivery.opening import check, open_all
from tawny.errors import ConfigError
from tawny.testing import FakeClock, MemoryChannel


class Lent:
    """A host for channels that are opened and not used."""

    def __init__(self, path: Path) -> None:
        self.clock = FakeClock()
        self.home = path
        self.folder = path / "channel"

    def secret(self, reference: str) -> str:
        if reference == "env:MISSING":
            raise ConfigError("the environment has no MISSING")
        return reference

    def client(self, *, named_by_owner: bool = True, timeout: float = 30.0) -> Any:
        raise AssertionError(f"not used here {named_by_owner} {timeout}")

    async def note(self, name: str, value: str) -> None: ...

    async def recall(self, name: str) -> str | None: ...

    async def knows(self, sender: str) -> bool:
        raise AssertionError(f"not used here {sender}")

    async def say(self, session: str, message: Any) -> str:
        return f"{session}{message}"


def open_some(tables: dict[str, Any], path: Path, **more: Any):
    found = plugins.find(*more.pop("extra", ())).channels
    return open_all(tables, found, lambda _name: Lent(path), built_in=plugins.BUILT_IN_CHANNELS, **more)


@pytest.mark.parametrize(
    ("tables", "says"),
    [
        ({"pigeon": [{}]}, "no such kind"),
        ({"webhook": [{}]}, "url"),
        ({"webhook": [{"url": "ftp://x"}]}, "https"),
        ({"webhook": [{"url": "https://x", "scret": "y"}]}, "scret"),
        ({"ntfy": [{"topic": "a", "name": "x"}, {"topic": "b", "name": "x"}]}, "taken"),
        ({"ntfy": [{"topic": "a", "name": "inbox"}]}, "reserved"),
        ({"ntfy": [{"topic": "a", "name": "a:b"}]}, "reserved"),
        ({"ntfy": [{"topic": 5}]}, "topic"),
    ],
)
def test_a_wrong_table_is_refused_with_its_place_and_mend(tables: dict[str, Any], says: str):
    with pytest.raises(ConfigError) as error:
        check(tables, plugins.find().channels)
    assert says in str(error.value) + error.value.hint
    assert "[[channels." in str(error.value)
    assert error.value.hint


def test_several_tables_of_a_kind_have_names_of_their_own():
    tables = {"ntfy": [{"topic": "a"}, {"topic": "b"}, {"topic": "c", "name": "phone"}]}
    assert list(check(tables, plugins.find().channels)) == ["ntfy", "ntfy-2", "phone"]


def test_a_channel_that_cannot_be_opened_is_disabled_and_costs_no_other(tmp_path: Path):
    tables = {
        "webhook": [{"url": "https://x.test", "secret": "env:MISSING", "name": "ops"}],
        "terminal": [{}],
    }
    roster = open_some(tables, tmp_path)
    assert "MISSING" in roster.disabled["ops"]
    assert "terminal" in roster.channels
    assert "inbox" in roster.channels


def test_an_unknown_default_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="pigeon"):
        open_some({}, tmp_path, default="pigeon")


class PigeonSettings(ChannelSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    loft: str


@channel("pigeon", settings=PigeonSettings, description="Slow but sure.", extra="pigeons")
def pigeon(settings: Any, host: Any) -> Any:
    if settings.loft == "empty":
        raise ImportError("no module named pigeons")
    if settings.loft == "broken":
        raise ZeroDivisionError(host)
    return MemoryChannel(settings.name, kind="pigeon")


class Plugin:
    @hookimpl
    def tawny_channels(self) -> list[ChannelKind]:
        return [pigeon]


def test_a_plugin_brings_a_channel(tmp_path: Path):
    roster = open_some({"pigeon": [{"loft": "roof"}]}, tmp_path, extra=[Plugin()])
    assert roster.default == "pigeon"
    assert roster.route("pigeon:7").to == "7"


@pytest.mark.parametrize(
    ("loft", "says"), [("empty", 'pip install "tawny[pigeons]"'), ("broken", "ZeroDivision")]
)
def test_a_plugin_that_fails_to_open_is_disabled(tmp_path: Path, loft: str, says: str):
    roster = open_some({"pigeon": [{"loft": loft}]}, tmp_path, extra=[Plugin()])
    assert says in roster.disabled["pigeon"]


def test_a_hook_nobody_knows_is_refused():
    class Wrong:
        @hookimpl
        def tawny_chanels(self) -> list[ChannelKind]:
            return []

    with pytest.raises(ConfigError, match="tawny_chanels"):
        plugins.find(Wrong())


def test_every_bundled_channel_has_settings_and_a_description():
    for name, kind in plugins.find().channels.items():
        assert kind.kind == name
        assert kind.description.endswith(".")
        assert issubclass(kind.settings, ChannelSettings)
        assert issubclass(kind.settings, msgspec.Struct)
        assert (name in plugins.BUILT_IN_CHANNELS) == kind.built_in
