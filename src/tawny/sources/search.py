"""What a provider of web search is: a plugin's, or one of those in `searchers.py`.

A provider builds the request and reads the answer. The way there is ours: it asks through `SearchSite`, which sends
the key to the provider's own server alone, and puts what goes wrong into words.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import urlencode, urljoin, urlsplit

import msgspec

from tawny.domain.retry import seconds_asked
from tawny.errors import PermanentError, Refused, TawnyError, TemporaryError
from tawny.secrets import UNENCRYPTED

_KEY_REFUSED = frozenset({401, 403})
# 402 is the standard's; Tavily says 432 and 433 for a plan and a limit that are used up.
_USED_UP = frozenset({402, 432, 433})
_TOO_MANY = 429


class Found(msgspec.Struct, frozen=True):
    """One result: plain text without markup, and the address of the page."""

    title: str
    url: str
    snippet: str = ""


class Answer(Protocol):
    """A whole HTTP answer."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def body(self) -> bytes: ...
    @property
    def text(self) -> str: ...


Fetch = Callable[[str, str, Mapping[str, str], bytes | None], Awaitable[Answer]]
"""(method, url, headers, body) → the answer, within the network list."""


class SearchSite:
    """The provider's server, for one search.

    Args:
        name: the provider's, for messages.
        url: the configured address, else the provider's own.
        fetch: the way out.
        key_header: the header the key goes into.
        key: the key with what stands before it; empty where there is none.
    """

    def __init__(self, name: str, url: str, fetch: Fetch, *, key_header: str = "", key: str = "") -> None:
        self.name = name
        self.url = url
        self._fetch = fetch
        self._key = {key_header: key} if key_header and key else {}

    async def json(
        self, path: str = "", *, query: Mapping[str, str | int] | None = None, body: Any = None
    ) -> Any:
        """The decoded JSON of an answer; a `body` is posted as JSON.

        Raises:
            TemporaryError, PermanentError, Refused: in words a person understands.
        """
        text = await self.text(path, query=query, body=body)
        try:
            return msgspec.json.decode(text)
        except msgspec.DecodeError as error:
            raise PermanentError(
                f"the search provider {self.name} answered with something that is no JSON",
                hint="check [search] url: is it the address of its API?",
            ) from error

    async def text(
        self, path: str = "", *, query: Mapping[str, str | int] | None = None, body: Any = None
    ) -> str:
        """The same, undecoded. `path` is relative to the configured address and may not leave its server."""
        url = urljoin(self.url, path)
        if query:
            url += ("&" if "?" in url else "?") + urlencode(query)
        headers = {"accept": "application/json, */*;q=0.5", **self._key_for(url)}
        sent: bytes | None = None
        if body is not None:
            sent = msgspec.json.encode(body)
            headers["content-type"] = "application/json"
        answer = await self._fetch("GET" if body is None else "POST", url, headers, sent)
        try:
            self._check(answer)
        except TawnyError as error:
            error.own_words = True
            raise
        return answer.text

    def _key_for(self, url: str) -> dict[str, str]:
        own, other = urlsplit(self.url), urlsplit(url)
        if (own.scheme, own.netloc) != (other.scheme, other.netloc):
            raise Refused(f"the search provider {self.name} may ask {own.netloc} alone, not {other.netloc}")
        if self._key and own.scheme != "https" and own.hostname not in UNENCRYPTED:
            raise Refused(
                f"the key of {self.name} is not sent unencrypted to {own.hostname}",
                hint="write https:// in [search] url",
            )
        return self._key

    def _check(self, answer: Answer) -> None:
        said = f"the search provider {self.name}"
        if answer.status in _KEY_REFUSED:
            if self._key:
                raise PermanentError(
                    f"{said} does not accept the key (it answered {answer.status})",
                    hint="check [search] api_key",
                )
            raise PermanentError(
                f"{said} lets nobody in without a key (it answered {answer.status})",
                hint='set [search] api_key = "env:NAME"; a SearXNG must list json among its search formats',
            )
        if answer.status in _USED_UP:
            raise PermanentError(
                f"the plan with the search provider {self.name} is used up (it answered {answer.status})",
                hint="raise it there, or set another [search] provider",
            )
        if answer.status == _TOO_MANY or answer.status >= 500:
            what = "had too many searches" if answer.status == _TOO_MANY else "is not well"
            wait = seconds_asked(answer.headers.get("retry-after"))
            when = "later" if wait is None else f"in {wait:.0f} s"
            raise TemporaryError(
                f"{said} {what} (it answered {answer.status}); try again {when}", retry_after=wait
            )
        if answer.status >= 400:
            raise PermanentError(
                f"{said} answered {answer.status}", hint="check [search] url: is it the address of its API?"
            )


Search = Callable[[SearchSite, str, int], Awaitable[Sequence[Found]]]
"""(the server, the words, how many at most) → what was found, the best first."""


class SearchKind(msgspec.Struct, frozen=True, kw_only=True):
    """A provider of web search, made with `search_provider`."""

    name: str
    search: Search
    url: str = ""
    key_header: str = ""
    key_prefix: str = ""
    needs_key: bool = False
    public_key: str = ""


def search_provider(
    name: str,
    *,
    url: str = "",
    key_header: str = "",
    key_prefix: str = "",
    needs_key: bool = False,
    public_key: str = "",
) -> Callable[[Search], SearchKind]:
    """Make a provider of a coroutine function that takes the server, the words and how many results are wanted.

    Args:
        name: what `[search] provider` calls it.
        url: its server; `[search] url` puts another in its place.
        key_header: the header its key goes into.
        key_prefix: what stands before the key there, such as `Bearer `.
        needs_key: whether it says nothing without one.
        public_key: the key everybody may use who has none.
    """

    def make(search: Search) -> SearchKind:
        return SearchKind(
            name=name,
            search=search,
            url=url,
            key_header=key_header,
            key_prefix=key_prefix,
            needs_key=needs_key,
            public_key=public_key,
        )

    return make


async def found_by(kind: SearchKind, site: SearchSite, query: str, limit: int) -> list[Found]:
    """What a provider finds, checked: its code may be a stranger's, and so is what its server says.

    Raises:
        TawnyError: in words a person understands.
    """
    try:
        found = await kind.search(site, query, limit)
        return [one for one in msgspec.convert(msgspec.to_builtins(found), list[Found]) if _is_page(one.url)][
            :limit
        ]
    except TawnyError:
        raise
    except Exception as error:
        raise PermanentError(
            f"the answer of the search provider {kind.name} is not what we read: {type(error).__name__}: {error}",
            hint="check [search] url and provider",
        ) from error


def _is_page(url: str) -> bool:
    return url.startswith(("https://", "http://"))
