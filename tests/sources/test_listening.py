"""Sources of events against the real things: a Dovecot, a mosquitto, files, feeds, calendars, programs."""

import asyncio
import imaplib
import json
import shutil
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.engine.test_watches import Shop, shop  # noqa: F401 - a fixture
from tests.passing_mention import PassingMention
from tests.servers import Imap, mail_server, mosquitto, self_signed

from tawny.app import App, open_app, open_shelf
from tawny.clock import SystemClock
from tawny.config import Config, Home, Network, Source, Sources
from tawny.domain.automations import On
from tawny.domain.feeds import FeedEntry
from tawny.domain.tasks import Json
from tawny.engine import automations as orders
from tawny.errors import StorageError, TemporaryError
from tawny.ledger import automations, inbox, outbox
from tawny.sources.listening.feeds import identity
from tawny.sources.listening.host import Desk, Event
from tawny.sources.listening.imap import Connection, is_verified
from tawny.sources.listening.mqtt import mqtt
from tawny.testing import FakeClock

Read = Callable[[], Awaitable[Any]]


async def until(app: App, read: Callable[[Any], Any], *, seconds: float = 15) -> Any:
    """Wait for what is read to be something."""
    async with asyncio.timeout(seconds):
        while not (found := await app.ledger.read(read)):
            await asyncio.sleep(0.01)
    return found


def events(tx: Any, source: str) -> list[inbox.InboxEvent]:
    return list(reversed(inbox.page(tx, source=source, limit=100).items))


def document(source: str, **on: Any) -> dict[str, Any]:
    action = {"type": "remind", "parameters": {"text": "{{ event_id }}"}}
    return {"name": "It", "on": {"source": source, **on}, "action": action}


async def add(app: App, given: dict[str, Any]) -> automations.Automation:
    return await app.ledger.write(lambda tx: orders.add(tx, given, kinds=app.kinds, timezone="UTC"))


async def ready(app: App, source: str) -> None:
    """Until the listener has taken its first look."""
    await until(
        app, lambda tx: [s for s in inbox.source_states(tx) if s.source.startswith(source) and s.cursor]
    )


async def test_files_made_and_changed_are_events_also_while_nobody_looked(home: Home) -> None:
    folder = home.workspace / "drop"
    folder.mkdir()
    (folder / "old.pdf").write_text("was here")
    async with open_app(home, Config()) as app:
        await add(app, document("file", path="drop", pattern="*.pdf"))
        await ready(app, "file")
        (folder / "new.pdf").write_text("one")
        (folder / "not.txt").write_text("x")
        found = await until(app, lambda tx: [e for e in events(tx, "file") if e.tasks])
        assert [(e.data["name"], e.data["change"]) for e in found] == [("new.pdf", "made")]
    (folder / "away.pdf").write_text("two")
    (folder / "new.pdf").write_text("changed now")
    async with open_app(home, Config()) as app:
        found = await until(app, lambda tx: len(e := [e for e in events(tx, "file") if e.tasks]) == 3 and e)
        assert {(e.data["name"], e.data["change"]) for e in found[1:]} == {
            ("away.pdf", "made"),
            ("new.pdf", "changed"),
        }


def message(number: int, sender: str = "boss@example.org") -> bytes:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = f"The Boss <{sender}>", "ann@example.org", f"Invoice {number}"
    mail["Message-ID"] = f"<m{number}@example.org>"
    mail.set_content(f"please pay {number}")
    return mail.as_bytes()


def append(server: Imap, data: bytes) -> None:
    """Deliver through the server itself, so that it knows at once."""
    client = imaplib.IMAP4("127.0.0.1", server.port)
    client.login("ann", "pw")
    client.append("INBOX", "", imaplib.Time2Internaldate(time.time()), data)
    client.logout()


