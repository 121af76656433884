"""A summary of a conversation without a model: what each said first, and the exact names in it."""

from collections.abc import Sequence

from tawny.domain.identifiers import identifiers
from tawny.domain.shorten import shorten

_LINE = 160
_LINES = 40


def outline(turns: Sequence[tuple[str, str]], *, before: str = "") -> str:
    """The outline of (role, text) pairs, oldest first; `before` is what an earlier summary said."""
    lines = [
        f"{role}: {_first(text)}" for role, text in turns if role in ("user", "assistant") and text.strip()
    ]
    if len(lines) > _LINES:
        lines = [*lines[: _LINES // 4], "…", *lines[-(_LINES * 3 // 4) :]]
    names = identifiers(before + "\n" + "\n".join(text for _, text in turns))
    parts = [shorten(before, 3000)] if before else []
    parts.append("\n".join(lines))
    if names:
        parts.append("Mentioned: " + ", ".join(names))
    return "\n\n".join(parts)


def _first(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= _LINE else plain[: _LINE - 1] + "…"
