"""Subtitles: what the file looks like, and why one may fail."""

import json
from typing import Any

import pytest

from tawny.assistants.subtitles import Segment, Transcript, subtitles
from tawny.config import Home
from tawny.domain.tasks import Status
from tawny.errors import PermanentError
from tawny.ledger import artifacts


def test_long_speech_is_shared_among_blocks_of_two_lines():
    long = "one two three four five six seven eight nine ten eleven twelve"
    speech = Transcript([Segment(0, 4, long), Segment(5, 6.25, "End.")])
    assert subtitles(speech, width=16) == (
        "1\n00:00:00,000 --> 00:00:01,333\none two three\nfour five six\n\n"
        "2\n00:00:01,333 --> 00:00:02,667\nseven eight nine\nten eleven\n\n"
        "3\n00:00:02,667 --> 00:00:04,000\ntwelve\n\n"
        "4\n00:00:05,000 --> 00:00:06,250\nEnd.\n"
    )


def test_speech_that_was_not_understood_fails_for_that_reason():
    with pytest.raises(PermanentError, match="audio quality issue: 75 % of the speech"):
        subtitles(Transcript([Segment(0, 3, "mm", -1.5), Segment(3, 4, "yes", -0.2)]), width=42)
    with pytest.raises(PermanentError, match="no speech"):
        subtitles(Transcript([]), width=42)


async def test_batch_of_clips_reports_what_failed_and_why(engine: Any, home: Home):
    clips = home.workspace / "clips"
    clips.mkdir()
    for n in range(6):
        unsure = -2.0 if n == 4 else -0.2
        document = {
            "text": "x",
            "segments": [{"start": 0, "end": 2, "text": f"Clip {n}", "avg_logprob": unsure}],
        }
        (clips / f"{n}.json").write_text(json.dumps(document) if n != 5 else "{broken")
    items: list[Any] = [f"clips/{n}.json" for n in range(6)]
    params = {"items": items, "action": {"kind": "make_subtitles", "params": {"file": "{item}"}}}
    task = await engine.submit("batch", params=params)
    task = await engine.done(task.task_id)
    assert task.status is Status.SUCCEEDED, task.error
    assert task.result is not None
    assert (task.result["succeeded"], task.result["failed"]) == (4, 2)
    assert (
        "clips/4.json: audio quality issue: 100 % of the speech is not understandable" in task.result["text"]
    )
    assert "clips/5.json: 5.json is no transcript" in task.result["text"]


async def test_file_outside_of_the_workspace_is_refused(engine: Any):
    task = await engine.submit("make_subtitles", params={"file": "../config.toml"})
    task = await engine.done(task.task_id)
    assert task.error is not None
    assert task.error.kind == "refused"


async def test_clips_of_one_name_in_a_batch_have_files_of_their_own(engine: Any, home: Home):
    for folder in ("a", "b"):
        (home.workspace / folder).mkdir()
        words = [{"start": 0, "end": 2, "text": f"Said in {folder}"}]
        (home.workspace / folder / "x.json").write_text(json.dumps({"segments": words}))
    action = {"kind": "make_subtitles", "params": {"file": "{item}"}}
    task = await engine.submit("batch", params={"items": ["a/x.json", "b/x.json"], "action": action})
    assert (await engine.done(task.task_id)).result["succeeded"] == 2
    made = await engine.ledger.read(lambda tx: artifacts.of_task(tx, task.task_id))
    files = [artifact for artifact in made if artifact.name.endswith("x.srt")]
    texts = [(home.artifacts / artifact.path).read_text() for artifact in files]
    assert sorted(text.split("\n")[2] for text in texts) == ["Said in a", "Said in b"]
