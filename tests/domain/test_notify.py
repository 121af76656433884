from zoneinfo import ZoneInfo

import msgspec
import pytest

from tawny.clock import HOUR, MINUTE, from_datetime
from tawny.domain import notify
from tawny.domain.addresses import Address, parse_address
from tawny.domain.messages import Outgoing
from tawny.domain.tasks import (
    Delivery,
    Failure,
    Notify,
    Origin,
    Priority,
    Progress,
    Retry,
    Runtime,
    Status,
    Task,
    Usage,
)


def make_task(**changes) -> Task:
    task = Task(
        task_id="task_1", kind="simulate", params={}, title="Count sheep", runtime=Runtime.CLI, owner="owner",
        session=None, status=Status.SUCCEEDED, attempt=1, execution_id="exec_1", automation_id=None, parent_id=None,
        flow_id=None, priority=Priority.NORMAL, notify=Notify.DONE_ONLY, detached=True, lane=None, timeout=None,
        retry=Retry(), failures=0, crashes=0, not_before=None, window=None, deadline=None, next_attempt_at=None,
        effect=None, intent=None, waiting_for=None, progress=Progress(), estimated_completion=None, created_at=0,
        started_at=0, ended_at=0, ran_for=0, result={"text": "42 sheep"}, error=None, verdict=None,
        delivery=Delivery(), delivery_status="not_applicable", usage=Usage(), budget=None, origin=Origin(),
        merged_into=None,
    )  # fmt: skip
    return msgspec.structs.replace(task, **changes)


def at(text: str, zone: ZoneInfo) -> int:
    from datetime import datetime

    return from_datetime(datetime.fromisoformat(text).replace(tzinfo=zone))


@pytest.mark.parametrize("event", sorted(notify.CHANGES))
def test_silent_is_absolute(event: str):
    task = make_task(notify=Notify.SILENT, delivery=Delivery(channels=("telegram",), failures_to=("ops",)))
    assert notify.owed(task, event, {}) == []


def test_done_only_tells_endings_alone():
    task = make_task(delivery=Delivery(channels=("telegram",)))
    assert notify.targets(task, "task.started") == ()
    assert notify.targets(task, "task.succeeded") == ("telegram",)
    assert notify.targets(task, "task.cancelled") == ("telegram",)


def test_on_failure_tells_failures_alone():
    task = make_task(notify=Notify.ON_FAILURE, delivery=Delivery(channels=("telegram",)))
    assert notify.targets(task, "task.succeeded") == ()
    assert notify.targets(task, "task.lost") == ("telegram",)


def test_failures_also_go_where_failures_go():
    task = make_task(delivery=Delivery(channels=("telegram",), failures_to=("ops", "telegram")))
    assert notify.targets(task, "task.succeeded") == ("telegram",)
    assert notify.targets(task, "task.failed") == ("telegram", "ops")


def test_without_a_place_it_is_told_where_it_was_asked():
    assert notify.targets(make_task(origin=Origin(reply_to="telegram:7#3")), "task.succeeded") == (
        "telegram:7#3",
    )
    assert notify.targets(make_task(session="main"), "task.succeeded") == ("chat:main",)
    assert notify.targets(make_task(), "task.succeeded") == ("default",)


def test_whoever_names_a_place_is_told_there():
    assert notify.default_policy(Runtime.CRON, Delivery(channels=("telegram",))) is Notify.DONE_ONLY
    assert notify.default_policy(Runtime.CRON, Delivery(failures_to=("ops",))) is Notify.ON_FAILURE
    assert notify.default_policy(Runtime.CRON, None) is Notify.SILENT
    assert notify.default_policy(Runtime.SUBAGENT, None) is Notify.DONE_ONLY


def test_failures_of_an_automation_are_one_incident_for_people_and_events_for_machines():
    task = make_task(
        automation_id="auto_1",
        error=Failure("permanent", "no such city"),
        delivery=Delivery(channels=("telegram", "webhook:https://x.test/")),
    )
    lines = {line.target: line for line in notify.owed(task, "task.failed", {"task_id": "task_1"})}
    assert lines["telegram"].incident == "failing:auto_1"
    assert lines["webhook:https://x.test/"].incident is None
    assert lines[notify.MONITORS].incident == "failing:auto_1"
    assert "no such city" in lines["telegram"].message.text
    assert lines["telegram"].message.document == {"type": "task.failed", "task": {"task_id": "task_1"}}


def test_the_result_itself_is_the_message():
    assert notify.announcement(make_task(), "task.succeeded", {}).text == "42 sheep"
    assert notify.announcement(make_task(result=None), "task.succeeded", {}).text == "Done: Count sheep"


