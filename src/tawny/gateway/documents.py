"""The shapes of the answers: `openapi.json` is made of these, and tests hold the answers to them."""

from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec

T = TypeVar("T")
Time = str
"""ISO 8601 in UTC with `Z`."""

_DAY = (
    r"20[0-9]{2}-((0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])|(0[13-9]|1[0-2])-(29|30)|(0[13578]|1[02])-31)"
    r"|20([02468][048]|[13579][26])-02-29"
)
_OF_DAY = r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](Z|[+-](0[0-9]|1[0-3]):[0-5][0-9])"
Moment = Annotated[
    str, msgspec.Meta(extra_json_schema={"pattern": rf"^(({_DAY})T{_OF_DAY}|[1-9][0-9]{{0,3}}[smhd])$"})
]
"""A time with its zone, or a duration: what is said of it in the description is accepted; more is."""


class Page(msgspec.Struct, Generic[T]):
    """A listing; `next_cursor` is null on the last page."""

    items: list[T]
    next_cursor: str | None


class ErrorBody(msgspec.Struct):
    code: str
    message: str
    hint: str
    retryable: bool


class Error(msgspec.Struct):
    """What every refusal and failure looks like."""

    error: ErrorBody


class Progress(msgspec.Struct):
    current: float
    total: float | None
    percentage: int | None
    unit: str | None
    message: str | None


class Failure(msgspec.Struct):
    kind: str
    message: str
    step: str | None


class LogLine(msgspec.Struct):
    time: str
    level: str
    message: str


class DeliveryLine(msgspec.Struct):
    """One message owed, and what became of it. `receipt` holds the channel's own ids."""

    delivery_id: str
    task_id: str | None
    transition: str
    target: str
    status: str
    attempts: int
    error: str | None
    receipt: list[str]
    fallback_of: str | None
    next_attempt_at: Time | None
    held_until: Time | None
    created_at: Time
    updated_at: Time


class Delivery(msgspec.Struct):
    status: str
    targets: list[DeliveryLine | str]


class Usage(msgspec.Struct):
    input_tokens: int
    output_tokens: int
    cost: float | None
    wall_seconds: float
    cpu_seconds: float
    model_calls: int
    tool_calls: int


class Artifact(msgspec.Struct):
    artifact_id: str
    task_id: str
    name: str
    media_type: str
    size: int
    sha256: str
    partial: bool
    created_at: Time


TaskStatus = Literal[
    "queued", "running", "waiting", "paused", "succeeded", "failed", "timed_out", "cancelled", "lost"
]


class Task(msgspec.Struct):
    """The contract's task document; it may have more fields than these."""

    task_id: str
    execution_id: str | None
    attempt: int
    automation_id: str | None
    parent_id: str | None
    flow_id: str | None
    runtime: Literal["cron", "subagent", "acp", "cli"]
    kind: str
    title: str
    owner: str
    session: str | None
    status: TaskStatus
    priority: Literal["interactive", "high", "normal", "low", "idle"]
    notify: Literal["silent", "done_only", "state_changes", "on_failure"]
    progress: Progress
    logs: list[LogLine]
    created_at: Time
    started_at: Time | None
    ended_at: Time | None
    estimated_completion: Time | None
    next_attempt_at: Time | None
    waiting_for: dict[str, Any] | None
    verdict: str | None
    result: dict[str, Any] | None
    error: Failure | None
    delivery: Delivery
    usage: Usage
    artifacts: list[Artifact]


class Step(msgspec.Struct):
    key: str
    name: str
    status: Literal["running", "succeeded", "failed", "uncertain"]
    effect: str
    attempts: int
    started_at: Time
    ended_at: Time | None
    result: Any
    error: Any


class Execution(msgspec.Struct):
    execution_id: str
    attempt: int
    started_at: Time
    ended_at: Time | None
    outcome: str | None
    error: Any


class Event(msgspec.Struct):
    seq: int
    time: Time
    type: str
    task_id: str | None
    session: str | None
    data: dict[str, Any]


class Why(msgspec.Struct):
    """What a task waits for, and what unblocks it."""

    task_id: str
    status: TaskStatus
    summary: str
    waiting_for: str | None
    next_attempt_at: Time | None
    unblock: list[str]
    text: str
    unblocks: str


class KindInfo(msgspec.Struct):
    kind: str
    description: str
    effect: str
    schema: dict[str, Any]
