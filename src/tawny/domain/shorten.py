"""Cuts a text that is too long, keeping its head and its tail."""


def shorten(text: str, limit: int, *, note: str = "") -> str:
    """At most about `limit` characters: three quarters head, one quarter tail, and a line that says what is missing."""
    if len(text) <= limit:
        return text
    head = limit * 3 // 4
    tail = max(0, limit - head)
    left_out = len(text) - head - tail
    middle = f"\n[… {left_out} characters left out{'; ' + note if note else ''} …]\n"
    return text[:head] + middle + (text[-tail:] if tail else "")
