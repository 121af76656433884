"""MCP against what others wrote: the official conformance suite and the official client SDKs. All are fetched."""

import asyncio
import json
import os
import re
import shutil
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tawny.gateway import server
from tawny.gateway.mcp.tools import TOOLS

from .conftest import House
from .mcp_fixtures import FIXTURES

CLIENTS = Path(__file__).parent / "clients"
CONFORMANCE = "@modelcontextprotocol/conformance@0.1.16"
SDK = "@modelcontextprotocol/sdk@1"
pytestmark = [
    pytest.mark.skipif(
        os.environ.get("TAWNY_TEST_PROFILE") != "long",
        reason="fetches others' programs: TAWNY_TEST_PROFILE=long",
    ),
    pytest.mark.timeout(600),
]


@asynccontextmanager
async def open_to_all(house: House) -> AsyncGenerator[str]:
    """The gateway on a socket, the owner's token added to each request: the suite has none."""
    inner, token = house.door.gateway.app, house.door.token

    async def trusting(scope: Any, receive: Any, send: Any) -> None:
        headers = [*scope["headers"], (b"authorization", f"Bearer {token}".encode())]
        await inner({**scope, "headers": headers}, receive, send)

    house.door.gateway.app = trusting
    async with house.door.gateway.serving(server.listen("127.0.0.1", 0)) as address:
        yield address


async def output_of(*command: str, cwd: Path) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(*command, stdout=-1, stderr=-2, cwd=cwd)
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the suite, the SDK, and a Node that is new enough for them."""
    if shutil.which("npm") is None:
        pytest.skip("npm is needed")
    folder = tmp_path_factory.mktemp("npm")
    (folder / "package.json").write_text('{"type": "module"}')
    command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "node@24", CONFORMANCE, SDK]
    if subprocess.run(command, cwd=folder, check=False).returncode != 0:
        pytest.skip("npm cannot fetch the suite")
    return folder / "node_modules"


def suite(modules: Path) -> list[str]:
    return [str(modules / "node/bin/node"), str(modules / "@modelcontextprotocol/conformance/dist/index.js")]


async def test_the_conformance_suite_finds_nothing(house: House, modules: Path, tmp_path: Path) -> None:
    _, listed = await output_of(*suite(modules), "list", cwd=tmp_path)
    scenarios = re.findall(r"^  - ([\w-]+) \[", listed.partition("Client scenarios")[0], re.MULTILINE)
    house.door.gateway.mcp.offer = FIXTURES
    failed: dict[str, str] = {}
    async with open_to_all(house) as address:
        for scenario in scenarios:
            command = [*suite(modules), "server", "--url", f"{address}/mcp", "--scenario", scenario]
            code, said = await output_of(*command, cwd=tmp_path)
            if code != 0 or re.search(r"[1-9]\d* (?:warnings|failed)", said):
                failed[scenario] = said[-1500:]
    assert not failed, failed
    assert len(scenarios) == 32


async def test_a_server_without_the_suites_tools_is_found_out(
    house: House, modules: Path, tmp_path: Path
) -> None:
    """The suite would fail, were there something to find."""
    async with open_to_all(house) as address:
        where = ["server", "--url", f"{address}/mcp", "--scenario", "tools-call-simple-text"]
        code, _ = await output_of(*suite(modules), *where, cwd=tmp_path)
    assert code != 0


def _expect(found: dict[str, Any]) -> None:
    assert found["version"] == "2025-11-25"
    assert found["tools"] == [tool.name for tool in TOOLS]
    assert found["status"] == "succeeded"
    assert found["progress"] == [[1, 4], [2, 4], [3, 4], [4, 4]]
    assert found["logs"][-1]["type"] == "task.succeeded"
    assert found["resources"][0].startswith("tawny://tasks/task_")
    assert found["read"] == "Four"
    assert found["templates"] == 3
    assert "what_needs_me" in found["prompts"]
    assert "Look, daily" in found["prompt"]
    assert found["refused"] is True


async def test_the_python_sdk_works(house: House, tmp_path: Path) -> None:
    runner = shutil.which("uv")
    if runner is None:
        pytest.skip("uv is needed to run the SDK apart from our own packages")
    async with house.door.listening() as address:
        code, said = await output_of(
            *(runner, "run", "-q", "--no-project", "--with", "mcp>=2,<3", "python"),
            *(str(CLIENTS / "mcp_client.py"), address, house.door.token),
            cwd=tmp_path,
        )
    assert code == 0, said[-3000:]
    _expect(json.loads(said.strip().splitlines()[-1]))


async def test_the_typescript_sdk_works(house: House, modules: Path, tmp_path: Path) -> None:
    script = modules.parent / "client.mjs"
    script.write_text((CLIENTS / "mcp_client.mjs").read_text())
    node = str(modules / "node/bin/node")
    async with house.door.listening() as address:
        code, said = await output_of(node, str(script), address, house.door.token, cwd=tmp_path)
    assert code == 0, said[-3000:]
    _expect(json.loads(said.strip().splitlines()[-1]))
