"""In a restart storm the commands say what waits, and until when."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.engine.storm import three_crashes

from tawny.cli import ledger
from tawny.cli.main import main
from tawny.config import Home
from tawny.ledger import starts
from tawny.ledger.database import Tx

SAID = "the gateway has died 3 times within 15 minutes"


@pytest.fixture
def tawny(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    def fourth_start(tx: Tx) -> None:
        three_crashes(tx)
        tx.execute("INSERT INTO unclean_starts (started_at) VALUES (:at)", at=tx.now + starts.STABLE)

    def call(*words: str) -> Any:
        assert main(["--home", str(tmp_path / "home"), *words]) == 0
        text = capsys.readouterr().out
        return json.loads(text) if "--json" in words else text

    call("automations", "add", "--every", "1h", "--remind", "x", "--name", "Hourly")
    ledger.write(Home(tmp_path / "home"), fourth_start)
    return call


@pytest.mark.parametrize("form", [(), ("--json",)])
@pytest.mark.parametrize(
    "words",
    [
        ("tasks", "run", "--kind", "remind", "--params", '{"text": "x"}'),
        ("automations", "run", "Hourly"),
    ],
)
def test_work_started_by_hand_is_told_of_it(
    tawny: Any, words: tuple[str, ...], form: tuple[str, ...]
) -> None:
    said = tawny(*words, *form)
    assert f"It waits: {SAID}" in (said["notice"] if form else said)


def test_a_task_that_is_tried_again_is_told_of_it(tawny: Any) -> None:
    task = tawny("tasks", "run", "--kind", "remind", "--params", '{"text": "x"}', "--json")["task_id"]
    tawny("tasks", "cancel", task)
    assert f"It waits: {SAID}" in tawny("tasks", "retry", task)


def test_work_somebody_waits_for_is_not_held(tawny: Any) -> None:
    run = ("tasks", "run", "--kind", "remind", "--params", '{"text": "x"}', "--priority", "interactive")
    assert "notice" not in tawny(*run, "--json")


def test_status_and_why_say_so(tawny: Any) -> None:
    task = tawny("tasks", "run", "--kind", "remind", "--params", '{"text": "x"}', "--json")["task_id"]
    assert f"held     {SAID}" in tawny("status")
    assert SAID in tawny("status", "--json")["held"]["reason"]
    assert SAID in tawny("tasks", "why", task)
    tawny("automations", "add", "--after", "1s", "--remind", "x", "--name", "Soon")
    assert f"Soon waits: {SAID}" in tawny("automations", "why", "Soon")
