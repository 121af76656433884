"""The Python on the pages runs: plugins once they are installed, and the script that asks a gateway."""

import re
import tomllib
from pathlib import Path

import pytest

from machine import Machine
from paper import pdf

DOCS = Path(__file__).parents[2] / "docs"
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CONFIG = """
[[sources.todo]]
url = "notes://here"

[search]
provider = "library"

[[channels.pigeon]]
loft = "roof"
"""


def blocks(page: str, kind: str) -> list[str]:
    return [body for info, body in FENCE.findall((DOCS / page).read_text(encoding="utf-8")) if info == kind]


def install(place: Path, name: str, module: str, entries: str) -> None:
    """What `pip install .` leaves of a package with one module."""
    (place / f"{entries.partition('= ')[2]}.py").write_text(module, encoding="utf-8")
    info = place / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[tawny.plugins]\n{entries}\n")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    (tmp_path / "site").mkdir()
    return Machine(tmp_path)


def test_every_python_block_is_one_of_those_that_run():
    pages = {str(page.relative_to(DOCS)) for page in DOCS.glob("**/*.md")}
    assert {page: len(found) for page in pages if (found := blocks(page, "python"))} == {
        "how-to/python.md": 2,
        "reference/channels.md": 1,
    }


@pytest.mark.timeout(300)
async def test_plugins_of_the_pages_work_once_installed(machine: Machine, tmp_path: Path):
    (project,) = blocks("how-to/python.md", "toml pyproject")
    told = tomllib.loads(project)["project"]
    ((entry, module),) = told["entry-points"]["tawny.plugins"].items()
    site = tmp_path / "site"
    install(site, told["name"], blocks("how-to/python.md", "python")[1], f"{entry} = {module}")
    install(site, "pigeons", blocks("reference/channels.md", "python")[0], "pigeon = pigeons")
    home = tmp_path / "there"
    home.mkdir()
    (home / "config.toml").write_text(CONFIG)
    machine.environment["TAWNY_HOME"] = str(home)

    said = await machine.run(
        "tawny config check\n"
        """tawny tasks run --kind shout --params '{"text": "hi"}' --wait\n"""
        "tawny tasks run --kind generate_daily_brief --wait\n"
        "tawny channels list\n"
    )
    assert "is good" in said
    assert re.search(r"^HI$", said, re.MULTILINE)
    assert "Nothing due." in said, "the source was read"
    assert re.search(r"^pigeon +pigeon +idle", said, re.MULTILINE), said

    async with machine.gateway():
        run = (
            """tawny tasks run --kind remind --params '{"text": "coo"}' --deliver pigeon --title Coo --wait"""
        )
        await machine.run(run)
        assert "coo" in await machine.run("tawny channels test pigeon && tawny tasks show Coo")


@pytest.mark.timeout(300)
async def test_script_of_the_page_talks_to_the_gateway(machine: Machine, tmp_path: Path):
    script = tmp_path / "script.py"
    script.write_text(blocks("how-to/python.md", "python")[0], encoding="utf-8")
    home = tmp_path / "there"
    (home / "workspace").mkdir(parents=True)
    (home / "workspace" / "report.pdf").write_bytes(pdf("The deadline of June 30 is at risk."))
    machine.environment["TAWNY_HOME"] = str(home)
    async with machine.gateway():
        said = await machine.run(f"python {script}")
    first, _, rest = said.partition("\n")
    assert first.startswith("succeeded ")
    assert "June 30" in said
    assert rest.strip()
