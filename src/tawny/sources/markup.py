"""HTML to readable text, with the standard library alone. Never fails."""

import re
from html.parser import HTMLParser

from tawny.sources.place import Place, TextQuery

# Not `head`: its end may be left out, and but for the title it has no words.
_SKIP = frozenset({"script", "style", "title", "template", "noscript", "svg"})
_BLOCKS = frozenset(
    {
        "p",
        "div",
        "br",
        "li",
        "tr",
        "table",
        "section",
        "article",
        "blockquote",
        "pre",
        "ul",
        "ol",
        "hr",
        "dt",
        "dd",
    }
)
_HEADINGS = {f"h{level}": "#" * level for level in range(1, 7)}


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._skipping = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _SKIP:
            self._skipping += 1
        elif tag in _HEADINGS:
            self.parts.append(f"\n\n{_HEADINGS[tag]} ")
        elif tag == "li":
            self.parts.append("\n- ")
        elif tag in ("td", "th"):
            self.parts.append(" | ")
        elif tag in _BLOCKS:
            self.parts.append("\n")
        elif tag == "img":
            alt = dict(attrs).get("alt")
            self.parts.append(f" {alt} " if alt else "")

    def handle_endtag(self, tag: str) -> None:
        if tag in _SKIP:
            self._skipping = max(0, self._skipping - 1)
        elif tag in _HEADINGS or tag in ("p", "table", "ul", "ol"):
            self.parts.append("\n\n")

    def handle_data(self, data: str) -> None:
        if not self._skipping:
            self.parts.append(re.sub(r"[ \t\r\n\u00a0\u200b\u200c\ufeff]+", " ", data))


def read(_: Place, query: TextQuery) -> str:
    """The words of a page that has been fetched."""
    return text_of(query.html)


def text_of(html: str) -> str:
    """The words of an HTML text: headings as `#`, list items as `-`, paragraphs apart."""
    reader = _Text()
    try:
        reader.feed(html)
        reader.close()
    except (AssertionError, ValueError):
        # html.parser gives up on a few malformed declarations; what it has read by then is used.
        pass
    lines = (line.strip(" ") for line in "".join(reader.parts).split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
