"""With `--json` every command that reads prints one document, also in a home where nothing has happened yet."""

import json
from pathlib import Path

import pytest

from tawny.cli.main import COMMANDS, main

READING = [
    "tasks list",
    "tasks stats",
    "tasks audit",
    "tasks maintenance",
    "tasks kinds",
    "tasks flow list",
    "automations list",
    "approvals list",
    "approvals rules",
    "approvals grants",
    "inbox",
    "audit list",
    "audit verify",
    "sessions list",
    "memory search tea",
    "skills list",
    "channels list",
    "status",
    "doctor",
    "config get",
    "config check",
    "secrets list",
    "gateway devices",
    "gateway status",
    "version",
]
SAYS_NO_DOCUMENT = {"demo", "onboard", "chat", "flow", "logs", "backup", "selftest", "worker", "import"}
"""Commands that do work, or print lines; their own tests look at what they say."""


@pytest.mark.parametrize("words", READING)
def test_reading_command_prints_one_document(words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    code = main(["--home", str(tmp_path / "home"), *words.split(), "--json"])
    said = capsys.readouterr()
    assert code in (0, 1), said.err
    assert isinstance(json.loads(said.out), dict)


def test_every_command_is_looked_at():
    assert {words.split()[0] for words in READING} | SAYS_NO_DOCUMENT >= set(COMMANDS)
