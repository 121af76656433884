"""Jobs of other schedulers become our documents, and what is different is said."""

import json
from datetime import datetime
from typing import Any

import pytest

from tawny.clock import from_datetime, to_datetime
from tawny.domain import automations, definitions, holes
from tawny.domain.foreign import crontab, hermes, openclaw
from tawny.domain.foreign.jobs import Job
from tawny.domain.schedule import first_slots
from tawny.errors import TawnyError

NOW = from_datetime(datetime.fromisoformat("2026-11-27T12:00:00+00:00"))


def claw(**job: Any) -> Job:
    base = {
        "id": "1bc8466b-2b5e", "agentId": "main", "name": "Night", "enabled": True, "sessionTarget": "isolated",
        "schedule": {"kind": "cron", "expr": "0 3 * * *", "tz": "Asia/Shanghai"}, "wakeMode": "now",
        "payload": {"kind": "agentTurn", "message": "Sum up the day"}, "state": {"nextRunAtMs": 1772179200000},
    }  # fmt: skip
    store = {"version": 1, "jobs": [{**base, **job}]}
    assert openclaw.is_store(store)
    (found,) = openclaw.jobs(store, timezone="Europe/Berlin")
    return found


def document(job: Job) -> dict[str, Any]:
    """The job's document, which our own check takes."""
    assert job.document is not None, job.problem
    definitions.parse(job.document, now=NOW, timezone="UTC")
    return job.document


def test_an_openclaw_job_is_taken_whole() -> None:
    job = claw(
        createdAtMs=1772007600559,
        payload={"kind": "agentTurn", "message": "Go", "model": "anthropic/claude-x", "timeoutSeconds": 600,
                 "toolsAllow": ["exec", "read"]},
        delivery={"mode": "announce", "channel": "telegram"},
        failureAlert={"after": 3},
        pacing={"min": "15m", "max": "4h"},
    )  # fmt: skip
    assert document(job) == {
        "id": "openclaw-1bc8466b-2b5e", "name": "Night", "created_at": "2026-02-25T08:20:00.559+00:00",
        "schedule": {"type": "cron", "expression": "0 3 * * *", "timezone": "Asia/Shanghai"},
        "action": {"type": "agent_turn", "parameters": {
            "message": "Go", "model": "anthropic:claude-x", "tools": ["exec", "read_file"]}},
        "delivery": {"channels": ["telegram"]},
        "policy": {"timeout": "10m", "notify": "done_only", "alert_after": 3, "pacing": {"min": "15m", "max": "4h"}},
    }  # fmt: skip
    assert job.changes == ()


@pytest.mark.parametrize(
    ("schedule", "expected", "said"),
    [
        ({"kind": "every", "everyMs": 120000, "anchorMs": 1772885721286},
         {"type": "every", "interval": "2m", "anchor": "2026-03-07T12:15:21.286+00:00"}, ""),
        ({"kind": "every", "everyMs": 90500}, {"type": "every", "interval": "90500ms"}, ""),
        ({"kind": "at", "at": "2027-02-01T16:00:00Z"}, {"type": "at", "time": "2027-02-01T16:00:00Z"}, ""),
        ({"kind": "at", "at": "2027-02-01T16:00:00"},
         {"type": "at", "time": "2027-02-01T16:00:00+00:00"}, "UTC"),
        ({"kind": "at", "at": "2027-02-01"}, {"type": "at", "time": "2027-02-01T00:00:00+00:00"}, "UTC"),
        ({"kind": "at", "atMs": 1801497600000}, {"type": "at", "time": "2027-02-01T16:00:00.000+00:00"}, ""),
        ({"kind": "cron", "expr": "15 8 * * 1-5"},
         {"type": "cron", "expression": "15 8 * * 1-5", "timezone": "Europe/Berlin"}, "named no time zone"),
        ({"kind": "cron", "cron": "15 8 * * *", "tz": "UTC"},
         {"type": "cron", "expression": "15 8 * * *", "timezone": "UTC"}, ""),
        ({"kind": "cron", "expr": "0 * * * *", "tz": "UTC"},
         {"type": "cron", "expression": "0 * * * *", "timezone": "UTC", "stagger": "5m"}, "spread"),
        ({"kind": "cron", "expr": "0 */2 * * *", "tz": "UTC", "staggerMs": 0},
         {"type": "cron", "expression": "0 */2 * * *", "timezone": "UTC"}, ""),
        ({"kind": "cron", "expr": "0 9 * * *", "tz": "UTC", "staggerMs": 30000},
         {"type": "cron", "expression": "0 9 * * *", "timezone": "UTC", "stagger": "30s"}, ""),
    ],
)  # fmt: skip
def test_openclaw_schedules(schedule: dict[str, Any], expected: dict[str, Any], said: str) -> None:
    job = claw(schedule=schedule)
    assert document(job)["schedule"] == expected
    assert (said in " ".join(job.changes)) if said else job.changes == ()


