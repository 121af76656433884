"""Every example is what it claims to be: accepted as it is, and run where it can be."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tawny.domain.tasks import Status
from tawny.engine import automations
from tawny.runners.flowfile import load_flow

EXAMPLES = Path(__file__).parents[2] / "examples"
DOCUMENTS = {
    path.name: json.loads(path.read_text(encoding="utf-8")) for path in sorted(EXAMPLES.glob("*.json"))
}
AUTOMATIONS = [name for name, document in DOCUMENTS.items() if "type" in document]


@pytest.mark.parametrize("name", AUTOMATIONS)
async def test_automation_is_accepted_as_it_is(engine: Any, name: str):
    document = DOCUMENTS[name]
    added = await engine.ledger.write(
        lambda tx: automations.add(tx, document, kinds=engine.app.kinds, timezone="UTC", actor="owner")
    )
    assert added.spec.name == document["name"]


@pytest.mark.parametrize("name", [name for name in AUTOMATIONS if DOCUMENTS[name]["type"] != "continuous"])
async def test_action_of_the_automation_succeeds(engine: Any, name: str):
    action = DOCUMENTS[name]["action"]
    task = await engine.submit(action["type"], params=action["parameters"])
    task = await engine.done(task.task_id)
    assert task.status is Status.SUCCEEDED, task.error


async def test_the_flow_of_the_example_runs(engine: Any):
    document = load_flow(EXAMPLES / "weekly-report.yaml", kinds=engine.app.kinds)
    task = await engine.submit("flow", params={"document": document})
    async with asyncio.timeout(30):
        while (
            task := await engine.task(task.task_id)
        ).waiting_for is None or task.waiting_for.kind != "timer":
            await engine.clock.settle()
    await engine.clock.advance("10s")
    task = await engine.done(task.task_id)
    assert task.status is Status.SUCCEEDED, task.error
    assert task.result["text"] == "A short week: 2 projects"


async def test_batch_of_the_example_runs(engine: Any):
    clips = engine.app.home.workspace / "clips"
    clips.mkdir()
    for name in ("one", "two"):
        document = {"segments": [{"start": 0, "end": 2, "text": name, "avg_logprob": -0.2}]}
        (clips / f"{name}.json").write_text(json.dumps(document))
    task = await engine.submit("batch", params=DOCUMENTS["subtitles.json"])
    task = await engine.done(task.task_id)
    assert task.status is Status.SUCCEEDED, task.error
    assert task.result["succeeded"] == 2
