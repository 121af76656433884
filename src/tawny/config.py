"""The configuration: `config.toml` in the home, checked on load, one line per mistake.

Environment variables serve for secrets and the home alone; this module and `secrets.py` are the only ones that read
them. How a mistake is explained is in `mistakes.py`.
"""

import os
import tomllib
import zoneinfo
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

import msgspec
import platformdirs

from tawny.budgets import Budgets
from tawny.clock import parse_duration, parse_span
from tawny.errors import ConfigError
from tawny.files import make_folder
from tawny.mistakes import explain

Settings = dict[str, Any]
"""One table of a plugin (a channel, say), checked by the plugin's own struct when it is loaded."""

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Count = Annotated[int, msgspec.Meta(ge=1)]


def _check(name: str, value: str, parse: Callable[[str], object]) -> None:
    """Refuse a text that cannot be read, in words that begin with the key as `mistakes` wants them."""
    try:
        parse(value)
    except ValueError as error:
        raise ValueError(f"{name} {error}") from None


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

    def __post_init__(self) -> None:
        _check("timeout", self.timeout, parse_duration)


class Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str = "demo"
    base_url: str = ""
    api_key: str | list[str] = ""
    timeout: str = "60s"
    fallbacks: tuple[Fallback, ...] = ()

    def __post_init__(self) -> None:
        _check("timeout", self.timeout, parse_duration)


class Owner(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    timezone: str = ""
    name: str = "owner"

    def __post_init__(self) -> None:
        if self.timezone and not _is_zone(self.timezone):
            raise ValueError(f"timezone {self.timezone!r} is no zone; write it like Europe/Berlin")


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

    Of `concurrency` places a class has at most its `per_class`, such as `{low = 1}`, or all.
    `low` and `idle` work is held while the load per core exceeds `busy_load` (0: never).
    """

    concurrency: Count = 3
    interactive: Count = 32
    per_class: dict[Literal["interactive", "high", "normal", "low", "idle"], Count] = {}
    max_queued_per_owner: Count = 100
    max_running_per_owner: Count = 3
    busy_load: float = 1.5


class Exec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    mode: Literal["deny", "allowlist", "ask", "full"] = "ask"
    allow: tuple[str, ...] = ()


class Sandbox(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where commands run. `backend`: auto, bubblewrap, seatbelt or container (which needs `image`); `memory` in MB.

    `parsers`: what strangers wrote is parsed in the platform's own sandbox, or refused; `unconfined` gives that up.
    """

    backend: str = "auto"
    image: str = ""
    memory: Count = 1024
    processes: Count = 256
    parsers: Literal["sandbox", "unconfined"] = "sandbox"


class Approvals(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    expire: str = "24h"
    on_expiry: Literal["deny"] = "deny"
    approvers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check("expire", self.expire, parse_duration)


class Secret(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A secret that work may use: `value` is a reference, `hosts` where it may be sent, and nowhere else."""

    value: str
    hosts: tuple[str, ...] = ()


class Ledger(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    url: str = ""
    retention: str = "7d"
    result_retention: str = "30d"

    def __post_init__(self) -> None:
        _check("retention", self.retention, parse_duration)
        _check("result_retention", self.result_retention, parse_duration)


class Delivery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How results reach the owner. `default` is an address such as `telegram`; the first channel unless named.

    `quiet_hours` (`22:00-07:00`, the owner's zone) and `digest` (`30m`) hold back what is not as severe as `breaks`
    (`low normal high critical`).
    """

    default: str = ""
    quiet_hours: str = ""
    digest: str = ""
    breaks: Literal["low", "normal", "high", "critical"] = "high"

    def __post_init__(self) -> None:
        if self.quiet_hours.strip():
            _check("quiet_hours", self.quiet_hours, parse_span)
        if self.digest:
            _check("digest", self.digest, parse_duration)


class Chat(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Conversations. `scope` is main, per-peer or per-channel-peer; `links` names persons by their addresses.

    `queue`, `debounce`, `cap`, `drop` say what becomes of messages during a turn; a tool that outlasts `yield` goes
    on in the background; `progress` is how often background work asked for in a chat reports there.
    """

    scope: Literal["main", "per-peer", "per-channel-peer"] = "main"
    links: dict[str, tuple[str, ...]] = {}
    queue: Literal["steer", "followup", "collect", "interrupt"] = "steer"
    debounce: str = "500ms"
    cap: Count = 20
    drop: Literal["old", "new", "summarize"] = "old"
    yield_after: str = msgspec.field(default="10s", name="yield")
    progress: str = "60s"
    context_tokens: Count = 64_000

    def __post_init__(self) -> None:
        _check("debounce", self.debounce, parse_duration)
        _check("yield", self.yield_after, parse_duration)
        _check("progress", self.progress, parse_duration)


class Search(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whom `web_search` asks: `provider` is searxng, brave, tavily, marginalia, wikipedia, or a plugin's.

    `url` puts another server in place of the provider's own, and alone means searxng; `api_key` is a reference.
    """

    provider: str = ""
    url: str = ""
    api_key: str = ""


class Background(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What always goes to the background: `rules` in plain words for the model, and bounds that hold by themselves.

    A chat's turn goes on in the background, and says so at once, when it wants more than `max_steps` calls of tools or
    when more than `max_bytes` are attached to the message.
    """

    rules: tuple[str, ...] = ("a report over more than 7 days",)
    max_steps: Count = 20
    max_bytes: Count = 1_000_000


class AgentProfile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of several agents: its workspace (a folder in `workspace/`), model and tools; empty is the default's."""

    name: str
    workspace: str = ""
    model: str = ""
    tools: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        own = PurePosixPath(self.workspace)
        if own.is_absolute() or ".." in own.parts:
            raise ValueError(
                f"workspace {self.workspace!r} of the agent {self.name!r} is no folder in workspace/"
            )


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

    def workspace_of(self, agent: AgentProfile) -> Path:
        """The folder an agent works in: the workspace, or its own within.

        Raises:
            ConfigError: a link leads out of the workspace.
        """
        if not agent.workspace:
            return self.workspace
        own = (self.workspace / agent.workspace).resolve()
        if not own.is_relative_to(self.workspace.resolve()):
            raise ConfigError(
                f"[[agents]] {agent.name}: workspace {agent.workspace!r} leads out of the workspace",
                hint=f"make it a folder in {self.workspace}",
            )
        return own

    def prepare(self) -> None:
        """Make what is missing, private to the owner."""
        for folder in (self.root, self.workspace, self.artifacts, self.logs, self.run):
            make_folder(folder)


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
        if name and _is_zone(name):
            return name
    return "UTC"


def _is_zone(name: str) -> bool:
    # Not `in available_timezones()`: that reads the head of every file of the database, six hundred of them.
    try:
        zoneinfo.ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True


def load(home: Home) -> Config:
    """The checked configuration of a home; the defaults where it has no `config.toml`.

    Raises:
        ConfigError: one line that names key, line and mend.
    """
    return parse(text_of(home), file=str(home.config_file))


def text_of(home: Home) -> str:
    """What stands in `config.toml`, empty where there is none.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return home.config_file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no UTF-8"
        raise ConfigError(f"{home.config_file} cannot be read: {why}", hint=_mend(home, error)) from error


def _mend(home: Home, error: Exception) -> str:
    if isinstance(error, NotADirectoryError):
        return f"is {home.root} the right home? A folder belongs there"
    return (
        "save it as UTF-8" if isinstance(error, UnicodeDecodeError) else "it must be a file that you may read"
    )


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
        raise explain(str(error), text, file, Config) from error
