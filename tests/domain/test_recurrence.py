"""Recurrence rules against another implementation's recorded instances, and against the letter of RFC 5545."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tawny.clock import DAY, MINUTE, from_datetime, iso, parse_time, to_datetime
from tawny.domain import recurrence, schedule
from tawny.errors import InvalidInput

_EVERY_MONTH = (
    "RFC 5545's table has BYMONTHDAY expand a year, so that BYMONTHDAY alone means every month (dateutil, rrule.js,"
    " lib-recur); libical takes the month from the start, which the letter allows only for what a rule leaves open"
)
OTHERWISE = {
    "FREQ=YEARLY;BYMONTHDAY=29;COUNT=3": _EVERY_MONTH,
    "FREQ=YEARLY;BYMONTHDAY=-29,-1;COUNT=4": _EVERY_MONTH,
}
"""Where we differ from libical, and why."""


def _vectors() -> Iterator[tuple[str, str, str]]:
    path = Path(__file__).parent / "vectors" / "rrules.tsv"
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            rule, start, instances = line.split("\t")
            yield rule, start, instances


def _instances(rule: str, start: str, most: int, *, new: bool = False) -> list[str]:
    first = datetime.strptime(start, "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    document = {"type": "rrule", "expression": rule, "start": first.isoformat(), "timezone": "UTC"}
    plan = schedule.compile(document, now=from_datetime(first), new=new)
    slots = schedule.first_slots(plan, from_datetime(first) - 1, most)
    return [f"{to_datetime(slot):%Y%m%dT%H%M%S}" for slot in slots]


@pytest.mark.parametrize(("rule", "start", "instances"), list(_vectors()))
def test_a_rule_has_the_instances_that_another_implementation_recorded(
    rule: str, start: str, instances: str
) -> None:
    wanted = instances.rstrip("…").split(",")
    is_whole = not instances.endswith("…")
    reason = OTHERWISE.get(rule)
    found = _instances(rule, start, len(wanted) + is_whole)
    assert (found == wanted) is (reason is None), f"{found} for {wanted}"


@pytest.mark.parametrize(
    ("rule", "word"),
    [
        ("FREQ=WEEKLY;BYMONTHDAY=1", "BYMONTHDAY does not go with FREQ=WEEKLY"),
        ("FREQ=MONTHLY;BYWEEKNO=3", "BYWEEKNO does not go with FREQ=MONTHLY"),
        ("FREQ=DAILY;BYYEARDAY=3", "BYYEARDAY does not go with FREQ=DAILY"),
        ("FREQ=WEEKLY;BYDAY=2MO", "BYDAY=1MO"),
        ("FREQ=YEARLY;BYWEEKNO=20;BYDAY=2MO", "BYDAY=1MO"),
        ("FREQ=DAILY;BYSETPOS=1", "BYSETPOS needs another"),
        ("FREQ=DAILY;COUNT=3;UNTIL=20270101T000000Z", "not both"),
        ("FREQ=DAILY;INTERVAL=0", "INTERVAL"),
        ("FREQ=DAILY;COUNT=0", "COUNT"),
        ("FREQ=WEEKLY;WKST=XX", "WKST"),
        ("FREQ=SECONDLY", "FREQ"),
        ("FREQ=YEARLY;BYWEEKNO=54", "BYWEEKNO is from 1 to 53"),
        ("FREQ=DAILY;BYHOUR=25", "schedule.expression"),
        ("FREQ=DAILY;BYMINUTE=60", "schedule.expression"),
        ("FREQ=DAILY;BYSOMETHING=1", "schedule.expression"),
        ("FREQ=DAILY;BYDAY=XX", "schedule.expression"),
        ("FREQ=DAILY;UNTIL=tomorrow", "schedule.expression"),
    ],
)
def test_what_the_letter_forbids_is_refused_with_an_example(rule: str, word: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        _instances(rule, "20261201T090000", 1, new=True)
    assert word in refused.value.message
    assert refused.value.hint == recurrence.EXAMPLE


def test_places_in_a_week_are_counted_from_its_beginning_also_in_the_first() -> None:
    """The RFC: a set of recurrence instances starts at the beginning of the interval."""
    # 1 January 1997 is a Wednesday: the second weekday of its week has passed
    found = _instances("FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=2;COUNT=3", "19970101T000000", 9)
    assert found == ["19970107T000000", "19970114T000000", "19970121T000000"]


@pytest.mark.parametrize(
    ("rule", "start", "wanted"),
    [
        # the first week of 2025 has its Monday in 2024: the place is counted in the week, not in either half of it
        ("FREQ=YEARLY;BYWEEKNO=1;BYDAY=MO,FR;BYSETPOS=1", "20241230T090000", "20241230 20251229 20270104"),
        ("FREQ=YEARLY;BYWEEKNO=1;BYDAY=MO,FR;BYSETPOS=-1", "20250103T090000", "20250103 20260102 20270108"),
        ("FREQ=YEARLY;BYWEEKNO=1,53;BYDAY=SA;BYSETPOS=2", "20210101T090000", "20210102 20270102 20330101"),
        # with weeks from Sunday on, 2 January 2027 is a Saturday in week 52 of 2026
        (
            "FREQ=YEARLY;WKST=SU;BYWEEKNO=52;BYDAY=SA;INTERVAL=2",
            "20270102T090000",
            "20270102 20281230 20301228",
        ),
        # a year that has no week 53, and one whose weeks are told from their end
        ("FREQ=YEARLY;BYWEEKNO=53;BYDAY=SA", "20210101T090000", "20210102 20270102 20330101"),
        ("FREQ=YEARLY;BYWEEKNO=-53;BYDAY=MO;COUNT=2", "20191230T090000", "20191230 20251229"),
        ("FREQ=YEARLY;BYWEEKNO=20;INTERVAL=2;COUNT=2", "20260513T090000", "20260513 20280517"),
        ("FREQ=YEARLY;BYWEEKNO=20;INTERVAL=2;UNTIL=20280101", "20260513T090000", "20260513"),
        ("FREQ=YEARLY;BYWEEKNO=20;BYMONTH=1;INTERVAL=2", "20260513T090000", ""),
    ],
)
def test_a_week_across_new_year_is_of_one_year(rule: str, start: str, wanted: str) -> None:
    assert _instances(rule, start, 3) == [f"{day}T090000" for day in wanted.split()]


@pytest.mark.parametrize(
    ("rule", "period"),
    [
        ("FREQ=MINUTELY", 1),
        ("FREQ=MINUTELY;INTERVAL=7", 7),
        ("FREQ=HOURLY;INTERVAL=5;BYMINUTE=10", 300),
        ("FREQ=DAILY;INTERVAL=3", 3 * 24 * 60),
        ("FREQ=WEEKLY;INTERVAL=2;BYDAY=TU", 14 * 24 * 60),
    ],
)
def test_a_rule_of_long_ago_keeps_its_rhythm_and_costs_no_more_for_its_age(rule: str, period: int) -> None:
    start = parse_time("2006-11-28T09:10:00Z", now=0)  # a Tuesday
    document = {"type": "rrule", "expression": rule, "start": iso(start), "timezone": "UTC"}
    plan = schedule.compile(document, now=start, new=False)
    now = start + 20 * 365 * DAY
    began = time.process_time()
    (slot,) = schedule.first_slots(plan, now, 1)
    assert (slot - start) % (period * MINUTE) == 0
    assert 0 < slot - now <= period * MINUTE
    assert time.process_time() - began < 1  # ten million minutes, counted through, are half a minute
