"""Every name a plugin may import is told of, and the page names nothing else."""

import re
from pathlib import Path

from tawny import api

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "reference" / "api.md").read_text(encoding="utf-8")


def test_each_name_has_a_line_of_words():
    told = dict(re.findall(r"^- `(\w+)[^`]*`: (.+)$", PAGE, re.MULTILINE))
    named = {name for name in told if not name.startswith("tawny_")}
    assert named == set(api.__all__)
    assert {name for name, words in told.items() if len(words.split()) < 3} == set()
    # What Python itself says of a number or a union is no word on ours.
    assert not re.search(r"-> integer|PEP 604|unconstrained type", PAGE)


def test_errors_of_the_client_may_be_imported():
    page = (DOCS / "how-to" / "python.md").read_text(encoding="utf-8")
    (sentence,) = re.findall(r"errors are (.+?)\. ", page.replace("\n", " "))
    named = re.findall(r"`(\w+)`", sentence)
    assert len(named) == 5
    for name in named:
        assert issubclass(getattr(api, name), api.TawnyError)
