# ruff: noqa: DTZ001 - naive times are among what is refused
"""Schedules against a brute-force oracle in seven awkward zones, and what is refused."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tawny import api
from tawny.clock import DAY, HOUR, MINUTE, SECOND, from_datetime, iso, to_datetime
from tawny.domain import cron, schedule
from tawny.errors import InvalidInput

# zone → days around changes of its clocks (the last: a whole day that never was)
AWKWARD = {
    "America/New_York": ["2026-03-08", "2026-11-01"],
    "Australia/Lord_Howe": ["2026-04-05", "2026-10-04"],
    "Africa/Casablanca": ["2026-02-15", "2026-03-22"],
    "Asia/Tehran": ["2021-03-22", "2021-09-22"],
    "Pacific/Apia": ["2011-12-30", "2021-04-04"],
    "America/St_Johns": ["2010-03-14", "2010-11-07", "2026-03-08", "2026-11-01"],
    "Africa/Cairo": ["2026-04-24", "2026-10-30"],
}
EXPRESSIONS = [
    "30 2 * * *", "30 1 * * *", "0 0 * * *", "15 0 * * *", "0 2 * * *", "45 23 * * *", "5,35 0-3 * * *",
    "*/10 * * * *", "* 1 * * *", "*/15 2 * * *", "0 * * * *", "30 */2 * * *", "1 0 * * *", "0 8 * * 1-5",
    "0 3 L * *",
]  # fmt: skip


def _minutes(zone: ZoneInfo, start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Every real minute as (UTC, naive wall), walked one by one."""
    moment = start
    while moment < end:
        yield moment, moment.astimezone(zone).replace(tzinfo=None)
        moment += timedelta(minutes=1)


def oracle(expression: str, zone: ZoneInfo, start: datetime, end: datetime) -> list[datetime]:
    """Debian's cron, thought as a clock on a wall: minute after minute, told by the rule's own words."""
    parsed = cron.parse(expression)
    found: list[datetime] = []
    previous = (start - timedelta(minutes=1)).astimezone(zone).replace(tzinfo=None)
    seen_until = previous
    for moment, wall in _minutes(zone, start, end):
        if parsed.elapsed:
            due = parsed.matches(wall)
        else:
            due = wall > seen_until and parsed.matches(wall)
            skipped = seen_until + timedelta(minutes=1)
            while skipped < wall:
                due = due or parsed.matches(skipped)
                skipped += timedelta(minutes=1)
            seen_until = max(seen_until, wall)
        if due:
            found.append(moment)
    return found


@pytest.mark.parametrize("name", AWKWARD)
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_runs_around_changed_clocks_are_the_oracles(name: str, expression: str) -> None:
    zone = ZoneInfo(name)
    for day in AWKWARD[name]:
        middle = datetime.fromisoformat(day).replace(tzinfo=UTC)
        start, end = middle - timedelta(days=2), middle + timedelta(days=3)
        expected = oracle(expression, zone, start, end)
        plan = schedule.compile(
            {"type": "cron", "expression": expression, "timezone": name}, now=from_datetime(start), new=False
        )
        found = [to_datetime(slot) for slot in plan.slots(from_datetime(start) - 1, from_datetime(end) - 1)]
        assert found == expected


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(sorted(AWKWARD)),
    minute=st.sampled_from(["*", "*/7", "0", "29,31", "10-50/20"]),
    hour=st.sampled_from(["*", "*/3", "0", "1", "2", "3", "0-4", "23"]),
    day=st.integers(0, 729),
)
def test_any_expression_on_any_day_is_the_oracles(name: str, minute: str, hour: str, day: int) -> None:
    zone, expression = ZoneInfo(name), f"{minute} {hour} * * *"
    start = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(days=day)
    end = start + timedelta(days=1)
    # the oracle must have seen what came before: a fold's first pass may lie before the start
    expected = [at for at in oracle(expression, zone, start - timedelta(days=1), end) if at > start]
    plan = schedule.compile({"type": "cron", "expression": expression, "timezone": name}, now=0, new=False)
    assert [
        to_datetime(slot) for slot in plan.slots(from_datetime(start), from_datetime(end) - 1)
    ] == expected


