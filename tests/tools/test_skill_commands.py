"""Skills at the one door, in the real sandbox: what was granted runs without a question and reaches its hosts."""

import shutil
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from tests.tools.test_exec import Shop

from tawny.config import Home
from tawny.domain.commands import Mode
from tawny.skills.grants import Grants

pytestmark = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")

SKILL = """---
name: brew-tea
description: Makes tea.
permissions: {network: ["kettle.invalid:80"], exec: [sh]}
---
Run run.sh.
"""
SCRIPT = """echo tea
for host in kettle.invalid other.invalid; do
  wget -q -O - http://$host/ 2>/dev/null || curl -s http://$host/ || true
done
"""


@pytest.fixture
async def shop(home: Home) -> AsyncGenerator[Shop]:
    folder = home.workspace / "skills" / "brew-tea"
    folder.mkdir(parents=True)
    (folder / "SKILL.md").write_text(SKILL)
    (folder / "run.sh").write_text(SCRIPT)
    async with AsyncExitStack() as stack:
        shop = Shop(home, stack)
        # Nothing is on the owner's list: only a grant lets anything run.
        shop.mode, shop.grants = Mode.ALLOWLIST, Grants(home.root, home.workspace)
        yield await shop.open()


def rewrite(file: Path) -> None:
    file.write_text("echo coffee")


async def test_without_a_grant_the_door_refuses(shop: Shop) -> None:
    result = await shop.call("exec", command="sh skills/brew-tea/run.sh")
    assert "no leave to run anything" in str(result)


async def test_a_grant_runs_the_skill_and_opens_its_hosts_to_it_alone(shop: Shop, home: Home) -> None:
    assert shop.grants is not None
    shop.grants.grant("brew-tea")
    result = await shop.call("exec", command="sh skills/brew-tea/run.sh")
    assert result["output"].startswith("tea\n"), result
    # The granted name gets as far as the resolver (there is no such host); the other is refused by name.
    assert "kettle.invalid cannot be resolved" in result["output"]
    assert [line.partition(" ")[0] for line in result["networkRefused"]] == ["other.invalid:80"]
    assert "allowlist" in str(await shop.call("exec", command="sh -c 'echo hi' skills/brew-tea/run.sh"))
    rewrite(home.workspace / "skills" / "brew-tea" / "run.sh")
    assert "no leave" in str(await shop.call("exec", command="sh skills/brew-tea/run.sh"))
