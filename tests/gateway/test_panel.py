"""The panel as it is shipped."""

import ast
import gzip
import inspect
import json
import re
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tawny.domain import policy
from tawny.domain.origin import UNTRUSTED, Standing
from tawny.domain.permissions import OPERATIONS
from tawny.domain.policy import Call, decide
from tawny.domain.rules import Action, Rule, load
from tawny.engine import reasons
from tawny.gateway import pushtexts
from tawny.gateway.panel import Panel
from tawny.tools.answers import held_to

_PAGE = (".html", ".js", ".css")


def test_panel_is_light() -> None:
    """All pages together, as they go over the wire. A language that is not English is a file of texts more."""
    weight = {path: len(content) for path, content in Panel().small.items() if path != "/"}
    program = {path: size for path, size in weight.items() if path.endswith(_PAGE) and path != "/sw.js"}
    languages = {path: size for path, size in weight.items() if path.endswith(".txt")}
    assert len(program) == 3, program
    assert sum(program.values()) < 60_000, program
    assert languages
    assert max(languages.values()) < 12_000, languages


def test_what_is_sent_compressed_is_the_file_itself() -> None:
    panel = Panel()
    assert all(gzip.decompress(small) == panel.files[path][0] for path, small in panel.small.items())


def _chinese() -> dict[str, str]:
    """The table of what the server says, with what the panel says instead."""
    words = Path(__file__).parents[2].joinpath("web/src/i18n/zh-server.ts").read_text(encoding="utf-8")
    text = r'"(?:[^"\\]|\\.)*"'
    return {
        json.loads(name): json.loads(instead) for name, instead in re.findall(rf"({text}): ({text})", words)
    }


def _sentence(text: str, table: dict[str, str]) -> str | None:
    if f"={text}" in table:
        return table[f"={text}"]
    for pattern, instead in table.items():
        if pattern.startswith("^") and (found := re.search(pattern, text)):
            gaps = [_in_chinese(gap, table) for gap in found.groups("")]
            return re.sub(r"\$(\d)", lambda gap, gaps=gaps: gaps[int(gap[1]) - 1], instead)
    return None


def _in_chinese(text: str, table: dict[str, str]) -> str:
    """As web/src/i18n says it: a whole sentence or a pattern and what stands in its gaps, or several in a row."""
    if whole := _sentence(text, table):
        return whole
    for found in re.finditer("; ", text):
        if first := _sentence(text[: found.start()], table):
            return f"{first}；{_in_chinese(text[found.end() :], table)}"
    return text


def _said(node: ast.expr) -> str | None:
    """The sentence with something in its gaps."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_said(part) or "1" for part in node.values)
    return None


def test_every_reason_for_waiting_is_known_in_chinese() -> None:
    patterns = [one for one in _chinese() if one.startswith("^")]
    inside = {"_queued", "_waiting"}
    sentences = {
        said if said.endswith(".") else f"{said}."
        for function in ast.parse(inspect.getsource(reasons)).body
        if isinstance(function, ast.FunctionDef) and function.name in inside
        for node in ast.walk(function)
        if isinstance(node, ast.expr)
        and (said := _said(node) or "").startswith("It ")
        # A part of a sentence with gaps is no sentence.
        and not any(isinstance(other, ast.JoinedStr) and node in other.values for other in ast.walk(function))
    }
    assert len(sentences) > 10, sentences
    assert [one for one in sentences if not any(re.search(pattern, one) for pattern in patterns)] == []


RULES = """approval_rules:
  - {condition: "tool == 'deleted'", action: deny}
  - {condition: "tool == 'asked'", action: require_approval, note: "%s"}
  - {condition: "tool == 'confirmed'", action: require_confirmation}
  - {condition: "tool == 'told'", action: notify}
  - {condition: "tool == 'allowed'", action: allow}
  - {condition: "tool == 'priced' and amount > $100", action: require_approval}"""


def _reasons() -> set[str]:
    """What the policy says, of every operation and in every case it tells apart."""
    rules = load(RULES % "a gate of the standing order")
    owner = Standing()
    reader = Standing(trust=UNTRUSTED, read=("a", "b", "c", "d"))
    unknown, private = Standing(trust=UNTRUSTED), Standing(trust=UNTRUSTED, private=("e",))
    glimpse, both = Standing(glimpsed=("h",)), Standing(glimpsed=("h",), private=("e",))
    told = {
        decide(
            Call(
                tool=tool, name=name, operation=name, targets=targets, text=("f",), amount=5, currency="EUR"
            ),
            rules=rules,
            standing=standing,
        ).reason
        for name in (*OPERATIONS, "no.such")
        for tool in ("", "deleted", "asked", "confirmed", "told", "allowed", "priced")
        for standing in (owner, reader, unknown, private, glimpse, both)
        for targets in ((), ("https://g.example/",))
    }
    return {text + held_to(bound) for text in told for bound in ((), [f"/{n} sha256:1" for n in range(10)])}


def _words_of(*functions: Callable[..., Any]) -> set[str]:
    """Every piece of text that these functions may say."""
    found: set[str] = set()
    for function in functions:
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
        assert isinstance(tree, ast.FunctionDef)
        found |= {
            node.value.strip(" ;:,().'")
            for part in (tree.body[1:] if ast.get_docstring(tree) else tree.body)
            for node in ast.walk(part)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
    return {one for one in found if re.search("[a-z]{3}", one)}


def test_every_reason_for_a_question_is_known_in_chinese() -> None:
    """A sentence that the policy learns to say fails here until `_reasons` makes it say it and the table has it."""
    pieces = _words_of(policy.decide, Rule.describe, held_to)
    pieces |= _words_of(*(getattr(policy, name) for name in ("_rule_reason", "_held_by_origin", "_some")))
    pieces |= _words_of(*(getattr(policy, name) for name in ("_stray", "_unnamed")))
    pieces -= {"untrusted", "origin", "web.search"}  # names of values and of an operation, said to nobody
    pieces |= {row.description for row in OPERATIONS.values()} | {action.value for action in Action}
    reasons, table = _reasons(), _chinese()
    assert {one for one in pieces if not any(one in text for text in reasons)} == set(), "not made to be said"
    for text in sorted(reasons):
        said = _in_chinese(text, table)
        for name in sorted((*OPERATIONS, "no.such"), key=len, reverse=True):
            said = said.replace(name, "")
        said = re.sub(r"tool == '\w+'( and amount > \$100)?|sha256|https://g\.example/", "", said)
        left = set(re.findall("[A-Za-z]{2,}", said))
        assert left <= {
            "AGENTS",
            "MEMORY",
            "md",
            "MCP",
            "GET",
            "HEAD",
            "POST",
            "PUT",
            "PATCH",
            "DELETE",
            "amount",
        }, (
            text,
            said,
        )


def test_kinds_are_called_the_same_in_a_push_as_on_the_panel() -> None:
    shown = "".join(
        Path(__file__).parents[2].joinpath(f"web/src/i18n/{name}.ts").read_text(encoding="utf-8")
        for name in ("zh", "zh-server")
    )
    named = dict(re.findall(r'"kind\.([a-z_]+)": "([^"]*)"', shown))
    assert len(named) > 5
    assert pushtexts._KINDS["zh"] == named
