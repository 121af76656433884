"""The little of CardDAV that reading contacts needs: find the address books, ask for their cards. Runs in the child."""

from collections.abc import Iterator
from urllib.parse import urljoin
from xml.etree import ElementTree

import httpx

from tawny.errors import PermanentError, TemporaryError
from tawny.sources import dav
from tawny.sources.fetch import MAX_BYTES, client, stay_home
from tawny.sources.place import Place, credentials, split

SCHEMES = {"carddav": "", "carddavs": "https", "carddav+http": "http"}
_DAV, _CARD = "{DAV:}", "{urn:ietf:params:xml:ns:carddav}"
_FIND = (
    '<?xml version="1.0"?><d:propfind xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:carddav"><d:prop>'
    "<d:resourcetype/><d:current-user-principal/><c:addressbook-home-set/></d:prop></d:propfind>"
)
_ALL = (
    '<?xml version="1.0"?><c:addressbook-query xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:carddav">'
    "<d:prop><c:address-data/></d:prop></c:addressbook-query>"
)


def speaks(place: Place) -> bool:
    """Whether the place is on a CardDAV server."""
    return split(place).scheme in SCHEMES


def cards(place: Place) -> list[bytes]:
    """The vCards of every address book at or below the address, or of its user.

    Raises:
        TawnyError: the server does not answer, does not let us in, or has no address book.
    """
    parts = split(place)
    user, password = credentials(place, parts)
    try:
        with client(place, parts.hostname, auth=(user, password) if user else None) as http:
            books = _books(http, place)
            return [card for book in books for card in _cards(http, place, book)]
    except httpx.HTTPError as error:
        raise TemporaryError(
            f"{place.label}: {parts.hostname} does not answer: {error or type(error).__name__}",
            hint="check the address and the network",
        ) from error
    except ElementTree.ParseError as error:
        raise PermanentError(
            f"{place.label}: {parts.hostname} does not answer as a CardDAV server does: {error}",
            hint="correct the source's url",
        ) from error


def _base(place: Place) -> str:
    parts = split(place)
    return dav.web_address(parts, SCHEMES[parts.scheme])


def _books(http: httpx.Client, place: Place) -> list[str]:
    """Looks at the address, then at the user's principal, then at the home of the address books."""
    seen: set[str] = set()
    queue = [_base(place)]
    while queue:
        address = queue.pop(0)
        if address in seen or len(seen) > 5:
            continue
        seen.add(address)
        tree = _ask(http, place, address, "PROPFIND", _FIND)
        books: list[str] = []
        for answer in tree.iter(f"{_DAV}response"):
            href = urljoin(address, (answer.findtext(f"{_DAV}href") or "").strip())
            if answer.find(f".//{_DAV}resourcetype/{_CARD}addressbook") is not None:
                books.append(href)
            for name in (f"{_DAV}current-user-principal", f"{_CARD}addressbook-home-set"):
                links = answer.iterfind(f".//{name}/{_DAV}href")
                queue.extend(urljoin(address, (link.text or "").strip()) for link in links)
        if books:
            return books
    raise PermanentError(
        f"{place.label}: there is no address book at this address", hint="give the address of an address book"
    )


def _cards(http: httpx.Client, place: Place, book: str) -> Iterator[bytes]:
    tree = _ask(http, place, book, "REPORT", _ALL)
    for data in tree.iter(f"{_CARD}address-data"):
        if data.text:
            yield data.text.encode()


def _ask(http: httpx.Client, place: Place, address: str, method: str, body: str) -> ElementTree.Element:
    host = split(place).hostname
    # Where the server's answers point to is the server's word, and the password goes along.
    stay_home(place, _base(place), address)
    answer = http.request(
        method,
        address,
        content=body,
        headers={"depth": "1", "content-type": "application/xml; charset=utf-8"},
    )
    if answer.status_code in (401, 403):
        raise PermanentError(
            f"{place.label}: {host} does not let us in", hint="check user and password of the source"
        )
    if answer.status_code >= 500:
        raise TemporaryError(
            f"{place.label}: {host} answers {answer.status_code}", hint="it may be back later"
        )
    if not answer.is_success:
        raise PermanentError(
            f"{place.label}: {host} answers {answer.status_code} to {method}", hint="correct the source's url"
        )
    if len(answer.content) > MAX_BYTES:
        raise PermanentError(f"{place.label}: {host} sends more than {MAX_BYTES // 2**20} MB")
    return ElementTree.fromstring(answer.content)