def test_openclaw_events_and_commands() -> None:
    stream = claw(
        schedule={"kind": "stream", "command": ["node", "x.mjs"], "mode": "match", "match": "^fail"}
    )
    assert document(stream)["on"] == {"source": "stream", "argv": ["node", "x.mjs"], "match": "^fail"}
    assert document(stream)["action"]["parameters"]["message"].endswith("{{ line }}")
    end = claw(schedule={"kind": "on-exit", "command": "make all"})
    assert document(end)["on"] == {"source": "process", "argv": ["/bin/sh", "-c", "make all"]}
    command = claw(payload={"kind": "command", "argv": ["sh", "-lc", "ls"], "cwd": "/srv", "env": {"A": "1"}})
    assert document(command)["action"] == {
        "type": "command", "parameters": {"argv": ["sh", "-lc", "ls"], "cwd": "/srv", "env": {"A": "1"}},
    }  # fmt: skip
    event = claw(sessionTarget="main", payload={"kind": "systemEvent", "text": "Stand up"})
    assert document(event)["action"]["parameters"] == {"message": "Stand up", "session": "main"}


@pytest.mark.parametrize(
    ("change", "policy", "delivery"),
    [
        ({"delivery": {"mode": "none"}}, {"notify": "on_failure"}, None),
        ({"delivery": {"mode": "announce", "channel": "last"}}, {"notify": "done_only"}, None),
        ({"delivery": {"mode": "webhook", "to": "https://x.example/h"}}, {"notify": "done_only"},
         {"channels": ["webhook:https://x.example/h"]}),
        ({"delivery": {"mode": "announce", "channel": "telegram", "to": "-100123:topic:7"}},
         {"notify": "done_only"}, {"channels": ["telegram:-100123#7"]}),
        ({"delivery": {"mode": "announce", "channel": "telegram", "to": "telegram:12", "threadId": 3}},
         {"notify": "done_only"}, {"channels": ["telegram:12#3"]}),
        ({"delivery": {"mode": "announce", "channel": "slack", "to": "channel:C1"}},
         {"notify": "done_only"}, {"channels": ["slack:C1"]}),
        ({"payload": {"kind": "agentTurn", "message": "x", "deliver": True, "channel": "slack"}},
         {"notify": "done_only"}, {"channels": ["slack"]}),
        ({"payload": {"kind": "agentTurn", "message": "x", "deliver": False}}, {"notify": "on_failure"}, None),
    ],
)  # fmt: skip
def test_openclaw_deliveries(change: dict[str, Any], policy: dict[str, Any], delivery: Any) -> None:
    found = document(claw(**change))
    assert found.get("policy") == policy
    assert found.get("delivery") == delivery


def test_a_script_that_decided_when_to_fire_holds_the_job() -> None:
    job = claw(trigger={"script": "json({fire: false})"})
    assert "trigger.script" in job.holds
    assert claw().holds == ""


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"payload": {"kind": "script", "script": "x"}}, "script"),
        ({"payload": {"kind": "heartbeat"}}, "watch"),
        ({"payload": {"kind": "agentTurn", "message": " "}}, "message"),
        ({"payload": {"kind": "command", "argv": []}}, "argv"),
        ({"schedule": {"kind": "whenever"}}, "whenever"),
        ({"schedule": {"kind": "every", "everyMs": 10}}, "second"),
        ({"schedule": {"kind": "at", "at": "soon"}}, "soon"),
        ({"schedule": {"kind": "at", "atMs": 10**15 * 9}}, "no time"),
        ({"schedule": {"kind": "cron"}}, "expression"),
        ({"delivery": {"mode": "webhook"}}, "address"),
    ],
)
def test_what_has_no_counterpart_is_left_out_with_the_reason(change: dict[str, Any], word: str) -> None:
    job = claw(**change)
    assert job.document is None
    assert word in job.problem


def test_what_is_not_understood_is_named() -> None:
    job = claw(maxRunsPerDay=2, agentId="ops", payload={"kind": "agentTurn", "message": "x", "thinking": "high",
               "model": "kimi/k2", "toolsAllow": ["browser"]})  # fmt: skip
    said = " ".join(job.changes)
    assert all(word in said for word in ("maxRunsPerDay", "'ops'", "thinking", "kimi/k2", "browser"))
    assert document(job)["action"]["parameters"]["tools"] == []


def test_braces_of_others_are_words() -> None:
    text = "Use {{ user }} and {{{x}}} as {they} are {{"
    parameters = document(claw(payload={"kind": "agentTurn", "message": text}))["action"]["parameters"]
    assert holes.render(parameters, {}) == {"message": text}
    with pytest.raises(TawnyError):
        holes.render({"message": text}, {})


