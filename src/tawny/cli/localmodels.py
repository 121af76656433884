"""Model servers on this machine: Ollama, LM Studio, llama.cpp, vLLM, found by asking where they usually listen."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import msgspec

_PATIENCE = 1.0


class Candidate(msgspec.Struct, frozen=True):
    """Where a server may be. `listing` is the path that names its models."""

    server: str
    address: str
    listing: str = "/v1/models"


CANDIDATES = (
    Candidate("Ollama", "http://127.0.0.1:11434", "/api/tags"),
    Candidate("LM Studio", "http://127.0.0.1:1234"),
    Candidate("llama.cpp", "http://127.0.0.1:8080"),
    Candidate("vLLM", "http://127.0.0.1:8000"),
)


class LocalModel(msgspec.Struct, frozen=True):
    """A model that answers without a key: what `[model]` says about it."""

    server: str
    name: str
    base_url: str

    @property
    def shown(self) -> str:
        return f"{self.name.partition(':')[2]} ({self.server} on this machine)"


def find(candidates: Iterable[Candidate] = CANDIDATES) -> list[LocalModel]:
    """The models that are there, in the order of the candidates; nothing where nobody answers within a second."""
    asked = list(candidates)
    with ThreadPoolExecutor(max(1, len(asked))) as pool:
        return [model for found in pool.map(_ask, asked) for model in found]


def _ask(candidate: Candidate) -> list[LocalModel]:
    try:
        answer = httpx.get(candidate.address + candidate.listing, timeout=_PATIENCE, trust_env=False)
        listing = msgspec.json.decode(answer.content, type=dict[str, Any]) if answer.is_success else {}
        names = _names(listing)
    except (httpx.HTTPError, msgspec.DecodeError, TypeError, AttributeError):
        return []
    provider = "ollama" if candidate.listing == "/api/tags" else "openai"
    base_url = f"{candidate.address}/v1"
    return [LocalModel(candidate.server, f"{provider}:{name}", base_url) for name in names]


def _names(listing: dict[str, Any]) -> list[str]:
    """Ollama says `models: [{name}]`, the others `data: [{id}]`."""
    entries: list[dict[str, Any]] = listing.get("models") or listing.get("data") or []
    return [
        str(entry.get("name") or entry.get("id"))
        for entry in entries[:20]
        if entry.get("name") or entry.get("id")
    ]
