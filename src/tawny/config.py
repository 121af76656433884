"""The configuration: `config.toml` in the home, checked on load, one line per mistake.

Environment variables serve for secrets and the home alone; this is the only module that reads them.
"""

import contextlib
import difflib
import hashlib
import importlib
import os
import re
import tomllib
import zoneinfo
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
import platformdirs

from tawny.errors import ConfigError, Refused
from tawny.log import redact

Settings = dict[str, Any]
"""One table of a plugin (a channel, say), checked by the plugin's own struct when it is loaded."""

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Count = Annotated[int, msgspec.Meta(ge=1)]


class Gateway(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where it listens. `allowed_hosts` are further names it answers to, such as a tailnet's or a TLS proxy's."""

    host: str = "127.0.0.1"
    port: Port = 8765
    allowed_hosts: tuple[str, ...] = ()


class Fallback(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    base_url: str = ""
    api_key: str | list[str] = ""
    timeout: str = "60s"


class Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str = "demo"
    base_url: str = ""
    api_key: str | list[str] = ""
    timeout: str = "60s"
    fallbacks: tuple[Fallback, ...] = ()


class Owner(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    timezone: str = ""
    name: str = "owner"


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the assistant reads from. `password` is a reference: `env:`, `file:`, `keyring:`."""

    url: str
    name: str = ""
    password: str = ""
    smtp: str = ""
    latitude: float | None = None
    longitude: float | None = None


class Sources(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    calendar: tuple[Source, ...] = ()
    todo: tuple[Source, ...] = ()
    mail: tuple[Source, ...] = ()
    feed: tuple[Source, ...] = ()
    weather: tuple[Source, ...] = ()
    contacts: tuple[Source, ...] = ()


class Network(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    allow: tuple[str, ...] = ()
    allow_private: tuple[str, ...] = ()


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much may run and wait.

    `low` and `idle` work is held while the load per core exceeds `busy_load` (0: never).
    """

    concurrency: Count = 3
    interactive: Count = 32
    max_queued_per_owner: Count = 100
    max_running_per_owner: Count = 3
    busy_load: float = 1.5


class Exec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    mode: str = "ask"
    allow: tuple[str, ...] = ()


class Sandbox(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where commands run. `backend`: auto, bubblewrap, seatbelt or container (which needs `image`); `memory` in MB."""

    backend: str = "auto"
    image: str = ""
    memory: Count = 1024
    processes: Count = 256


class Approvals(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    expire: str = "24h"
    on_expiry: Literal["deny"] = "deny"
    approvers: tuple[str, ...] = ()


class Secret(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A secret that work may use: `value` is a reference, `hosts` where it may be sent, and nowhere else."""

    value: str
    hosts: tuple[str, ...] = ()


class Ledger(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    url: str = ""
    retention: str = "7d"
    result_retention: str = "30d"


class Delivery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How results reach the owner. `default` is an address such as `telegram`; the first channel unless named.

    `quiet_hours` (`22:00-07:00`, the owner's zone) and `digest` (`30m`) hold back what is not as severe as `breaks`
    (`low normal high critical`).
    """

    default: str = ""
    quiet_hours: str = ""
    digest: str = ""
    breaks: str = "high"


class Chat(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Conversations. `scope` is main, per-peer or per-channel-peer; `links` names persons by their addresses.

    `queue`, `debounce`, `cap`, `drop` say what becomes of messages during a turn; a tool that outlasts `yield` goes
    on in the background; `progress` is how often background work asked for in a chat reports there.
    """

    scope: str = "main"
    links: dict[str, tuple[str, ...]] = {}
    queue: str = "steer"
    debounce: str = "500ms"
    cap: Count = 20
    drop: str = "old"
    yield_after: str = msgspec.field(default="10s", name="yield")
    progress: str = "60s"
    context_tokens: Count = 64_000


class Search(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where `web_search` asks: an address with `{query}` in it that answers in SearXNG's JSON."""

    url: str = ""


class Background(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What always goes to the background: `rules` in plain words, and bounds the tools check by themselves."""

    rules: tuple[str, ...] = ("a report over more than 7 days",)
    max_steps: Count = 8
    max_bytes: Count = 1_000_000


class BudgetScope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Upper bounds of one scope; 0 is unbounded. `cost` in US dollars."""

    tokens: int = 0
    cost: float = 0
    model_calls: int = 0
    tool_calls: int = 0


class Budgets(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What may be used per turn, task, automation, session, and by the owner in a day."""

    turn: BudgetScope = BudgetScope(model_calls=50, tool_calls=100)
    task: BudgetScope = BudgetScope(tokens=2_000_000, cost=10, model_calls=400)
    automation: BudgetScope = BudgetScope(tokens=5_000_000, cost=10)
    session: BudgetScope = BudgetScope()
    day: BudgetScope = BudgetScope(tokens=20_000_000, cost=25)


class AgentProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of several agents: its workspace (a folder in `workspace/`), model and tools; empty is the default's."""

    name: str
    workspace: str = ""
    model: str = ""
    tools: tuple[str, ...] = ()


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    gateway: Gateway = Gateway()
    model: Model = Model()
    owner: Owner = Owner()
    sources: Sources = Sources()
    channels: dict[str, tuple[Settings, ...]] = {}
    delivery: Delivery = Delivery()
    network: Network = Network()
    limits: Limits = Limits()
    exec: Exec = Exec()
    sandbox: Sandbox = Sandbox()
    approvals: Approvals = Approvals()
    secrets: dict[str, Secret] = {}
    ledger: Ledger = Ledger()
    chat: Chat = Chat()
    background: Background = Background()
    search: Search = Search()
    budgets: Budgets = Budgets()
    agents: tuple[AgentProfile, ...] = ()


def approvers_of(config: Config) -> tuple[str, ...]:
    """Who may answer approvals beside the owner's own hand: `[approvals] approvers`, such as `telegram:12345678`.

    Where none are listed, the one person on a channel's allow-list; of several, nobody knows which is the owner.
    """
    if config.approvals.approvers:
        return config.approvals.approvers
    found: list[str] = []
    for kind, tables in config.channels.items():
        for table in tables:
            allowed: Any = table.get("allow", [])
            if isinstance(allowed, list) and len(allowed) == 1:  # pyright: ignore[reportUnknownArgumentType]
                found.append(f"{table.get('name') or kind}:{allowed[0]}")
    return tuple(found)


class Home:
    """The folder that holds everything of one owner; see the contract's table."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.config_file = root / "config.toml"
        self.policy_file = root / "policy.yaml"
        self.database = root / "state.db"
        self.token_file = root / "token"
        self.workspace = root / "workspace"
        self.artifacts = root / "artifacts"
        self.logs = root / "logs"
        self.run = root / "run"

    def prepare(self) -> None:
        """Make what is missing, private to the owner."""
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        for folder in (self.workspace, self.artifacts, self.logs, self.run):
            folder.mkdir(exist_ok=True, mode=0o700)


def find_home(given: str | None = None) -> Home:
    """The home: `--home`, else `TAWNY_HOME`, else the platform's user data folder."""
    chosen = given or os.environ.get("TAWNY_HOME") or platformdirs.user_data_dir("tawny")
    return Home(Path(chosen).expanduser().absolute())


def environment() -> dict[str, str]:
    """A copy of the process's environment, for the one reader of secrets and for child processes."""
    return dict(os.environ)


def owner_zone(config: Config) -> str:
    """The owner's time zone: the one configured, else the machine's, else UTC."""
    if config.owner.timezone:
        return config.owner.timezone
    try:
        linked = os.path.realpath("/etc/localtime").partition("zoneinfo/")[2]
        named = linked or Path("/etc/timezone").read_text(encoding="utf-8").strip()
    except OSError:
        named = ""
    for name in (os.environ.get("TZ", "").removeprefix(":"), named):
        if name and name in zoneinfo.available_timezones():
            return name
    return "UTC"


def load(home: Home) -> Config:
    """The checked configuration of a home; the defaults where it has no `config.toml`.

    Raises:
        ConfigError: one line that names key, line and mend.
    """
    try:
        text = home.config_file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Config()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{home.config_file} cannot be read: {error}") from error
    return parse(text, file=str(home.config_file))


def parse(text: str, *, file: str = "config.toml") -> Config:
    """The configuration in a TOML text.

    Raises:
        ConfigError: one line that names key, line and mend.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file}: {error}", hint="mend the TOML syntax there") from error
    channels = document.get("channels")
    if isinstance(channels, dict):
        document["channels"] = {
            kind: tables if isinstance(tables, list) else [tables]
            for kind, tables in channels.items()  # pyright: ignore[reportUnknownVariableType]
        }
    try:
        return msgspec.convert(document, Config)
    except msgspec.ValidationError as error:
        raise _explain(str(error), text, file) from error


_UNKNOWN = re.compile(r"Object contains unknown field `([^`]+)`(?: - at `\$\.?([^`]*)`)?")
_MISSING = re.compile(r"Object missing required field `([^`]+)`(?: - at `\$\.?([^`]*)`)?")
_WRONG = re.compile(r"(.+?) - at `\$\.?([^`]*)`")


def _explain(problem: str, text: str, file: str) -> ConfigError:
    """Turn the checker's words into: file, line, key, mend."""
    if match := _UNKNOWN.match(problem):
        key, parent = match.group(1), match.group(2) or ""
        path = f"{parent}.{key}" if parent else key
        known = _fields(parent)
        close = difflib.get_close_matches(key, known, n=1)
        mend = f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(known)}"
        return ConfigError(f"{file}:{_line(text, path)}: unknown key {path!r}", hint=mend)
    if match := _MISSING.match(problem):
        key, parent = match.group(1), match.group(2) or ""
        return ConfigError(
            f"{file}:{_line(text, parent)}: [{_plain(parent)}] has no {key!r}",
            hint=f"add {key} = …",
        )
    if match := _WRONG.match(problem):
        what, path = match.group(1), match.group(2)
        return ConfigError(f"{file}:{_line(text, path)}: {_plain(path)!r}: {what}", hint="correct the value")
    return ConfigError(f"{file}: {problem}", hint="correct the value")


def _plain(path: str) -> str:
    return re.sub(r"\[[^\]]*\]", "", path)


def _fields(path: str) -> list[str]:
    """The keys known in the table at `path`."""
    current: Any = Config
    for name in filter(None, _plain(path).split(".")):
        info = {field.name: field.type for field in msgspec.structs.fields(current)}
        current = info.get(name)
        arguments = getattr(current, "__args__", ())
        if arguments:
            current = arguments[0]
        if not (isinstance(current, type) and issubclass(current, msgspec.Struct)):
            return []
    return [field.name for field in msgspec.structs.fields(current)]


def _line(text: str, path: str) -> int:
    """The line, from 1, on which the key at `path` stands; the table's where it has no line of its own."""
    wanted = [part for part in _plain(path).split(".") if part]
    index = re.findall(r"\[(\d+)\]", path)
    skip = int(index[0]) if index else 0
    table: list[str] = []
    best = 1
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if header := re.match(r"\[\[?\s*([^\]]+?)\s*\]\]?", stripped):
            table = [part.strip().strip("\"'") for part in header.group(1).split(".")]
            if table == wanted[: len(table)]:
                if stripped.startswith("[[") and skip:
                    skip -= 1
                    table = []
                    continue
                best = number
                if table == wanted:
                    return number
        elif "=" in stripped and not stripped.startswith("#"):
            keys = [part.strip().strip("\"'") for part in stripped.split("=", 1)[0].split(".")]
            if table + keys == wanted[: len(table) + len(keys)]:
                return number
    return best


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
            f"keyring:{name} needs the keyring library", hint="pip install keyring, or use env: or file:"
        ) from error
    value: str | None = keyring.get_password("tawny", name)
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
    if parts.scheme != "https" and host not in ("127.0.0.1", "localhost", "::1"):
        raise Refused(f"the secret {name!r} is not sent unencrypted to {host}", hint="use https")
