"""Calendars: .ics from a file or over http(s), and CalDAV. Runs in the child that fetches."""

from tawny.clock import DAY, to_datetime
from tawny.errors import PermanentError
from tawny.sources import dav
from tawny.sources.fetch import fetch, path_of, read_file
from tawny.sources.place import CalendarQuery, NewEvent, Place, split


def collect(place: Place, query: CalendarQuery) -> list[bytes]:
    """The iCalendar texts that may touch the query's span.

    Raises:
        TawnyError: the place does not answer, or lets nobody in.
    """
    if dav.speaks(place):
        return dav.search_events(place, to_datetime(query.start - DAY), to_datetime(query.end + DAY))
    return [fetch(place)]


def before(place: Place, _: NewEvent) -> list[bytes]:
    """What an event is to be added to: the file as it is, nothing on a server, which keeps each event by itself.

    Raises:
        PermanentError: the place cannot be written to.
    """
    if dav.speaks(place):
        return []
    parts = split(place)
    if parts.scheme != "file":
        raise PermanentError(
            f"{place.label} can only be read: {parts.scheme} addresses take no new events",
            hint="add a caldav:// calendar or a file",
        )
    path = path_of(place, parts)
    return [read_file(place, path)] if path.exists() else []


def put(place: Place, new: NewEvent, text: bytes) -> str:
    """Write the iCalendar text that holds the event; the same `uid` again replaces it. Returns the uid."""
    if dav.speaks(place):
        dav.put(place, new.uid, text)
        return new.uid
    path = path_of(place, split(place))
    scratch = path.with_name(path.name + ".tawny-new")
    scratch.write_bytes(text)
    scratch.replace(path)
    return new.uid