@pytest.fixture
def mail_home(home: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("MAIL_PASSWORD", "pw")
    return home


async def test_mail_comes_by_idle_once_each_and_from_known_senders(mail_home: Home, tmp_path: Path) -> None:
    with mail_server() as server:
        server.deliver(message(1), name="1")
        source = Source(name="home", url=server.url, password="env:MAIL_PASSWORD")
        config = Config(sources=Sources(mail=(source,)))
        async with open_app(mail_home, config) as app:
            await add(
                app, document("email", senders=["boss@example.org"], filter='contains(subject, "Invoice")')
            )
            await ready(app, "email")
            append(server, message(2))
            await until(app, lambda tx: len(events(tx, "email")) == 1)
            append(server, message(3, sender="spam@example.net"))
            found = await until(
                app, lambda tx: len(e := events(tx, "email")) == 2 and not inbox.has_new(tx) and e
            )
            assert [(e.data["subject"], bool(e.tasks)) for e in found] == [
                ("Invoice 2", True),
                ("Invoice 3", False),
            ]
            assert found[0].data["sender"] == "boss@example.org"
            assert found[0].trust == "untrusted"
        append(server, message(4))
        async with open_app(mail_home, config) as app:
            found = await until(app, lambda tx: len(e := events(tx, "email")) == 3 and e)
            assert found[2].data["text"].strip() == "please pay 4"


class Noting(Desk):
    """Remembers what it has stored."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.heard: list[str] = []
        self.changed = asyncio.Event()

    async def take(self, events: list[Event], cursor: Mapping[str, Json] | None = None) -> None:
        await super().take(events, cursor)
        self.heard += [str(event.data["subject"]) for event in events]
        self.changed.set()


@pytest.mark.parametrize("during", ["FETCH", "SEARCH", "IDLE"])
async def test_mail_told_of_in_passing_does_not_wait_for_the_next(mail_home: Home, during: str) -> None:
    async with PassingMention(message(1), message(2), during=during).listening() as server:
        await _hear_both(mail_home, server)
        assert server.connections == 1


class Crossed(Connection):
    """Each time before it waits in IDLE a mail is sent: in the instant before, or while IDLE begins."""

    def __init__(self, *parts: Any, send: Callable[[], None], **more: Any) -> None:
        super().__init__(*parts, **more)
        self._send = send
        self._sent = 0

    def _wait(self, seconds: float) -> None:
        self._sent += 1
        if self._sent <= _CROSSED:
            sending = threading.Thread(target=self._send)
            sending.start()
            if self._sent % 2:
                sending.join()
        super()._wait(seconds)


_CROSSED = 7


@pytest.mark.timeout(120)
async def test_one_connection_to_a_dovecot_hears_all_that_crosses_the_start_of_idle(
    mail_home: Home,
) -> None:
    with mail_server() as server:
        sender = imaplib.IMAP4("127.0.0.1", server.port)
        sender.login("ann", "pw")
        before = server.log.read_text().count("Login: user=<ann>")
        lock, numbers = threading.Lock(), iter(range(1, 100))

        def send() -> None:
            with lock:
                date = imaplib.Time2Internaldate(time.time())
                sender.append("INBOX", "", date, message(next(numbers)))

        source = Source(name="home", url=server.url, password="env:MAIL_PASSWORD")
        config = Config(sources=Sources(mail=(source,)))
        async with open_app(mail_home, config) as app, asyncio.timeout(100):
            shelf = open_shelf(mail_home, config)
            state = await app.ledger.read(lambda tx: inbox.source_state(tx, "email:key"))
            desk = Noting(app.ledger, app.clock, "email", "email:key", state)
            place = shelf.place("mail", "home")
            # without the second look, which would find by and by what IDLE has missed
            line = Crossed(On(source="email"), desk, shelf, place, send=send, settle=1500)
            async with asyncio.TaskGroup() as group:
                listening = group.create_task(line.run())
                while len(desk.heard) < _CROSSED:
                    await desk.changed.wait()
                    desk.changed.clear()
                listening.cancel()
            await shelf.close()
        sender.logout()
        assert desk.heard == [f"Invoice {n}" for n in range(1, _CROSSED + 1)]
        assert server.log.read_text().count("Login: user=<ann>") == before + 1, "it is one connection"


async def _hear_both(home: Home, server: PassingMention) -> None:
    url = f"imap://ann@127.0.0.1:{server.port}"
    config = Config(sources=Sources(mail=(Source(name="home", url=url, password="env:MAIL_PASSWORD"),)))
    async with open_app(home, config) as app, asyncio.timeout(30):
        shelf = open_shelf(home, config)
        state = await app.ledger.read(lambda tx: inbox.source_state(tx, "email:key"))
        desk = Noting(app.ledger, app.clock, "email", "email:key", state)
        # without the second look, which would find it by and by
        line = Connection(On(source="email"), desk, shelf, shelf.place("mail", "home"), settle=1500)
        async with asyncio.TaskGroup() as group:
            listening = group.create_task(line.run())
            while len(desk.heard) < 2:
                await desk.changed.wait()
                desk.changed.clear()
            listening.cancel()
        await shelf.close()
        assert desk.heard == ["Invoice 1", "Invoice 2"]


async def test_a_new_uidvalidity_is_a_first_look_again(mail_home: Home, tmp_path: Path) -> None:
    with mail_server() as server:
        server.deliver(message(1), name="1")
        source = Source(name="home", url=server.url, password="env:MAIL_PASSWORD")
        config = Config(sources=Sources(mail=(source,)))
        async with open_app(mail_home, config) as app:
            await add(app, document("email"))
            await ready(app, "email")
            key = (await app.ledger.read(inbox.source_states))[0].source
        async with open_app(mail_home, config) as app:

            def forget(tx: Any) -> None:
                inbox.keep_source(tx, key, cursor={"validity": 1, "uid": 0})

            await app.ledger.write(forget)
        async with open_app(mail_home, config) as app:
            await until(app, lambda tx: inbox.source_state(tx, key).cursor.get("validity") != 1)
            assert await app.ledger.read(lambda tx: events(tx, "email")) == []


class Renumbered(Connection):
    """Its folder has another UIDVALIDITY each time somebody asks, as under a server that does not tell (Cyrus)."""

    asked = 0

    def _numbers(self) -> tuple[int, int]:
        self.asked += 1
        validity, following = super()._numbers()
        return validity + self.asked, following


@pytest.mark.timeout(60)
async def test_a_folder_made_anew_is_noticed_when_idle_is_renewed(mail_home: Home) -> None:
    """What comes to the new one would never be heard: the server goes on telling of the old one."""
    with mail_server() as server:
        source = Source(name="home", url=server.url, password="env:MAIL_PASSWORD")
        config = Config(sources=Sources(mail=(source,)))
        async with open_app(mail_home, config) as app, asyncio.timeout(50):
            shelf = open_shelf(mail_home, config)
            state = await app.ledger.read(lambda tx: inbox.source_state(tx, "email:key"))
            desk = Noting(app.ledger, app.clock, "email", "email:key", state)
            place = shelf.place("mail", "home")
            line = Renumbered(On(source="email"), desk, shelf, place, settle=0.2, renew=0.1)
            with pytest.raises(TemporaryError, match="was made anew"):
                await line.run()
            await shelf.close()
            assert line.asked == 2


@pytest.mark.timeout(60)
async def test_a_source_that_stops_answering_says_so_once(mail_home: Home, tmp_path: Path) -> None:
    with mail_server() as server:
        url = server.url
    clock = FakeClock()
    config = Config(sources=Sources(mail=(Source(name="home", url=url, password="env:MAIL_PASSWORD"),)))
    async with open_app(mail_home, config, clock=clock) as app:
        automation = await add(app, document("email"))
        async with asyncio.timeout(50):
            # the wait after a failure begins a moment after it is written down: time goes on until the fifth
            while not await app.ledger.read(lambda tx: any(s.failures >= 5 for s in inbox.source_states(tx))):
                clock.pass_to(clock.now() + 600_000_000)
                await asyncio.sleep(0.05)
        lines = await app.ledger.read(lambda tx: outbox.page(tx, limit=50))
        told = [line for line in lines if line.transition.endswith(":source") and line.fallback_of is None]
        assert len(told) == 1
        assert "does not answer, 3 times in a row" in told[0].message.text
        assert automation.name in told[0].message.text


@pytest.mark.timeout(60)
async def test_a_certificate_nobody_vouches_for_is_not_listened_to(
    mail_home: Home, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("tls")
    certificate = self_signed(folder)
    with mail_server(certificate=certificate) as server:
        config = Config(
            sources=Sources(mail=(Source(name="home", url=server.tls_url, password="env:MAIL_PASSWORD"),))
        )
        async with open_app(mail_home, config) as app:
            await add(app, document("email"))
            states = await until(app, lambda tx: [s for s in inbox.source_states(tx) if s.failures])
            assert "certificate" in states[0].error
            assert "password" not in states[0].error


def test_a_sender_is_verified_by_the_topmost_word_of_the_own_server() -> None:
    good = b"Authentication-Results: mx.example; dmarc=pass (p=none)\r\n header.from=example.org\r\nFrom: a\r\n\r\n"
    assert is_verified(good, "boss@example.org")
    assert not is_verified(good, "boss@evil.example")
    assert not is_verified(
        b"Authentication-Results: mx; dmarc=fail header.from=example.org\n\n", "b@example.org"
    )
    forged = b"Authentication-Results: mx; dmarc=fail header.from=a.b\n" + good.replace(b"\r\n", b"\n")
    assert not is_verified(forged, "boss@example.org")
    assert not is_verified(
        b"From: boss@example.org\n\nAuthentication-Results: x; dmarc=pass", "boss@example.org"
    )


FEED = """<rss version="2.0"><channel><title>News</title>{items}</channel></rss>"""


def feed(*numbers: int) -> bytes:
    item = "<item><title>T{n}</title><link>https://example.org/{n}</link><guid>g{n}</guid></item>"
    return FEED.format(items="".join(item.format(n=n) for n in numbers)).encode()


async def test_feed_entries_come_once_and_the_first_look_is_no_news(home: Home, shop: Shop) -> None:  # noqa: F811
    shop.kind, shop.body = "application/rss+xml", feed(2, 1)
    clock = FakeClock()
    config = Config(network=Network(allow_private=(f"127.0.0.1:{shop.server.server_port}",)))
    async with open_app(home, config, clock=clock) as app:
        await add(app, document("rss", url=shop.url, every="15m"))
        await ready(app, "rss")
        assert await app.ledger.read(lambda tx: events(tx, "rss")) == []
        shop.body = feed(4, 3, 2, 1)
        for _ in range(2):
            asked = shop.asked
            while shop.asked == asked:
                clock.pass_to(clock.now() + 900_000_000)
                await asyncio.sleep(0.02)
            await until(app, lambda tx: len(events(tx, "rss")) == 2)
        found = await app.ledger.read(lambda tx: events(tx, "rss"))
        assert [e.data["title"] for e in found] == ["T3", "T4"]


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ({"id": "a", "title": "T"}, {"id": "a", "title": "T, put right"}, True),
        ({"link": "https://example.org/1"}, {"link": "https://example.org/2"}, False),
        ({"summary": "It rains."}, {"summary": "It has stopped."}, False),
        ({"summary": "It rains."}, {"summary": "It rains."}, True),
    ],
)
def test_entries_are_told_apart_by_what_they_have(
    one: dict[str, str], other: dict[str, str], *, is_same: bool
) -> None:
    """RSS lets an entry be nothing but its description."""

    def of(entry: dict[str, str]) -> str:
        return identity(msgspec.convert({"id": "", "title": "(no title)", **entry}, FeedEntry))

    assert (of(one) == of(other)) is is_same


async def test_a_feed_that_has_not_changed_is_not_sent_again(home: Home, shop: Shop) -> None:  # noqa: F811
    shop.kind, shop.body, shop.etag = "application/rss+xml", feed(1), '"one"'
    clock = FakeClock()
    config = Config(network=Network(allow_private=(f"127.0.0.1:{shop.server.server_port}",)))
    async with open_app(home, config, clock=clock) as app:
        await add(app, document("rss", url=shop.url, every="15m"))
        await ready(app, "rss")
        shop.body = feed(2, 1)
        async with asyncio.timeout(20):
            while not shop.unchanged:
                clock.pass_to(clock.now() + 900_000_000)
                await asyncio.sleep(0.02)
            assert await app.ledger.read(lambda tx: events(tx, "rss")) == []
            shop.etag = '"two"'
            while not (found := await app.ledger.read(lambda tx: events(tx, "rss"))):
                clock.pass_to(clock.now() + 900_000_000)
                await asyncio.sleep(0.02)
        assert [e.data["title"] for e in found] == ["T2"]


class Refusing(Noting):
    """A ledger's desk that finds no room for what is heard, until it is told otherwise."""

    has_room = False

    async def take(self, events: list[Event], cursor: Mapping[str, Json] | None = None) -> None:
        if events and not self.has_room:
            raise StorageError("no room")
        await Desk.take(self, events, cursor)
        self.heard += [str(event.data["payload"]) for event in events]
        self.changed.set()

    async def until(self, is_so: Callable[[], bool]) -> None:
        while not is_so():
            await self.changed.wait()
            self.changed.clear()


async def test_a_message_that_could_not_be_kept_is_sent_again(home: Home, tmp_path: Path) -> None:
    aiomqtt = pytest.importorskip("aiomqtt")

    async def admit(_host: str, _port: int) -> None:
        pass

    listen = mqtt(admit, lambda _: "")
    with mosquitto(tmp_path) as port:
        place = On(source="mqtt", url=f"mqtt://127.0.0.1:{port}", topic="door")
        async with open_app(home, Config()) as app, asyncio.timeout(30):
            state = await app.ledger.read(lambda tx: inbox.source_state(tx, "mqtt:key"))
            desk = Refusing(app.ledger, app.clock, "mqtt", "mqtt:key", state)
            listening = asyncio.create_task(listen(place, desk))
            await desk.until(lambda: "subscribed" in desk.cursor)
            async with aiomqtt.Client("127.0.0.1", port) as client:
                await client.publish("door", "open", qos=1)
            with pytest.raises(StorageError):
                await listening
            desk.has_room = True
            listening = asyncio.create_task(listen(place, desk))
            await desk.until(lambda: bool(desk.heard))
            async with aiomqtt.Client("127.0.0.1", port) as client:
                await client.publish("door", "shut", qos=1)
            await desk.until(lambda: len(desk.heard) > 1)
            listening.cancel()
            await asyncio.wait([listening])
        assert desk.heard == ["open", "shut"]


async def test_mqtt_messages_are_events_and_lasting_ones_wait_for_us(home: Home, tmp_path: Path) -> None:
    aiomqtt = pytest.importorskip("aiomqtt")
    with mosquitto(tmp_path) as port:
        config = Config(network=Network(allow_private=(f"127.0.0.1:{port}",)))
        url = f"mqtt://127.0.0.1:{port}"

        async def publish(topic: str, payload: str, *, retain: bool = False) -> None:
            async with aiomqtt.Client("127.0.0.1", port) as client:
                await client.publish(topic, payload, qos=1, retain=retain)

        async with open_app(home, config) as app:
            await add(app, document("mqtt", url=url, topic="home/+/door", filter="open == true"))
            await ready(app, "mqtt")
            own = {"topic": "elsewhere", "url": "https://example.org", "retained": "always"}
            await publish("home/front/door", json.dumps({"open": True, **own}))
            await publish("home/back/door", json.dumps({"open": False}))
            await publish("garden/door", json.dumps({"open": True}))
            found = await until(
                app, lambda tx: len(e := events(tx, "mqtt")) == 2 and not inbox.has_new(tx) and e
            )
            assert [(e.data["topic"], bool(e.tasks)) for e in found] == [
                ("home/front/door", True), ("home/back/door", False),
            ]  # fmt: skip
            assert found[0].data["retained"] is False
            assert found[0].data["url"] == url
        await publish("home/front/door", json.dumps({"open": True, "late": 1}))
        async with open_app(home, config) as app:
            found = await until(app, lambda tx: len(e := events(tx, "mqtt")) == 3 and e)
            assert found[2].data["late"] == 1
            # what is said again, in another session, has happened again
            await publish("home/back/door", json.dumps({"open": False}))
            await until(app, lambda tx: len(events(tx, "mqtt")) == 4)


CALENDAR = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//t//t//EN
BEGIN:VEVENT
UID:meeting-1
DTSTAMP:20260301T000000Z
DTSTART:20260302T090000Z
DTEND:20260302T100000Z
SUMMARY:Product weekly
LOCATION:Room A
END:VEVENT
END:VCALENDAR
"""


async def test_the_calendar_tells_a_quarter_of_an_hour_before(home: Home) -> None:
    (home.root / "work.ics").write_text(CALENDAR.replace("\n", "\r\n"))
    source = Source(name="work", url=f"file://{home.root}/work.ics")
    clock = FakeClock("2026-03-02T08:30:00Z")
    async with open_app(home, Config(sources=Sources(calendar=(source,))), clock=clock) as app:
        await add(app, document("calendar", before="15m"))
        told_at = clock_at("2026-03-02T08:45:00Z")
        async with asyncio.timeout(20):
            while not (found := await app.ledger.read(lambda tx: events(tx, "calendar"))):
                await asyncio.sleep(0.01)
                due = clock.next_due()
                # while the calendar is being read the listener does not sleep, and the next due time is another's
                if due is not None and due <= told_at:
                    clock.pass_to(max(due, clock.now()))
        assert [(e.data["title"], e.data["location"]) for e in found] == [("Product weekly", "Room A")]
        assert found[0].received_at == told_at


def clock_at(text: str) -> int:
    return FakeClock(text).now()


needs_sandbox = pytest.mark.skipif(
    shutil.which("bwrap") is None, reason="bubblewrap is not installed (Debian: apt-get install bubblewrap)"
)


@needs_sandbox
async def test_the_end_of_a_program_and_the_lines_of_another_are_events(home: Home) -> None:
    async with AsyncExitStack() as stack:
        app = await stack.enter_async_context(open_app(home, Config()))
        await add(app, document("process", argv=["sh", "-c", "echo built; exit 3"]))
        lines = "for n in 1 2 3; do echo line $n; echo ERROR $n; sleep 0.2; done; sleep 60"
        await add(app, document("stream", argv=["sh", "-c", lines], match="ERROR (.*)"))
        ended = await until(app, lambda tx: events(tx, "process"))
        assert (ended[0].data["exit_code"], ended[0].data["output"].strip()) == (3, "built")
        found = await until(app, lambda tx: len(e := events(tx, "stream")) == 3 and e)
        assert [(e.data["line"], e.data["groups"]) for e in found] == [
            (f"ERROR {n}", [str(n)]) for n in (1, 2, 3)
        ]


async def test_a_listener_goes_with_its_last_automation(home: Home) -> None:
    (home.workspace / "drop").mkdir()
    async with open_app(home, Config(), clock=SystemClock()) as app:
        await add(app, document("file", path="drop"))
        await ready(app, "file")
        assert len(app.listening.places) == 1
        await app.ledger.write(lambda tx: orders.stop(tx, "It"))
        async with asyncio.timeout(5):
            while app.listening.places:
                await asyncio.sleep(0.01)
