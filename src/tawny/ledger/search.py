"""Finding tasks by their words: title, kind, id, session, and every value of parameters, result and error.

No index: it would be paid for by every commit, and SQLite's needs three letters, where two are a word in Chinese.
The database picks out what may fit, newest first and only so many tasks a page; what does fit is decided here, with
the letters of every script and without the names of keys. Why it is so stands in docs/decisions/0062-task-search.md.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from tawny.domain.tasks import Task

STRIDE = 1000
"""Tasks looked through by one statement."""
LOOKED_THROUGH = 20_000
"""Tasks looked through for one page: it may be short of its limit, with more to come behind its cursor."""
_MANY_WORDS = 4
_TEXT = (
    "LOWER(task_id || ' ' || title || ' ' || kind || ' ' || COALESCE(session, '') || ' ' || params || ' '"
    " || COALESCE(result, '') || ' ' || COALESCE(error, ''))"
)


class Search:
    """What a person typed: words, each of which has to be found somewhere in a task."""

    def __init__(self, text: str) -> None:
        self._words = list(dict.fromkeys(text.lower().split()))

    def __bool__(self) -> bool:
        return bool(self._words)

    def condition(self) -> tuple[str, Mapping[str, str]]:
        """A condition of SQL that holds for all that fit, and some that do not; with its values."""
        longest = sorted(self._words, key=len, reverse=True)[:_MANY_WORDS]
        names = {f"word{n}": _pattern(word) for n, word in enumerate(longest)}
        return " AND ".join(rf"{_TEXT} LIKE :{name} ESCAPE '\'" for name in names), names

    def finds(self, task: Task) -> bool:
        """Whether every word is found."""
        text = "\n".join(_texts(task)).lower()
        return all(word in text for word in self._words)


def _pattern(word: str) -> str:
    r"""What LIKE finds the word by in JSON, too.

    There `\n` and `\"` stand for one letter; and the databases disagree on the case of what is not ASCII.
    """
    return "%" + "".join(_letter(letter) for letter in word) + "%"


def _letter(letter: str) -> str:
    if letter in '"\\' or not letter.isprintable():
        return "%"
    if letter in "%_":
        return "\\" + letter
    if not letter.isascii() and letter.lower() != letter.upper():
        return "%"
    return letter


def _texts(task: Task) -> Iterator[str]:
    yield from (task.task_id, task.title, task.kind, task.session or "")
    yield from _values(task.params)
    yield from _values(task.result)
    if task.error is not None:
        yield from _values(msgspec.to_builtins(task.error))


def _values(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield str(value)
    elif isinstance(value, Mapping):
        for part in value.values():  # pyright: ignore[reportUnknownVariableType]
            yield from _values(part)
    elif isinstance(value, (list, tuple)):
        for part in value:  # pyright: ignore[reportUnknownVariableType]
            yield from _values(part)
