"""A time as people say it, read by a task of its own where the grammar does not know it: a model's reading."""

from typing import Any

from tawny.clock import MINUTE
from tawny.domain.tasks import Notify, Origin, Priority, Status, Submission, Task
from tawny.errors import InvalidInput, Refused

KIND = "read_schedule"


def asking(text: str, *, timezone: str, owner: str = "owner", origin: Origin | None = None) -> Submission:
    """The task that asks: it tells nobody, stands in no list, and is held to the budgets of its owner."""
    return Submission(
        kind=KIND,
        params={"text": text, "timezone": timezone},
        title=f"When is {text[:60]!r}?",
        priority=Priority.INTERACTIVE,
        notify=Notify.SILENT,
        detached=False,
        timeout=MINUTE,
        owner=owner,
        origin=origin or Origin(),
    )


def reading(task: Task) -> tuple[dict[str, Any], list[str]]:
    """The schedule that an ended task has read, and its next times; a person is to confirm it.

    Raises:
        InvalidInput: nobody understands it.
        Refused: a budget is used up.
    """
    result: Any = task.result or {}
    if task.status is Status.SUCCEEDED and "schedule" in result:
        return result["schedule"], [str(time) for time in result["next"]]
    said = task.error.message if task.error else f"it ended {task.status}"
    wrong = Refused if task.error and task.error.kind == "refused" else InvalidInput
    raise wrong(f"schedule: {said}", hint="write it as cron, every or at")
