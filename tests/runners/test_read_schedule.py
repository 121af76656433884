"""Times as people say them: a model is asked only what the grammar cannot read, and its answer is checked."""

from datetime import datetime
from typing import Any

import pytest

from tawny.app import App, open_app
from tawny.config import Config, Home, Model
from tawny.domain.tasks import Status, Submission, Task
from tawny.ledger import tasks
from tawny.ledger.submission import submit
from tawny.testing import ScriptedModel

CONFIG = Config(model=Model(name="scripted"))


async def read(app: App, text: str) -> Task:
    params: dict[str, Any] = {"text": text, "timezone": "Europe/Berlin"}
    task = await app.ledger.write(lambda tx: submit(tx, Submission(kind="read_schedule", params=params)))
    task_id = task.task_id
    ended = app.ledger.bell.subscribe("ended")
    while not task.status.is_terminal:
        await ended.wait()
        ended.clear()
        task = await app.ledger.read(lambda tx: tasks.get(tx, task_id))
    return task


async def asked(home: Home, text: str, *replies: str) -> tuple[Task, int]:
    model = ScriptedModel(replies)
    async with open_app(home, CONFIG, model=model) as app:
        return await read(app, text), len(model.asked)


async def test_what_the_grammar_knows_no_model_is_asked(home: Home) -> None:
    task, calls = await asked(home, "every weekday at 8")
    assert calls == 0
    assert task.result is not None
    assert task.result["by"] == "grammar"
    assert task.result["schedule"]["expression"] == "0 8 * * 1-5"


async def test_what_could_be_two_things_is_no_model_s_to_guess(home: Home) -> None:
    task, calls = await asked(home, "every day at 8 and 17:30", '{"type": "every", "interval": "1h"}')
    assert (task.status, calls) == (Status.FAILED, 0)


@pytest.mark.parametrize(
    ("said", "schedule"),
    [
        ('{"type": "cron", "expression": "0 7 * * 6"}', {"type": "cron", "expression": "0 7 * * 6"}),
        ('```json\n{"type": "every", "interval": "36h"}\n```', {"type": "every", "interval": "36h"}),
        ('{"type": "at", "time": "2099-12-24T18:00:00"}', {"type": "at", "time": "2099-12-24T18:00:00"}),
    ],
)
async def test_a_model_answers_with_the_same_structure_and_three_times(
    home: Home, said: str, schedule: dict[str, Any]
) -> None:
    task, calls = await asked(home, "whenever the market opens", said)
    assert (task.status, calls) == (Status.SUCCEEDED, 1)
    assert task.result is not None
    assert task.result["by"] == "model"
    assert {key: task.result["schedule"][key] for key in schedule} == schedule
    assert task.result["schedule"]["timezone"] == "Europe/Berlin"
    times = [datetime.fromisoformat(time) for time in task.result["next"]]
    assert len(times) == (1 if schedule["type"] == "at" else 3)
    assert times == sorted(times)


@pytest.mark.parametrize(
    "said",
    ["null", "At eight, I think.", '{"type": "cron", "expression": "61 * * * *"}', '{"type": "cron"}', "[1]",
     '{"type": "at", "time": "2001-01-01T00:00:00"}', '{"type": "every", "interval": "1h", "command": "rm"}'],
)  # fmt: skip
async def test_an_answer_that_is_no_schedule_is_a_refusal(home: Home, said: str) -> None:
    task, calls = await asked(home, "whenever the market opens", said)
    assert (task.status, calls) == (Status.FAILED, 1)
    assert task.error is not None
    assert "not understood" in task.error.message


async def test_without_a_model_the_grammar_s_refusal_stands(home: Home) -> None:
    async with open_app(home, Config()) as app:
        task = await read(app, "whenever the market opens")
    assert task.status is Status.FAILED
    assert task.error is not None
    assert "not understood" in task.error.message