def test_a_time_in_the_gap_runs_once_at_the_first_valid_minute() -> None:
    runs = api.next_runs("30 2 * * *", "America/New_York", "2026-03-07T12:00:00-05:00", 2)
    assert [run.isoformat() for run in runs] == ["2026-03-08T03:00:00-04:00", "2026-03-09T02:30:00-04:00"]


def test_a_time_in_the_fold_runs_once_and_wildcards_by_elapsed_time() -> None:
    fixed = api.next_runs("30 1 * * *", "America/New_York", "2026-11-01T00:00:00-04:00", 2)
    assert [run.isoformat() for run in fixed] == ["2026-11-01T01:30:00-04:00", "2026-11-02T01:30:00-05:00"]
    hourly = api.next_runs("30 * * * *", "America/New_York", "2026-11-01T00:45:00-04:00", 3)
    assert [run.isoformat()[11:] for run in hourly] == ["01:30:00-04:00", "01:30:00-05:00", "02:30:00-05:00"]


def test_next_runs_excludes_its_start_and_answers_in_the_zone() -> None:
    start = datetime(2026, 12, 1, 8, 0, tzinfo=ZoneInfo("Europe/Berlin"))
    runs = api.next_runs("0 8 * * 1-5", "Europe/Berlin", start, 3)
    assert [run.isoformat() for run in runs] == [
        "2026-12-02T08:00:00+01:00", "2026-12-03T08:00:00+01:00", "2026-12-04T08:00:00+01:00",
    ]  # fmt: skip
    assert all(run.tzinfo == ZoneInfo("Europe/Berlin") for run in runs)
    assert api.next_runs("0 8 * * 1-5", "Europe/Berlin", "2026-12-01T07:00:00Z", 3) == runs


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("0 8 * *", "Europe/Berlin", "2026-12-01T08:00:00Z", 1), "expression"),
        (("0 0 31 2 *", "Europe/Berlin", "2026-12-01T08:00:00Z", 1), "never"),
        (("0 8 * * *", "Europe/Berlim", "2026-12-01T08:00:00Z", 1), "timezone"),
        (("0 8 * * *", "../etc/passwd", "2026-12-01T08:00:00Z", 1), "timezone"),
        (("0 8 * * *", "", "2026-12-01T08:00:00Z", 1), "timezone"),
        (("0 8 * * *", "UTC", "soon", 1), "start"),
        (("0 8 * * *", "UTC", datetime(2026, 1, 1), 1), "time zone"),
        (("0 8 * * *", "UTC", "2026-12-01T08:00:00Z", -1), "n:"),
    ],
)
def test_next_runs_refuses_with_the_mend(arguments: tuple[str, str, str, int], word: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        api.next_runs(*arguments)
    assert word in refused.value.message
    assert refused.value.hint


def test_an_ended_expression_lists_fewer() -> None:
    assert len(api.next_runs("0 0 8 1 1 * 2027-2028", "UTC", "2026-01-01T00:00:00Z", 5)) == 2
    assert api.next_runs("0 0 8 1 1 * 2020", "UTC", "2026-01-01T00:00:00Z", 5) == []


NOW = from_datetime(datetime(2026, 3, 2, 8, 0, tzinfo=UTC)) + 123_456


def test_every_keeps_to_its_anchor() -> None:
    plan = schedule.compile({"type": "every", "interval": "90m", "anchor": "2026-03-02T00:10:00Z"}, now=NOW)
    slots = schedule.first_slots(plan, NOW + 7 * SECOND, 3)
    assert [iso(slot) for slot in slots] == [
        "2026-03-02T09:10:00.000Z", "2026-03-02T10:40:00.000Z", "2026-03-02T12:10:00.000Z",
    ]  # fmt: skip


def test_a_schedule_read_back_from_its_full_document_has_the_same_slots() -> None:
    for document in (
        {"type": "every", "interval": "7m"},
        {"type": "after", "delay": "30m"},
        {"type": "at", "time": "2026-03-03T08:00:00"},
        {"type": "cron", "expression": "0 8 * * *", "until": "2026-04-01"},
        {"type": "rrule", "expression": "FREQ=DAILY;INTERVAL=3", "until": "2026-06-01T00:00:00Z"},
    ):
        plan = schedule.compile(document, now=NOW, timezone="Africa/Cairo")
        again = schedule.compile(plan.document, now=NOW + 5 * DAY, timezone="Asia/Tehran", new=False)
        assert again.document == plan.document
        assert schedule.first_slots(again, NOW, 9) == schedule.first_slots(plan, NOW, 9)


def test_a_one_shot_is_due_exactly_once_and_never_early() -> None:
    plan = schedule.compile({"type": "after", "delay": "30m"}, now=NOW)
    assert list(plan.slots(0, NOW + DAY)) == [NOW + 30 * MINUTE]
    again = schedule.compile(plan.document, now=NOW + DAY, new=False)
    assert list(again.slots(0, NOW + DAY)) == [NOW + 30 * MINUTE]


def test_rrule_keeps_its_wall_time_over_changed_clocks() -> None:
    runs = api.next_runs(
        {"type": "rrule", "expression": "RRULE:FREQ=DAILY", "start": "2026-03-27T02:30:00"},
        "Europe/Berlin", "2026-03-27T12:00:00Z", 3,
    )  # fmt: skip
    assert [run.isoformat() for run in runs] == [
        "2026-03-28T02:30:00+01:00", "2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00",
    ]  # fmt: skip


def test_rrule_until_in_utc_and_count_are_kept() -> None:
    until = {
        "type": "rrule",
        "expression": "FREQ=DAILY;UNTIL=20260305T080000Z",
        "start": "2026-03-02T09:00:00",
    }
    assert len(api.next_runs(until, "Europe/Berlin", "2026-03-01T00:00:00Z", 99)) == 4
    count = {"type": "rrule", "expression": "FREQ=WEEKLY;COUNT=3", "start": "2026-03-02T09:00:00"}
    assert len(api.next_runs(count, "Europe/Berlin", "2026-03-01T00:00:00Z", 99)) == 3


def test_slots_between_two_instants_are_the_missed_ones() -> None:
    plan = schedule.compile({"type": "cron", "expression": "0 * * * *"}, now=NOW)
    assert len(list(plan.slots(NOW, NOW + 72 * HOUR))) == 72


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"type": "sometimes"}, "schedule.type"),
        ({}, "schedule.type"),
        ({"type": "cron"}, "schedule.expression is missing"),
        ({"type": "cron", "expression": 5}, "schedule.expression"),
        ({"type": "cron", "expression": "61 * * * *"}, "minute"),
        ({"type": "cron", "expression": "0 0 30 2 *"}, "no run to come"),
        ({"type": "cron", "expression": "0 8 * * *", "tz": "UTC"}, "schedule.tz"),
        ({"type": "cron", "expression": "0 8 * * *", "timezone": "Mars/Base"}, "timezone"),
        ({"type": "every", "interval": "0s"}, "interval"),
        ({"type": "every", "interval": "500ms"}, "interval"),
        ({"type": "every", "interval": True}, "interval"),
        ({"type": "every", "interval": "5 bananas"}, "interval"),
        ({"type": "every", "interval": "5m", "until": "2020-01-01T00:00:00Z"}, "no run to come"),
        ({"type": "at", "time": "2020-01-01T00:00:00Z"}, "has passed"),
        ({"type": "at", "time": "noonish"}, "schedule.time"),
        ({"type": "at", "time": None}, "schedule.time"),
        ({"type": "after", "delay": [3]}, "schedule.delay"),
        ({"type": "rrule", "expression": "FREQ=SOMETIMES"}, "FREQ"),
        ({"type": "rrule", "expression": "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"}, "day that those months"),
        ({"type": "rrule", "expression": "FREQ=DAILY;INTERVAL=x"}, "schedule.expression"),
        ({"type": "rrule", "expression": "FREQ=DAILY;BYMONTH=77"}, "schedule.expression"),
    ],
)
def test_refusal_names_the_field_and_a_correct_example(document: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        schedule.compile(document, now=NOW)
    assert words in refused.value.message
    assert (
        "example" in refused.value.hint
        or "write it like" in refused.value.hint
        or "IANA" in refused.value.hint
    )
