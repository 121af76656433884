"""A tool's result as the model gets it: no secrets, and no longer than its share of the window."""

from collections.abc import Callable
from typing import cast

import msgspec

from tawny.domain.tasks import Json

CHARS_PER_TOKEN = 4
SHARE = 0.30
DEFAULT_WINDOW = 64_000
"""Tokens, where the model's own window is not known."""


def longest(window: int | None) -> int:
    """How many characters one result may have, in a window of so many tokens."""
    return int((window or DEFAULT_WINDOW) * SHARE) * CHARS_PER_TOKEN


def clean(value: Json, redact: Callable[[str], str]) -> Json:
    """The value with every text redacted, keys too."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, list):
        return [clean(item, redact) for item in cast(list[Json], value)]
    if isinstance(value, dict):
        return {redact(key): clean(item, redact) for key, item in cast(dict[str, Json], value).items()}
    return value


def size(value: Json) -> int:
    """Characters of the value as the model sees it."""
    return len(value) if isinstance(value, str) else len(as_text(value))


def as_text(value: Json) -> str:
    """The value as text."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode("utf-8", "replace")


def shorten(value: Json, most: int, *, whole: str) -> Json:
    """The value with at most `most` characters: long texts keep head and tail; `whole` names where all of it is."""
    if size(value) <= most:
        return value
    if isinstance(value, dict):
        pairs = cast(dict[str, Json], value)
        longest_keys = [key for key, item in pairs.items() if isinstance(item, str) and len(item) > most // 8]
        room = most - size({key: item for key, item in pairs.items() if key not in longest_keys})
        if longest_keys and room > most // 4:
            share = room // len(longest_keys) - 200
            cut = {
                key: _cut(cast(str, item), max(200, share), whole) if key in longest_keys else item
                for key, item in pairs.items()
            }
            if size(cut) <= most:
                return cut
    return _cut(as_text(value), most, whole)


def _cut(text: str, most: int, whole: str) -> str:
    if len(text) <= most:
        return text
    note = f"\n[… {len(text) - most} of {len(text)} characters left out; the whole is in {whole} …]\n"
    room = max(0, most - len(note))
    head = room * 2 // 3
    return text[:head] + note + (text[-(room - head) :] if room > head else "")
