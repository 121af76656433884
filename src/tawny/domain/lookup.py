"""Which task a person means by "that", "the subtitles", "task_01j…"."""

import re
from collections.abc import Sequence

from tawny.domain.tasks import Task

_FILLER = frozenset(
    ["the", "a", "an", "my", "this", "that", "it", "task", "job", "please", "of", "for", "in", "on", "to"]
)


def meant(tasks: Sequence[Task], words: str) -> list[Task]:
    """The tasks meant, best first; `tasks` newest first. No words mean the newest one.

    An id or a prefix of one counts before a title; a title counts by how many of the words it has.
    """
    wanted = words.strip().lower()
    if not wanted or wanted in ("latest", "last", "newest"):
        return list(tasks[:1])
    by_id = [
        task
        for task in tasks
        if task.task_id == wanted or task.task_id.removeprefix("task_").startswith(wanted)
    ]
    if not by_id:
        by_id = [task for task in tasks if task.task_id.startswith(wanted)]
    if by_id:
        return by_id
    exact = [task for task in tasks if task.title.lower() == wanted]
    if exact:
        return exact
    terms = [term for term in re.findall(r"\w+", wanted) if term not in _FILLER]
    if not terms:
        return list(tasks[:1])
    scored = [(sum(term in f"{task.title} {task.kind}".lower() for term in terms), task) for task in tasks]
    best = max((score for score, _ in scored), default=0)
    return [task for score, task in scored if score == best] if best else []


def left(seconds: float) -> str:
    """A remaining time as people say it: `2 minutes`, `40 seconds`."""
    if seconds >= 5400:
        return f"{round(seconds / 3600)} hours"
    if seconds >= 90:
        return f"{round(seconds / 60)} minutes"
    if seconds >= 55:
        return "1 minute"
    return f"{max(1, round(seconds))} seconds"
