"""Secrets: resolved from references, known to the redactor from then on, sent to their hosts alone."""

import contextlib
import hashlib
import importlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from tawny.config import Config, Home, Secret
from tawny.errors import ConfigError, Refused
from tawny.log import redact


def resolve_secret(reference: str, home: Home) -> str:
    """The secret behind `env:NAME`, `file:PATH` (relative to the home), `keyring:NAME` or `age:NAME`.

    Other text is itself. Whatever comes out is taken out of logs, ledger and prompts from then on.

    Raises:
        ConfigError: there is no such secret; its value is never in the message.
    """
    secret = _resolve(reference, home)
    redact.learn(secret)
    return secret


def _resolve(reference: str, home: Home) -> str:
    scheme, _, name = reference.partition(":")
    if scheme == "env" and name:
        if value := os.environ.get(name, ""):
            return value
        raise ConfigError(
            f"the environment has no {name}",
            hint=f"set {name} where the gateway is started, or use file:PATH",
        )
    if scheme == "file" and name:
        path = home.root / Path(name).expanduser()
        try:
            return path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"the secret {path} cannot be read: {error}", hint="write it there, mode 0600"
            ) from error
    if scheme == "keyring" and name:
        return _from_keyring(name)
    if scheme == "age" and name:
        kept = Strongbox(home).read()
        if name in kept:
            return kept[name]
        raise ConfigError(f"secrets.age has no {name}", hint=f"put it in with 'tawny secrets set {name}'")
    return reference


def _from_keyring(name: str) -> str:
    try:
        keyring = importlib.import_module("keyring")
    except ImportError as error:
        raise ConfigError(
            f"keyring:{name} needs the keyring library",
            hint="pip install 'tawny[keyring]', or use env: or file:",
        ) from error
    try:
        value: str | None = keyring.get_password("tawny", name)
    except Exception as error:
        # Each backend has errors of its own: none there is, a locked one, a bus that does not answer.
        raise ConfigError(
            f"the keyring did not give keyring:{name}: {type(error).__name__}",
            hint="unlock the keyring; on a machine without one use age:, env: or file:",
        ) from error
    if value is None:
        raise ConfigError(f"the keyring has no {name}", hint=f"keyring set tawny {name}")
    return value


class Strongbox:
    """`secrets.age` in the home: secrets by name, encrypted with a passphrase, for machines without a keyring.

    The passphrase comes from `TAWNY_PASSPHRASE`, or the file that `TAWNY_PASSPHRASE_FILE` names (a systemd credential).
    """

    def __init__(self, home: Home) -> None:
        self._path = home.root / "secrets.age"

    def read(self) -> dict[str, str]:
        """All secrets in it; none where there is no file.

        Raises:
            ConfigError: no passphrase, a wrong one, or no library.
        """
        try:
            sealed = self._path.read_bytes()
        except FileNotFoundError:
            return {}
        key = hashlib.sha256(sealed).hexdigest()
        if key not in _opened:
            try:
                plain = _pyrage().passphrase.decrypt(sealed, _passphrase())
            except ConfigError:
                raise
            except Exception as error:
                raise ConfigError(
                    f"{self._path} does not open: {type(error).__name__}", hint="check TAWNY_PASSPHRASE"
                ) from error
            _opened.clear()
            _opened[key] = msgspec.json.decode(plain, type=dict[str, str])
        return dict(_opened[key])

    def write(self, secrets: dict[str, str]) -> None:
        """Replace all that is in it."""
        sealed = _pyrage().passphrase.encrypt(msgspec.json.encode(secrets), _passphrase())
        fresh = self._path.with_suffix(".new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(sealed)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)


# Opening takes about a second on purpose: once for each content.
_opened: dict[str, dict[str, str]] = {}


def _passphrase() -> str:
    if given := os.environ.get("TAWNY_PASSPHRASE", ""):
        found = given
    elif path := os.environ.get("TAWNY_PASSPHRASE_FILE", ""):
        try:
            found = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"the passphrase file cannot be read: {error}", hint="check its path"
            ) from error
    else:
        raise ConfigError(
            "secrets.age needs a passphrase", hint="set TAWNY_PASSPHRASE or TAWNY_PASSPHRASE_FILE"
        )
    redact.learn(found)
    return found


def _pyrage() -> Any:
    try:
        return importlib.import_module("pyrage")
    except ImportError as error:
        raise ConfigError("age: references need pyrage", hint="pip install 'tawny[age]'") from error


