"""Values as documents on the wire: the contract's names and shapes."""

from typing import Any

from tawny.clock import SECOND, Instant, iso
from tawny.domain.tasks import Task, WaitingFor


def _time(instant: Instant | None) -> str | None:
    return None if instant is None else iso(instant)


def waiting_document(waiting: WaitingFor | None) -> dict[str, Any] | None:
    """What a task waits for, or `None`."""
    if waiting is None:
        return None
    return {"kind": waiting.kind, "key": waiting.key, "until": _time(waiting.until), **waiting.detail}


def task_document(
    task: Task, *, logs: list[Any] | None = None, artifacts: list[Any] | None = None
) -> dict[str, Any]:
    """The contract's task document; `logs` and `artifacts` are documents already."""
    progress = task.progress
    usage = task.usage
    return {
        "task_id": task.task_id,
        "execution_id": task.execution_id,
        "attempt": task.attempt,
        "automation_id": task.automation_id,
        "parent_id": task.parent_id,
        "flow_id": task.flow_id,
        "runtime": task.runtime,
        "kind": task.kind,
        "title": task.title,
        "params": task.params,
        "owner": task.owner,
        "session": task.session,
        "status": task.status,
        "priority": task.priority,
        "notify": task.notify,
        "progress": {
            "current": progress.current,
            "total": progress.total,
            "percentage": progress.percentage,
            "unit": progress.unit,
            "message": progress.message,
        },
        "logs": logs or [],
        "created_at": iso(task.created_at),
        "started_at": _time(task.started_at),
        "ended_at": _time(task.ended_at),
        "estimated_completion": _time(task.estimated_completion),
        "next_attempt_at": _time(task.next_attempt_at),
        "not_before": _time(task.not_before),
        "waiting_for": waiting_document(task.waiting_for),
        "intent": task.intent,
        "verdict": task.verdict,
        "result": task.result,
        "error": None
        if task.error is None
        else {"kind": task.error.kind, "message": task.error.message, "step": task.error.step},
        "delivery": {"status": task.delivery_status, "targets": list(task.delivery.channels)},
        "usage": {
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "cost": usage.cost,
            "wall_seconds": round(max(usage.wall_seconds, task.ran_for / SECOND), 3),
            "cpu_seconds": round(usage.cpu_seconds, 3),
            "model_calls": usage.model_calls,
            "tool_calls": usage.tool_calls,
        },
        "merged_into": task.merged_into,
        "detached": task.detached,
        "artifacts": artifacts or [],
    }
