"""docs/security.md promises tests; they are all there, and no risk is without one."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/security.md").read_text()
TECHNIQUES = [
    "T0051",
    "T0053",
    "T0080",
    "T0080.000",
    "T0081",
    "T0083",
    "T0086",
    "T0098",
    "T0099",
    "T0101",
    "T0104",
    "T0105",
    "T0109",
    "T0110",
    "T0034.002",
]


def test_every_test_the_page_names_is_there():
    there = set()
    for file in ROOT.glob("tests/**/test_*.py"):
        there |= set(re.findall(r"^\s*(?:async )?def (test_\w+)", file.read_text(), re.MULTILINE))
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert len(named) > 50
    assert named <= there, named - there


def test_every_risk_and_technique_has_a_test():
    rows = [line for line in PAGE.splitlines() if line.startswith("| ")]
    for word in [*(f"ASI{number:02d}" for number in range(1, 11)), *(f"AML.{one}" for one in TECHNIQUES)]:
        (row,) = [row for row in rows if re.search(rf"{re.escape(word)}(?![.\d])", row.split("|")[1])]
        assert "`test_" in row


def test_the_figures_are_those_of_the_benchmark():
    total = json.loads((ROOT / "bench/results/injection.json").read_text())["total"]
    share = f"{total['share_asked'] * 100:.1f} %"
    assert f"{total['attacks']} attacks" in PAGE
    assert f"{total['benign_asked']} of {total['benign_tasks']} benign tasks asked ({share})" in PAGE
    assert total["attacks_with_an_effect"] == 0
