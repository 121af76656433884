"""The panel as it is shipped."""

import gzip

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
