"""Who and what a text names: addresses, links, people, places. Decides whether the owner's own words named a target."""

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

_EMAIL = re.compile(r"[\w.+%'-]+@[\w-]+(?:\.[\w-]+)+", re.UNICODE)
_LINK = re.compile(r"[a-z][a-z0-9+.-]{1,20}://[^\s<>\"'`]+", re.IGNORECASE)
# Anything that reads like a host: clients make links of bare hosts too.
_HOST = re.compile(
    r"(?<![\w@.-])(?:[\w-]+\.)+[^\W\d_]{2,24}(?![\w-])(?::\d{1,5})?(?:[/?#][^\s<>\"'`]*)?",
    re.IGNORECASE | re.UNICODE,
)
_ANGLE = re.compile(r"<([^<>]+)>\s*$")
_TRAILING = ".,;:!?)]}»”’*_"
_PLACEHOLDER = re.compile(r"\\\{[^{}]*\\\}|\\<[^<>]*\\>|<[^<>]*>")
# An apostrophe inside a word opens no quotation.
_TEMPLATE = re.compile(r"(?<![^\W_])[\"'“‘`](?P<text>[^\"“”`]{3,200}?)[\"'”’`](?![^\W\d_])")

_WORD = re.compile(r"#?[^\W_](?:[\w.:+-]{0,30}[^\W_])?")
_PART = re.compile(r"[^\W\d_]+")
_HUMP = re.compile(r"(?<=[^\W\d_A-Z])(?=[A-Z])")
# Scripts that put no blank between words: a whole sentence would look like one word.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
    "\uf900-\ufaff\U00020000-\U0003ffff]"
)


def address(text: str) -> str:
    """A mail address or handle in the form it is compared in: `Bob <Bob@X.org>` becomes `bob@x.org`."""
    inner = _ANGLE.search(text)
    cleaned = (inner.group(1) if inner else text).strip().casefold()
    return cleaned.removeprefix("mailto:").removeprefix("tel:").lstrip("@")


def emails_in(text: str) -> list[str]:
    return [match.group().strip(".'").casefold() for match in _EMAIL.finditer(text)]


def links_in(text: str) -> list[str]:
    """Everything in the text that is a link, or that a client might make one of."""
    links = [(match.start(), match.group()) for match in _LINK.finditer(text)]
    # An address is no link, but its host would look like one; a link's own host is seen already.
    rest = _EMAIL.sub(
        lambda match: " " * len(match.group()), _LINK.sub(lambda match: " " * len(match.group()), text)
    )
    links += [(match.start(), match.group()) for match in _HOST.finditer(rest)]
    return [link.rstrip(_TRAILING) for _, link in sorted(links)]


def is_plain_word(text: str) -> bool:
    """Whether it is one word, perhaps of two parts: no address, path, option or account, no sentence in disguise."""
    if _WORD.fullmatch(text) is None or links_in(text):
        return False
    parts = [part for run in _PART.findall(text) for part in _HUMP.split(run)]
    return (
        0 < len(parts) <= 2
        and all(len(part) <= 20 for part in parts)
        and sum(letter.isdigit() for letter in text) <= 4
        and len(_UNSPACED.findall(text)) <= 4
    )


def host_and_path(link: str) -> tuple[str, str]:
    """Host (small letters, no `www.`) with its port, and path with its query, of a link with or without a scheme."""
    try:
        parts = urlsplit(link if "://" in link else f"//{link}")
        host = (parts.hostname or "").casefold().rstrip(".")
        port = f":{parts.port}" if parts.port not in (None, 80, 443) else ""
    except ValueError:
        return link.casefold(), ""
    tail = parts.path.rstrip("/") + (f"?{parts.query}" if parts.query else "")
    return host.removeprefix("www.") + port, tail


class Mentions:
    """What some texts name."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = [text for text in texts if text]
        # "…www.our-company.com.They said": a sentence that lost its blank does not change the host before it.
        spaced = [re.sub(r"(?<=[a-z]{2})\.(?=[A-Z][a-z]*\b)", ". ", text) for text in self._texts]
        self._emails = {email for text in spaced for email in emails_in(text)}
        self._links = [host_and_path(link) for text in spaced for link in links_in(text)]
        self._folded = "\n".join(self._texts).casefold()
        self._digits = {
            re.sub(r"\D", "", run) for run in re.findall(r"\+?\d[\d\s()/-]{5,20}\d", self._folded)
        }

    def names(self, target: str) -> bool:
        """Whether the texts name this address, link, number, person or place."""
        target = target.strip()
        if not target:
            return False
        if "://" not in target and "@" in target and _EMAIL.search(target):
            return address(target) in self._emails
        if "://" in target or (links_in(target) and " " not in target):
            return self.names_link(target)
        digits = re.sub(r"\D", "", target)
        if len(digits) >= 6 and not re.search(r"[^\W\d_]", target):
            return digits in self._digits or self._says(target)
        return self._says(target.lstrip("@#"))

    def names_link(self, link: str) -> bool:
        """Whether the texts name the link: this very one, one above it in the same place, or its bare host."""
        host, path = host_and_path(link)
        return any(
            host == named_host and (not named_path or _is_below(path, named_path))
            for named_host, named_path in self._links
        )

    def names_exactly(self, link: str) -> bool:
        """Whether the texts hold this very link, so that nothing was added to it."""
        return host_and_path(link) in self._links

    def describes(self, title: str) -> bool:
        """Whether the texts hold the title word by word, or a quoted pattern for it: `"Dinner at {restaurant}"`."""
        if self._says(title):
            return True
        for text in self._texts:
            for quoted in _TEMPLATE.finditer(text):
                pattern = re.escape(quoted.group("text"))
                if _PLACEHOLDER.search(pattern):
                    whole = _PLACEHOLDER.sub("(?s:.{1,80})", pattern)
                    if re.fullmatch(whole, title.strip(), re.IGNORECASE):
                        return True
        return False

    def _says(self, words: str) -> bool:
        folded = words.strip().casefold()
        if len(folded) < 2:
            return False
        return re.search(rf"(?<!\w){re.escape(folded)}(?!\w)", self._folded) is not None


def _is_below(path: str, named: str) -> bool:
    # A named query is exact: what comes after a question mark is where data leaks.
    if "?" in named:
        return path == named
    return path == named or path.startswith((f"{named}/", f"{named}?"))
