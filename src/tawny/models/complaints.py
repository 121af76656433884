"""What a server says is wrong, wherever in its answer it says so."""

import re
from collections.abc import Mapping, Sequence
from typing import cast

_NAMES = ("message", "error", "detail", "details", "msg", "errors")
"""As OpenAI, Anthropic, Google, Ollama, FastAPI and their like name it, the first one first."""
_DEEP = 4
_TITLE = re.compile(r"<title[^>]{0,200}>([^<]{1,200})", re.IGNORECASE)
_PAGE = re.compile(r"\s*<(?:!doctype|html|\?xml)", re.IGNORECASE)


def complaint(body: object, *, deep: int = _DEEP) -> str:
    """The server's own word in the body of an answer, on one line; empty where there is none."""
    if isinstance(body, str):
        return _page(body) if _PAGE.match(body) else " ".join(body.split())
    if deep == 0:
        return ""
    if isinstance(body, Mapping):
        fields = cast("Mapping[str, object]", body)
        said = next((word for name in _NAMES if (word := complaint(fields.get(name), deep=deep - 1))), "")
        where = fields.get("loc")
        if said and isinstance(where, list):
            return f"{'.'.join(str(step) for step in cast('list[object]', where))}: {said}"
        return said
    if isinstance(body, Sequence):
        items = cast("Sequence[object]", body)
        return "; ".join(word for item in items[:3] if (word := complaint(item, deep=deep - 1)))
    return ""


def _page(text: str) -> str:
    found = _TITLE.search(text)
    return f"a web page, “{' '.join(found[1].split())}”" if found else "a web page"


class NoStream(Exception):
    """The server answered a request for a stream with something that is none: most likely the address is wrong."""
