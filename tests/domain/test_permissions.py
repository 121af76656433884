"""The table of levels is complete, and the page in the documentation says the same."""

import re
from pathlib import Path

import pytest

from tawny.domain.origin import UNTRUSTED, Standing
from tawny.domain.permissions import LEVELS, OPERATIONS, SENSITIVE, Sort, permission
from tawny.domain.permissions_page import after_reading, page
from tawny.domain.policy import Call, Verdict, decide
from tawny.domain.rules import Rules

ROOT = Path(__file__).parents[2]


def test_every_operation_that_the_code_names_is_in_the_table():
    named = set()
    for file in [*ROOT.glob("src/tawny/tools/*.py"), *ROOT.glob("src/tawny/runners/*.py")]:
        text = file.read_text()
        for call in re.finditer(r"Operation\(\s*(?:name=)?\"([a-z_]+\.[a-z_]+)\"", text):
            named.add(call.group(1))
        named |= set(re.findall(r"name, level = \(\"([a-z.]+)\"", text))
    assert len(named) > 20
    assert named <= set(OPERATIONS)


def test_what_is_not_in_the_table_is_sensitive():
    assert permission("no.such").level == SENSITIVE


def test_the_guards_are_all_sensitive():
    assert all(row.level == SENSITIVE for row in OPERATIONS.values() if row.sort is Sort.GUARD)


@pytest.mark.parametrize("name", OPERATIONS)
def test_what_reaches_out_is_at_least_level_3(name):
    row = OPERATIONS[name]
    assert row.level in LEVELS
    if row.sort is Sort.REACH:
        assert row.level >= 3


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_page_says_what_is_decided_after_reading(name):
    row = OPERATIONS[name]
    call = Call(
        tool="x", name=name, operation="x", targets=("https://elsewhere.test/",), subjects=("Tea at noon",)
    )

    def asks(words: str) -> bool:
        standing = Standing(trust=UNTRUSTED, words=(words,))
        return decide(call, rules=Rules(), standing=standing).verdict is Verdict.ASK

    said = after_reading(name, row)
    assert asks("what is new?") is said.startswith("asks")
    assert asks("Tea at noon, see https://elsewhere.test/") is (
        said.startswith("asks") and "unless" not in said
    )


def test_the_page_is_made_from_the_table():
    assert (ROOT / "docs/reference/permissions.md").read_text() == page()
