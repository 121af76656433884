"""The morning brief as a task: real files, the real engine, an awkward day, sources that fail."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import date
from functools import partial
from typing import Any

import msgspec
import pytest

from tawny.api import Ask, Context
from tawny.app import open_app, open_shelf
from tawny.assistants.brief import generate_daily_brief
from tawny.clock import iso
from tawny.config import Config, Home, Model, Owner, Source, Sources, owner_zone
from tawny.domain.brief import Brief, Section, tells_all, weather_line
from tawny.domain.occurrences import Occurrence
from tawny.domain.tasks import Status, Task
from tawny.domain.weather import Weather
from tawny.engine import automations as orders
from tawny.engine.submit import parse_request
from tawny.ledger import occurrences, outbox, steps
from tawny.ledger.submission import submit
from tawny.ledger.tasks import get, logs
from tawny.models.failures import ModelFailure
from tawny.testing import FakeClock, ScriptedModel

# A Tuesday, 06:00 in Berlin. New York has changed its clocks already, Berlin has not.
NOW = "2026-03-17T05:00:00Z"


def event(*lines: str) -> list[str]:
    return ["BEGIN:VEVENT", *lines, "END:VEVENT"]


ICS = [
    "BEGIN:VCALENDAR",
    "VERSION:2.0",
    "PRODID:-//x//y//EN",
    *event(
        "UID:daily",
        "SUMMARY:Stand-up",
        "DTSTART;TZID=Europe/Berlin:20260302T093000",
        "DURATION:PT15M",
        "RRULE:FREQ=DAILY",
        "EXDATE;TZID=Europe/Berlin:20260317T093000",
    ),
    *event(
        "UID:weekly",
        "SUMMARY:Product weekly meeting",
        "LOCATION:https://meet.example.org/x",
        "DTSTART;TZID=Europe/Berlin:20260302T090000",
        "DTEND;TZID=Europe/Berlin:20260302T100000",
        "RRULE:FREQ=WEEKLY;BYDAY=MO",
    ),
    *event(
        "UID:weekly",
        "RECURRENCE-ID;TZID=Europe/Berlin:20260316T090000",
        "SUMMARY:Product weekly meeting",
        "LOCATION:https://meet.example.org/x",
        "DTSTART;TZID=Europe/Berlin:20260317T110000",
        "DTEND;TZID=Europe/Berlin:20260317T120000",
    ),
    *event("UID:away", "SUMMARY:Trade fair", "DTSTART;VALUE=DATE:20260316", "DTEND;VALUE=DATE:20260318"),
    *event("UID:over", "SUMMARY:Yesterday's holiday", "DTSTART;VALUE=DATE:20260316"),
    # 19:15 on the 16th in New York is a quarter past midnight on the 17th in Berlin (clocks there changed on the 8th).
    *event(
        "UID:ny",
        "SUMMARY:Call with New York",
        "DTSTART;TZID=America/New_York:20260316T191500",
        "DURATION:PT30M",
    ),
    # 23:30 UTC on the 17th is the 18th in Berlin.
    *event("UID:late", "SUMMARY:Not today any more", "DTSTART:20260317T233000Z", "DURATION:PT30M"),
    *event(
        "UID:jp", "SUMMARY:客户演示（第三会议室）", "DTSTART;TZID=Asia/Tokyo:20260317T220000", "DURATION:PT1H"
    ),
    *event("UID:off", "SUMMARY:Called off", "STATUS:CANCELLED", "DTSTART:20260317T100000Z", "DURATION:PT1H"),
    *event("UID:maybe", "SUMMARY:Lunch?", "STATUS:TENTATIVE", "DTSTART:20260317T120000", "DURATION:PT1H"),
    "END:VCALENDAR",
    "",
]
TODO = """\
(A) Submit monthly report due:2026-03-17 +work
Reply to client proposal due:2026-03-17
Renew passport due:2026-03-12
Water the plants due:2026-03-18
x 2026-03-16 Pay rent due:2026-03-17
Read a book
"""
CARDS = "BEGIN:VCARD\nVERSION:3.0\nFN:CEO Zhang\nEMAIL:zhang@example.org\nEND:VCARD\n"


def letter(
    sender: str, subject: str, body: str, *, at: str = "Mon, 16 Mar 2026 18:00:00 +0100", extra: str = ""
) -> bytes:
    head = f"From: {sender}\nTo: me@example.org\nMessage-ID: <{abs(hash(subject))}@x>\nSubject: {subject}\nDate: {at}\n"
    return (
        head + extra + "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n" + body
    ).encode()


MAIL = {
    "1": letter(
        "=?utf-8?B?5byg?= <zhang@example.org>",
        "=?utf-8?B?UTIg6aKE566X5a6h5om5?=",
        "请今天确认",
        extra="Importance: high\n",
    ),
    "2": letter(
        "Bob Stone <bob@client.example>",
        "Proposal",
        "Hello,\ncould you send the figures?\n",
        at="Mon, 16 Mar 2026 19:00:00 +0100",
    ),
    "3": letter(
        "News <hello@shop.example>",
        "Please read: 50 % off today!",
        "Buy now",
        extra="List-Unsubscribe: <mailto:u@x>\n",
    ),
    "4": letter("Weekly Digest <digest@mag.example>", "What do you think?", "Articles"),
    "5": letter("Offers <a@b.example>", "Can you believe it?", "Great\n\nTo unsubscribe click here"),
    "6": letter("Stranger <s@t.example>", "Minutes of yesterday", "As discussed, attached."),
    "7": letter("Old <zhang@example.org>", "Long ago", "?", at="Fri, 13 Mar 2026 18:00:00 +0100"),
    "8": b"\xff\xfe broken bytes without any header",
}
FORECAST = (
    '{"daily": {"time": ["2026-03-17"], "weather_code": [61], "temperature_2m_max": [9.4],'
    ' "temperature_2m_min": [3.1], "precipitation_probability_max": [80]}}'
)
FEED = """<?xml version="1.0"?><rss version="2.0"><channel><title>World</title>
<item><title>Fresh news</title><guid>1</guid><pubDate>Mon, 16 Mar 2026 20:00:00 GMT</pubDate></item>
<item><title>Stale news</title><guid>2</guid><pubDate>Mon, 02 Mar 2026 20:00:00 GMT</pubDate></item></channel></rss>"""

GOLDEN = """\
**Good Morning! ☀️** Tuesday, 17 March 2026

