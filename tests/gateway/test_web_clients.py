"""Clients others wrote, from npm: OpenAI's own, and `eventsource`, whose line breaks in the middle."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from .conftest import House
from .test_mcp_clients import CLIENTS, output_of

PACKAGES = ("node@24", "openai@6", "eventsource@4")

pytestmark = [
    pytest.mark.skipif(
        os.environ.get("TAWNY_TEST_PROFILE") != "long",
        reason="fetches others' programs: TAWNY_TEST_PROFILE=long",
    ),
    pytest.mark.timeout(600),
]


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    if shutil.which("npm") is None:
        pytest.skip("npm is needed")
    (tmp_path / "package.json").write_text('{"type": "module"}')
    command = ["npm", "install", "--silent", "--no-audit", "--no-fund", *PACKAGES]
    if subprocess.run(command, cwd=tmp_path, check=False).returncode != 0:
        pytest.skip("npm cannot fetch the clients")
    return tmp_path / "node_modules"


async def test_clients_from_npm_work(house: House, modules: Path) -> None:
    task = await house.run(params={"steps": 5, "step_seconds": 0})
    await house.until(task["task_id"], "succeeded")
    script = modules.parent / "clients.mjs"
    script.write_text((CLIENTS / "web_clients.mjs").read_text())
    async with house.door.listening() as address:
        node = str(modules / "node/bin/node")
        code, said = await output_of(node, str(script), address, house.door.token, cwd=modules.parent)
    assert code == 0, said[-3000:]
    found = json.loads(said.strip().splitlines()[-1])
    assert "tawny" in found["models"]
    assert found["whole"]
    assert found["streamed"] == found["whole"]
    assert found["chunks"] > 2
    assert found["refused"] == 401
    assert found["comebacks"] > 0
    for seqs in (found["seqs"], found["again"]):  # the second came back by itself, after 700 bytes
        assert len(seqs) >= 10
        assert seqs == list(range(1, len(seqs) + 1)), "without gap or repeat"
