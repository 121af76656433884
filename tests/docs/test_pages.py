"""What the pages show, runs: `sh run` blocks in a fresh home, `toml` against the configuration, links to files."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tawny.config import parse

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [ROOT / "docs" / "tutorial.md", *(ROOT / "docs" / "how-to").glob("*.md"), ROOT / "examples" / "README.md"]
)
BLOCK = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")


def blocks(page: Path, kind: str) -> list[str]:
    return [body for info, body in BLOCK.findall(page.read_text(encoding="utf-8")) if info.strip() == kind]


def names(pages: list[Path], kind: str) -> list[str]:
    return [str(page.relative_to(ROOT)) for page in pages if blocks(page, kind)]


@pytest.mark.parametrize("page", names(PAGES, "sh run"))
def test_commands_of_the_page_run(page: str, tmp_path: Path):
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    script = "set -e\n" + "\n".join(blocks(ROOT / page, "sh run"))
    env = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "TAWNY_HOME": str(tmp_path / "home"),
        "LANG": os.environ.get("LANG", "C.UTF-8"),
    }
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for shown in blocks(ROOT / page, "text"):
        if shown.startswith("**Good Morning"):
            assert shown.strip() in done.stdout


@pytest.mark.parametrize("page", names(PAGES, "toml"))
def test_configuration_on_the_page_is_valid(page: str):
    for block in blocks(ROOT / page, "toml"):
        parse(block, file=page)


@pytest.mark.parametrize("page", [str(page.relative_to(ROOT)) for page in PAGES])
def test_links_of_the_page_lead_somewhere(page: str):
    for target in LINK.findall((ROOT / page).read_text(encoding="utf-8")):
        if "://" not in target:
            assert (ROOT / page).parent.joinpath(target).exists(), target


def test_every_dependency_is_accounted_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    page = (ROOT / "docs" / "decisions" / "0002-dependencies.md").read_text(encoding="utf-8")
    cells = re.findall(r"^\| ([^|]+?) \|", page, re.MULTILINE)
    told = {name for cell in cells for name in cell.split(", ")}
    needed = {re.split(r"[>=<;\[ ]", wanted)[0] for wanted in project["dependencies"]}
    assert len(needed) > 30
    assert needed - told == set()
