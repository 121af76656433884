"""The children: a hostile file costs its own child, nothing else."""

import asyncio
import os
from datetime import date
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tawny.config import Source
from tawny.domain.calendar import day_span
from tawny.errors import PermanentError, TemporaryError
from tawny.sources import mailboxes
from tawny.sources.place import CalendarQuery, FeedQuery, MailQuery, NewTodo, Place, TodoQuery, shown, split
from tawny.sources.workers import Workers

SPAN = day_span(date(2026, 3, 2), ZoneInfo("Europe/Berlin"))
HEAD = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\n"


async def test_one_child_serves_many_reads(tmp_path: Path, shelf: Any):
    (tmp_path / "todo.txt").write_text("Call Ann\n")
    reader = shelf(todo=[Source(url="todo.txt")])
    for _ in range(5):
        assert len((await reader.todos("todo")).items) == 1
    fetching, parsing = reader._workers._fetchers, reader._workers._parsers
    assert (fetching.started, parsing.started) == (1, 1)


async def test_read_that_takes_too_long_is_ended(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.mbox")
    workers = Workers(wall=1.0)
    place = Place(noun="mail", name="me", url=f"mbox://{tmp_path}/pipe.mbox")
    with pytest.raises(TemporaryError, match='mail "me": reading took more than 1 s'):
        await workers.read("mail", place, MailQuery())
    await workers.close()


async def test_file_that_burns_the_processor_costs_only_its_child(tmp_path: Path):
    endless = "RRULE:FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"
    event = f"BEGIN:VEVENT\r\nUID:a\r\nSUMMARY:X\r\nDTSTART:19000101T000000\r\n{endless}\r\nEND:VEVENT\r\n"
    (tmp_path / "a.ics").write_text(HEAD + event * 400 + "END:VCALENDAR\r\n")
    (tmp_path / "todo.txt").write_text("Call Ann\n")
    workers = Workers(wall=30, cpu=1)
    place = Place(noun="calendar", name="work", url=f"{tmp_path}/a.ics", zone="Europe/Berlin")
    good = Place(noun="todo", name="list", url=f"{tmp_path}/todo.txt")
    hostile = workers.read("calendar", place, CalendarQuery(*SPAN))
    reads = [hostile, workers.read("todo", good, TodoQuery())]
    results: list[Any] = list(await asyncio.gather(*reads, return_exceptions=True))
    bad, fine = results
    assert fine["items"][0]["title"] == "Call Ann"
    assert isinstance(bad, PermanentError) or bad["items"] == []
    await workers.close()


async def test_file_over_the_limit_is_refused_with_its_size(tmp_path: Path, shelf: Any):
    with (tmp_path / "big.ics").open("wb") as file:
        file.truncate(21 * 1024 * 1024)
    with pytest.raises(PermanentError, match=r"big\.ics has 21 MB"):
        await shelf(calendar=[Source(url="big.ics")]).calendar("calendar", *SPAN)


async def test_missing_file_is_named_with_the_mend(shelf: Any, tmp_path: Path):
    with pytest.raises(PermanentError, match=r"there is no file .*/none\.ics") as caught:
        await shelf(calendar=[Source(name="work", url=f"file://{tmp_path}/none.ics")]).calendar("work", *SPAN)
    assert caught.value.hint == "create it, or correct url in [[sources.calendar]]", (
        "the message has the path"
    )


@pytest.mark.parametrize("scheme", ["", "file://"])
async def test_file_that_is_none_of_its_kind_is_named_with_the_mend(shelf: Any, tmp_path: Path, scheme: str):
    (tmp_path / "people.vcf").write_text("hello")
    url = f"{scheme}{tmp_path}/people.vcf"
    with pytest.raises(PermanentError, match="no vCard file") as caught:
        await shelf(contacts=[Source(url=url)]).contacts("contacts")
    assert caught.value.hint.endswith(f" (in {url})")


async def test_expanding_entities_do_not_eat_the_memory(tmp_path: Path, shelf: Any):
    levels = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    bomb = f'<?xml version="1.0"?><!DOCTYPE r [<!ENTITY l0 "lol">{levels}]><rss version="2.0"><channel>'
    (tmp_path / "bomb.xml").write_text(f"{bomb}<title>&l11;</title></channel></rss>")
    reading = await shelf(feed=[Source(url="bomb.xml")]).feed("feed", FeedQuery())
    assert len(str(reading)) < 1000


@pytest.mark.parametrize("noun", ["calendar", "contacts", "feed", "weather", "todo", "mbox"])
async def test_random_bytes_never_end_more_than_their_read(tmp_path: Path, shelf: Any, noun: str):
    (tmp_path / "x").write_bytes(bytes((n * 7919) % 256 for n in range(5000)))
    if noun == "mbox":
        read = shelf(mail=[Source(name="m", url=f"mbox://{tmp_path}/x")]).mail("m", MailQuery())
    else:
        reader = shelf(**{noun: [Source(name="m", url="x", latitude=1, longitude=1)]})
        read = {
            "calendar": lambda: reader.calendar("m", *SPAN),
            "contacts": lambda: reader.contacts("m"),
            "feed": lambda: reader.feed("m", FeedQuery()),
            "weather": lambda: reader.weather("m", date(2026, 3, 2)),
            "todo": lambda: reader.todos("m"),
        }[noun]()
    (result,) = await asyncio.gather(read, return_exceptions=True)
    if noun == "todo":
        assert result.items
    else:
        assert isinstance(result, PermanentError)
        assert '"m"' in result.message
        assert result.hint


async def test_maildir_and_mbox_are_read(tmp_path: Path, shelf: Any):
    (tmp_path / "mail" / "new").mkdir(parents=True)
    (tmp_path / "mail" / "cur").mkdir()
    letter = b"From: a@b.c\nSubject: One\nDate: Mon, 2 Mar 2026 07:00:00 +0000\n\nx\n"
    (tmp_path / "mail" / "new" / "1").write_bytes(letter)
    (tmp_path / "mail" / "cur" / "2:2,RS").write_bytes(letter.replace(b"One", b"Two"))
    mbox = (
        b"From a@b.c Mon Mar  2 07:00:00 2026\n"
        + letter
        + b"\nFrom a@b.c Mon Mar  2 08:00:00 2026\nStatus: RO\n"
    )
    (tmp_path / "box").write_bytes(mbox + letter.replace(b"One", b"Two").replace(b"07:00", b"08:00"))
    sources = [
        Source(name="dir", url=f"maildir://{tmp_path}/mail"),
        Source(name="box", url=f"mbox://{tmp_path}/box"),
    ]
    reader = shelf(mail=sources)
    for name in ("dir", "box"):
        found = (await reader.mail(name, MailQuery())).items
        assert {(mail.subject, mail.unread) for mail in found} == {("One", True), ("Two", False)}
        assert [mail.subject for mail in (await reader.mail(name, MailQuery(unread=True))).items] == ["One"]


async def test_message_that_cannot_be_read_costs_itself_and_is_named(tmp_path: Path, shelf: Any):
    new = tmp_path / "mail" / "new"
    new.mkdir(parents=True)
    (new / "1").write_bytes(b"From: a@b.c\nSubject: One\nDate: Mon, 2 Mar 2026 07:00:00 +0000\n\nx\n")
    (new / "2").symlink_to("/proc/self/mem")  # a file that not even root can read
    (new / "3").symlink_to("3")
    reading = await shelf(mail=[Source(name="me", url=f"maildir://{tmp_path}/mail")]).mail("me", MailQuery())
    assert [mail.subject for mail in reading.items] == ["One"]
    (problem,) = reading.problems
    assert problem == f'mail "me": {new}/2 cannot be read: Input/output error; check its permissions'


def test_message_that_is_moved_while_others_are_read_costs_itself_and_is_named(tmp_path: Path):
    new = tmp_path / "new"
    new.mkdir()
    for number in (1, 2, 3):
        (new / str(number)).write_bytes(b"Subject: %d\n\nx\n" % number)
        os.utime(new / str(number), (number, number))
    place = Place(noun="mail", name="me", url=f"maildir://{tmp_path}")
    messages = mailboxes._maildir(place, split(place), MailQuery())
    assert next(messages).data.startswith(b"Subject: 3")
    (tmp_path / "cur").mkdir()
    (new / "2").rename(tmp_path / "cur" / "2:2,S")
    moved, last = messages
    assert moved == f'mail "me": {new}/2 was moved while it was read; the next reading finds it'
    assert last.data.startswith(b"Subject: 1")


async def test_folder_that_is_no_maildir_is_named(tmp_path: Path, shelf: Any):
    with pytest.raises(PermanentError, match="is no maildir"):
        await shelf(mail=[Source(name="m", url=f"maildir://{tmp_path}")]).mail("m", MailQuery())


async def test_todo_is_appended_once_and_the_rest_of_the_file_is_kept(tmp_path: Path, shelf: Any):
    (tmp_path / "todo.txt").write_text("(A) Old thing due:2026-03-02")
    reader = shelf(todo=[Source(url="todo.txt")])
    new = NewTodo(uid="n1", title="New thing", due=date(2026, 3, 3), created=date(2026, 3, 1))
    await reader.add_todo(new)
    await reader.add_todo(new)
    lines = (tmp_path / "todo.txt").read_text().splitlines()
    assert lines == ["(A) Old thing due:2026-03-02", "2026-03-01 New thing due:2026-03-03 uid:n1"]


def test_address_is_shown_without_user_and_password():
    place = Place(noun="mail", name="m", url="imaps://ann:secret@mail.example.org/INBOX?token=1")
    assert shown(place) == "imaps://mail.example.org/INBOX"
    assert "secret" not in repr(place)
