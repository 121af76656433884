"""The free check before a heartbeat asks a model: is there anything to look at that was not looked at before?"""

import hashlib
import re
from collections.abc import Sequence

from tawny.clock import DAY, Instant

CONDITION = 'value != "" and default(previous, "") != value'
"""What a heartbeat's watch asks: something is there, and it is not what was there the last time."""
_DATE = re.compile(r"\b(\d{4}-\d\d-\d\d)\b")
_DONE = re.compile(r"^\s*[-*]\s*\[[xX]\]")


def due(text: str, today: str) -> list[str]:
    """The lines that say something: no headings, nothing ticked off, nothing dated later than `today`."""
    found: list[str] = []
    for line in re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL).splitlines():
        words = line.strip()
        dated = _DATE.search(words)
        is_later = dated is not None and dated.group(1) > today
        if words and not words.startswith("#") and not _DONE.match(words) and not is_later:
            found.append(words)
    return found


def mark(lines: list[str], newest_event: int) -> str:
    """Tells one state of affairs from another, and how far the events have been seen."""
    words = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:24] if lines else ""
    return f"{words}.{newest_event}"


def seen(mark: str) -> int:
    """The newest event that was seen at a mark; 0 where it tells of none."""
    number = mark.partition(".")[2]
    return int(number) if number.isdecimal() else 0


def fresh(events: Sequence[tuple[int, Instant, str]]) -> list[tuple[int, str]]:
    """Of events (number, time, text; oldest first) those that say something new: no repetition within a day."""
    told: dict[str, Instant] = {}
    kept: list[tuple[int, str]] = []
    for number, time, text in events:
        before = told.get(text)
        if before is None or time - before >= DAY:
            told[text] = time
            kept.append((number, text))
    return kept
