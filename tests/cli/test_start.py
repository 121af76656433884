"""What the command line loads: only what the command at hand needs, so that it answers at once."""

import subprocess
import sys
from pathlib import Path

import pytest

LIBRARIES = ("pydantic", "pydantic_ai", "openai", "httpx2", "starlette", "uvicorn", "rich", "psycopg")
WORK = (
    "yaml",
    "tawny.app",
    "tawny.agent.agency",
    "tawny.engine.dispatcher",
    "tawny.engine.automations",
    "tawny.plugins",
)
EVERYTHING = (
    "asyncio",
    "msgspec",
    "sqlite3",
    "zoneinfo",
    "tawny.config",
    "tawny.clock",
    "tawny.ledger.database",
)
APP = ("tawny.app", "tawny.agent.agency", "tawny.engine.dispatcher")
REMOTE = ("http.client", "tawny.cli.remote", "tawny.engine.commands")


def loaded(home: Path, words: str) -> set[str]:
    """The modules that are there once a command is done."""
    script = (
        "import sys; from tawny.__main__ import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print('\\nloaded', *sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *words.replace("HOME", str(home)).split()],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return set(done.stdout.rpartition("loaded")[2].split())


@pytest.mark.parametrize(
    ("words", "absent"),
    [
        ("version", EVERYTHING + REMOTE + WORK + LIBRARIES),
        ("--version", EVERYTHING + REMOTE + WORK + LIBRARIES),
        ("--home HOME version", EVERYTHING + REMOTE + WORK + LIBRARIES),
        ("--help", EVERYTHING + REMOTE + WORK + LIBRARIES),
        ("nonsense", EVERYTHING + REMOTE + WORK + LIBRARIES),
        ("--home HOME tasks list", REMOTE + WORK + LIBRARIES),
        ("--home HOME tasks list --json", REMOTE + WORK + LIBRARIES),
        ("tasks --help", REMOTE + WORK + LIBRARIES),
        ("--home HOME tasks show task_x", REMOTE + WORK + LIBRARIES),
        ("--home HOME status", WORK + LIBRARIES),
        ("--home HOME inbox", WORK + LIBRARIES),
        ("--home HOME audit list", WORK + LIBRARIES),
        ("--home HOME channels list", WORK + LIBRARIES),
        ("--home HOME config get", WORK + LIBRARIES),
        ("--home HOME sessions list", WORK + LIBRARIES),
        ("--home HOME automations list", APP + LIBRARIES),
        ("--home HOME automations why x", APP + LIBRARIES),
        ("--home HOME automations preview --cron @daily", APP + LIBRARIES),
        ("chat --help", WORK + LIBRARIES),
    ],
)
def test_a_command_loads_nothing_it_has_no_use_for(
    tmp_path: Path, words: str, absent: tuple[str, ...]
) -> None:
    assert loaded(tmp_path / "home", words) & set(absent) == set()


def test_the_look_at_what_is_loaded_sees_what_is(tmp_path: Path) -> None:
    """The check above can fail: starting work loads what listing does not."""
    found = loaded(tmp_path / "home", "--home HOME tasks kinds")
    assert {"tawny.app", "tawny.engine.automations", "yaml"} <= found
