"""Notices a turn that calls the same tool with the same outcome over and over, however the noise in it varies."""

import hashlib
import json
import re
from collections import Counter
from enum import StrEnum

from tawny.domain.tasks import Json

WARN_AT, BLOCK_AT, END_AT = 5, 8, 12

# What differs between two outcomes that are the same: times, ids, numbers, hex.
_NOISE = re.compile(
    r"\b[0-9a-f]{8}-[0-9a-f-]{27}\b|\b\w+_[0-9a-z]{20,}\b|\b\d{4}-\d\d-\d\d[T ][\d:.,+Z-]*|\b[0-9a-f]{8,}\b"
    r"|\b(?=[A-Za-z0-9+/_-]*\d)(?=[A-Za-z0-9+/_-]*[A-Za-z])[A-Za-z0-9+/_-]{12,}={0,2}|\d+",
    re.IGNORECASE,
)


class Verdict(StrEnum):
    GO_ON = "go_on"
    WARN = "warn"
    BLOCK = "block"
    END = "end"


def fingerprint(tool: str, arguments: Json, outcome: Json) -> str:
    """The same for calls that are the same once noise is taken out of their outcome."""
    text = outcome if isinstance(outcome, str) else json.dumps(outcome, sort_keys=True, default=str)
    plain = _NOISE.sub("#", text)
    given = json.dumps(arguments, sort_keys=True, default=str)
    return hashlib.sha256(f"{tool}\n{given}\n{plain}".encode()).hexdigest()


class LoopGuard:
    """Counts within one run. Ask `before` a call and tell `after` it."""

    def __init__(self) -> None:
        self._same: Counter[str] = Counter()
        self._latest: dict[str, str] = {}

    def before(self, tool: str, arguments: Json) -> Verdict:
        """Whether the call may be made: the newest outcome of the very same call counts."""
        count = self._count(self._latest.get(self._call(tool, arguments), ""))
        if count >= END_AT - 1:
            return Verdict.END
        return Verdict.BLOCK if count >= BLOCK_AT - 1 else Verdict.GO_ON

    def after(self, tool: str, arguments: Json, outcome: Json) -> Verdict:
        """What to say about the outcome."""
        mark = fingerprint(tool, arguments, outcome)
        self._latest[self._call(tool, arguments)] = mark
        self._same[mark] += 1
        return Verdict.WARN if self._same[mark] >= WARN_AT else Verdict.GO_ON

    def blocked(self, tool: str, arguments: Json) -> None:
        """A blocked call counts as one more of the same."""
        self._same[self._latest.get(self._call(tool, arguments), "")] += 1

    def _count(self, mark: str) -> int:
        return self._same[mark] if mark else 0

    @staticmethod
    def _call(tool: str, arguments: Json) -> str:
        return f"{tool} {json.dumps(arguments, sort_keys=True, default=str)}"
