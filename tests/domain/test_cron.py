# ruff: noqa: DTZ001 - naive wall times are the subject
"""Cron expressions: croner's recorded answers, one by one, and what is refused."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tawny.clock import Instant, from_datetime, iso
from tawny.domain import cron, zones
from tawny.errors import InvalidInput

VECTORS = [
    json.loads(line)
    for line in (Path(__file__).parent / "vectors" / "ocps-croner.jsonl").read_text("utf-8").splitlines()
]

# Options of croner's constructor that Tawny's schedules do not have, with their defaults; a record that sets one of
# them differently says nothing about us.
OPTIONS_WITHOUT_MEANING_HERE = {
    "alternativeWeekdays": False,  # Quartz numbering of weekdays (1 = Sunday)
    "sloppyRanges": False,  # accepts '5/5' and '/10', which OCPS refuses
    "dayOffset": 0,  # moves every match by whole days
    "domAndDow": False,  # AND in place of OR; OCPS 1.4 spells that '+' in the expression
    "interval": 0,  # the least number of seconds between runs of one job object
    "maxRuns": None,  # a counter of the job object
    "stopAt": None,  # an end; ours is the schedule's `until`
}

# Debian's rule for changed clocks (architecture decision 15) where croner's recording shows another one.
CLOCK_CHANGES = {
    # in the gap croner moves by the gap's length (03:30); Debian runs at the first valid minute (03:00)
    ("0 30 2 * * *", "2023-03-11T07:30:00.000Z"): "2023-03-12T07:00:00.000Z",
    ("0 30 2 12 3 *", "2023-03-12T00:00:00.000Z"): "2023-03-12T07:00:00.000Z",
    ("0 30 2 * * *", "2023-03-25T01:30:00.000Z"): "2023-03-26T01:00:00.000Z",
    ("0 30 2 * * *", "2025-03-09T06:00:00Z"): "2025-03-09T07:00:00.000Z",
    ("0 30 1 * * *", "2025-03-30T00:00:00Z"): "2025-03-30T01:00:00.000Z",
    # in the second pass of a fold croner answers with a time before the start, or skips the pass
    ("0 30 1 * * *", "2025-11-02T06:00:00Z"): "2025-11-03T06:30:00.000Z",
    ("* * * * *", "2025-11-02T09:00:00Z"): "2025-11-02T09:01:00.000Z",
    ("* * * * *", "2025-11-02T08:59:01.000Z"): "2025-11-02T09:00:00.000Z",
}


def _applies(record: dict[str, Any]) -> bool:
    options = record.get("opt") or {}
    if record["k"] == "error" and options:
        return False  # croner refuses the option or the number of fields of a 'mode', not the pattern
    if isinstance(record.get("start"), dict) and record["expect"] is None:
        return False  # the job object was stopped or had used up its runs
    return all(options.get(name, usual) == usual for name, usual in OPTIONS_WITHOUT_MEANING_HERE.items())


def _instant(value: Any) -> Instant:
    if isinstance(value, dict):
        # a recorded CronDate: months from 0, the recorder's zone was UTC
        moment = datetime(
            value["year"], value["month"] + 1, value["day"], value["hour"], value["minute"], value["second"],
            value["ms"] * 1000, tzinfo=UTC,
        )  # fmt: skip
        return from_datetime(moment)
    moment = datetime.fromisoformat(str(value))
    return from_datetime(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def _next(pattern: str, zone: str, after: Instant) -> Instant | None:
    parsed = cron.parse(pattern)
    search = zones.next_elapsed if parsed.elapsed else zones.next_fixed
    return search(parsed.next_wall, zones.load(zone), after)


def _is_date(pattern: str) -> bool:
    """Croner also takes a date for a pattern; ours is a schedule of type `at`."""
    return pattern[4:5] == "-" and pattern[:4].isdigit()


REPLAYED = [record for record in VECTORS if _applies(record)]


def test_most_records_apply() -> None:
    assert len(VECTORS) == 2337 + 1
    assert len(REPLAYED) > 2250


def test_recorded_answers_of_croner_are_ours() -> None:
    wrong: list[str] = []
    for record in REPLAYED:
        pattern, options = record["pattern"], record.get("opt") or {}
        zone = options.get("timezone") or "UTC"
        if _is_date(pattern):
            with pytest.raises(InvalidInput):
                cron.parse(pattern)
            continue
        if record["k"] == "error":
            with pytest.raises(InvalidInput):
                cron.parse(pattern)
        elif record["k"] == "match":
            wall = zones.wall(_instant(record["at"]), zones.load(zone))
            if cron.parse(pattern).matches(wall) != record["expect"]:
                wrong.append(f"{pattern} at {record['at']}: not {record['expect']}")
        elif record["k"] == "next":
            expected = CLOCK_CHANGES.get((pattern, str(record["start"])), record["expect"])
            found = _next(pattern, zone, _instant(record["start"]))
            if found != (None if expected is None else _instant(expected)):
                wrong.append(
                    f"{pattern} {zone} after {record['start']}: {found and iso(found)}, not {expected}"
                )
        else:
            at: Instant | None = _instant(record["start"])
            for expected in record["expect"]:
                assert at is not None
                at = _next(pattern, zone, at)
                if at != _instant(expected):
                    wrong.append(f"{pattern} {zone}: {at and iso(at)}, not {expected}")
                    break
    assert wrong == []


@pytest.mark.parametrize(
    ("expression", "field"),
    [
        ("60 * * * *", "minute"),
        ("* 24 * * *", "hour"),
        ("0 8 32 * *", "day of month"),
        ("0 8 * 13 *", "month"),
        ("0 8 * * 8", "day of week"),
        ("0 8 * * MOM", "day of week"),
        ("0 0 0 1 1 * 0", "year"),
        ("*/0 * * * *", "minute"),
        ("5/5 * * * *", "minute"),
        ("17-9 * * * *", "minute"),
        ("0 0 5L * *", "day of month"),
        ("0 0 * * MON#6", "day of week"),
        ("0 0 * * +", "day of week"),
        ("0 8 * *", "4 fields"),
        ("@reboot", "nickname"),
        ("", "0 fields"),
        ("٣ * * * *", "minute"),
        ("*/١٥ * * * *", "minute"),
        ("1-٣ * * * *", "minute"),
        ("0 9 ١W * *", "day of month"),
    ],
)
def test_refusal_names_the_field_and_an_example(expression: str, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        cron.parse(expression)
    assert field in refused.value.message
    assert refused.value.hint


def test_question_mark_means_any_day_next_to_a_weekday() -> None:
    assert cron.parse("0 0 12 ? * MON").next_wall(datetime(2026, 12, 1)) == datetime(2026, 12, 7, 12)


def test_day_and_weekday_are_either_or_unless_plus() -> None:
    either = cron.parse("0 0 13 * FRI")
    assert either.next_wall(datetime(2026, 11, 1)) == datetime(2026, 11, 6)
    assert cron.parse("0 0 13 * +FRI").next_wall(datetime(2026, 10, 1)) == datetime(2026, 11, 13)


def test_impossible_day_is_found_out_quickly() -> None:
    assert cron.parse("0 0 31 2 *").next_wall(datetime(2026, 1, 1)) is None
