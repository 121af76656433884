"""The panel as it is shipped."""

import gzip

from tawny.gateway.panel import Panel

_PAGE = (".html", ".js", ".css")


def test_panel_is_light() -> None:
    """The first visit, and all pages together. A language that is not English is a file of texts."""
    files = Panel().files
    weight = {
        path: len(gzip.compress(content, 9))
        for path, (content, _, _) in files.items()
        if path not in ("/", "/sw.js")
    }
    program = {path: size for path, size in weight.items() if path.endswith(_PAGE)}
    languages = {path: size for path, size in weight.items() if path.endswith(".txt")}
    first = {path: size for path, size in program.items() if "/later-" not in path}
    assert len(program) == len(first) + 1 == 4, program
    assert sum(first.values()) < 60_000, first
    assert sum(program.values()) < 67_500, program
    assert languages
    assert max(languages.values()) < 6_500, languages
