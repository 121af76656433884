"""The providers of web search that come with the house. Each is its request and the reading of its answer."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote_plus

from tawny.sources.markup import text_of
from tawny.sources.search import Found, SearchKind, SearchSite, search_provider


@search_provider("searxng")
async def searxng(site: SearchSite, query: str, limit: int) -> list[Found]:
    """A SearXNG of your own (its `settings.yml` must list `json` among the formats), or what answers like one."""
    del limit
    if "{query}" in site.url:
        answer = await site.json(site.url.replace("{query}", quote_plus(query)))
    else:
        url = site.url.rstrip("/")
        url = url if url.endswith("/search") else f"{url}/search"
        answer = await site.json(url, query={"q": query, "format": "json"})
    return [_found(one, snippet="content") for one in answer["results"]]


@search_provider(
    "brave",
    url="https://api.search.brave.com/res/v1/web/search",
    key_header="x-subscription-token",
    needs_key=True,
)
async def brave(site: SearchSite, query: str, limit: int) -> list[Found]:
    """Brave Search API: an index of its own."""
    answer = await site.json(query={"q": query, "count": limit, "text_decorations": "false"})
    # Without a match there is no `web` at all.
    return [_found(one, snippet="description") for one in answer.get("web", {}).get("results", [])]


@search_provider(
    "tavily",
    url="https://api.tavily.com/search",
    key_header="authorization",
    key_prefix="Bearer ",
    needs_key=True,
)
async def tavily(site: SearchSite, query: str, limit: int) -> list[Found]:
    """Tavily: made for models, with longer snippets."""
    answer = await site.json(body={"query": query, "max_results": limit})
    return [_found(one, snippet="content") for one in answer["results"]]


@search_provider(
    "marginalia",
    url="https://api2.marginalia-search.com/search",
    key_header="api-key",
    public_key="public",
)
async def marginalia(site: SearchSite, query: str, limit: int) -> list[Found]:
    """Marginalia: the web that is not commerce, an index of its own; without a key in the queue of everybody else."""
    answer = await site.json(query={"query": query, "count": limit})
    return [_found(one, snippet="description") for one in answer["results"]]


@search_provider("wikipedia", url="https://en.wikipedia.org/w/api.php")
async def wikipedia(site: SearchSite, query: str, limit: int) -> list[Found]:
    """Wikipedia alone, or any other MediaWiki by its `api.php`; no key, no account."""
    asked: dict[str, str | int] = {
        "action": "query",
        "generator": "search",
        "gsrsearch": query,
        "gsrlimit": limit,
        "prop": "extracts|info",
        "inprop": "url",
        "exintro": 1,
        "explaintext": 1,
        "exsentences": 2,
        "exlimit": limit,
        "format": "json",
        "formatversion": 2,
    }
    answer = await site.json(query=asked)
    if "error" in answer:
        raise ValueError(answer["error"]["info"])
    pages = sorted(answer.get("query", {}).get("pages", []), key=lambda page: page["index"])
    return [Found(page["title"], page["fullurl"], page.get("extract", "")) for page in pages]


def _found(one: Mapping[str, Any], *, snippet: str) -> Found:
    return Found(str(one["title"]), str(one["url"]), text_of(str(one.get(snippet) or "")).strip())


SEARCHERS: Mapping[str, SearchKind] = {
    kind.name: kind for kind in (searxng, brave, tavily, marginalia, wikipedia)
}
"""By name."""
