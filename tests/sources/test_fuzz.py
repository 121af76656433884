"""Damaged files: whatever is cut out or changed, the reader answers, and says what it left out."""

from datetime import date
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from tawny.domain.calendar import day_span
from tawny.errors import PermanentError
from tawny.sources import feeds, ics, todotxt, vcard
from tawny.sources.place import CalendarQuery, Content, Place

SPAN = CalendarQuery(*day_span(date(2026, 3, 2), ZoneInfo("Europe/Berlin"), days=30))
ICS = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//x//y//EN
BEGIN:VTIMEZONE
TZID:Home
BEGIN:STANDARD
DTSTART:19700101T000000
TZOFFSETFROM:+0300
TZOFFSETTO:+0300
END:STANDARD
END:VTIMEZONE
BEGIN:VEVENT
UID:w
SUMMARY:Weekly
DTSTART;TZID=Home:20260302T090000
DTEND;TZID=Home:20260302T100000
RRULE:FREQ=WEEKLY;BYDAY=MO;UNTIL=20260601T000000Z
EXDATE;TZID=Home:20260309T090000
ATTENDEE;CN="Ann, B":mailto:ann@example.org
END:VEVENT
BEGIN:VEVENT
UID:w
RECURRENCE-ID;TZID=Home:20260316T090000
SUMMARY:Moved
DTSTART;TZID=Home:20260317T150000
DURATION:PT1H
END:VEVENT
BEGIN:VEVENT
UID:d
SUMMARY:Day
DTSTART;VALUE=DATE:20260303
END:VEVENT
END:VCALENDAR""".splitlines()
CARDS = """BEGIN:VCARD
VERSION:3.0
N:Zhang;Wei;;;
FN:Zhang Wei
item1.EMAIL;TYPE="a,b":ceo@example.org
TEL;VALUE=uri:tel:+49
NOTE;ENCODING=QUOTED-PRINTABLE:=E5=BC=
=A0
ORG:X\\, Y;Z
END:VCARD""".splitlines()
FEED = """<?xml version="1.0"?>
<rss version="2.0">
<channel>
<title>T</title>
<item>
<title>A &amp; B</title>
</item>
</channel>
</rss>""".splitlines()

BAD_LINES = ["", ":", ";", "=", "BEGIN:VEVENT", "END:VEVENT", "END:VCALENDAR", "X" * 300, "\x00", "é"]
BAD_LINES += ["RRULE:FREQ=", "DTSTART:"]
JUNK = st.sampled_from(BAD_LINES)


@st.composite
def damaged(draw: st.DrawFn, lines: list[str]) -> bytes:
    """The lines with some left out, doubled, cut or replaced."""
    changed = list(lines)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(changed) - 1))
        how = draw(st.sampled_from(["drop", "double", "cut", "junk", "append"]))
        if how == "drop" and len(changed) > 1:
            del changed[at]
        elif how == "double":
            changed.insert(at, changed[at])
        elif how == "cut":
            changed[at] = changed[at][: draw(st.integers(0, len(changed[at])))]
        elif how == "junk":
            changed[at] = draw(JUNK)
        else:
            changed[at] += draw(JUNK)
    return "\r\n".join(changed).encode()


def refused(error: PermanentError) -> bool:
    """A refusal names the mend."""
    return bool(error.hint)


@settings(max_examples=120, deadline=None)
@given(damaged(ICS))
def test_damaged_calendar_is_read_or_refused(data: bytes):
    place = Place(noun="calendar", name="work", url="work.ics", zone="Europe/Berlin")
    try:
        fine = all(event.title for event in ics.events([data], SPAN, place).items)
    except PermanentError as error:
        fine = refused(error)
    assert fine


@settings(max_examples=120, deadline=None)
@given(damaged(CARDS))
def test_damaged_cards_are_read_or_refused(data: bytes):
    problems: list[str] = []
    try:
        fine = bool(
            list(vcard.parse(data, Place(noun="contacts", name="people", url="x.vcf"), problems)) or problems
        )
    except PermanentError as error:
        fine = refused(error)
    assert fine


@settings(max_examples=60, deadline=None)
@given(damaged(FEED))
def test_damaged_feed_is_read_or_refused(data: bytes):
    try:
        fine = bool(feeds.parse(Content(data), Place(noun="feed", name="news", url="x.xml"))[0])
    except PermanentError as error:
        fine = refused(error)
    assert fine


def test_broken_rule_costs_the_recurrence_and_not_the_event():
    place = Place(noun="calendar", name="work", url="work.ics", zone="Europe/Berlin")
    lines = [line if not line.startswith("RRULE") else "RRULE:FREQ=" for line in ICS]
    reading = ics.events(["\r\n".join(lines).encode()], SPAN, place)
    assert [event.title for event in reading.items] == ["Weekly", "Day", "Moved"]
    assert "'Weekly' has a RRULE that cannot be read" in reading.problems[0]


@given(st.text(max_size=200))
def test_any_text_is_some_todo_list(text: str):
    problems: list[str] = []
    for todo in todotxt.parse(
        text.encode("utf-8", "replace"), Place(noun="todo", name="list", url="x"), problems
    ):
        assert todo.title
