"""The calendar as a source of events: "15 minutes before an appointment"."""

from tawny.clock import DAY, MINUTE, Instant, iso, parse_duration
from tawny.domain.automations import On
from tawny.domain.calendar import CalendarEvent
from tawny.domain.tasks import Json
from tawny.sources.listening.host import Desk, Event, Listener
from tawny.sources.shelf import Shelf

_REREAD = 10 * MINUTE
"""A calendar is looked at again after this long at the latest: appointments move."""


def calendars(shelf: Shelf) -> Listener:
    """Tells each appointment `on.before` it begins; all-day ones are left out."""

    async def listen(on: On, desk: Desk) -> None:
        before = parse_duration(on.before)
        told = desk.cursor.get("told_until")
        since: Instant = told if isinstance(told, int) else desk.clock.now()
        while True:
            now = desk.clock.now()
            coming = await _coming(shelf, on.account, since, now + before + DAY)
            due = [event for event in coming if since < event.start - before <= now and event.start > now]
            await desk.take([_event(on, event) for event in due], {"told_until": now} if due else None)
            since = now
            later = [event.start - before for event in coming if event.start - before > now]
            await desk.clock.sleep_until(min([*later, now + _REREAD]))

    return listen


async def _coming(shelf: Shelf, account: str, start: Instant, end: Instant) -> list[CalendarEvent]:
    found: list[CalendarEvent] = []
    for name in [account] if account else shelf.names("calendar"):
        reading = await shelf.calendar(name, start, end)
        found += [event for event in reading.items if not event.all_day]
    return sorted(found, key=lambda event: event.start)


def _event(on: On, event: CalendarEvent) -> Event:
    data: dict[str, Json] = {
        "account": on.account,
        "title": event.title,
        "location": event.location,
        "start": iso(event.start),
        "minutes": parse_duration(on.before) // MINUTE,
    }
    return Event(event_id=f"{event.uid}:{event.start}:{on.before}", data=data)
