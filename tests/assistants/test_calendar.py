"""Reading the calendar as tasks: spans, and the merging of what runs together."""

from pathlib import Path

import pytest

import servers
from tawny.app import App, open_app
from tawny.config import Config, Home, Limits, Owner, Source, Sources
from tawny.domain.tasks import Status, Task
from tawny.engine.submit import parse_request
from tawny.ledger.submission import submit
from tawny.ledger.tasks import get
from tawny.testing import FakeClock

NOW = "2026-03-16T08:00:00Z"  # a Monday
ICS = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//x//y//EN
BEGIN:VEVENT
UID:daily
SUMMARY:Stand-up
DTSTAMP:20260301T000000Z
DTSTART;TZID=Europe/Berlin:20260302T093000
DTEND;TZID=Europe/Berlin:20260302T094500
RRULE:FREQ=DAILY
END:VEVENT
END:VCALENDAR
"""


async def run_together(app: App, *wanted: dict[str, str]) -> list[Task]:
    submissions = [
        parse_request({"kind": "read_calendar", "params": params}, kinds=app.kinds, now=app.clock.now())
        for params in wanted
    ]
    tasks = await app.ledger.write(lambda tx: [submit(tx, submission) for submission in submissions])
    changed = app.ledger.bell.subscribe("events")
    while True:
        now = [await app.ledger.read(lambda tx, task=task: get(tx, task.task_id)) for task in tasks]
        if all(task.status.is_terminal for task in now):
            return now
        await changed.wait()
        changed.clear()


def config(url: str, password: str = "") -> Config:
    return Config(
        owner=Owner(timezone="Europe/Berlin"),
        sources=Sources(calendar=(Source(name="work", url=url, password=password),)),
        limits=Limits(concurrency=8, max_running_per_owner=8),
    )


async def test_today_tomorrow_and_this_week_as_tasks_are_one_request_and_three_answers(
    home: Home, tmp_path: Path
):
    with servers.radicale(tmp_path) as dav, servers.counting(dav.port) as proxy:
        dav.make_calendar()
        dav.put("/ann/work/daily.ics", ICS)
        url = f"caldav://ann@127.0.0.1:{proxy.port}/ann/work/"
        async with open_app(home, config(url, "pw"), clock=FakeClock(NOW)) as app:
            tasks = await run_together(app, {"span": "today"}, {"span": "tomorrow"}, {"span": "week"})
        assert [task.status for task in tasks] == [Status.SUCCEEDED] * 3
        assert [len(task.result["events"]) for task in tasks if task.result] == [1, 1, 7]
        assert proxy.counts["REPORT"] == 1


async def test_days_from_and_to_are_both_included(home: Home):
    (home.root / "work.ics").write_text(ICS)
    async with open_app(home, config("work.ics"), clock=FakeClock(NOW)) as app:
        (task,) = await run_together(app, {"from": "2026-03-20", "to": "2026-03-21"})
    assert task.result is not None
    assert task.result["text"] == "- Fri 20 Mar 09:30 Stand-up\n- Sat 21 Mar 09:30 Stand-up"


@pytest.mark.parametrize(
    "params", [{"span": "year"}, {"from": "soon"}, {"from": "2026-03-02", "to": "2026-03-01"}]
)
async def test_span_that_is_none_fails_with_the_mend(home: Home, params: dict[str, str]):
    async with open_app(home, config("work.ics"), clock=FakeClock(NOW)) as app:
        (task,) = await run_together(app, params)
    assert task.status is Status.FAILED


async def test_calendar_that_does_not_answer_is_said(home: Home):
    async with open_app(home, config("none.ics"), clock=FakeClock(NOW)) as app:
        (task,) = await run_together(app, {"span": "today"})
    assert task.result is not None
    assert "there is no file" in task.result["text"]
