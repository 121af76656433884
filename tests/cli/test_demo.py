"""The demo: a real gateway, really killed; ends by itself with every check held and nothing left behind."""

import asyncio
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tawny.cli.demo.home import BAD_CLIPS, CLIPS, dated, prepare, report
from tawny.cli.demo.timelapse import TimelapseClock
from tawny.clock import DAY, HOUR, SECOND
from tawny.config import load
from tawny.domain import digest


@pytest.mark.crash
def test_demo_survives_its_own_kill_and_proves_it(tmp_path: Path):
    argv = [sys.executable, "-m", "tawny", "demo", "--once", "--json"]
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    done = subprocess.run(argv, capture_output=True, text=True, timeout=110, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(done.stdout)
    assert said["ok"]
    assert len(said["checks"]) == 10
    assert said["attempts"] >= 2
    assert 48 <= said["watched_hours"] < 48.5
    assert said["looks"] == 9
    assert 0 < said["killed_after"] < CLIPS - len(BAD_CLIPS)
    assert list(tmp_path.glob("tawny-demo-*")) == []


def test_home_of_the_demo_is_a_valid_one(tmp_path: Path):
    home = prepare(tmp_path / "home", port=1234, outside="http://127.0.0.1:9")
    config = load(home)
    assert config.gateway.port == 1234
    assert config.network.allow_private == ("127.0.0.1:9",)
    assert len(list((home.workspace / "clips").iterdir())) == CLIPS
    assert "@" not in (home.root / "work.ics").read_text().replace("@demo", "")


def test_dates_are_filled_in():
    now = datetime(2026, 3, 1, 8, tzinfo=UTC)
    assert dated("@TODAY@ @TODAY-@ @YESTERDAY@ @TOMORROW-@", now) == "20260301 2026-03-01 20260228 2026-03-02"
    assert dated("@MAILDATE@", now) == "Sat, 28 Feb 2026 18:00:00 +0000"


async def test_clock_moved_on_rings_what_is_due_and_nothing_else(tmp_path: Path):
    clock = TimelapseClock(tmp_path / "ahead")
    rung: list[str] = []
    soon, called_off = asyncio.Event(), clock.call_at(clock.now() + HOUR, lambda: rung.append("called off"))
    clock.call_at(clock.now() + HOUR, lambda: (rung.append("hour"), soon.set()))
    clock.call_at(clock.now() + DAY, lambda: rung.append("day"))
    called_off()
    clock.forward(6 * HOUR)
    await asyncio.wait_for(soon.wait(), 10)
    clock.forward(HOUR)
    await asyncio.sleep(0)
    assert rung == ["hour"]


def test_clock_moved_on_stays_ahead_over_a_kill(tmp_path: Path):
    before = TimelapseClock(tmp_path / "ahead")
    before.forward(6 * HOUR)
    after = TimelapseClock(tmp_path / "ahead")
    assert after.now() >= before.now() - SECOND


def test_report_has_fifty_pages():
    text = report()
    assert text.count("## ") == 50
    assert len(digest.split(text)) > 20
