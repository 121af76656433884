"""Every `tawny …` that a page shows is a command there is, with options it takes."""

import argparse
import re
import shlex
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from tawny.cli.arguments import Parser
from tawny.cli.main import ALIASES, COMMANDS, add_common

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*.md")]
)
FENCE = re.compile(r"^ *```[^\n]*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`(tawny [^`\n]+)`")
PLACE = re.compile(r"^[A-Z_]+$|^[a-z_]+│|[…|│]")


def shown(page: Path) -> Iterator[str]:
    """The command lines of a page, in blocks and in the text."""
    text = page.read_text(encoding="utf-8")
    for block in FENCE.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            if line.strip().startswith("tawny "):
                yield line.strip()
    yield from SPAN.findall(FENCE.sub("", text))


def mistakes(line: str) -> Iterator[str]:
    """What of a shown command does not exist."""
    try:
        words = shlex.split(line, comments=True)[1:]
    except ValueError:
        words = line.split()[1:]
    words = words[
        : next((n for n, word in enumerate(words) if word in (">", "|", "&&", ";", "2>")), len(words))
    ]
    while words[:1] == ["--home"]:
        words = words[2:]
    name = words[0] if words else ""
    if (
        name in ("…", "--version", "--help") or line == "tawny connect v1"
    ):  # a line that is signed, no command
        return
    word = ALIASES.get(name, name)
    if word not in COMMANDS:
        yield f"there is no command {word!r}"
        return
    parser: argparse.ArgumentParser = Parser(prog=f"tawny {word}")
    add_common(parser)
    import_module(f"tawny.cli.{word}").configure(parser)
    rest = words[1:]
    while below := next((a for a in parser._actions if isinstance(a, argparse._SubParsersAction)), None):
        given = next((one for one in rest if not one.startswith("-")), None)
        if given is None or PLACE.search(given):
            break
        if given not in below.choices:
            yield f"{parser.prog}: there is no {given!r}"
            return
        rest.remove(given)
        parser = below.choices[given]
    for one in rest:
        option = one.partition("=")[0].rstrip("…,.")
        if re.match(r"--[a-z]", option) and option.strip("[]") not in parser._option_string_actions:
            yield f"{parser.prog} has no {option}"


@pytest.mark.parametrize("page", [str(page.relative_to(ROOT)) for page in PAGES])
def test_commands_on_the_page_exist(page: str):
    found = {line: list(mistakes(line)) for line in shown(ROOT / page)}
    assert {line: wrong for line, wrong in found.items() if wrong} == {}


def test_check_finds_what_is_wrong():
    assert list(mistakes("tawny taks list")) == ["there is no command 'taks'"]
    assert list(mistakes("tawny tasks lst")) == ["tawny tasks: there is no 'lst'"]
    assert list(mistakes("tawny tasks list --limt 5")) == ["tawny tasks list has no --limt"]
    assert list(mistakes('tawny automations preview --cron "0 8 * * 1-5" -n 3  # next --runs')) == []
    assert sum(1 for page in PAGES for _ in shown(page)) > 150
