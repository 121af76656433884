"""The page is the oracle: the transitions of the code are those of docs/concepts.md, read from the page."""

import re
from itertools import product
from pathlib import Path

from tawny.domain.tasks import TERMINAL, Status, may_become

PAGE = Path(__file__).parents[2] / "docs" / "concepts.md"


def table() -> dict[Status, set[Status]]:
    section = PAGE.read_text(encoding="utf-8").split("## The states of a task")[1].split("\n\n")[1]
    rows = [line.strip("|").split("|") for line in section.splitlines()[2:]]
    return {
        Status(re.findall(r"`(\w+)`", before)[0]): {Status(word) for word in re.findall(r"`(\w+)`", after)}
        for before, after in rows
    }


def test_the_page_names_every_status_once():
    assert set(table()) == set(Status)


def test_every_transition_of_the_code_stands_on_the_page_and_no_other():
    written = table()
    for before, after in product(Status, Status):
        assert may_become(before, after) == (after in written[before]), (before, after)


def test_terminal_is_final_on_the_page():
    assert {status for status, after in table().items() if not after} == set(TERMINAL)
