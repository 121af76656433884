"""CalDAV through the caldav library, and the little CardDAV there is. Runs in the child process."""

import contextlib
import re
from collections.abc import Generator
from datetime import datetime
from typing import Any
from urllib.parse import SplitResult, quote

from caldav.davclient import DAVClient
from caldav.lib import error as dav_error

from tawny.errors import PermanentError, TemporaryError
from tawny.sources.fetch import TIMEOUT, is_loopback, stay_home
from tawny.sources.place import Place, credentials, split

SCHEMES = {"caldav": "", "caldavs": "https", "caldav+http": "http"}


def speaks(place: Place) -> bool:
    """Whether the place is on a CalDAV server."""
    return split(place).scheme in SCHEMES


def web_address(parts: SplitResult, scheme: str) -> str:
    """The http(s) address of a DAV place: https, but http on this machine or where the scheme says so."""
    chosen = scheme or ("http" if is_loopback(parts.hostname) else "https")
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    port = f":{parts.port}" if parts.port else ""
    return f"{chosen}://{host}{port}{quote(parts.path or '/', safe='/%~@:+')}"


def search_events(place: Place, start: datetime, end: datetime) -> list[bytes]:
    """The calendar objects that touch the span: one REPORT for each calendar, one in all where the address is one.

    Raises:
        TawnyError: the server does not answer, or does not let us in.
    """
    with _talking(place) as client:
        found: list[bytes] = []
        for calendar in _collections(client, place, "VEVENT"):
            items = calendar.search(start=start, end=end, event=True, expand=False)
            found.extend(_data(item) for item in items)
        return found


def search_todos(place: Place, *, done: bool) -> list[bytes]:
    """The to-do objects, open ones alone unless `done`."""
    with _talking(place) as client:
        found: list[bytes] = []
        for calendar in _collections(client, place, "VTODO"):
            items = calendar.search(todo=True, include_completed=done, expand=False)
            found.extend(_data(item) for item in items)
        return found


def put(place: Place, uid: str, data: bytes) -> None:
    """Write one object under a name made from its uid: writing it again replaces it."""
    with _talking(place) as client:
        component = "VTODO" if b"BEGIN:VTODO" in data else "VEVENT"
        target = next(iter(_collections(client, place, component)), None)
        if target is None:
            raise PermanentError(f"{place.label}: the server has no calendar for {component}")
        address = f"{str(target.url).rstrip('/')}/{quote(uid, safe='')}.ics"
        answer = client.put(address, data.decode(), {"Content-Type": "text/calendar; charset=utf-8"})
        if answer.status >= 300:
            raise PermanentError(
                f"{place.label}: the server answers {answer.status} to a new entry",
                hint="may we write there?",
            )


def _data(item: Any) -> bytes:
    data = item.data
    return data if isinstance(data, bytes) else str(data).encode()


def _collections(client: Any, place: Place, component: str) -> list[Any]:
    """The calendar at the address itself, else all calendars of the user it belongs to."""
    answer = client.propfind(str(client.url), _WHAT_IS_IT, 0)
    raw = answer.raw if isinstance(answer.raw, str) else bytes(answer.raw or b"").decode("utf-8", "replace")
    if "urn:ietf:params:xml:ns:caldav" in raw and _CALENDAR.search(raw):
        return [client.calendar(url=str(client.url))]
    calendars = client.principal().calendars()
    if not calendars:
        raise PermanentError(
            f"{place.label}: there is no calendar at this address",
            hint="give the address of a calendar, or of a user who has one",
        )
    return [calendar for calendar in calendars if component in _components(calendar)]


def _components(calendar: Any) -> list[str]:
    try:
        return list(calendar.get_supported_components())
    except (dav_error.DAVError, KeyError):
        return ["VEVENT", "VTODO"]


_WHAT_IS_IT = (
    '<?xml version="1.0"?><d:propfind xmlns:d="DAV:"><d:prop><d:resourcetype/></d:prop></d:propfind>'
)
_CALENDAR = re.compile(r"<(\w+:)?calendar(?![\w-])[^>]*/?>")


@contextlib.contextmanager
def _talking(place: Place) -> Generator[Any]:
    """A client for the place; what goes wrong while it is used becomes one of our errors."""
    parts = split(place)
    user, password = credentials(place, parts)
    client: Any
    base = web_address(parts, SCHEMES[parts.scheme])
    try:
        with DAVClient(
            url=base,
            username=user or None,
            password=password or None,
            timeout=int(TIMEOUT),
            enable_rfc6764=False,
            require_tls=False,
            rate_limit_handle=False,
        ) as client:
            _bind(client, place, base)
            yield client
    except dav_error.AuthorizationError as error:
        raise PermanentError(
            f"{place.label}: {parts.hostname} does not let us in",
            hint="check user and password of the source",
        ) from error
    except dav_error.RateLimitError as error:
        raise TemporaryError(f"{place.label}: {parts.hostname} asks us to slow down") from error
    except dav_error.NotFoundError as error:
        raise PermanentError(
            f"{place.label}: {parts.hostname} has nothing at {parts.path or '/'}",
            hint="correct the source's url",
        ) from error
    except ValueError as error:
        # The library's word for links that it does not follow.
        raise PermanentError(
            f"{place.label}: {parts.hostname} does not answer as a CalDAV server does: {_words(error)}",
            hint="if it points to another server, name that one in the source's url yourself",
        ) from error
    except (dav_error.DAVError, OSError) as error:
        raise TemporaryError(
            f"{place.label}: {parts.hostname} does not answer as a CalDAV server does: {_words(error)}",
            hint="check the address and the network",
        ) from error


def _bind(client: Any, place: Place, base: str) -> None:
    """Hold every request to the place's own server: the library goes where answers and redirects point to."""
    send = client.session.send

    def bound(request: Any, **options: Any) -> Any:
        stay_home(place, base, str(request.url))
        return send(request, **options)

    client.session.send = bound


def _words(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
