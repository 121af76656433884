"""iCalendar: what recurs, what was moved or left out, zones, and files that are damaged."""

from datetime import date
from zoneinfo import ZoneInfo

import pytest

from tawny.clock import to_datetime
from tawny.domain.calendar import CalendarEvent, day_span
from tawny.errors import PermanentError
from tawny.sources.ics import events
from tawny.sources.place import CalendarQuery, Place, Reading

ZONE = ZoneInfo("Europe/Berlin")
PLACE = Place(noun="calendar", name="work", url="work.ics", zone="Europe/Berlin")


def ics(*blocks: str) -> bytes:
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//x//y//EN"]
    for block in blocks:
        lines += ["BEGIN:VEVENT", *block.strip().splitlines(), "END:VEVENT"]
    return "\r\n".join([*(line.strip() for line in lines), "END:VCALENDAR", ""]).encode()


def on(day: str, *data: bytes, days: int = 1) -> Reading[CalendarEvent]:
    start, end = day_span(date.fromisoformat(day), ZONE, days=days)
    return events(data, CalendarQuery(start, end), PLACE)


def times(reading: Reading[CalendarEvent]) -> list[str]:
    return [f"{to_datetime(event.start, ZONE):%d %H:%M} {event.title}" for event in reading.items]


WEEKLY = """UID:weekly
SUMMARY:Weekly
DTSTART;TZID=Europe/Berlin:20260302T090000
DTEND;TZID=Europe/Berlin:20260302T100000
RRULE:FREQ=WEEKLY;BYDAY=MO
EXDATE;TZID=Europe/Berlin:20260309T090000"""
MOVED = """UID:weekly
SUMMARY:Weekly (moved)
RECURRENCE-ID;TZID=Europe/Berlin:20260316T090000
DTSTART;TZID=Europe/Berlin:20260317T150000
DTEND;TZID=Europe/Berlin:20260317T160000"""


def test_recurring_event_appears_on_its_days():
    assert times(on("2026-03-23", ics(WEEKLY))) == ["23 09:00 Weekly"]


def test_excluded_date_is_left_out():
    assert times(on("2026-03-09", ics(WEEKLY))) == []


def test_moved_instance_appears_where_it_was_moved_to_only():
    assert times(on("2026-03-16", ics(WEEKLY, MOVED))) == []
    assert times(on("2026-03-17", ics(WEEKLY, MOVED))) == ["17 15:00 Weekly (moved)"]


def test_exception_that_is_cancelled_is_left_out():
    gone = MOVED.replace("20260317T150000", "20260316T090000").replace("20260317T160000", "20260316T100000")
    assert times(on("2026-03-16", ics(WEEKLY, gone + "\nSTATUS:CANCELLED"))) == []


def test_local_time_stays_across_the_change_of_clocks():
    assert times(on("2026-03-30", ics(WEEKLY))) == ["30 09:00 Weekly"]


def test_all_day_event_runs_from_midnight_to_midnight_of_the_owner():
    fair = "UID:f\nSUMMARY:Fair\nDTSTART;VALUE=DATE:20260302\nDTEND;VALUE=DATE:20260304"
    (event,) = on("2026-03-03", ics(fair)).items
    assert event.all_day
    assert to_datetime(event.start, ZONE).isoformat() == "2026-03-02T00:00:00+01:00"
    assert times(on("2026-03-04", ics(fair))) == []
    assert times(on("2026-03-01", ics(fair))) == []


def test_event_of_another_zone_falls_on_the_owners_day():
    late = "UID:t\nSUMMARY:Call\nDTSTART;TZID=America/New_York:20260301T183000\nDURATION:PT30M"
    assert times(on("2026-03-02", ics(late))) == ["02 00:30 Call"]
    assert times(on("2026-03-01", ics(late))) == []


def test_floating_time_is_the_owners():
    assert times(on("2026-03-02", ics("UID:a\nSUMMARY:Tea\nDTSTART:20260302T160000"))) == ["02 16:00 Tea"]


