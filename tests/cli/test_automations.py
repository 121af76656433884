"""`tawny automations` as people and scripts use it, with the gateway stopped."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tawny.cli.main import main
from tawny.testing.provider import FakeProvider, Text


@pytest.fixture
def tawny(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    def call(*words: str, code: int = 0) -> Any:
        assert main(["--home", str(tmp_path / "home"), *words]) == code
        said = capsys.readouterr()
        text = said.out if code == 0 else said.err
        return json.loads(text) if "--json" in words and code == 0 else text

    return call


def test_add_shows_the_next_five_times_in_the_zone(tawny: Any) -> None:
    said = tawny(
        "automations", "add", "every weekday at 8", "--remind", "Up!", "--name", "Up", "--tz", "Asia/Tokyo"
    )
    assert said.startswith("Added Up  auto_")
    assert said.count("08:00:00+09:00") == 5


def test_the_document_goes_in_and_comes_out(tawny: Any, tmp_path: Path) -> None:
    document = {
        "name": "Morning", "type": "scheduled",
        "schedule": {"type": "cron", "expression": "0 8 * * 1-5", "timezone": "Europe/Berlin"},
        "action": {"type": "remind", "parameters": {"text": "brief"}},
        "delivery": {"channels": ["telegram", "email"], "priority": "normal"},
        "policy": {"misfire": "run_once", "misfire_window": "12h", "overlap": "skip", "timeout": "10m",
                   "retry": {"max": 3}, "notify": "done_only"},
        "status": "active",
    }  # fmt: skip
    file = tmp_path / "morning.json"
    file.write_text(json.dumps(document))
    added = tawny("automations", "add", "--file", str(file), "--json")
    shown = tawny("cron", "show", "Morning", "--json")
    assert added["id"] == shown["id"]
    for key in ("name", "type", "schedule", "action", "status"):
        assert shown[key] == document[key]
    assert shown["policy"] == document["policy"]
    assert shown["delivery"]["channels"] == ["telegram", "email"]
    assert shown["next_run"].endswith("Z")
    assert tawny("automations", "list", "--json")["items"][0]["id"] == added["id"]


def test_steering_takes_a_name_an_id_or_a_prefix(tawny: Any) -> None:
    added = tawny("automations", "add", "--every", "1h", "--remind", "x", "--name", "Hourly", "--json")
    assert tawny("automations", "pause", "Hourly", "--json")["status"] == "paused"
    assert tawny("automations", "resume", added["id"], "--json")["status"] == "active"
    assert tawny("automations", "disable", added["id"][:20], "--json")["status"] == "disabled"
    assert tawny("automations", "enable", "Hourly", "--json")["status"] == "active"
    task = tawny("automations", "run", "Hourly", "--json")
    assert (task["automation_id"], task["status"]) == (added["id"], "queued")
    (run,) = tawny("automations", "runs", "Hourly", "--json")["items"]
    assert set(run) >= {"slot", "status", "task_id", "reason", "merged_into"}
    assert (run["status"], run["task_id"]) == ("ran", task["task_id"])
    assert tawny("automations", "remove", "Hourly", "--json") == {"id": added["id"], "removed": True}
    assert "no automation" in tawny("automations", "show", "Hourly", code=1)


def test_edit_keeps_what_is_not_named(tawny: Any) -> None:
    tawny("automations", "add", "--cron", "0 8 * * *", "--remind", "x", "--name", "A", "--overlap", "queue")
    after = tawny("automations", "edit", "A", "--cron", "0 9 * * *", "--json")
    assert (after["schedule"]["expression"], after["policy"]["overlap"], after["version"]) == (
        "0 9 * * *",
        "queue",
        2,
    )
    assert len(tawny("automations", "history", "A", "--json")["items"]) == 2
    assert "nothing to change" in tawny("automations", "edit", "A", code=2)


def test_preview_lists_the_next_runs(tawny: Any) -> None:
    words = (
        "--cron",
        "30 2 * * *",
        "--tz",
        "America/New_York",
        "--start",
        "2026-03-07T12:00:00-05:00",
        "-n",
        "2",
    )
    assert tawny("cron", "preview", *words, "--json")["items"] == [
        "2026-03-08T07:00:00.000Z", "2026-03-09T06:30:00.000Z",
    ]  # fmt: skip
    assert tawny("automations", "preview", *words).splitlines() == [
        "2026-03-08T03:00:00-04:00", "2026-03-09T02:30:00-04:00",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "words",
    [
        ("add", "every blue moon", "--remind", "x"),
        ("add", "--cron", "61 * * * *", "--remind", "x"),
        ("add", "--cron", "0 8 * * *", "--every", "1h", "--remind", "x"),
        ("add", "--cron", "0 8 * * *", "--tz", "Mars/Base", "--remind", "x"),
        ("add", "--cron", "0 8 * * *", "--kind", "dance"),
        ("add", "--cron", "0 8 * * *", "--kind", "remind", "--params", "{"),
        ("add", "--file", "/nowhere.json"),
        ("preview",),
    ],
)
def test_wrong_use_is_one_line_and_exit_2(tawny: Any, words: tuple[str, ...]) -> None:
    said = tawny("automations", *words, code=2)
    assert len(said.splitlines()) == 1
    assert "(" in said


async def test_what_only_a_model_can_read_is_added_with_a_yes(tawny: Any, tmp_path: Path) -> None:
    said = Text('{"type": "cron", "expression": "30 9 * * 1-5", "timezone": "America/New_York"}')
    server = FakeProvider(lambda body, n: said)
    async with server.running():
        home = tmp_path / "home"
        home.mkdir()
        (home / "config.toml").write_text(f'[model]\nname = "openai:x"\nbase_url = "{server.base_url}"\n')

        async def call(*words: str, code: int = 0) -> Any:
            return await asyncio.to_thread(tawny, "automations", *words, code=code)

        phrase = "when the market opens in New York"
        shown = await call("preview", phrase, "--json")
        assert shown["schedule"]["expression"] == "30 9 * * 1-5"
        refused = await call("add", phrase, "--remind", "x", code=2)
        assert "The model reads" in refused
        assert refused.count(" 09:30:00") + refused.count(":30:00") >= 3
        assert "--yes" in refused
        assert (await call("list", "--json"))["items"] == []
        added = await call("add", phrase, "--remind", "x", "--yes", "--json")
        assert added["schedule"]["timezone"] == "America/New_York"
        before = len(server.requests)
        await call("add", "every weekday at 8", "--remind", "x")
        assert len(server.requests) == before


def test_import_adds_then_edits(tawny: Any, tmp_path: Path) -> None:
    seed = {
        "task_id": "task_abc123", "type": "scheduled",
        "schedule": {"type": "cron", "expression": "0 8 * * 1-5"},
        "action": {"type": "generate_daily_brief", "parameters": {"include_calendar": True, "format": "markdown"}},
        "delivery": {"channels": ["telegram", "email"], "priority": "normal"},
        "status": "active", "created_at": "2026-03-01T10:00:00Z",
        "last_run": "2026-03-13T08:00:00Z", "next_run": "2026-03-14T08:00:00Z",
    }  # fmt: skip
    file = tmp_path / "seed.json"
    file.write_text(json.dumps(seed))
    assert tawny("automations", "import", str(file)).startswith("added  task_abc123")
    file.write_text(json.dumps([seed]))
    assert tawny("automations", "import", str(file)).startswith("changed  task_abc123")


def test_why_answers_without_a_gateway(tawny: Any) -> None:
    tawny("automations", "add", "--cron", "0 8 * * *", "--tz", "UTC", "--remind", "x", "--name", "A")
    assert tawny("automations", "why", "A").startswith("A runs next ")
    assert "did not exist" in tawny("automations", "why", "A", "2020-01-01T08:00:00Z")
    assert "has no time at" in tawny("automations", "why", "A", "2099-01-01T09:00:00Z")
    assert "is to run then" in tawny("automations", "why", "A", "2099-01-01T08:00:00Z")
    tawny("automations", "pause", "A")
    assert "It is paused" in tawny("automations", "why", "A", "2099-01-01T08:00:00Z")


def test_import_takes_the_jobs_of_others_and_tells_of_each(tawny: Any, tmp_path: Path) -> None:
    job = {
        "id": "a1", "name": "Digest", "enabled": True, "schedule": {"kind": "cron", "expr": "0 8 * * *", "tz": "UTC"},
        "sessionTarget": "isolated", "wakeMode": "now", "payload": {"kind": "agentTurn", "message": "News {{ today }}"},
        "delivery": {"mode": "announce", "channel": "wecom", "to": "x"},
    }  # fmt: skip
    past = {**job, "id": "a2", "name": "Past", "schedule": {"kind": "at", "at": "2020-01-01T00:00:00Z"}}
    held = {**job, "id": "a3", "name": "Held", "trigger": {"script": "json({fire: true})"}}
    odd = {**job, "id": "a4", "name": "Odd", "schedule": {"kind": "cron", "expr": "0 25 * * *"}}
    file = tmp_path / "jobs.json"
    file.write_text(json.dumps({"version": 1, "jobs": [job, past, held, odd]}))
    assert tawny("automations", "import", "--dry-run", str(file), "--json")["taken"] == 2
    assert tawny("automations", "list", "--json")["items"] == []
    told = tawny("automations", "import", str(file), "--json")
    assert [(one["name"], one["outcome"]) for one in told["items"]] == [
        ("Digest", "added"), ("Past", "left out"), ("Held", "added"), ("Odd", "left out"),
    ]  # fmt: skip
    assert any("no channel 'wecom' is configured" in change for change in told["items"][0]["changes"])
    assert "has passed" in told["items"][1]["problem"]
    assert "hour" in told["items"][3]["problem"]
    assert tawny("automations", "show", "Held", "--json")["status"] == "paused"
    said = tawny("automations", "import", str(file))
    assert "changed  Digest  (openclaw-a1)" in said
    assert "2 of 4 jobs of OpenClaw" in said
    assert len(tawny("automations", "list", "--json")["items"]) == 2


def test_import_takes_a_crontab_paused_where_asked(tawny: Any, tmp_path: Path) -> None:
    file = tmp_path / "crontab"
    file.write_text("# Backup\n15 2 * * * backup --all\n@reboot start\n")
    said = tawny("automations", "import", str(file), "--paused")
    assert "added  Backup  (crontab-" in said
    assert "left out  start" in said
    assert "1 of 2 jobs of crontab" in said
    assert tawny("automations", "show", "Backup", "--json")["status"] == "paused"
    assert "no JSON" in tawny("automations", "import", __file__, code=2)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--remind", "stretch"), "tells     phone (the default)"),
        (("--remind", "stretch", "--deliver", "ops"), "tells     ops"),
        (("--remind", "stretch", "--notify", "silent"), "tells     nobody; that it keeps failing"),
        (("--kind", "simulate", "--params", '{"steps": 1}'), "tells     nobody; that it keeps failing"),
        (
            ("--kind", "simulate", "--params", '{"steps": 1}', "--deliver", "file:log.md"),
            "tells     file:log.md",
        ),
    ],
)
def test_adding_says_where_it_will_be_told(
    tawny: Any, tmp_path: Path, words: tuple[str, ...], says: str
) -> None:
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    (home / "config.toml").write_text(
        '[[channels.webhook]]\nname = "ops"\nurl = "https://ops.example"\n'
        '[[channels.ntfy]]\nname = "loud"\ntopic = "a"\nfailures_only = true\n'
        '[[channels.ntfy]]\nname = "phone"\ntopic = "b"\n'
    )
    assert says in tawny("automations", "add", "every day at 8", *words)


def test_a_run_by_hand_beside_one_that_has_not_ended_is_refused_with_the_reason(tawny: Any) -> None:
    tawny("automations", "add", "--every", "1h", "--remind", "x", "--name", "Hourly")
    first = tawny("automations", "run", "Hourly", "--json")["task_id"]
    said = tawny("automations", "run", "Hourly", code=1)
    assert f"'Hourly' was not started: the run before ({first}) has not ended; overlap is skip" in said
    assert len(tawny("automations", "runs", "Hourly", "--json")["items"]) == 1
