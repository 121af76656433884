"""Picks a value out of a page or a document: JSONPath, CSS, XPath, ld+json, a price. Runs in the child process."""

import importlib
import json
import re
from typing import Any, cast

from tawny.domain.charsets import decoded_page
from tawny.errors import PermanentError
from tawny.sources.place import PickQuery, Place

_MOST = 100


def pick(place: Place, query: PickQuery) -> Any:
    """The value that the query points at; a list where it points at several and says `all`.

    Raises:
        PermanentError: nothing is there, or the page cannot be read that way.
    """
    text = decoded_page(query.body, query.charset)
    found = _found(place, query, text)
    found = [value for value in found if value is not None][:_MOST]
    if query.regex:
        found = [match for value in found if (match := _regex(query.regex, value)) is not None]
    if not found:
        raise PermanentError(
            f"{place.label}: nothing is found there by {_how(query)}",
            hint="look at the page: it may have been rebuilt",
        )
    values = [_price(place, value) for value in found] if query.price else found
    return values if query.all else values[0]


def _how(query: PickQuery) -> str:
    named = {"jsonpath": query.jsonpath, "css": query.css, "xpath": query.xpath, "regex": query.regex}
    return ", ".join(f"{name} {value!r}" for name, value in named.items() if value) or "ld+json"


def _found(place: Place, query: PickQuery, text: str) -> list[Any]:
    if query.jsonpath:
        return _jsonpath(place, query.jsonpath, text)
    if query.css:
        return _css(query, text)
    if query.xpath:
        return _xpath(place, query, text)
    if query.ldjson or (query.price and "<" in text[:1000]):
        return _ldjson(query, text)
    if query.regex:
        return [text]
    try:
        return [json.loads(text)]
    except ValueError:
        return [text.strip()]


def _jsonpath(place: Place, path: str, text: str) -> list[Any]:
    import jsonpath  # noqa: PLC0415 - a quarter of a second that only JSONPath pays

    library: Any = jsonpath
    try:
        document = json.loads(text)
    except ValueError as error:
        raise PermanentError(f"{place.label}: what came is no JSON", hint="look at the address") from error
    try:
        return list(library.findall(path, document))
    except library.JSONPathError as error:
        raise PermanentError(
            f"{place.label}: jsonpath {path!r}: {error}", hint="for example $.price"
        ) from error


def _css(query: PickQuery, text: str) -> list[Any]:
    from selectolax.lexbor import LexborHTMLParser  # noqa: PLC0415 - only pages need it

    nodes = LexborHTMLParser(text).css(query.css)
    if query.attribute:
        return [node.attributes.get(query.attribute) for node in nodes]
    return [" ".join(node.text().split()) for node in nodes]


def _xpath(place: Place, query: PickQuery, text: str) -> list[Any]:
    library: Any = importlib.import_module("lxml.etree")
    parser = library.HTMLParser(no_network=True, huge_tree=False)
    tree = library.fromstring(text.encode(), parser)
    try:
        nodes: Any = tree.xpath(query.xpath) if tree is not None else []
    except library.XPathError as error:
        raise PermanentError(
            f"{place.label}: xpath {query.xpath!r}: {error}", hint="for example //h1"
        ) from error
    if not isinstance(nodes, list):
        return [nodes if isinstance(nodes, int | float | bool) else str(nodes)]
    return [_node_text(node, query) for node in cast("list[Any]", nodes)]


def _node_text(node: Any, query: PickQuery) -> str | None:
    if isinstance(node, str):
        return str(node).strip()
    if query.attribute:
        return node.get(query.attribute)
    return " ".join("".join(node.itertext()).split())


def _ldjson(query: PickQuery, text: str) -> list[Any]:
    """Offers of schema.org in the page; what `ldjson` names (`price`, `availability`), else the price."""
    from selectolax.lexbor import LexborHTMLParser  # noqa: PLC0415 - only pages need it

    wanted = query.ldjson or "price"
    found: list[Any] = []
    for node in LexborHTMLParser(text).css('script[type="application/ld+json"]'):
        try:
            _collect(json.loads(node.text()), wanted, found)
        except ValueError:
            continue
    return found


def _collect(value: Any, wanted: str, found: list[Any], depth: int = 0) -> None:
    if depth > 30:
        return
    if isinstance(value, dict):
        for key, inner in cast("dict[str, Any]", value).items():
            if key == wanted and not isinstance(inner, dict | list):
                found.append(inner)
            _collect(inner, wanted, found, depth + 1)
    elif isinstance(value, list):
        for inner in cast("list[Any]", value):
            _collect(inner, wanted, found, depth + 1)


def _regex(pattern: str, value: Any) -> str | None:
    match = re.search(pattern, str(value)[:100_000])
    return None if match is None else (match.group(1) if match.groups() else match.group(0))


def _price(place: Place, value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    from price_parser.parser import Price  # noqa: PLC0415 - only prices need it

    amount = Price.fromstring(str(value)).amount_float
    if amount is None:
        raise PermanentError(
            f"{place.label}: {str(value)[:60]!r} is no price", hint="point at the price itself"
        )
    return amount
