"""Opening the channels a configuration names: each table checked, each opened apart, so that one costs no other."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from tawny.delivery.channel import Channel, ChannelHost, ChannelKind, ChannelSettings, ChatSettings
from tawny.delivery.roster import Roster, first_for_people
from tawny.domain.addresses import parse_address
from tawny.errors import ConfigError, TawnyError
from tawny.log import Log

_log = Log("delivery")
_RESERVED = frozenset({"inbox", "chat", "file", "memory", "default", "failures", "webhook-url"})

Tables = Mapping[str, Sequence[Mapping[str, Any]]]
MakeHost = Callable[[str], ChannelHost]


def default_of(tables: Tables, named: str = "") -> str:
    """Where the person is reached, as far as a configuration tells: a channel there may still turn out disabled."""
    rows = (
        (str(table.get("name") or _name(kind, index)), kind, bool(table.get("failures_only")))
        for kind, entries in tables.items()
        for index, table in enumerate(entries, start=1)
    )
    return named or first_for_people(rows)


def _name(kind: str, index: int) -> str:
    return kind if index == 1 else f"{kind}-{index}"


def check(tables: Tables, kinds: Mapping[str, ChannelKind]) -> dict[str, tuple[ChannelKind, ChannelSettings]]:
    """The settings of every channel by its name.

    Raises:
        ConfigError: an unknown kind or key, a wrong value, a name taken twice, a name in `allow` that can be changed.
    """
    found: dict[str, tuple[ChannelKind, ChannelSettings]] = {}
    for kind_name, entries in tables.items():
        try:
            kind = kinds[kind_name]
        except KeyError:
            raise ConfigError(
                f"[[channels.{kind_name}]]: there is no such kind of channel",
                hint=f"known: {', '.join(kinds)}",
            ) from None
        for index, table in enumerate(entries, start=1):
            place = f"[[channels.{kind_name}]]" + (f" number {index}" if len(entries) > 1 else "")
            settings = _settings(kind, table, place)
            name = settings.name or _name(kind_name, index)
            if name in found or (name in _RESERVED and kind_name != name) or ":" in name or "#" in name:
                raise ConfigError(
                    f"{place}: the name {name!r} is taken or reserved", hint="give it another name"
                )
            found[name] = (kind, settings)
    return found


def _settings(kind: ChannelKind, table: Mapping[str, Any], place: str) -> ChannelSettings:
    try:
        settings = msgspec.convert(dict(table), kind.settings)
    except (msgspec.ValidationError, ValueError) as error:
        text = str(error)
        if "unknown field" in text:
            known = ", ".join(field.encode_name for field in msgspec.structs.fields(kind.settings))
            raise ConfigError(f"{place}: {text[0].lower()}{text[1:]}", hint=f"known here: {known}") from error
        raise ConfigError(f"{place}: {text}", hint=f"see docs/reference/channels.md, {kind.kind}") from error
    if not isinstance(settings, ChannelSettings):
        raise ConfigError(
            f"{place}: the plugin's settings are no ChannelSettings", hint="tell the plugin's author"
        )
    return settings


def numeric_ids(allow: Sequence[int | str], *, kind: str) -> None:
    """For a settings struct's `__post_init__`: only numbers, as names can be changed by their owners.

    Raises:
        ValueError: which msgspec turns into an error with the key's path.
    """
    for entry in allow:
        if isinstance(entry, str) and not entry.lstrip("-").isdigit():
            raise ValueError(
                f"allow: {entry!r} is a name; {kind} names can be changed by anybody, so give the numeric id"
            )


def open_all(
    tables: Tables,
    kinds: Mapping[str, ChannelKind],
    make_host: MakeHost,
    *,
    built_in: Sequence[str],
    default: str = "",
) -> Roster:
    """Open every channel of the configuration, and the built-in ones.

    A channel that cannot be opened (no token, a library missing) is on the roster as disabled, with the reason.

    Raises:
        ConfigError: the configuration itself is wrong.
    """
    checked = check(tables, kinds)
    for name in built_in:
        if name not in checked:
            checked[name] = (kinds[name], _settings(kinds[name], {}, name))
    opened: list[Channel] = []
    disabled: dict[str, tuple[str, str]] = {}
    for name, (kind, settings) in checked.items():
        named = msgspec.structs.replace(settings, name=name)
        try:
            opened.append(kind.open(named, make_host(name)))
        except ImportError as error:
            mend = f'install it with: pip install "tawny[{kind.extra}]"' if kind.extra else str(error)
            disabled[name] = (kind.kind, f"a library is missing: {mend}")
        except TawnyError as error:
            disabled[name] = (kind.kind, error.message + (f" ({error.hint})" if error.hint else ""))
        except Exception as error:  # noqa: BLE001 - a channel is a stranger's code, and must not cost the others
            _log.error("channel cannot be opened", exc=error, channel=name)
            disabled[name] = (kind.kind, f"{type(error).__name__}: {error}")
    settings_by_name = {name: settings for name, (_, settings) in checked.items() if name not in built_in}
    if default:
        _check_default(default, checked)
    return Roster(opened, settings=settings_by_name, default=default, disabled=disabled)


def _check_default(default: str, checked: Mapping[str, tuple[ChannelKind, ChannelSettings]]) -> None:
    wanted = parse_address(default).channel
    if wanted not in checked and not any(kind.kind == wanted for kind, _ in checked.values()):
        raise ConfigError(
            f"[delivery] default: there is no channel {wanted!r}", hint=f"one of {', '.join(checked)}"
        )


def may_speak(settings: ChannelSettings | None) -> ChatSettings | None:
    """The door's rules of a channel, `None` where whoever reaches it is the owner (web chat, terminal)."""
    return settings if isinstance(settings, ChatSettings) else None
