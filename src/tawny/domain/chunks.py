"""Cutting a long text into messages a channel can carry, without ever breaking a code fence."""

import re
import unicodedata

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})([^\n]*)$")
_SENTENCE = re.compile(r"[.!?…。！？][\"')\]]*\s+")
SMALLEST = 32
_JOINERS = frozenset("\u200c\u200d\ufe0e\ufe0f")
_HALF_FLAGS = "".join(map(chr, range(0x1F1E6, 0x1F200)))
_LONGEST_SIGN = 40


def units(text: str) -> int:
    """The text's length as the strictest services count it: in UTF-16 code units."""
    return len(text) + sum(1 for char in text if char > "\uffff")


def chunk(text: str, limit: int) -> list[str]:
    """The text in pieces of at most `limit` UTF-16 units, cut where it hurts least.

    A cut falls, in order of liking, between paragraphs, lines, sentences, words. A code fence that is open at a
    cut is closed there and opened again, with its language, in the next piece. An empty text gives no piece.

    Raises:
        ValueError: `limit` is under 32.
    """
    if limit < SMALLEST:
        raise ValueError(f"a limit of {limit} is too small to cut a text for (at least {SMALLEST})")
    pieces: list[str] = []
    opener = ""
    rest = text.strip("\n")
    while rest:
        start = f"{opener}\n" if opener else ""
        if units(start + rest) <= limit and not _open_fence(start + rest):
            pieces.append(start + rest)
            break
        head, rest, inside = _take(rest, start, limit)
        pieces.append(head)
        opener = _reopen(inside, limit)
    return [piece for piece in pieces if piece.strip()]


def _take(rest: str, start: str, limit: int) -> tuple[str, str, str]:
    """The next piece, what is left, and the fence line that is open at the cut (empty where none is)."""
    budget = limit - units(start)
    while True:
        cut = _cut(rest, budget, in_code=bool(start))
        inside = _open_fence(start + rest[:cut])
        closing = f"\n{_marker(inside)}" if inside else ""
        whole = start + rest[:cut].rstrip("\n" if inside else None) + closing
        if units(whole) <= limit or budget <= 1:
            break
        budget -= max(1, units(whole) - limit)
    left = rest[cut:]
    return whole, left.lstrip("\n") if not inside else left.removeprefix("\n"), inside


def _cut(text: str, budget: int, *, in_code: bool) -> int:
    """Where to cut so that at most `budget` units stand before; at least one character does."""
    end = _index(text, budget)
    if end >= len(text):
        return len(text)
    window = text[:end]
    least = end // 3
    if not in_code and (found := window.rfind("\n\n")) > least:
        return found
    if (found := window.rfind("\n")) > 0 and (found > least or in_code):
        return found
    sentences = [match.end() for match in _SENTENCE.finditer(window)]
    if not in_code and sentences and sentences[-1] > least:
        return sentences[-1]
    if (found := window.rfind("\n")) > 0:
        return found
    if (found := window.rfind(" ")) > least:
        return found + 1
    whole = end
    while whole > 1 and end - whole < _LONGEST_SIGN and _is_inside_sign(text, whole):
        whole -= 1
    # A heap of marks as long as a message is cut where it must be.
    return max(1, end if _is_inside_sign(text, whole) else whole)


def _is_inside_sign(text: str, index: int) -> bool:
    """Whether a cut there would tear apart what people see as one sign (the clusters of UAX 29)."""
    before, after = text[index - 1], text[index]
    if after in _JOINERS or before == "\u200d" or unicodedata.category(after)[0] == "M":
        return True
    if "\U0001f3fb" <= after <= "\U0001f3ff" or "\U000e0020" <= after <= "\U000e007f":
        # The colour of a skin, and the letters of a region's flag.
        return True
    if before in _HALF_FLAGS and after in _HALF_FLAGS:
        run = index - len(text[:index].rstrip(_HALF_FLAGS))
        return run % 2 == 1
    if "\u1100" <= before <= "\u11a7" and "\u1160" <= after <= "\u11ff":
        return True
    # A sign that kills the vowel joins two consonants.
    return unicodedata.combining(before) == 9 and unicodedata.category(after) == "Lo"


def _index(text: str, budget: int) -> int:
    """The number of characters that take up at most `budget` units; one at least."""
    if len(text) * 2 <= budget:
        return len(text)
    used = 0
    for index, char in enumerate(text):
        used += 2 if char > "\uffff" else 1
        if used > budget:
            return max(1, index)
    return len(text)


def _open_fence(text: str) -> str:
    """The line that opened the fence still open at the end of `text`; empty where none is."""
    opened = ""
    for line in text.split("\n"):
        match = _FENCE.match(line)
        if match is None:
            continue
        marker, info = match.groups()
        if not opened:
            if marker[0] == "~" or "`" not in info:
                opened = line
        elif _closes(marker, info, opened):
            opened = ""
    return opened


def _closes(marker: str, info: str, opened: str) -> bool:
    own = _marker(opened)
    return not info.strip() and marker[0] == own[0] and len(marker) >= len(own)


def _marker(opener: str) -> str:
    match = _FENCE.match(opener)
    return match.group(1) if match else ""


def _reopen(opener: str, limit: int) -> str:
    """How the fence is opened again; a monstrous info string is left out."""
    return opener if units(opener) <= limit // 4 else _marker(opener)[: limit // 8]
