"""The model's hands on the owner's own things: one turn over a calendar, a to-do list and a maildir on the disk."""

import json
from typing import Any

from agent.conftest import OpenChat
from tawny.config import Home, Owner, Source, Sources
from tawny.testing import ScriptedModel
from tawny.testing import Use as Call

CALENDAR = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//example//EN
BEGIN:VEVENT
UID:standup@example.org
DTSTAMP:20261101T000000Z
DTSTART;TZID=Europe/Berlin:20261201T090000
DTEND;TZID=Europe/Berlin:20261201T091500
SUMMARY:Standup
END:VEVENT
END:VCALENDAR
"""
MAIL = """From: Ada <ada@example.org>
To: me@example.org
Subject: The plans
Date: Tue, 24 Nov 2026 10:00:00 +0100
Message-ID: <plans@example.org>

They are on the table.
"""
DENTIST = {"title": "Dentist", "start": "2026-12-01T10:00", "location": "Main Street 1"}


def answers(messages: list[Any]) -> dict[str, Any]:
    """What each tool has said, by its name."""
    return {
        part.tool_name: json.loads(part.content)
        for message in messages
        for part in message.parts
        if part.part_kind == "tool-return"
    }


async def test_one_turn_reads_and_writes_calendar_todo_list_and_mail(chat: OpenChat, home: Home) -> None:
    (home.root / "work.ics").write_bytes(CALENDAR.replace("\n", "\r\n").encode())
    (home.root / "todo.txt").write_text("(A) Call the bank due:2026-12-02\n")
    for name in ("cur", "new", "tmp"):
        (home.root / "mail" / name).mkdir(parents=True)
    (home.root / "mail" / "new" / "1.example").write_bytes(MAIL.replace("\n", "\r\n").encode())
    script = ScriptedModel(
        [
            Call("calendar_add", DENTIST),
            Call("todo_add", {"title": "Buy milk", "due": "2026-12-03", "priority": "b"}),
            [
                Call("calendar_read", {"from": "2026-12-01", "to": "2026-12-01"}),
                Call("todo_read"),
                Call("mail_read", {"query": "plans"}),
            ],
            "all is done",
        ]
    )
    sources = Sources(
        calendar=(Source(name="work", url="work.ics"),),
        todo=(Source(url="todo.txt"),),
        mail=(Source(name="me", url=f"maildir://{home.root}/mail"),),
    )
    words = 'dentist, "Main Street 1", on 1 December at ten; milk by the third, and what is on, to do and in the mail?'
    async with chat(script, owner=Owner(timezone="Europe/Berlin"), sources=sources) as talk:
        assert (await talk.say(words)).text == "all is done"
    said = answers(script.asked[-1])
    assert [(one["title"], one["start"]) for one in said["calendar_read"]["items"]] == [
        ("Standup", "2026-12-01T09:00+01:00"),
        ("Dentist", "2026-12-01T10:00+01:00"),
    ]
    assert {(one["title"], one["due"], one["priority"]) for one in said["todo_read"]["items"]} == {
        ("Call the bank", "2026-12-02", "A"),
        ("Buy milk", "2026-12-03", "B"),
    }
    (mail,) = said["mail_read"]["items"]
    assert (mail["from"], mail["subject"], mail["text"]) == (
        "ada@example.org",
        "The plans",
        "They are on the table.",
    )
    calendar = (home.root / "work.ics").read_text()
    assert calendar.count("BEGIN:VEVENT") == 2
    assert "SUMMARY:Dentist" in calendar
    todos = (home.root / "todo.txt").read_text().splitlines()
    assert todos[0] == "(A) Call the bank due:2026-12-02"
    assert todos[1].startswith("(B) ")
    assert "Buy milk" in todos[1]
    assert "due:2026-12-03" in todos[1]
