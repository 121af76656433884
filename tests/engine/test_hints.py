"""What is refused at creation names the field and a correct example: each example, put there, is taken."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tawny.app import bundled_kinds
from tawny.clock import parse_time
from tawny.config import Config, Home
from tawny.engine import automations as orders
from tawny.errors import InvalidInput

NOW = parse_time("2026-11-27T10:00:00Z", now=0)
ACTION = {"type": "remind", "parameters": {"text": "Now"}}
CRON = {"schedule": {"type": "cron", "expression": "0 8 * * *"}, "action": ACTION}
EVERY = {"schedule": {"type": "every", "interval": "1h"}, "action": ACTION}
EVENT = {"on": {"source": "email"}, "action": ACTION}
PROBE = {"type": "http", "url": "https://example.org/p.json", "jsonpath": "$.price"}
WATCH = {"watch": {"probe": PROBE, "every": "6h", "condition": "price < 2000"}, "action": ACTION}
EXPECT = {"expect": {"every": "1d", "grace": "1h"}}
RRULE = {"schedule": {"type": "rrule", "expression": "FREQ=DAILY"}, "action": ACTION}
VERIFIED = {**EVERY, "success": {"verifier": {"type": "command", "parameters": {"argv": ["true"]}}}}

CASES: list[tuple[dict[str, Any], str, Any, str]] = [
    # the document, the field, what is wrong there, and where the example belongs ("" is the whole document)
    (CRON, "schedule.type", "sometimes", "schedule"),
    (CRON, "schedule.expression", None, "schedule"),
    (CRON, "schedule.expression", "61 * * * *", "cron 0"),
    (CRON, "schedule.expression", "5/15 * * * *", "cron 0"),
    (CRON, "schedule.expression", "0 25 * * *", "cron 1"),
    (CRON, "schedule.expression", "0 22-6 * * *", "cron 1"),
    (CRON, "schedule.expression", "0 0 32 * *", "cron 2"),
    (CRON, "schedule.expression", "0 0 1 13 *", "cron 3"),
    (CRON, "schedule.expression", "0 0 1 NOV-MAR *", "cron 3"),
    (CRON, "schedule.expression", "0 0 * * FRI-MON", "cron 4"),
    (CRON, "schedule.expression", "0 0 * * L5", "cron 4"),
    (CRON, "schedule.expression", "0 0 0 * * * 10000", "cron 6"),
    (CRON, "schedule.expression", "0 8 *", "schedule.expression"),
    (CRON, "schedule.expression", "0 0 30 2 *", "schedule"),
    (CRON, "schedule.timezone", "Mars/Base", "schedule.timezone"),
    (CRON, "schedule.tz", "UTC", "schedule"),
    (CRON, "schedule.until", "someday", "schedule.until"),
    (CRON, "schedule.stagger", "soon", "schedule"),
    (CRON, "timezone", "Mars/Base", "timezone"),
    (CRON, "schedule", "every blue moon", "schedule"),
    (CRON, "schedule", "every day at 9 until whenever", "until"),
    (CRON, "schedule", {}, "schedule"),
    (CRON, "schedule", None, ""),
    (EVERY, "schedule.interval", "5 bananas", "schedule"),
    (EVERY, "schedule.interval", "100ms", "schedule"),
    (EVERY, "schedule.anchor", "noonish", "schedule.anchor"),
    (EVERY, "schedule", {"type": "at", "time": "2020-01-01T00:00:00Z"}, "schedule"),
    (EVERY, "schedule", {"type": "at", "time": "noonish"}, "schedule.time"),
    (EVERY, "schedule", {"type": "after", "delay": "soon"}, "schedule"),
    (RRULE, "schedule.expression", "FREQ=SOMETIMES", "schedule.expression"),
    (RRULE, "schedule.expression", "FREQ=WEEKLY;BYMONTHDAY=1", "schedule.expression"),
    (RRULE, "schedule.expression", "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "schedule.expression"),
    (RRULE, "schedule.start", "noonish", "schedule.start"),
    (EVENT, "on.filter", "subject ==", "on.filter"),
    (EVENT, "on.before", "soon", "on.before"),
    (EVENT, "on.every", "soon", "on.every"),
    (EVENT, "on.match", "ERROR(", "on.match"),
    (EVENT, "on.secret", "s3cret", "on.secret"),
    (EVENT, "on", {"source": "webhook", "name": "a/b"}, "on.name"),
    (EVENT, "on", {"source": "file"}, "on"),
    (EVENT, "on", {"source": "rss"}, "on"),
    (EVENT, "on", {"source": "mqtt"}, "on"),
    (EVENT, "on", {"source": "stream"}, "on"),
    (EVENT, "on", {"source": "process"}, "on"),
    (WATCH, "watch.condition", "price <", "watch.condition"),
    (WATCH, "watch.clear", "price >", "watch.clear"),
    (WATCH, "watch.every", "soon", "watch.every"),
    (WATCH, "watch.every", "10ms", "watch.every"),
    (WATCH, "watch.probe", {}, "watch.probe"),
    (WATCH, "watch.probe", {"type": "http", "uri": "x"}, "watch.probe"),
    (EXPECT, "expect.every", "soon", "expect.every"),
    (EXPECT, "expect.grace", "soon", "expect.grace"),
    (EVERY, "type", "event", "type"),
    (EVERY, "type", "hourly", "type"),
    (EVERY, "status", "on", "status"),
    (EVERY, "action", None, ""),
    (EVERY, "actoin", {}, ""),
    (EVERY, "action.parameters.text", "{{ 1 + }}", "hole"),
    (EVERY, "policy.misfire", "sometimes", "policy.misfire"),
    (EVERY, "policy.misfire_window", "soon", "policy.misfire_window"),
    (EVERY, "policy.timeout", "soon", "policy.timeout"),
    (EVERY, "policy.max_age", "soon", "policy.max_age"),
    (EVERY, "policy.overlap", "maybe", ""),
    (EVERY, "policy.pacing", {"min": "2h", "max": "1h"}, "policy.pacing"),
    (EVERY, "policy.active_hours", {"start": "8", "end": "22:00"}, "policy.active_hours"),
    (EVERY, "policy.retry", {"max": 3, "base": "soon"}, "policy.retry.base"),
    (EVERY, "success.condition", "text ==", "success.condition"),
    (EVERY, "success.file_fresh", {"path": "x", "within": "soon"}, "success.file_fresh.within"),
    (VERIFIED, "success.verifier.condition", "exit_code ==", "success.verifier.condition"),
    (VERIFIED, "success.verifier.timeout", "soon", "success.verifier.timeout"),
]


def put(document: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """The document with another value there; `None` takes the field away."""
    document = copy.deepcopy(document)
    *way, last = path.split(".")
    inner = document
    for key in way:
        inner = inner.setdefault(key, {})
    if value is None:
        inner.pop(last, None)
    else:
        inner[last] = value
    return document


def examples(hint: str) -> list[Any]:
    """What a hint gives for examples."""
    said = re.split(
        r"for example |one of |write it like |such as |a correct one is: | it is |write ", hint, maxsplit=0
    )[-1]
    if said.startswith("{"):
        return [json.loads(said)]
    if "a correct one is" in hint:
        return [said]
    if quoted := re.findall(r"'([^']*)'", said):
        return quoted
    if "write it like" in hint:
        return [said.split(",")[0]]
    return re.split(r", | or ", said)


def with_example(bad: dict[str, Any], where: str, example: Any) -> dict[str, Any]:
    match where.split():
        case []:
            return example
        case ["cron", index]:
            fields = bad["schedule"]["expression"].split()
            fields[int(index)] = example
            return put(bad, "schedule.expression", " ".join(fields))
        case ["until"]:
            return put(bad, "schedule", f"every day at 9 {example}")
        case ["hole"]:
            return put(bad, "action.parameters.text", "{{ " + example + " }}")
        case _:
            return put(bad, where, example)


@pytest.mark.parametrize(("document", "field", "wrong", "where"), CASES)
def test_the_example_in_a_refusal_is_taken_where_it_belongs_and_reads_back(
    tmp_path: Path, document: dict[str, Any], field: str, wrong: Any, where: str
) -> None:
    kinds = bundled_kinds(Home(tmp_path), Config())

    def check(given: dict[str, Any]) -> Any:
        return orders.check(given, kinds=kinds, now=NOW, timezone="Europe/Berlin").spec.document()

    check(document)
    bad = put(document, field, wrong)
    with pytest.raises(InvalidInput) as refused:
        check(bad)
    named = {part for part in field.replace("_", " ").split(".") if part not in ("parameters",)}
    assert any(part in refused.value.message.replace("_", " ") for part in named), refused.value.message
    found = examples(refused.value.hint)
    assert found, refused.value.hint
    for example in found:
        taken = check(with_example(bad, where, example))
        assert check(taken) == taken