def test_hermes_jobs() -> None:
    base = {
        "id": "540d", "name": "B", "prompt": "Back up", "enabled": True, "created_at": "2026-06-05T20:50:30+00:00",
        "skills": ["git"], "deliver": "origin", "origin": {"platform": "telegram", "chat_id": "6"},
        "schedule": {"kind": "cron", "expr": "0 */12 * * *", "display": "x"}, "repeat": {"times": None},
    }  # fmt: skip
    store = {"jobs": [
        base,
        {**base, "schedule": {"kind": "interval", "minutes": 10}, "deliver": "local", "enabled": False},
        {**base, "schedule": {"kind": "once", "run_at": "2027-01-01T09:00:00+00:00"}, "repeat": {"times": 1}},
        {**base, "script": "x.sh"}, {**base, "repeat": {"times": 3}},
    ]}  # fmt: skip
    assert hermes.is_store(store)
    assert not openclaw.is_store(store)
    cron, every, once, script, few = hermes.jobs(store, timezone="UTC")
    assert document(cron) == {
        "id": "hermes-540d", "name": "B", "created_at": "2026-06-05T20:50:30+00:00",
        "schedule": {"type": "cron", "expression": "0 */12 * * *", "timezone": "UTC"},
        "action": {"type": "agent_turn", "parameters": {"message": "Back up"}},
        "delivery": {"channels": ["telegram:6"]},
    }  # fmt: skip
    assert any("git" in change for change in cron.changes)
    assert document(every)["schedule"] == {"type": "every", "interval": "10m"}
    assert (document(every)["status"], document(every)["policy"]) == ("paused", {"notify": "on_failure"})
    assert document(once)["schedule"]["time"] == "2027-01-01T09:00:00+00:00"
    assert "script" in script.problem
    assert "3 times" in few.problem


TAB = r"""
SHELL=/bin/bash
PATH="/usr/bin:/bin"
MAILTO=""
# m h dom mon dow command

# Nightly backup
15 2 * * * backup --all > /dev/null 2>&1
*/5 9-17 * * mon-fri	echo hi
0 9 */2 * 1 both
@daily echo {{ x }}
@reboot start
30 4 1,15 * 5 mail -s "100\% done" me%Hello,%%there
CRON_TZ=Asia/Tokyo
5 4 * * sun tokyo
0~30 4 * * * random
this is no line
"""


def test_a_crontab() -> None:
    backup, hi, both, daily, reboot, mail, tokyo, random, odd = crontab.jobs(TAB, timezone="Europe/Berlin")
    made = document(backup)
    assert made.pop("id").startswith("crontab-")
    assert made == {
        "name": "Nightly backup",
        "schedule": {"type": "cron", "expression": "15 2 * * *", "timezone": "Europe/Berlin"},
        "action": {"type": "command", "parameters": {
            "argv": ["/bin/bash", "-c", "backup --all > /dev/null 2>&1"], "env": {"PATH": "/usr/bin:/bin"}}},
        "policy": {"misfire": "skip", "overlap": "parallel", "notify": "on_failure"},
    }  # fmt: skip
    assert document(hi)["name"] == "echo hi"
    assert document(both)["schedule"]["expression"] == "0 9 */2 * +1"
    assert document(daily)["schedule"]["expression"] == "@daily"
    parameters = document(mail)["action"]["parameters"]
    assert parameters["argv"][2] == 'mail -s "100% done" me'
    assert parameters["input"] == "Hello,\n\nthere\n"
    assert document(tokyo)["schedule"]["timezone"] == "Asia/Tokyo"
    assert "start of the machine" in reboot.problem
    assert "random" in random.problem
    assert "no line of a crontab" in odd.problem


def test_cron_asks_both_days_to_fit_where_one_begins_with_a_star() -> None:
    (job,) = crontab.jobs("0 9 */2 * 1 x", timezone="UTC")
    plan = automations.plan(definitions.parse(document(job), now=NOW, timezone="UTC").spec, anchor=NOW)
    assert plan is not None
    days = [to_datetime(slot) for slot in first_slots(plan, NOW, 5)]
    assert all(day.isoweekday() == 1 and day.day % 2 == 1 for day in days)


def test_a_system_crontab_has_a_user() -> None:
    text = "17 *\t* * *\troot    cd / && run-parts --report /etc/cron.hourly\n"
    assert crontab.is_crontab(text)
    (job,) = crontab.jobs(text, timezone="UTC", system=True)
    assert document(job)["action"]["parameters"]["argv"][2] == "cd / && run-parts --report /etc/cron.hourly"
    assert any("root" in change for change in job.changes)


@pytest.mark.parametrize("text", ["", "# only a remark", json.dumps({"jobs": []}), "hello there", "A=1"])
def test_other_texts_are_no_crontab(text: str) -> None:
    assert not crontab.is_crontab(text)


@pytest.mark.parametrize("given", [None, 1, "x", [], {}, {"jobs": None}, {"jobs": [1, None, "x"]}, [{"id": "x"}],
                                   {"name": "ours", "schedule": {"type": "cron"}, "action": {}}])  # fmt: skip
def test_other_documents_are_no_store(given: Any) -> None:
    assert not openclaw.is_store(given)
    assert not hermes.is_store(given)