def test_duration_stands_for_an_end():
    (event,) = on("2026-03-02", ics("UID:a\nSUMMARY:X\nDTSTART:20260302T160000Z\nDURATION:PT90M")).items
    assert (event.end - event.start) == 90 * 60 * 1_000_000


def test_zone_defined_in_the_file_is_used():
    zone = (
        "BEGIN:VTIMEZONE\r\nTZID:Home\r\nBEGIN:STANDARD\r\nDTSTART:19700101T000000\r\nTZOFFSETFROM:+0300\r\n"
        "TZOFFSETTO:+0300\r\nEND:STANDARD\r\nEND:VTIMEZONE\r\n"
    )
    data = ics("UID:a\nSUMMARY:X\nDTSTART;TZID=Home:20260302T120000").replace(
        b"BEGIN:VEVENT", zone.encode() + b"BEGIN:VEVENT"
    )
    assert times(on("2026-03-02", data)) == ["02 10:00 X"]


def test_event_without_title_or_uid_is_kept():
    assert times(on("2026-03-02", ics("DTSTART:20260302T160000"))) == ["02 16:00 (no title)"]


def test_damaged_event_costs_only_itself_and_is_named_with_its_line():
    data = ics("UID:a\nSUMMARY:Good\nDTSTART:20260302T160000").replace(
        b"END:VCALENDAR", b"BEGIN:VEVENT\r\nUID:b\r\nSUMMARY:Half\r\nDTSTART:20260302T170000\r\nEND:VCALENDAR"
    )
    reading = on("2026-03-02", data)
    assert times(reading) == ["02 16:00 Good"]
    assert any("line" in problem and "VEVENT" in problem for problem in reading.problems)


def test_nonsense_date_costs_only_its_event():
    reading = on(
        "2026-03-02",
        ics("UID:a\nSUMMARY:Bad\nDTSTART:2026-99-99", "UID:b\nSUMMARY:Good\nDTSTART:20260302T160000"),
    )
    assert times(reading) == ["02 16:00 Good"]
    assert "Bad" in reading.problems[0]


def test_event_every_second_is_left_out_and_named():
    reading = on(
        "2026-03-02", ics("UID:a\nSUMMARY:Flood\nDTSTART:20200101T000000Z\nRRULE:FREQ=SECONDLY", WEEKLY)
    )
    assert times(reading) == ["02 09:00 Weekly"]
    assert "Flood" in reading.problems[0]


def test_property_given_twice_counts_once_and_is_named():
    twice = ics("UID:a\nSUMMARY:A\nDTSTART:20260302T080000Z\nDTSTART:20260302T090000Z")
    reading = on("2026-03-02", twice)
    assert times(reading) == ["02 09:00 A"]
    assert reading.problems == ("calendar \"work\": 'A' has DTSTART more than once, the first counts",)


def test_recurrence_by_another_calendar_is_named_and_its_first_day_shown():
    lunar = ics("UID:a\nSUMMARY:春节\nDTSTART;VALUE=DATE:20260217\nRRULE:RSCALE=CHINESE;FREQ=YEARLY")
    reading = on("2026-02-17", lunar)
    assert times(reading) == ["17 00:00 春节"]
    assert "chinese calendar, which is not followed" in reading.problems[0]


def test_times_in_place_of_days_cost_only_themselves():
    odd = ics("UID:a\nSUMMARY:A\nDTSTART:20260302T080000Z\nRDATE;VALUE=TIME:133000Z")
    reading = on("2026-03-02", odd)
    assert times(reading) == ["02 09:00 A"]
    assert "RDATE that is no day" in reading.problems[0]


def test_event_without_a_start_is_named():
    assert on("2026-03-02", ics("UID:a\nSUMMARY:A")).problems == (
        "calendar \"work\": 'A' has no DTSTART and is left out",
    )


