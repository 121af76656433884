"""To-dos: what is to be done, and by when."""

from collections.abc import Iterable
from datetime import date

import msgspec

from tawny.clock import Instant


class Todo(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing to do. `due` is a day in the owner's zone; `due_at` the exact time where one is known.

    `priority` is a letter from A (highest) to Z, or empty. `list` is the name of the source.
    """

    uid: str
    title: str
    done: bool = False
    due: date | None = None
    due_at: Instant | None = None
    priority: str = ""
    projects: tuple[str, ...] = ()
    contexts: tuple[str, ...] = ()
    list: str = ""


def is_due(todo: Todo, day: date) -> bool:
    """Whether it is open and due on `day` or before."""
    return not todo.done and todo.due is not None and todo.due <= day


def due_by(todos: Iterable[Todo], day: date) -> tuple[Todo, ...]:
    """What is due on `day` or overdue: the oldest debt first, then by priority and time."""
    chosen = [todo for todo in todos if is_due(todo, day)]
    return tuple(sorted(chosen, key=_rank))


def _rank(todo: Todo) -> tuple[date, str, Instant, str]:
    return (todo.due or date.max, todo.priority or "~", todo.due_at or 0, todo.title)