UNENCRYPTED = ("127.0.0.1", "localhost", "::1")
"""The hosts to which a secret may go without encryption: this machine."""
SECRET_KEY = re.compile(r"(password|secret|token|api_key|.*_token|.*_secret|.*_password)", re.IGNORECASE)
"""How a key of the configuration is called that holds a secret, or a reference to one."""
_REFERENCE = re.compile(r"(?:env|file|keyring|age):\S+")
_PLACE = re.compile(r"\{\{\s*secret:([\w.-]+)\s*\}\}")


def learn_secrets(home: Home, config: Config) -> None:
    """Learn every secret that the configuration names and the home's own token, so that none gets written anywhere.

    What cannot be resolved now is left to whoever needs it; keyrings and strongboxes are not opened for this alone.
    """
    for reference in _references(msgspec.to_builtins(config)):
        if reference.startswith(("env:", "file:")):
            with contextlib.suppress(ConfigError):
                resolve_secret(reference, home)
    with contextlib.suppress(OSError, UnicodeDecodeError):
        redact.learn(home.token_file.read_text(encoding="utf-8"))


def missing_secrets(home: Home, config: Config) -> list[ConfigError]:
    """What the configuration refers to and is not there; keyrings and strongboxes are not opened for this."""
    missing: list[ConfigError] = []
    for reference in dict.fromkeys(_references(msgspec.to_builtins(config))):
        if reference.startswith(("env:", "file:")):
            try:
                resolve_secret(reference, home)
            except ConfigError as error:
                missing.append(error)
    return missing


def literal_secrets(config: Config) -> list[str]:
    """The keys of the configuration that hold a secret itself where a reference belongs."""
    return list(dict.fromkeys(_literals(msgspec.to_builtins(config), ())))


def _literals(value: Any, path: tuple[str, ...]) -> Iterator[str]:
    if isinstance(value, str):
        is_secret = path[0] == "secrets" if path[-1] == "value" else SECRET_KEY.fullmatch(path[-1])
        if value and is_secret and not _REFERENCE.fullmatch(value):
            yield ".".join(path)
    elif isinstance(value, dict):
        for name, item in value.items():  # pyright: ignore[reportUnknownVariableType]
            yield from _literals(item, (*path, str(name)))  # pyright: ignore[reportUnknownArgumentType]
    elif isinstance(value, list | tuple):
        for item in value:  # pyright: ignore[reportUnknownVariableType]
            yield from _literals(item, path)


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        if _REFERENCE.fullmatch(value):
            yield value
    elif isinstance(value, dict):
        for item in value.values():  # pyright: ignore[reportUnknownVariableType]
            yield from _references(item)
    elif isinstance(value, list | tuple):
        for item in value:  # pyright: ignore[reportUnknownVariableType]
            yield from _references(item)


def fill_secrets(text: str, *, url: str, home: Home, config: Config) -> str:
    """A header's value with `{{secret:NAME}}` filled in, for a request to `url`: at the last moment, for its hosts.

    Raises:
        Refused: the secret does not belong to that host, or the request is not encrypted.
        ConfigError: there is no such secret.
    """

    def fill(match: re.Match[str]) -> str:
        name = match.group(1)
        entry = config.secrets.get(name)
        if entry is None:
            raise ConfigError(f"there is no [secrets.{name}]", hint="add it with value and hosts")
        _check_host(name, entry, url)
        return resolve_secret(entry.value, home)

    return _PLACE.sub(fill, text)


def secret_filler(home: Home, config: Config) -> Callable[[str, str], str]:
    """`fill_secrets` of one home, as the way out wants it: (a header's value, the address) → the value to send."""
    return lambda text, url: fill_secrets(text, url=url, home=home, config=config)


def _check_host(name: str, entry: Secret, url: str) -> None:
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        host, port, parts = "", None, urlsplit("")
    spelled = {f"{host}:{port or {'https': 443, 'http': 80}.get(parts.scheme, 0)}"}
    if (port or 443) == 443:
        spelled.add(host)
    if not host or not spelled & {known.lower() for known in entry.hosts}:
        raise Refused(
            f"the secret {name!r} does not belong to {host or 'that address'}",
            hint=f"it belongs to {', '.join(entry.hosts) or 'no host yet'}; see [secrets.{name}] hosts",
        )
    if parts.scheme != "https" and host not in UNENCRYPTED:
        raise Refused(f"the secret {name!r} is not sent unencrypted to {host}", hint="use https")
