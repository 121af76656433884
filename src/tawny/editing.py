"""Changing the text of `config.toml`, a key at a time; what a person wrote around it stays."""

from typing import Any

from tawny.errors import ConfigError, InvalidInput


def edited(text: str, changes: dict[str, Any], *, file: str = "config.toml") -> str:
    """The TOML text with the keys set, null takes one away; comments stay.

    Raises:
        ConfigError: the text is no TOML.
        InvalidInput: a key's path runs through something that is no table, or a value TOML cannot say.
    """
    import tomlkit  # noqa: PLC0415 - only who changes the configuration pays for it
    from tomlkit.exceptions import TOMLKitError  # noqa: PLC0415

    try:
        document = tomlkit.parse(text)
    except TOMLKitError as error:
        raise ConfigError(f"{file}: {error}", hint="mend the TOML syntax there") from error
    for path, value in changes.items():
        *tables, key = path.split(".")
        target: Any = document
        for name in tables:
            if name not in target:
                target[name] = tomlkit.table()
            target = target[name]
            if not hasattr(target, "pop") or not hasattr(target, "keys"):
                raise InvalidInput(
                    f"{path}: {name!r} is no table", hint="give a path such as limits.concurrency"
                )
        try:
            if value is None:
                target.pop(key, None)
            else:
                target[key] = value
        except (TypeError, ValueError):
            raise InvalidInput(
                f"{path}: this value cannot stand in the file",
                hint="null within a value has no word there: leave it out",
            ) from None
    return tomlkit.dumps(document)
