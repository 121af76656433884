"""Bytes from a file or over http(s), bounded in size and time. Runs in the child that fetches."""

import ipaddress
import socket
from pathlib import Path
from urllib.parse import SplitResult, unquote

import httpx

from tawny.domain.retry import seconds_asked
from tawny.errors import PermanentError, Refused, TemporaryError
from tawny.sources.place import Content, Place, credentials, split

MAX_BYTES = 20 * 1024 * 1024
TIMEOUT = 15.0
_REDIRECTS = 5
_NAP_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})


def fetch(place: Place) -> bytes:
    """The bytes of `retrieve`."""
    return retrieve(place).data


def collect(place: Place, _: object) -> Content:
    """What a feed or a document is read from."""
    return retrieve(place)


def retrieve(place: Place) -> Content:
    """The content behind the place's `file:`, `http:` or `https:` address.

    Raises:
        PermanentError: there is no such file, it is too large, or the server refuses.
        TemporaryError: the server does not answer.
    """
    parts = split(place)
    if parts.scheme == "file":
        return Content(read_file(place, path_of(place, parts)))
    if parts.scheme in ("http", "https"):
        return _download(place, parts)
    raise PermanentError(
        f"{place.label}: {parts.scheme}:// is not something a {place.noun} can be read from",
        hint="see docs/how-to/sources.md for the addresses that work",
    )


def path_of(place: Place, parts: SplitResult) -> Path:
    """The file a `file:` (or `maildir:`, `mbox:`) address or bare path names; relative ones lie in the home."""
    return (Path(place.root) / Path(unquote(parts.path)).expanduser()).absolute()


def read_file(place: Place, path: Path) -> bytes:
    """The file's bytes.

    Raises:
        PermanentError: missing, unreadable, or over 20 MB; the message names file and mend.
    """
    try:
        if not path.is_file():
            raise PermanentError(
                f"{place.label}: there is no file {path}",
                hint=f"create it, or correct url in [[sources.{place.noun}]]",
            )
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise PermanentError(
                f"{place.label}: {path} has {size // 2**20} MB, more than the {MAX_BYTES // 2**20} MB that are read",
                hint="split the file",
            )
        return path.read_bytes()
    except OSError as error:
        raise PermanentError(
            f"{place.label}: {path} cannot be read: {error.strerror or error}",
            hint="check its permissions",
        ) from error


def client(place: Place, host: str | None, *, auth: tuple[str, str] | None = None) -> httpx.Client:
    """An HTTP client for one place; the environment's proxy is not asked for loopback."""
    return httpx.Client(
        timeout=TIMEOUT,
        auth=auth,
        trust_env=not _is_private(host or ""),
        headers={"user-agent": f"tawny ({place.noun})"},
    )


def is_loopback(host: str | None) -> bool:
    """Whether the host is this machine, judged by its spelling."""
    if host in ("localhost", "localhost.localdomain"):
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def stay_home(place: Place, base: str, address: str) -> None:
    """Let nothing but the place's own server be asked, wherever its answers point to: the password comes along.

    A sister of it under the same domain is its own too, over https (`contacts.icloud.com`, `p42-contacts.icloud.com`).

    Raises:
        Refused: the address is another's; names the mend.
    """
    home = httpx.URL(base)
    try:
        there = httpx.URL(address)
    except httpx.InvalidURL:
        there = None
    if there is not None and (_origin(there) == _origin(home) or _is_sister(home, there)):
        return
    raise Refused(
        f"{place.label}: {home.host} points to {address[:200]!r}, which is not its own",
        hint="if that is right, name it in the source's url yourself",
    )


def _is_sister(home: httpx.URL, there: httpx.URL) -> bool:
    domain = home.host.partition(".")[2]
    return (
        _origin(home)[::2] == _origin(there)[::2] == ("https", _origin(home)[2])
        and "." in domain
        and not _is_address(home.host)
        and there.host.endswith(f".{domain}")
        and not _is_private(there.host)
    )


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port or {"http": 80, "https": 443}.get(url.scheme)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_private(host: str) -> bool:
    """Whether any address of the host is not a public one. The owner may name such a host; a redirect may not."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return any(not ipaddress.ip_address(str(entry[4][0]).partition("%")[0]).is_global for entry in found)


def _download(place: Place, parts: SplitResult) -> Content:
    user, password = credentials(place, parts)
    auth = (user, password) if user else None
    url = httpx.URL(place.url).copy_with(username=None, password=None)
    home = (url.scheme, url.host, url.port)
    try:
        with client(place, parts.hostname) as http:
            for _ in range(_REDIRECTS + 1):
                # The password belongs to the host it was written for, never to where that host points.
                at_home = (url.scheme, url.host, url.port) == home
                with http.stream("GET", url, auth=auth if at_home else None) as answer:
                    if answer.next_request is None:
                        return Content(_body(place, answer), answer.headers.get("content-type", ""), str(url))
                    url = answer.next_request.url
                if url.host != parts.hostname and _is_private(url.host):
                    raise Refused(
                        f"{place.label}: {parts.hostname} redirects to the private address {url.host}",
                        hint="if that is right, name it in the source's url yourself",
                    )
    except httpx.HTTPError as error:
        raise TemporaryError(
            f"{place.label}: {parts.hostname} does not answer: {_words(error)}",
            hint="check the address and the network",
        ) from error
    raise PermanentError(f"{place.label}: more than {_REDIRECTS} redirects", hint="correct the source's url")


def _body(place: Place, answer: httpx.Response) -> bytes:
    host = answer.request.url.host
    if answer.status_code in (401, 403):
        raise PermanentError(
            f"{place.label}: {host} answers {answer.status_code}, it does not let us in",
            hint="check user and password of the source",
        )
    if answer.status_code in _NAP_STATUSES:
        raise TemporaryError(
            f"{place.label}: {host} answers {answer.status_code}",
            hint="it may be back later",
            retry_after=seconds_asked(answer.headers.get("retry-after")),
        )
    if not answer.is_success:
        raise PermanentError(
            f"{place.label}: {host} answers {answer.status_code}", hint="correct the source's url"
        )
    chunks: list[bytes] = []
    size = 0
    for chunk in answer.iter_bytes():
        size += len(chunk)
        if size > MAX_BYTES:
            raise PermanentError(f"{place.label}: {host} sends more than {MAX_BYTES // 2**20} MB")
        chunks.append(chunk)
    return b"".join(chunks)


def _words(error: Exception) -> str:
    return str(error).strip() or type(error).__name__
