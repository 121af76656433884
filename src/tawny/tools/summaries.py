"""Tasks in the words tools answer with: short, so that a model reads them for little."""

from typing import Any, cast

from tawny.clock import SECOND, Instant, iso
from tawny.domain.lookup import left
from tawny.domain.origin import OWNER, glimpsed, is_from_outside, read_from
from tawny.domain.shorten import shorten
from tawny.domain.tasks import Json, Origin, Task

_RESULT_CHARS = 4000


def brief_task(task: Task, now: Instant) -> dict[str, Any]:
    """Title, id, status, how far, how long still; for ended ones the result's text.

    `untrusted` marks words that came of work which has read untrusted content, `words_of_strangers` that of such as
    has read no more than these.
    """
    document: dict[str, Any] = {
        "task_id": task.task_id,
        "title": task.title,
        "kind": task.kind,
        "status": task.status.value,
        "created_at": iso(task.created_at),
    }
    if not task.status.is_terminal:
        progress = task.progress
        document["progress"] = {
            "percentage": progress.percentage,
            "current": progress.current,
            "total": progress.total,
            "message": progress.message,
        }
        if task.estimated_completion and task.status == "running" and task.estimated_completion > now:
            document["left"] = left((task.estimated_completion - now) / SECOND)
    if task.waiting_for is not None:
        document["waiting_for"] = task.waiting_for.kind
    if task.not_before is not None and task.not_before > now:
        document["not_before"] = iso(task.not_before)
    if task.intent:
        document["being"] = {"cancel": "cancelled", "pause": "paused"}.get(task.intent, task.intent)
    if task.error is not None:
        document["error_message"] = task.error.message
    if task.status.is_terminal and task.result:
        document["result"] = shorten(str(task.result.get("text") or task.result), _RESULT_CHARS)
    if "result" in document or "error_message" in document:
        if is_from_outside(task):
            document["untrusted"] = True
        elif words := glimpsed(task.origin):
            document["words_of_strangers"] = words
    return document


def reading(_: object, answer: Json) -> Origin | None:
    """What a run has read with these tasks, one or lists of them: what they have read themselves."""
    found = cast(dict[str, Any], answer) if isinstance(answer, dict) else {}
    tasks: list[dict[str, Any]] = [found, *found.get("items", ()), *found.get("ended", ())]
    titles = [str(task["title"]) for task in tasks if task.get("untrusted")]
    if titles:
        return read_from(f"the result of {', '.join(titles)}")
    words = {task["title"]: task["words_of_strangers"] for task in tasks if "words_of_strangers" in task}
    if not words:
        return None
    return read_from(
        f"the result of {', '.join(words)}",
        trust=OWNER,
        glimpsed=[word for some in words.values() for word in some],
    )
