"""Whether a run did what was asked, told by facts and not by its own words."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from tawny.clock import Instant, parse_duration
from tawny.domain import expressions, jsonshape
from tawny.domain.automations import Success
from tawny.domain.tasks import Status, Task

Changed = Callable[[str], Instant | None]
"""When the file at a path changed last; `None` where there is none."""


def judge(success: Success | None, task: Task, *, now: Instant, changed: Changed) -> tuple[str | None, str]:
    """`succeeded` or `failed` with the reasons; `None` where no criteria are given.

    Where criteria are given they decide alone: a probe that exits 1 may have done what was asked.
    """
    if success is None:
        return None, ""
    result = task.result or {}
    problems = [
        *_exit_code(success, result),
        *_file(success, now, changed),
        *_shape(success, result),
        *_length(success, result),
        *_condition(success, task, result),
    ]
    return ("failed", "; ".join(problems)) if problems else ("succeeded", "")


def _exit_code(success: Success, result: Mapping[str, Any]) -> list[str]:
    if success.exit_code is None or result.get("exit_code") == success.exit_code:
        return []
    return [f"the exit code is {result.get('exit_code')}, not {success.exit_code}"]


def _file(success: Success, now: Instant, changed: Changed) -> list[str]:
    fresh = success.file_fresh
    if fresh is None:
        return []
    at = changed(fresh.path)
    if at is None:
        return [f"{fresh.path} is missing"]
    return [] if now - at <= parse_duration(fresh.within) else [f"{fresh.path} is older than {fresh.within}"]


def _shape(success: Success, result: Mapping[str, Any]) -> list[str]:
    if success.schema is None:
        return []
    return [
        f"the result does not fit: {problem}"
        for problem in jsonshape.problems(success.schema, dict(result))[:3]
    ]


def _length(success: Success, result: Mapping[str, Any]) -> list[str]:
    length = len(str(result.get("text") or "").strip())
    if success.min_length is None or length >= success.min_length:
        return []
    return [f"the text has {length} characters, not {success.min_length}"]


def _condition(success: Success, task: Task, result: Mapping[str, Any]) -> list[str]:
    if not success.condition:
        # without any other criterion of its own a task that did not succeed has not done it
        alone = msgspec.structs.replace(success, verifier=None) == Success()
        return [f"it ended {task.status}"] if alone and task.status is not Status.SUCCEEDED else []
    try:
        holds = expressions.compile(success.condition).test({"status": task.status.value, **result})
    except expressions.EvaluationError as error:
        return [str(error)]
    return [] if holds else [f"{success.condition!r} does not hold"]
