"""The search engine that the owner has set up, behind `web_search`."""

from collections.abc import Callable, Mapping
from functools import cached_property
from urllib.parse import urlsplit

import msgspec

from tawny.config import Network, Search
from tawny.domain.network import parse_url
from tawny.domain.shorten import shorten
from tawny.errors import ConfigError, PermanentError, TawnyError
from tawny.sandbox.wayout import WayOut
from tawny.sources.search import Answer, Found, SearchKind, SearchSite, found_by
from tawny.sources.searchers import SEARCHERS

_MAX_RESULTS = 10
_MAX_SNIPPET = 1_000
_MAX_BODY = 2_000_000
_ADDRESSED = "searxng"


class Engine:
    """Asks the configured provider, and nobody else: its server is the only place its way out knows.

    Args:
        settings: `[search]`.
        secret: the secret behind a reference such as `env:NAME`.
        kinds: further providers, from plugins; a bundled one cannot be replaced.

    Raises:
        ConfigError: there is no such provider, or it lacks its address.
    """

    def __init__(
        self, settings: Search, secret: Callable[[str], str], kinds: Mapping[str, SearchKind]
    ) -> None:
        self._settings = settings
        self._secret = secret
        known = {**kinds, **SEARCHERS}
        # An address alone has always meant a server that answers like SearXNG.
        name = settings.provider or (_ADDRESSED if settings.url else "")
        self._known = ", ".join(sorted(known))
        self._kind = known.get(name)
        if name and self._kind is None:
            raise ConfigError(f"[search] provider {name!r} is none", hint=f"there are {self._known}")
        self.url = settings.url or (self._kind.url if self._kind else "")
        if self._kind is not None:
            self._check(self._kind)

    @property
    def targets(self) -> tuple[str, ...]:
        """The address it asks, for rules that speak of it."""
        return (self.url.partition("?")[0],) if self.url else ()

    async def search(self, query: str) -> list[Found]:
        """What is found, the best first.

        Raises:
            TawnyError: nothing is configured, or it went wrong; in words.
        """
        kind = self._kind
        if kind is None:
            missing = PermanentError(
                "no search provider is configured",
                hint=f'set [search] provider = "…" (one of {self._known}), or url to a SearXNG of your own',
            )
            missing.own_words = True
            raise missing
        site = SearchSite(kind.name, self.url, self._fetch, key_header=kind.key_header, key=self._key(kind))
        return [
            msgspec.structs.replace(
                one, title=shorten(one.title, 300), snippet=shorten(one.snippet, _MAX_SNIPPET)
            )
            for one in await found_by(kind, site, query, _MAX_RESULTS)
        ]

    def _check(self, kind: SearchKind) -> None:
        if not self.url:
            raise ConfigError(
                f"[search] provider {kind.name!r} needs url", hint='url = "https://HOST/search"'
            )
        try:
            parse_url(self.url.replace("{query}", "x"))
        except TawnyError as error:
            raise ConfigError(f"[search] url: {error.message}", hint=error.hint) from error
        if self._settings.api_key and not kind.key_header:
            raise ConfigError(f"[search] provider {kind.name!r} takes no api_key", hint="leave it out")
        if kind.needs_key and not self._settings.api_key:
            raise ConfigError(
                f"[search] provider {kind.name!r} needs api_key", hint='api_key = "env:NAME", a reference'
            )

    def _key(self, kind: SearchKind) -> str:
        key = self._secret(self._settings.api_key) if self._settings.api_key else kind.public_key
        return f"{kind.key_prefix}{key}" if key else ""

    async def _fetch(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        return await self._way_out.egress().fetch(method, url, headers=headers, body=body, max_body=_MAX_BODY)

    @cached_property
    def _way_out(self) -> WayOut:
        own = urlsplit(self.url)
        place = f"{own.hostname if ':' not in (own.hostname or '') else f'[{own.hostname}]'}"
        place += f":{own.port or (443 if own.scheme == 'https' else 80)}"
        # A server of the owner's own may stand in the next room; a provider's own address never may.
        return WayOut(Network(allow=(place,), allow_private=(place,) if self._settings.url else ()))