def test_bytes_that_are_no_calendar_are_refused_with_the_mend():
    with pytest.raises(PermanentError, match=r'calendar "work": this is no iCalendar file') as caught:
        on("2026-03-02", b"<html>sign in</html>")
    assert "export" in caught.value.hint


def test_several_calendars_in_one_file_are_read():
    data = ics("UID:a\nSUMMARY:One\nDTSTART:20260302T080000") + ics(
        "UID:b\nSUMMARY:Two\nDTSTART:20260302T090000"
    )
    assert times(on("2026-03-02", data)) == ["02 08:00 One", "02 09:00 Two"]


@pytest.mark.parametrize("charset", ["utf-8-sig", "utf-16", "cp1252", "gb18030"])
def test_calendar_is_read_in_whatever_charset_it_came(charset: str):
    title = "会议改期" if charset == "gb18030" else "Grüße aus Köln"
    text = ics(f"UID:1\nDTSTART:20260302T090000Z\nSUMMARY:{title}").decode()
    assert times(on("2026-03-02", text.encode(charset))) == [f"02 10:00 {title}"]


def test_line_ends_of_old_macs_are_read():
    text = ics("UID:1\nDTSTART:20260302T090000Z\nSUMMARY:Old").replace(b"\r\n", b"\r")
    assert times(on("2026-03-02", text)) == ["02 10:00 Old"]


@pytest.mark.parametrize(
    "block",
    [
        "DTSTART: 20260302T090000Z \nRRULE:FREQ=WEEKLY;BYDAY=MO, TU ;COUNT=4",
        "DTSTART:2026-03-02T09:00:00Z\nRRULE:FREQ=WEEKLY;BYDAY=MO,TU;COUNT=4",
        'DTSTART;TZID="(UTC+01:00) Berlin":2026-03-02T10:00\nRRULE:FREQ=WEEKLY;BYDAY=MO,TU;COUNT=4',
    ],
)
def test_blanks_and_dashes_in_times_and_rules_are_no_obstacle(block: str):
    reading = on("2026-03-02", ics(f"UID:1\nSUMMARY:Both: 2026-03-02 at 9\n{block}"), days=9)
    assert times(reading) == [f"{day} 10:00 Both: 2026-03-02 at 9" for day in ("02", "03", "09", "10")]
    assert reading.problems == ()


def test_rule_that_nobody_understands_leaves_the_first_day():
    reading = on(
        "2026-03-02", ics("UID:1\nSUMMARY:Odd\nDTSTART:20260302T090000Z\nRRULE:FREQ=WEEKLY;UNTL=20260401")
    )
    assert times(reading) == ["02 10:00 Odd"]
    assert len(reading.problems) == 1
    assert "'Odd' recurs in a way that cannot be read" in reading.problems[0]


def test_rule_of_the_calendar_that_is_used_anyway_is_followed():
    block = "UID:1\nSUMMARY:Day\nDTSTART;VALUE=DATE:20200302\nRRULE:RSCALE=GREGORIAN;FREQ=YEARLY;SKIP=FORWARD"
    reading = on("2026-03-02", ics(block))
    assert times(reading) == ["02 00:00 Day"]
    assert reading.problems == ()


def test_what_is_never_shown_is_not_complained_about():
    block = "UID:1\nSUMMARY:Day\nDTSTART:20260302T090000Z\nDTSTAMP:19970901T1300Z\nCREATED:00001231T000000Z\nGEO:;"
    reading = on("2026-03-02", ics(block))
    assert times(reading) == ["02 10:00 Day"]
    assert reading.problems == ()


def test_event_never_ends_before_it_begins():
    backwards = ics("UID:1\nSUMMARY:B\nDTSTART:20260302T090000Z\nDTEND:20260302T080000Z")
    same_day = ics("UID:2\nSUMMARY:D\nDTSTART;VALUE=DATE:20260302\nDTEND;VALUE=DATE:20260302")
    day, event = on("2026-03-02", backwards, same_day).items
    assert event.start == event.end
    assert day.all_day
    assert to_datetime(day.end, ZONE).date() == date(2026, 3, 3)