def test_partial_results_come_with_a_failure_unless_unwanted():
    failed = make_task(error=Failure("timeout", "took too long"))
    assert "42 sheep" in notify.announcement(failed, "task.timed_out", {}).text
    unwanted = msgspec.structs.replace(failed, delivery=Delivery(partial=False))
    assert "42 sheep" not in notify.announcement(unwanted, "task.timed_out", {}).text


def test_a_lost_task_and_a_reminder_are_never_quiet():
    assert notify.severity_of(make_task(), "task.lost") == "high"
    assert notify.severity_of(make_task(kind="remind"), "task.succeeded") == "high"
    assert notify.severity_of(make_task(delivery=Delivery(priority="critical")), "task.lost") == "critical"
    assert notify.severity_of(make_task(), "task.succeeded") == "normal"


def test_quiet_hours_pass_midnight_and_follow_the_zone():
    quiet = notify.parse_quiet_hours("22:00-07:00")
    zone = ZoneInfo("Europe/Berlin")
    assert quiet is not None
    assert quiet.until(at("2026-03-02T12:00", zone), zone) is None
    assert quiet.until(at("2026-03-02T23:30", zone), zone) == at("2026-03-03T07:00", zone)
    assert quiet.until(at("2026-03-03T06:59", zone), zone) == at("2026-03-03T07:00", zone)
    assert quiet.until(at("2026-03-03T07:00", zone), zone) is None


def test_quiet_hours_end_by_the_wall_clock_also_when_the_clocks_change():
    quiet = notify.parse_quiet_hours("22:00-07:00")
    zone = ZoneInfo("Europe/Berlin")
    assert quiet is not None
    evening = at("2026-03-28T23:00", zone)
    until = quiet.until(evening, zone)
    assert until == at("2026-03-29T07:00", zone)
    assert until - evening == 7 * HOUR


@pytest.mark.parametrize("text", ["22-7", "25:00-07:00", "22:00", "22:61-07:00"])
def test_quiet_hours_that_are_none_are_refused(text: str):
    with pytest.raises(ValueError, match="22:00-07:00"):
        notify.parse_quiet_hours(text)


def test_digest_windows_are_aligned():
    assert notify.digest_due(0, 10 * MINUTE) == 10 * MINUTE
    assert notify.digest_due(25 * MINUTE, 10 * MINUTE) == 30 * MINUTE


def test_a_digest_keeps_order_and_the_first_key():
    message = notify.digest([Outgoing(key="a", text="one", title="A"), Outgoing(key="b", text="two")])
    assert message.key == "a"
    assert message.text.index("one") < message.text.index("two")


@pytest.mark.parametrize(
    ("rows", "word"),
    [
        ([], "not_applicable"),
        ([("telegram", "delivered", False), ("email", "pending", False)], "pending"),
        ([("telegram", "delivered", False), ("email", "unknown", False)], "unknown"),
        ([("telegram", "failed", True)], "failed"),
        ([("default", "failed", True)], "delivered"),
        ([("chat:main", "failed", False)], "failed"),
        ([("default", "unknown", True)], "unknown"),
        ([("telegram", "suppressed", False)], "suppressed"),
    ],
)
def test_one_word_never_claims_more_than_the_receipts(rows, word: str):
    assert notify.overall(rows) == word


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("telegram", Address("telegram")),
        ("telegram:-100123#7", Address("telegram", "-100123", "7")),
        ("webhook:https://x.test/a#b", Address("webhook", "https://x.test/a#b")),
        ("file:notes/a#1.md", Address("file", "notes/a#1.md")),
        ("matrix:!room:example.org", Address("matrix", "!room:example.org")),
    ],
)
def test_addresses_are_read_and_written_back(text: str, address: Address):
    assert parse_address(text) == address
    assert str(address) == text


def test_an_address_without_a_channel_is_refused():
    with pytest.raises(ValueError, match="names no channel"):
        parse_address(":x")


@pytest.mark.parametrize("threshold", notify.SEVERITIES)
def test_what_is_as_severe_as_told_breaks_through_and_less_does_not(threshold: str):
    loud = [severity for severity in notify.SEVERITIES if notify.is_loud(severity, threshold)]
    assert loud == list(notify.SEVERITIES[notify.SEVERITIES.index(threshold) :])


def test_a_severity_nobody_knows_counts_as_normal():
    assert [notify.is_loud("shrill", threshold) for threshold in ("low", "normal", "high")] == [
        True,
        True,
        False,
    ]
