"""Which model is meant: `demo`, `openai:NAME`, `anthropic:NAME`, `google:NAME`, `ollama:NAME`."""

import hashlib
import ipaddress
from urllib.parse import urlsplit

import msgspec

from tawny.clock import SECOND, parse_duration
from tawny.config import Fallback, Model
from tawny.errors import ConfigError

PROVIDERS = ("openai", "anthropic", "google", "ollama")
_DEFAULT_KEY = {
    "openai": "env:OPENAI_API_KEY",
    "anthropic": "env:ANTHROPIC_API_KEY",
    "google": "env:GEMINI_API_KEY",
}
_OLLAMA = "http://127.0.0.1:11434/v1"


class ModelSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One model behind one account. `key` is a reference (`env:`, `file:`, `keyring:`), `timeout` in seconds."""

    provider: str
    model: str
    base_url: str = ""
    key: str = ""
    timeout: float = 60.0

    @property
    def label(self) -> str:
        return self.provider if self.provider == "demo" else f"{self.provider}:{self.model}"

    @property
    def account(self) -> str:
        """The account its failures count against: provider, server and key reference, never the key."""
        digest = hashlib.sha256(f"{self.base_url}\n{self.key}".encode()).hexdigest()[:12]
        return f"{self.provider}:{digest}"

    @property
    def is_local(self) -> bool:
        return is_loopback(self.base_url)


def is_loopback(url: str) -> bool:
    """Whether the URL points at this machine."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def candidates(config: Model) -> list[ModelSpec]:
    """The models to try, in order: each account of the main one, then the fallbacks.

    Raises:
        ConfigError: a name that is none of ours.
    """
    return [spec for entry in (config, *config.fallbacks) for spec in _specs(entry)]


def parse_name(name: str) -> tuple[str, str]:
    """`openai:gpt-x` as provider and model.

    Raises:
        ConfigError: no such provider.
    """
    provider, colon, model = name.partition(":")
    if name in ("demo", "scripted"):
        return name, name
    if not colon or not model or provider not in PROVIDERS:
        raise ConfigError(
            f"[model] name = {name!r} is no model",
            hint="write demo, openai:NAME, anthropic:NAME, google:NAME or ollama:NAME",
        )
    return provider, model


def _specs(entry: Model | Fallback) -> list[ModelSpec]:
    provider, model = parse_name(entry.name)
    timeout = parse_duration(entry.timeout) / SECOND
    base_url = entry.base_url or (_OLLAMA if provider == "ollama" else "")
    given = [entry.api_key] if isinstance(entry.api_key, str) else list(entry.api_key)
    keys = [key for key in given if key] or ["" if base_url else _DEFAULT_KEY.get(provider, "")]
    return [
        ModelSpec(provider=provider, model=model, base_url=base_url, key=key, timeout=timeout) for key in keys
    ]
