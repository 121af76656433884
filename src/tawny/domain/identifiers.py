"""Exact names in a text that a summary must not lose: ids, addresses, paths, numbers, dates."""

import re

_MARKS = re.compile(
    r"https?://[^\s<>\"')\]]+|[\w.+-]+@[\w-]+\.[\w.-]+|\b(?:task|auto|flow|appr|art|exec|sess)_[0-9a-z]{6,}\b"
    r"|(?<![\w/])(?:~|\.{1,2})?/[\w./-]{3,}|\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d)?\b"
    r"|\b[\w-]+\.(?:md|txt|py|csv|json|pdf|ics)\b"
    r"|[$€£]\s?\d[\d.,]*|\b\d[\d.,]{3,}\b"
)


def identifiers(text: str, *, limit: int = 60) -> list[str]:
    """Those of a text, each once, the newest kept where there are too many."""
    found = [match.group().rstrip(".,") for match in _MARKS.finditer(text)]
    unique = list(dict.fromkeys(reversed(found)))[:limit]
    return unique[::-1]


def missing(summary: str, text: str, *, limit: int = 60) -> list[str]:
    """The identifiers of `text` that `summary` does not mention."""
    return [name for name in identifiers(text, limit=limit) if name not in summary]
