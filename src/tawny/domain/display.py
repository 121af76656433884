"""Text as a person may safely look at it: nothing in it can hide, reorder or overwrite what stands beside it."""

import unicodedata

_KEEP = frozenset("\n")
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def visible(text: str, *, keep_lines: bool = True) -> str:
    r"""The text with control, bidirectional, zero-width and unassigned characters written as `\\x1b` or `\\u202e`."""
    return "".join(
        character
        if (character in _KEEP and keep_lines) or unicodedata.category(character) not in _HIDDEN
        else _escaped(character)
        for character in text
    )


def _escaped(character: str) -> str:
    named = {"\t": "\\t", "\r": "\\r", "\n": "\\n"}
    code = ord(character)
    if character in named:
        return named[character]
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
