"""What the pages show, holds: `sh run` blocks run, `toml` is a configuration, `yaml` rules, links lead somewhere."""

import os
import re
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import get_args, get_type_hints

import msgspec
import pytest

from tawny.config import Config, parse
from tawny.delivery.opening import check
from tawny.domain.rules import load
from tawny.plugins import ChannelKinds

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("**/*.md"), ROOT / "examples" / "README.md"])
BLOCK = re.compile(r"^ *```([^\n]*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
ELSEWHERE = {"[binary]"}
"""In brackets, and none of ours: an extra of psycopg."""
LINK = re.compile(r"\]\(([^)#]*)(?:#([^)]*))?\)")


def blocks(page: Path, kind: str) -> list[str]:
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [textwrap.dedent(body) for info, body in found if info.strip() == kind]


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
        config = parse(block, file=page)
        check(config.channels, ChannelKinds())


def test_rules_on_the_page_are_valid():
    (shown,) = blocks(ROOT / "docs" / "reference" / "permissions.md", "yaml")
    assert len(load(shown).rules) == 3


def missing(mention: str) -> Iterator[str]:
    """What of a mention of the configuration, such as `[limits] concurrency`, there is not."""
    path, _, rest = mention.strip("[").partition("]")
    at: type = Config
    for name in path.split("."):
        names = {field.encode_name: field.name for field in msgspec.structs.fields(at)}
        if name not in names:
            if name != "…":
                yield f"no [{path}]"
            return
        hint = get_type_hints(at)[names[name]]
        inner = next((one for one in (*get_args(hint), hint) if isinstance(one, type)), hint)
        if not issubclass(inner, msgspec.Struct):
            return
        at = inner
    key = re.match(r"\]? ([a-z_]+)", rest)
    if key and key[1] not in {field.encode_name for field in msgspec.structs.fields(at)}:
        yield f"[{path}] has no {key[1]}"


MENTION = re.compile(r"`(\[\[?[a-z_.…]+\]\]?(?: [a-z_]+(?: = [^`]*)?)?)`")


@pytest.mark.parametrize("page", [str(page.relative_to(ROOT)) for page in PAGES])
def test_keys_that_the_page_names_are_there(page: str):
    text = BLOCK.sub("", (ROOT / page).read_text(encoding="utf-8"))
    found = {one: list(missing(one)) for one in MENTION.findall(text) if one not in ELSEWHERE}
    assert {one: wrong for one, wrong in found.items() if wrong} == {}


def test_check_of_keys_finds_what_is_wrong():
    assert list(missing("[limits] concurency")) == ["[limits] has no concurency"]
    assert list(missing("[limit] concurrency")) == ["no [limit]"]
    assert list(missing("[[sources.mails]]")) == ["no [sources.mails]"]
    assert list(missing('[sandbox] backend = "container"')) == []
    assert list(missing("[chat] yield")) == []


def headings(page: Path) -> set[str]:
    """What a link to a part of the page may name."""
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    found = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", one.strip().lower()).replace(" ", "-") for one in found}


@pytest.mark.parametrize("page", [str(page.relative_to(ROOT)) for page in PAGES])
def test_links_of_the_page_lead_somewhere(page: str):
    for target, anchor in LINK.findall((ROOT / page).read_text(encoding="utf-8")):
        if "://" not in target:
            there = (ROOT / page).parent / target if target else ROOT / page
            assert there.exists(), target
            assert not anchor or anchor in headings(there), f"{target}#{anchor}"


def test_every_dependency_is_accounted_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    page = (ROOT / "docs" / "decisions" / "0002-dependencies.md").read_text(encoding="utf-8")
    cells = re.findall(r"^\| ([^|]+?) \|", page, re.MULTILINE)
    told = {name for cell in cells for name in cell.split(", ")}
    needed = {re.split(r"[>=<;\[ ]", wanted)[0] for wanted in project["dependencies"]}
    assert len(needed) > 30
    assert needed - told == set()
