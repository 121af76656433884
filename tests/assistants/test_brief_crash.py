"""The brief and a killed gateway: what was read is not read again, and one brief comes out."""

import contextlib
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import servers
from tawny.api import Client

FORECAST = b"""{"daily": {"time": ["2026-03-02"], "weather_code": [61],
"temperature_2m_max": [9], "temperature_2m_min": [3]}}"""
FEED = b'<rss version="2.0"><channel><title>World</title><item><title>Fresh</title></item></channel></rss>'


@contextlib.contextmanager
def gateway(home: Path) -> Iterator[subprocess.Popen[str]]:
    argv = [sys.executable, "-m", "tawny", "--home", str(home), "gateway", "run", "--port", "0"]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("ready ")
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)
        process.stdout.close()


@pytest.mark.crash
def test_killed_brief_goes_on_and_reads_nothing_twice(tmp_path: Path):
    home = tmp_path / "home"
    home.mkdir()
    slow = threading.Event()

    def feed() -> bytes:
        slow.wait(30)
        return FEED

    with servers.website() as site:
        site.pages["/weather"] = FORECAST
        site.pages["/feed"] = feed
        (home / "config.toml").write_text(
            ("" if shutil.which("bwrap") else '[sandbox]\nparsers = "unconfined"\n')
            + f'[[sources.weather]]\nname = "Berlin"\nurl = "{site.url}/weather"\nlatitude = 1\nlongitude = 2\n'
            f'[[sources.feed]]\nname = "world"\nurl = "{site.url}/feed"\n'
        )
        with gateway(home) as process, Client(home=str(home)) as client:
            task_id = client.run("generate_daily_brief", {"date": "2026-03-02"})["task_id"]
            deadline = time.monotonic() + 30
            while not any(path == "/feed" for _, path in site.asked):
                assert time.monotonic() < deadline
                time.sleep(0.02)
            process.kill()
            process.wait()
        slow.set()
        with gateway(home), Client(home=str(home)) as client:
            task = client.wait(task_id)
    assert task["status"] == "succeeded"
    assert task["attempt"] == 2
    assert "Light rain" in task["result"]["text"]
    assert "Fresh (World)" in task["result"]["text"]
    assert len([path for _, path in site.asked if path.startswith("/weather")]) == 1


def test_gateway_loads_none_of_the_libraries_that_read():
    heavy = [
        "caldav",
        "icalendar",
        "recurring_ical_events",
        "imap_tools",
        "feedparser",
        "fastfeedparser",
        "aiosmtplib",
    ]
    script = (
        "import sys, tawny.app, tawny.assistants.brief, tawny.assistants.digest\n"
        f"print([name for name in {heavy} + ['httpx', 'anydoc', 'pypdf'] if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "[]"
