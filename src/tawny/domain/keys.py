"""Names of keys as the bytes a terminal sends for them."""

from collections.abc import Sequence

_NAMED = {
    "enter": "\r", "return": "\r", "tab": "\t", "btab": "\x1b[Z", "space": " ", "escape": "\x1b", "esc": "\x1b",
    "backspace": "\x7f", "bspace": "\x7f", "delete": "\x1b[3~", "dc": "\x1b[3~", "insert": "\x1b[2~", "ic": "\x1b[2~",
    "up": "\x1b[A", "down": "\x1b[B", "right": "\x1b[C", "left": "\x1b[D", "home": "\x1b[H", "end": "\x1b[F",
    "pageup": "\x1b[5~", "ppage": "\x1b[5~", "pagedown": "\x1b[6~", "npage": "\x1b[6~",
    "f1": "\x1bOP", "f2": "\x1bOQ", "f3": "\x1bOR", "f4": "\x1bOS", "f5": "\x1b[15~", "f6": "\x1b[17~",
    "f7": "\x1b[18~", "f8": "\x1b[19~", "f9": "\x1b[20~", "f10": "\x1b[21~", "f11": "\x1b[23~", "f12": "\x1b[24~",
}  # fmt: skip


class UnknownKey(ValueError):
    """A name that is no key."""


def keystrokes(keys: Sequence[str]) -> bytes:
    """The bytes for keys such as `C-c`, `M-x`, `Enter`; anything without such a name is typed as it stands.

    Raises:
        UnknownKey: it looks like a key with a modifier and is none.
    """
    return "".join(_stroke(key) for key in keys).encode()


def _stroke(key: str) -> str:
    if key.lower() in _NAMED:
        return _NAMED[key.lower()]
    modifier, dash, rest = key.partition("-")
    if not dash or modifier not in ("C", "M", "S", "c", "m") or not rest:
        return key
    if modifier in "Mm":
        return "\x1b" + _stroke(rest)
    if modifier in "Cc" and len(rest) == 1 and "@" <= rest.upper() <= "_":
        return chr(ord(rest.upper()) & 0x1F)
    if modifier in "Cc" and rest in ("?", " "):
        return "\x7f" if rest == "?" else "\0"
    raise UnknownKey(f"{key!r} is no key")
