"""The panel as it is shipped."""

import ast
import gzip
import inspect
import json
import re
from pathlib import Path

from tawny.engine import reasons
from tawny.gateway.panel import Panel

_PAGE = (".html", ".js", ".css")


def test_panel_is_light() -> None:
    """All pages together, as they go over the wire. A language that is not English is a file of texts more."""
    weight = {path: len(content) for path, content in Panel().small.items() if path != "/"}
    program = {path: size for path, size in weight.items() if path.endswith(_PAGE) and path != "/sw.js"}
    languages = {path: size for path, size in weight.items() if path.endswith(".txt")}
    assert len(program) == 3, program
    assert sum(program.values()) < 60_000, program
    assert languages
    assert max(languages.values()) < 9_000, languages


def test_what_is_sent_compressed_is_the_file_itself() -> None:
    panel = Panel()
    assert all(gzip.decompress(small) == panel.files[path][0] for path, small in panel.small.items())


def _said(node: ast.expr) -> str | None:
    """The sentence with something in its gaps."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_said(part) or "1" for part in node.values)
    return None


def test_every_reason_for_waiting_is_known_in_chinese() -> None:
    words = Path(__file__).parents[2].joinpath("web/src/i18n/zh-server.ts").read_text(encoding="utf-8")
    patterns = [json.loads(one) for one in re.findall(r'^ *("\^.*?[^\\]"):', words, re.MULTILINE)]
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
