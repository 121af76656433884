"""How a flow stands, in the words of flows."""

from tawny.domain.tasks import Status, Task

FLOW_STATUSES = ("queued", "running", "waiting", "blocked", "succeeded", "failed", "cancelled", "lost")
_BLOCKERS = frozenset({"approval", "reconcile", "budget"})


def flow_status(task: Task) -> str:
    """`queued running waiting blocked succeeded failed cancelled lost`: blocked is waiting that needs a person."""
    if task.status is Status.WAITING and task.waiting_for is not None and task.waiting_for.kind in _BLOCKERS:
        return "blocked"
    if task.status is Status.PAUSED:
        return "waiting"
    return "failed" if task.status is Status.TIMED_OUT else task.status.value