**📅 Today's Schedule**
- All day Trade fair
- 00:15 Call with New York
- 11:00 Product weekly meeting (online)
- 12:00 Lunch? – tentative
- 14:00 客户演示（第三会议室）

**⚠️ Due Today**
- Renew passport (overdue since 12 Mar)
- Submit monthly report
- Reply to client proposal

**📧 Pending Emails (2)**
- From CEO Zhang: Q2 预算审批 - High priority
- From Bob Stone: Proposal - asks for an answer

**🌧️ Today's Weather:** Light rain, 3 to 9 °C, remember to bring an umbrella

**📰 News**
- Fresh news (World)

Shall I help you prepare meeting materials?"""


@pytest.fixture
def day(home: Home) -> Config:
    root = home.root
    (root / "work.ics").write_bytes("\r\n".join(ICS).encode())
    (root / "todo.txt").write_text(TODO, encoding="utf-8")
    (root / "people.vcf").write_text(CARDS, encoding="utf-8")
    (root / "mail" / "new").mkdir(parents=True)
    for name, data in MAIL.items():
        (root / "mail" / "new" / name).write_bytes(data)
    (root / "weather.json").write_text(FORECAST)
    (root / "feed.xml").write_text(FEED)
    return Config(
        owner=Owner(timezone="Europe/Berlin"),
        sources=Sources(
            calendar=(Source(name="work", url="work.ics"),),
            todo=(Source(url="todo.txt"),),
            mail=(Source(name="me", url=f"maildir://{root}/mail"),),
            contacts=(Source(url="people.vcf"),),
            weather=(Source(name="Berlin", url="weather.json"),),
            feed=(Source(name="world", url="feed.xml"),),
        ),
    )


class Desk:
    def __init__(self, app: Any) -> None:
        self.app = app

    async def brief(self, **params: Any) -> Task:
        body = {"kind": "generate_daily_brief", "params": params}
        submission = parse_request(body, kinds=self.app.kinds, now=self.app.clock.now())
        task = await self.app.ledger.write(lambda tx: submit(tx, submission))
        changed = self.app.ledger.bell.subscribe("events")
        while not (task := await self.app.ledger.read(lambda tx: get(tx, task.task_id))).status.is_terminal:
            await changed.wait()
            changed.clear()
        return task


@asynccontextmanager
async def desk(home: Home, config: Config, ask: Ask | None = None, now: str = NOW) -> AsyncGenerator[Desk]:
    kinds = {}
    if ask is not None:
        shelf = open_shelf(home, config)
        kinds["generate_daily_brief"] = generate_daily_brief(shelf, ask)
    async with open_app(home, config, clock=FakeClock(now), kinds=kinds) as app:
        yield Desk(app)
    if ask is not None:
        await shelf.close()  # pyright: ignore[reportPossiblyUnboundVariable]


async def test_brief_of_an_awkward_day_is_exactly_right(home: Home, day: Config):
    async with desk(home, day) as it:
        task = await it.brief()
    assert task.status is Status.SUCCEEDED, task.error
    assert task.result is not None
    assert task.result["text"] == GOLDEN
    assert list(task.result["sections"]) == ["calendar", "tasks", "mail", "weather", "feeds"]
    assert task.result["missing"] == []
    assert task.progress.percentage == 100


async def test_log_tells_what_was_retrieved(home: Home, day: Config):
    async with desk(home, day) as it:
        task = await it.brief()
        lines = await it.app.ledger.read(lambda tx: logs(tx, task.task_id))
    said = [line["message"] for line in lines]
    for expected in (
        "Task started",
        "Connected to calendar service, retrieved 4 meetings today",
        "Checked task list, found 3 tasks due today",
        "Retrieved weather: Light rain, 3 to 9 °C, remember to bring an umbrella",
        "Scanned 7 emails, marked 2 important needing replies",
        "Generated briefing",
    ):
        assert expected in said, said


async def test_source_that_fails_costs_only_its_section_and_is_named(home: Home, day: Config):
    (home.root / "work.ics").unlink()
    (home.root / "feed.xml").write_text("<html>gone</html>")
    async with desk(home, day) as it:
        task = await it.brief()
        keys = {
            step.key: step.status
            for step in await it.app.ledger.read(lambda tx: steps.of_task(tx, task.task_id))
        }
    assert task.status is Status.SUCCEEDED
    assert task.result is not None
    text = task.result["text"]
    assert "Today's Schedule" not in text
    assert "Submit monthly report" in text
    plain = text.replace("\\", "").splitlines()
    assert plain[-3] == f"⚠️ Calendar (work) is missing: there is no file {home.root}/work.ics"
    assert plain[-1] == "⚠️ Feed (world) is missing: this is no RSS or Atom feed"
    assert keys["calendar:work"] == "failed"
    assert keys["todo:todo"] == "succeeded"


async def test_one_of_two_calendars_that_fails_leaves_the_other(home: Home, day: Config):
    sources = Sources(calendar=(Source(name="work", url="work.ics"), Source(name="home", url="none.ics")))
    async with desk(home, Config(owner=day.owner, sources=sources)) as it:
        task = await it.brief()
    assert task.result is not None
    assert "14:00 客户演示" in task.result["text"]
    assert "Calendar (home) is missing" in task.result["text"]


async def test_only_what_is_asked_for_goes_in(home: Home, day: Config):
    async with desk(home, day) as it:
        task = await it.brief(
            include_mail=False, include_feeds=False, include_weather=False, include_tasks=False
        )
    assert task.result is not None
    assert list(task.result["sections"]) == ["calendar"]


async def test_another_day_is_another_brief(home: Home, day: Config):
    async with desk(home, day) as it:
        task = await it.brief(date="2026-03-18", format="text", include_mail=False)
    assert task.result is not None
    assert "• 00:30 Not today any more" in task.result["text"]
    assert "• 09:30 Stand-up" in task.result["text"]
    assert "Renew passport (overdue since 12 Mar)" in task.result["text"]


async def test_impossible_date_fails_with_the_mend(home: Home, day: Config):
    async with desk(home, day) as it:
        task = await it.brief(date="2026-02-30")
    assert task.status is Status.FAILED
    assert task.error is not None
    assert "2026-02-30" in task.error.message


async def test_html_shows_markup_as_text(home: Home, day: Config):
    (home.root / "todo.txt").write_text("<script>alert(1)</script> & more due:2026-03-17\n")
    async with desk(home, day) as it:
        task = await it.brief(format="html", include_mail=False)
    assert task.result is not None
    assert "<li>&lt;script&gt;alert(1)&lt;/script&gt; &amp; more</li>" in task.result["text"]


async def test_without_any_source_the_brief_says_so(home: Home):
    async with desk(home, Config()) as it:
        task = await it.brief()
    assert task.status is Status.SUCCEEDED
    assert task.result is not None
    assert "no source is configured" in task.result["text"].lower()


async def test_model_ranks_and_writes(home: Home, day: Config):
    asked: list[str] = []

    async def ask(_: Context, system: str, prompt: str) -> str:
        asked.append(prompt)
        return "The order is [2, 1]." if "numbered list" in system else f"Dear owner!\n\n{prompt}"

    async with desk(home, day, ask) as it:
        task = await it.brief()
    assert task.result is not None
    assert task.result["text"].startswith("Dear owner!")
    assert task.result["text"].index("Bob Stone") < task.result["text"].index("CEO Zhang")
    assert len(asked) == 2


TOLD = [line for line in GOLDEN.splitlines() if line.startswith("- ") or "Weather" in line]


async def test_model_that_leaves_out_one_line_costs_nothing(home: Home, day: Config):
    left_out = ""

    async def ask(_: Context, system: str, prompt: str) -> str:
        if "numbered list" in system:
            return "[1, 2]"
        assert prompt.count(left_out) == 1
        return "Dear owner!\n\n" + prompt.replace(left_out, "")

    assert len(TOLD) == 12
    async with desk(home, day, ask) as it:
        for left_out in TOLD:
            task = await it.brief()
            assert task.result is not None
            assert task.result["text"] == GOLDEN, left_out


async def test_second_letter_of_a_sender_may_not_be_left_out(home: Home, day: Config):
    (home.root / "mail" / "new" / "9").write_bytes(
        letter("Bob Stone <bob@client.example>", "Contract", "Hello,\ncould you sign it?\n")
    )

    async def ask(_: Context, system: str, prompt: str) -> str:
        kept = [line for line in prompt.splitlines() if "Contract" not in line]
        return "[1, 2, 3]" if "numbered list" in system else "\n".join(kept)

    async with desk(home, day, ask) as it:
        task = await it.brief()
    assert task.result is not None
    assert "- From Bob Stone: Contract - asks for an answer" in task.result["text"].splitlines()


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(-0.3, 0.4, "0 to 0 °C"), (-3.6, -0.2, "-4 to 0 °C"), (3.1, 9.4, "3 to 9 °C")],
)
def test_degrees_are_whole_and_never_minus_nothing(low: float, high: float, said: str):
    weather = Weather(day=date(2026, 3, 17), code=2, low=low, high=high)
    assert weather_line(weather).startswith(f"Partly cloudy, {said}")


@pytest.mark.parametrize(
    ("prose", "is_whole"),
    [
        ("It will be -4 to 0 °C in Oslo, and Ann calls until 10:30 (tentative).", True),
        ("In Oslo −4 to 0 °C; Ann calls until 10:30, tentative", True),
        ("It will be 4 to 0 °C in Oslo, and Ann calls until 10:30 (tentative).", False),
        ("It will be -4 to 10 °C in Oslo, and Ann calls until 10:30 (tentative).", False),
        ("It will be -4 to 0 °C, and Ann calls until 10:30 (tentative).", False),
        ("It will be -4 to 0 °C in Oslo, and Ann calls (tentative).", False),
        ("It will be -4 to 0 °C in Oslo, and Ann calls until 10:30.", False),
    ],
)
def test_what_a_text_must_tell_it_may_tell_in_its_own_words(prose: str, is_whole: bool):
    lines = {
        "weather": "Oslo: Snow, -4 to 0 °C, dress warmly",
        "calendar": "until 10:30 Ann calls – tentative",
    }
    sections = tuple(Section(key=key, sign="", title="", lines=(line,)) for key, line in lines.items())
    free = Section(key="tasks", sign="", title="", lines=("Nothing due.",))
    made = Brief(day=date(2026, 3, 17), greeting="", sections=(*sections, free))
    assert tells_all(made, prose) is is_whole


@pytest.mark.parametrize("answer", ["", "no idea", "[1, 2", "Good morning, nothing is on today."])
async def test_model_that_leaves_something_out_costs_nothing(home: Home, day: Config, answer: str):
    async def ask(_: Context, system: str, prompt: str) -> str:
        assert system
        assert prompt
        return answer

    async with desk(home, day, ask) as it:
        task = await it.brief()
    assert task.status is Status.SUCCEEDED
    assert task.result is not None
    assert task.result["text"] == GOLDEN


async def test_configured_model_writes_the_prose_and_its_use_is_counted(home: Home, day: Config):
    model = ScriptedModel(["[2, 1]", lambda messages: "Dear owner!\n\n" + messages[0].parts[1].content])
    config = msgspec.structs.replace(day, model=Model(name="openai:test", base_url="http://127.0.0.1:9/v1"))
    async with open_app(home, config, clock=FakeClock(NOW), model=model) as app:
        task = await Desk(app).brief()
    assert task.result is not None
    assert task.result["text"].startswith("Dear owner!"), task.result["text"]
    assert task.result["text"].index("Bob Stone") < task.result["text"].index("CEO Zhang")
    assert task.usage.model_calls == 2


async def test_model_that_is_down_costs_the_prose_alone(home: Home, day: Config):
    config = msgspec.structs.replace(day, model=Model(name="openai:test", base_url="http://127.0.0.1:9/v1"))
    down = [ModelFailure("auth", "the key is not valid")] * 4
    async with open_app(home, config, clock=FakeClock(NOW), model=ScriptedModel(down)) as app:
        task = await Desk(app).brief()
    assert task.status is Status.SUCCEEDED, task.error
    assert task.result is not None
    assert task.result["text"] == GOLDEN


async def test_brief_comes_at_eight_in_the_owners_zone_and_is_delivered(home: Home, day: Config):
    document = {
        "name": "Morning brief",
        "type": "scheduled",
        "schedule": {"type": "cron", "expression": "0 8 * * *"},
        "action": {"type": "generate_daily_brief", "parameters": {"format": "markdown"}},
        "delivery": {"channels": ["inbox", "file:brief.md"]},
    }
    clock = FakeClock(NOW)
    async with open_app(home, day, clock=clock) as app:
        order = await app.ledger.write(
            lambda tx: orders.add(tx, document, kinds=app.kinds, timezone=owner_zone(day))
        )
        assert order.document()["next_run"] == "2026-03-17T07:00:00.000Z"
        changed = app.ledger.bell.subscribe("events")
        await clock.settle()
        await clock.advance("1h59m")
        assert (await app.ledger.read(lambda tx: occurrences.page(tx, order.automation_id))).items == []
        await clock.advance("1m")
        slots: list[Occurrence] = []
        lines: list[outbox.Line] = []
        async with asyncio.timeout(60):
            while len(lines) < 2 or {line.status for line in lines} != {"delivered"}:
                await changed.wait()
                changed.clear()
                slots = (await app.ledger.read(lambda tx: occurrences.page(tx, order.automation_id))).items
                if slots and slots[0].task_id:
                    lines = await app.ledger.read(partial(outbox.of_task, task_id=slots[0].task_id))
        (slot,) = slots
        task = await app.ledger.read(lambda tx: get(tx, slot.task_id))
        (kept,) = await app.ledger.read(outbox.inbox)
    assert (iso(slot.slot), slot.status) == ("2026-03-17T07:00:00.000Z", "ran")
    assert iso(task.started_at) == "2026-03-17T07:00:00.000Z"
    assert task.result is not None
    assert task.result["text"] == GOLDEN
    assert sorted(line.target for line in lines) == ["file:brief.md", "inbox"]
    assert kept.message.text == GOLDEN
    written = (home.workspace / "brief.md").read_text(encoding="utf-8")
    assert GOLDEN in written
    assert written.count("Good Morning!") == 1
