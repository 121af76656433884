"""The todo.txt format: one line a to-do, `(A) 2026-03-01 Call Ann +project @phone due:2026-03-02`."""

import re
from collections.abc import Iterator
from datetime import date

from tawny.domain.charsets import decoded
from tawny.domain.todos import Todo
from tawny.sources.place import NewTodo, Place

_LINE = re.compile(
    r"(?P<done>x\s+)?(?:\((?P<priority>[A-Z])\)\s+)?(?P<dates>(?:\d{4}-\d{2}-\d{2}\s+){0,2})(?P<rest>.*)"
)
_KEY = re.compile(r"(?:^|\s)(?P<key>[A-Za-z][\w-]*):(?P<value>[^\s/][^\s]*)")
_KEYS = frozenset({"due", "t", "rec", "pri", "uid", "id", "h"})
_NEWLINE = re.compile(r"\r\n|\r|\n")
_MOST = 10_000


def parse(data: bytes, place: Place, problems: list[str]) -> Iterator[Todo]:
    """The to-dos of a file; a due date that is none becomes a problem with its line."""
    text = decoded(data).replace("\x00", "")
    for number, raw in enumerate(_NEWLINE.split(text), start=1):
        if number > _MOST:
            problems.append(f"{place.label}: only the first {_MOST} lines are read")
            return
        if not raw.strip():
            continue
        match = _LINE.match(raw.strip())
        if match is None:
            continue
        keys = {m["key"]: m["value"] for m in _KEY.finditer(match["rest"]) if m["key"] in _KEYS}
        due = None
        if wanted := keys.get("due"):
            try:
                due = date.fromisoformat(wanted)
            except ValueError:
                problems.append(
                    f"{place.label}: line {number}: due:{wanted} is no date; write it like due:2026-03-31"
                )
        words = _KEY.sub(lambda m: "" if m["key"] in _KEYS else m.group(0), match["rest"]).split()
        title = " ".join(word for word in words if not _is_tag(word))
        yield Todo(
            uid=keys.get("uid", f"{place.name}:{number}"),
            title=title[:500] or "(no title)",
            done=match["done"] is not None,
            due=due,
            priority=match["priority"] or keys.get("pri", "")[:1].upper(),
            projects=tuple(word[1:] for word in words if word.startswith("+") and len(word) > 1),
            contexts=tuple(word[1:] for word in words if word.startswith("@") and len(word) > 1),
            list=place.name,
        )


def line(new: NewTodo) -> str:
    """A to-do as a line."""
    title = " ".join(new.title.split())
    parts = [
        f"({new.priority})" if new.priority else "",
        new.created.isoformat() if new.created else "",
        title,
    ]
    if new.due is not None:
        parts.append(f"due:{new.due.isoformat()}")
    parts.append(f"uid:{new.uid}")
    return " ".join(part for part in parts if part)


def holds(data: bytes, uid: str) -> bool:
    """Whether a file has a line with this uid."""
    return f"uid:{uid}" in data.decode("utf-8", "replace").split()


def _is_tag(word: str) -> bool:
    return len(word) > 1 and word[0] in "+@"
