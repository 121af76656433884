"""The sources against real servers: Radicale, Dovecot, aiosmtpd, a web server."""

import asyncio
import socket
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from aiosmtpd.controller import Controller

import servers
from tawny.clock import from_datetime, to_datetime
from tawny.config import Source
from tawny.domain.calendar import day_span
from tawny.errors import NotFound, PermanentError, Refused, TemporaryError
from tawny.sources.fetch import stay_home
from tawny.sources.place import FeedQuery, MailQuery, NewEvent, NewMail, NewTodo, Place, Uncertain

ZONE = ZoneInfo("Europe/Berlin")
WEEKLY = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//x//y//EN
BEGIN:VEVENT
UID:weekly
SUMMARY:Product weekly
DTSTAMP:20260301T000000Z
DTSTART;TZID=Europe/Berlin:20260302T090000
DTEND;TZID=Europe/Berlin:20260302T100000
RRULE:FREQ=WEEKLY;BYDAY=MO
EXDATE;TZID=Europe/Berlin:20260309T090000
END:VEVENT
BEGIN:VEVENT
UID:weekly
SUMMARY:Product weekly (moved)
DTSTAMP:20260301T000000Z
RECURRENCE-ID;TZID=Europe/Berlin:20260316T090000
DTSTART;TZID=Europe/Berlin:20260317T150000
DTEND;TZID=Europe/Berlin:20260317T160000
END:VEVENT
END:VCALENDAR
"""


def day(text: str, days: int = 1) -> tuple[int, int]:
    return day_span(date.fromisoformat(text), ZONE, days=days)


async def test_calendar_on_a_caldav_server_is_read_with_recurrence_and_exceptions(
    dav: servers.Dav, shelf: Any
):
    url = dav.make_calendar()
    dav.put("/ann/work/weekly.ics", WEEKLY)
    reader = shelf(calendar=[Source(name="work", url=url, password="pw")])
    reading = await reader.calendar("work", *day("2026-03-02", 21))
    shown = [f"{to_datetime(event.start, ZONE):%m-%d %H:%M} {event.title}" for event in reading.items]
    assert shown == ["03-02 09:00 Product weekly", "03-17 15:00 Product weekly (moved)"]


async def test_address_of_the_user_stands_for_all_calendars(dav: servers.Dav, shelf: Any):
    dav.make_calendar("work")
    dav.make_calendar("private")
    dav.put("/ann/work/a.ics", WEEKLY)
    dav.put("/ann/private/b.ics", WEEKLY.replace("UID:weekly", "UID:b").replace("Product weekly", "Yoga"))
    reader = shelf(
        calendar=[Source(name="all", url=f"caldav://ann@127.0.0.1:{dav.port}/ann/", password="pw")]
    )
    reading = await reader.calendar("all", *day("2026-03-02"))
    assert sorted(event.title for event in reading.items) == ["Product weekly", "Yoga"]


async def test_event_written_twice_to_a_caldav_server_is_there_once(dav: servers.Dav, shelf: Any):
    reader = shelf(calendar=[Source(name="work", url=dav.make_calendar(), password="pw")])
    start = from_datetime(datetime(2026, 3, 2, 13, tzinfo=UTC))
    new = NewEvent(
        uid="tawny-1", title="Client demo", start=start, end=start + 3_600_000_000, location="Room A"
    )
    assert await reader.add_event(new) == "tawny-1"
    assert await reader.add_event(new) == "tawny-1"
    reading = await reader.calendar("work", *day("2026-03-02"))
    assert [(event.title, event.location, event.start) for event in reading.items] == [
        ("Client demo", "Room A", start)
    ]


async def test_todos_on_a_caldav_server_are_read_and_written(dav: servers.Dav, shelf: Any):
    reader = shelf(todo=[Source(name="list", url=dav.make_calendar(), password="pw")])
    new = NewTodo(
        uid="t-1", title="Submit report", due=date(2026, 3, 2), priority="A", created=date(2026, 3, 1)
    )
    await reader.add_todo(new)
    await reader.add_todo(new)
    reading = await reader.todos("list")
    assert [(todo.title, todo.due, todo.priority) for todo in reading.items] == [
        ("Submit report", date(2026, 3, 2), "A")
    ]


async def test_wrong_password_names_the_source_and_the_mend(dav: servers.Dav, shelf: Any):
    reader = shelf(calendar=[Source(name="work", url=dav.make_calendar(), password="wrong")])
    with pytest.raises(PermanentError, match=r'calendar "work": 127\.0\.0\.1 does not let us in') as caught:
        await reader.calendar("work", *day("2026-03-02"))
    assert "password" in caught.value.hint


async def test_today_tomorrow_and_this_week_are_one_calendar_request(dav: servers.Dav, shelf: Any):
    dav.make_calendar()
    dav.put("/ann/work/weekly.ics", WEEKLY)
    with servers.counting(dav.port) as proxy:
        url = f"caldav://ann@127.0.0.1:{proxy.port}/ann/work/"
        reader = shelf(calendar=[Source(name="work", url=url, password="pw")])
        today, tomorrow, week = await asyncio.gather(
            reader.calendar("work", *day("2026-03-16")),
            reader.calendar("work", *day("2026-03-17")),
            reader.calendar("work", *day("2026-03-16", 7)),
        )
        assert proxy.counts["REPORT"] == 1
    assert [len(answer.items) for answer in (today, tomorrow, week)] == [0, 1, 1]


async def test_reader_who_gives_up_does_not_cost_the_others_their_answer(dav: servers.Dav, shelf: Any):
    reader = shelf(calendar=[Source(name="work", url=dav.make_calendar(), password="pw")])
    first = asyncio.ensure_future(reader.calendar("work", *day("2026-03-16")))
    second = asyncio.ensure_future(reader.calendar("work", *day("2026-03-16")))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).items == ()


async def test_contacts_on_a_carddav_server_are_read(dav: servers.Dav, shelf: Any):
    url = dav.make_addressbook()
    card = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:c1\r\nFN:张总\r\nN:张;总;;;\r\nEMAIL:ceo@example.org\r\nEND:VCARD\r\n"
    dav.put("/ann/people/c1.vcf", card, "text/vcard")
    for address in (url, f"carddav://ann@127.0.0.1:{dav.port}/"):
        reader = shelf(contacts=[Source(name="people", url=address, password="pw")])
        (contact,) = (await reader.contacts("people")).items
        assert (contact.name, contact.emails) == ("张总", ("ceo@example.org",))


def letter(
    subject: str, *, sender: str = "Ann <ann@example.org>", extra: str = "", body: str = "Hi"
) -> bytes:
    head = f"From: {sender}\r\nTo: me@example.org\r\nSubject: {subject}\r\nDate: Mon, 2 Mar 2026 07:00:00 +0000\r\n"
    return (head + extra + "\r\n" + body + "\r\n").encode()


async def test_mail_on_an_imap_server_is_read_and_stays_unread(imap: servers.Imap, shelf: Any):
    imap.deliver(letter("=?utf-8?B?6aKE566X5a6h5om5?="), name="1.a.x")
    imap.deliver(letter("Old news"), name="2.b.x", seen=True)
    imap.deliver(b"\xff\xfe\x00 garbage without headers", name="3.c.x")
    reader = shelf(mail=[Source(name="me", url=imap.url, password="pw")])
    for _ in range(2):
        reading = await reader.mail("me", MailQuery())
        assert {(mail.subject, mail.unread) for mail in reading.items} == {
            ("预算审批", True),
            ("Old news", False),
            ("(no subject)", True),
        }
    unread = await reader.mail("me", MailQuery(unread=True, since=day("2026-03-01")[0]))
    assert "Old news" not in {mail.subject for mail in unread.items}
    assert [mail.subject for mail in (await reader.mail("me", MailQuery(text="news"))).items] == ["Old news"]


async def test_wrong_imap_password_names_the_account(imap: servers.Imap, shelf: Any):
    reader = shelf(mail=[Source(name="me", url=imap.url, password="no")])
    with pytest.raises(PermanentError, match=r'mail "me": 127\.0\.0\.1 does not let ann in'):
        await reader.mail("me", MailQuery())


async def test_certificate_that_nobody_vouches_for_is_refused(
    tmp_path_factory: pytest.TempPathFactory, shelf: Any, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path_factory.mktemp("tls")
    certificate = servers.self_signed(folder)
    with servers.mail_server(certificate=certificate) as imap:
        imap.deliver(letter("Private"), name="1.a.x")
        reader = shelf(mail=[Source(name="me", url=imap.tls_url, password="pw")])
        with pytest.raises(PermanentError, match="the certificate of 127\\.0\\.0\\.1 is not valid"):
            await reader.mail("me", MailQuery())
        await reader.close()
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
        assert [mail.subject for mail in (await reader.mail("me", MailQuery())).items] == ["Private"]


async def test_missing_imap_folder_is_named(imap: servers.Imap, shelf: Any):
    reader = shelf(mail=[Source(name="me", url=imap.url, password="pw")])
    with pytest.raises(PermanentError, match=r"Nowhere|folder") as caught:
        await reader.mail("me", MailQuery(folder="Nowhere"))
    assert "folder" in caught.value.hint


async def test_server_that_is_not_there_is_a_temporary_error(shelf: Any):
    port = servers.free_port()
    reader = shelf(
        mail=[Source(name="me", url=f"imap://ann@127.0.0.1:{port}", password="pw")],
        calendar=[Source(name="work", url=f"caldav://ann@127.0.0.1:{port}/x/", password="pw")],
        feed=[Source(name="news", url=f"http://127.0.0.1:{port}/feed")],
        contacts=[Source(name="people", url=f"carddav://ann@127.0.0.1:{port}/")],
    )
    for read in (
        reader.mail("me", MailQuery()),
        reader.calendar("work", *day("2026-03-02")),
        reader.feed("news", FeedQuery()),
        reader.contacts("people"),
    ):
        with pytest.raises(TemporaryError, match=r"127\.0\.0\.1 does not answer"):
            await read


class Sink:
    def __init__(self, answer: str = "250 OK") -> None:
        self.answer = answer
        self.seen: list[tuple[list[str], bytes]] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        self.seen.append((envelope.rcpt_tos, envelope.content))
        return self.answer


@pytest.fixture
def smtp():
    started: list[Controller] = []

    def start(sink: Any) -> int:
        controller = Controller(sink, hostname="127.0.0.1", port=servers.free_port())
        controller.start()
        started.append(controller)
        return controller.port

    yield start
    for controller in started:
        controller.stop()


MAIL = NewMail(
    message_id="m1@tawny",
    sender="",
    to=("ann@example.org",),
    subject="预算 Q2",
    body="Dear Ann\n.\nBye",
    time=datetime(2026, 3, 2, 8, tzinfo=UTC),
)


async def test_mail_is_sent_with_its_own_id(smtp: Any, shelf: Any):
    sink = Sink()
    port = smtp(sink)
    reader = shelf(
        mail=[Source(name="me", url="maildir:///x", smtp=f"smtp://me%40example.org@127.0.0.1:{port}")]
    )
    assert await reader.send_mail(MAIL) == "m1@tawny"
    ((to, content),) = sink.seen
    assert to == ["ann@example.org"]
    assert b"Message-ID: <m1@tawny>" in content
    assert b"From: me@example.org" in content


@pytest.mark.parametrize(("answer", "error"), [("451 later", TemporaryError), ("554 no", PermanentError)])
async def test_refused_mail_says_whether_trying_again_helps(
    smtp: Any, shelf: Any, answer: str, error: type[Exception]
):
    port = smtp(Sink(answer))
    reader = shelf(mail=[Source(name="me", url="maildir:///x", smtp=f"smtp://me@127.0.0.1:{port}")])
    with pytest.raises(error, match=answer[:3]):
        await reader.send_mail(MAIL)


async def test_connection_that_breaks_after_the_message_went_out_is_uncertain(smtp: Any, shelf: Any):
    class Breaks(Sink):
        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
            server.transport.abort()
            return "250 OK"

    port = smtp(Breaks())
    reader = shelf(mail=[Source(name="me", url="maildir:///x", smtp=f"smtp://me@127.0.0.1:{port}")])
    with pytest.raises(Uncertain):
        await reader.send_mail(MAIL)


async def test_no_account_that_can_send_is_said(shelf: Any):
    with pytest.raises(NotFound, match="no mail account can send"):
        await shelf().send_mail(MAIL)


FORECAST = b"""{"daily": {"time": ["2026-03-02"], "weather_code": [61], "temperature_2m_max": [9.4],
"temperature_2m_min": [3.1], "precipitation_probability_max": [80], "precipitation_sum": [2.0],
"wind_speed_10m_max": [20.1]}}"""


async def test_weather_is_asked_for_the_place_and_day(site: servers.Site, shelf: Any):
    site.pages["/v1/forecast"] = FORECAST
    reader = shelf(
        weather=[Source(name="Berlin", url=f"{site.url}/v1/forecast", latitude=52.52, longitude=13.41)]
    )
    (weather,) = (await reader.weather("Berlin", date(2026, 3, 2))).items
    assert (weather.code, weather.high, weather.rain_chance) == (61, 9.4, 80)
    assert "latitude=52.52" in site.asked[0][1]
    assert "timezone=Europe%2FBerlin" in site.asked[0][1]


@pytest.mark.parametrize(
    "page", [b"", b"[]", b'{"daily": {}}', b'{"error": true}', b"<html>", FORECAST.replace(b"61", b'"x"')]
)
async def test_answer_that_is_no_forecast_names_the_source(site: servers.Site, shelf: Any, page: bytes):
    site.pages["/f"] = page
    reader = shelf(weather=[Source(name="Berlin", url=f"{site.url}/f", latitude=1, longitude=2)])
    with pytest.raises(PermanentError, match='weather "Berlin"'):
        await reader.weather("Berlin", date(2026, 3, 2))


async def test_web_server_errors_say_whether_trying_again_helps(site: servers.Site, shelf: Any):
    site.pages["/busy"] = (503, {"retry-after": "7"}, b"")
    reader = shelf(feed=[Source(name="a", url=f"{site.url}/busy"), Source(name="b", url=f"{site.url}/gone")])
    with pytest.raises(TemporaryError) as caught:
        await reader.feed("a", FeedQuery())
    assert caught.value.retry_after == 7
    with pytest.raises(PermanentError, match="404"):
        await reader.feed("b", FeedQuery())


async def test_redirect_is_followed_without_the_password(site: servers.Site, shelf: Any):
    site.pages["/a"] = (302, {"location": "/b"}, b"")
    site.pages["/b"] = (
        b'<rss version="2.0"><channel><title>T</title><item><title>One</title></item></channel></rss>'
    )
    reader = shelf(feed=[Source(name="a", url=f"{site.url}/a")])
    assert [entry.title for entry in (await reader.feed("a", FeedQuery())).items] == ["One"]


async def test_redirect_to_another_private_address_is_refused(site: servers.Site, shelf: Any):
    site.pages["/a"] = (302, {"location": "http://169.254.169.254/latest"}, b"")
    with pytest.raises(Refused, match="private address"):
        await shelf(feed=[Source(name="a", url=f"{site.url}/a")]).feed("a", FeedQuery())


MULTISTATUS = (
    '<d:multistatus xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:carddav" xmlns:k="urn:ietf:params:xml:ns:caldav">'
    "<d:response><d:href>{own}</d:href><d:propstat><d:prop>{props}</d:prop>"
    "<d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response></d:multistatus>"
)
CALENDAR = "<d:resourcetype><d:collection/><k:calendar/></d:resourcetype>"


def points_to(**places: str) -> str:
    names = {
        "principal": "d:current-user-principal",
        "books": "c:addressbook-home-set",
        "home": "k:calendar-home-set",
    }
    return "".join(
        f"<{names[what]}><d:href>{where}</d:href></{names[what]}>" for what, where in places.items()
    )


BOOK = "<d:resourcetype><d:collection/><c:addressbook/></d:resourcetype>"


@pytest.mark.parametrize("noun", ["contacts", "calendar"])
@pytest.mark.parametrize("what", ["principal", "home", "item", "redirect"])
async def test_where_a_dav_server_points_to_gets_no_password_and_no_request(
    site: servers.Site, shelf: Any, noun: str, what: str
):
    """The library for calendars has a refusal of its own for one of these; the others are ours."""
    home, thing = ("books", BOOK) if noun == "contacts" else ("home", CALENDAR)
    with servers.website() as other:
        there = f"{other.url}/dav/"
        first = {"principal": there} if what == "principal" else {"principal": "/dav/", home: "/home/"}
        if what == "home":
            first[home] = there
        shown = MULTISTATUS.format(own="/dav/", props=points_to(**first)).encode()
        xml = {"content-type": "application/xml"}
        site.pages["/dav/"] = (302, {"location": there}, b"") if what == "redirect" else (207, xml, shown)
        site.pages["/home/"] = (207, xml, MULTISTATUS.format(own=there, props=thing).encode())
        other.pages["/dav/"] = site.pages["/home/"]
        scheme = "carddav" if noun == "contacts" else "caldav"
        source = Source(name="mine", url=f"{scheme}://ann@127.0.0.1:{site.port}/dav/", password="pw")
        reader = shelf(**{noun: [source]})
        asked = reader.contacts("mine") if noun == "contacts" else reader.calendar("mine", *day("2026-03-16"))
        if (noun, what) == ("calendar", "item"):
            assert (await asked).items == (), "the library leaves those out"
        else:
            with pytest.raises(PermanentError) as caught:
                await asked
            assert "source's url" in caught.value.hint
        assert other.asked == []
        assert site.asked


@pytest.mark.parametrize(
    ("base", "address", "may"),
    [
        ("https://dav.example.org/x", "https://dav.example.org:443/y", True),
        ("https://contacts.icloud.com/", "https://p42-contacts.icloud.com:443/1/", True),
        ("https://contacts.icloud.com/", "http://p42-contacts.icloud.com/1/", False),
        ("https://contacts.icloud.com/", "https://p42-contacts.icloud.com:8443/1/", False),
        ("https://contacts.icloud.com/", "https://icloud.com.evil.org/", False),
        ("https://contacts.icloud.com/", "https://evilicloud.com/", False),
        ("https://example.org/", "https://evil.org/", False),
        ("https://dav.example.org/", "http://dav.example.org/", False),
        ("https://dav.example.org/", "https://dav.example.org:8443/", False),
        ("https://dav.example.org/", "https://ann:pw@evil.org/", False),
        ("https://dav.example.org/", "https://localhost.example.org/", False),
        ("https://1.2.3.4/", "https://9.2.3.4/", False),
        ("http://127.0.0.1:5232/", "http://169.254.169.254/latest", False),
        ("https://dav.example.org/", "file:///etc/passwd", False),
        ("https://dav.example.org/", "https://[::1/", False),
    ],
)
def test_only_the_servers_own_is_asked_with_the_password(
    monkeypatch: pytest.MonkeyPatch, base: str, address: str, may: bool
):
    def resolve(host: str, *_: Any, **__: Any) -> Any:
        return [(2, 1, 6, "", ("127.0.0.1" if host.startswith("localhost") else "17.1.2.3", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    place = Place(noun="contacts", name="mine", url=base)
    if may:
        stay_home(place, base, address)
        return
    with pytest.raises(Refused, match="which is not its own"):
        stay_home(place, base, address)


async def test_endless_redirect_ends(site: servers.Site, shelf: Any):
    site.pages["/a"] = (302, {"location": "/a"}, b"")
    with pytest.raises(PermanentError, match="more than 5 redirects"):
        await shelf(feed=[Source(name="a", url=f"{site.url}/a")]).feed("a", FeedQuery())


async def test_identical_reads_in_flight_are_one_request(site: servers.Site, shelf: Any):
    site.pages["/a"] = (
        b'<rss version="2.0"><channel><title>T</title><item><title>One</title></item></channel></rss>'
    )
    reader = shelf(feed=[Source(name="a", url=f"{site.url}/a")])
    answers = await asyncio.gather(*(reader.feed("a", FeedQuery()) for _ in range(5)))
    assert len(site.asked) == 1
    assert all(answer == answers[0] for answer in answers)


async def test_unknown_name_lists_what_is_configured(shelf: Any):
    reader = shelf(feed=[Source(url="a.xml"), Source(url="b.xml"), Source(name="c", url="c.xml")])
    assert reader.names("feed") == ("feed", "feed-2", "c")
    with pytest.raises(NotFound) as caught:
        await reader.feed("d", FeedQuery())
    assert "feed, feed-2, c" in caught.value.hint
