"""The panel as it is shipped."""

import gzip

from tawny.gateway.panel import Panel

_PAGE = (".html", ".js", ".css")


def test_every_page_together_is_light() -> None:
    """Whatever is opened: it all comes with the first visit. A language that is not English is a file of texts."""
    files = Panel().files
    weight = {
        path: len(gzip.compress(content, 9))
        for path, (content, _, _) in files.items()
        if path not in ("/", "/sw.js")
    }
    program = {path: size for path, size in weight.items() if path.endswith(_PAGE)}
    languages = {path: size for path, size in weight.items() if path.endswith(".txt")}
    assert len(program) == 3, program
    assert sum(program.values()) < 65_000, program
    assert languages
    assert max(languages.values()) < 6_500, languages
