"""A turn killed after any of its commits goes on from its last finished step: nothing is paid or done twice."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

CALLS = {"call:1:c0": "tool look", "call:2:c1": "tool book", "call:3:c2": "tool send"}
MODELS = {f"model:{n}": f"model {n}" for n in range(1, 5)}
SAID = [
    ["user", "do three things"],
    ["assistant", "(uses look)"],
    ["tool", "look\nlook is done"],
    ["assistant", "(uses book)"],
    ["tool", "book\nbook is done"],
    ["assistant", "(uses send)"],
    ["tool", "send\nsend is done"],
    ["assistant", "all three are done"],
]


async def points(root: Path) -> list[dict[str, Any]]:
    driver = Path(__file__).with_name("crash_driver.py")
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(driver), str(root), "60", stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    return [json.loads(line) for line in out.splitlines()]


@pytest.mark.crash
@pytest.mark.timeout(400)
async def test_a_turn_killed_anywhere_finishes_with_each_call_made_once(tmp_path: Path) -> None:
    found = await points(tmp_path)
    killed = [point for point in found if point["killed"]]
    assert len(killed) >= 15, "there are that many commits to be killed after"
    assert not found[-1]["killed"], "the last run was left alone"
    for point in found:
        name = f"killed after commit {point['kill']}"
        world = point["world"]
        assert point["recovered"] == 0, name
        assert point["tasks"] == ["succeeded"], name
        assert point["transcript"] == SAID, name
        assert len(point["sent"]) == 1, name
        for key in point["before"]:
            what = {**CALLS, **MODELS}.get(key)
            assert what is None or world.count(what) == 1, f"{name}: {what} was finished, and made again"
        begun = [line for line in point["world_before"] if line in CALLS.values()]
        finished = [CALLS[key] for key in point["before"] if key in CALLS]
        if begun == finished:
            # Between two calls, not within one: then every call is made exactly once.
            assert sorted(line for line in world if line.startswith("tool")) == sorted(CALLS.values()), name
    resumed = ["A restart interrupted me" in point["sent"][0] for point in found]
    assert not resumed[-1], "nothing interrupted the last run"
    assert sum(resumed) > len(killed) / 2, "a turn that was cut off goes on, and says so"
