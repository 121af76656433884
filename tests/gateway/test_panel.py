"""The panel as it is shipped."""

import gzip

from tawny.gateway.panel import Panel

_PAGE = (".html", ".js", ".css")


def test_panel_is_light() -> None:
    """All pages together, as they go over the wire. A language that is not English is a file of texts more."""
    panel = Panel()
    weight = {path: len(gzip.compress(content, 9)) for path, (content, _, _) in panel.files.items()}
    program = {path: size for path, size in weight.items() if path.endswith(_PAGE) and path != "/sw.js"}
    languages = {path: size for path, size in weight.items() if path.endswith(".txt")}
    assert len(program) == 3, program
    assert sum(program.values()) < 60_000, program
    assert sum(len(panel.small[path]) for path in program) < 60_000
    assert languages
    assert max(languages.values()) < 9_000, languages
