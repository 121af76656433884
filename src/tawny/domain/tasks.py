"""What a task is, and which changes of its status there are. The table stands in docs/concepts.md too."""

from enum import StrEnum
from typing import Any

import msgspec

from tawny.clock import HOUR, MINUTE, SECOND, Instant

Json = Any
"""A value that JSON can say."""


class Status(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    LOST = "lost"

    @property
    def is_terminal(self) -> bool:
        return self in TERMINAL


TERMINAL = frozenset({Status.SUCCEEDED, Status.FAILED, Status.TIMED_OUT, Status.CANCELLED, Status.LOST})

TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.QUEUED: frozenset(
        {
            Status.RUNNING,
            Status.WAITING,
            Status.PAUSED,
            Status.CANCELLED,
            Status.FAILED,
            Status.TIMED_OUT,
        }
    ),
    Status.RUNNING: frozenset(
        {
            Status.QUEUED,
            Status.WAITING,
            Status.PAUSED,
            Status.SUCCEEDED,
            Status.FAILED,
            Status.TIMED_OUT,
            Status.CANCELLED,
            Status.LOST,
        }
    ),
    Status.WAITING: frozenset(
        {
            Status.QUEUED,
            Status.PAUSED,
            Status.SUCCEEDED,
            Status.FAILED,
            Status.CANCELLED,
            Status.TIMED_OUT,
            Status.LOST,
        }
    ),
    Status.PAUSED: frozenset({Status.QUEUED, Status.WAITING, Status.CANCELLED, Status.FAILED}),
    **{status: frozenset[Status]() for status in TERMINAL},
}


def may_become(before: Status, after: Status) -> bool:
    """Whether the transition is in the table. Terminal is final."""
    return after in TRANSITIONS[before]


class Priority(StrEnum):
    INTERACTIVE = "interactive"
    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"
    IDLE = "idle"


# A class's head start is bounded, so waiting long enough beats any class: nothing starves.
_HEAD_START = {
    Priority.INTERACTIVE: 0,
    Priority.HIGH: 30 * SECOND,
    Priority.NORMAL: 5 * MINUTE,
    Priority.LOW: HOUR,
    Priority.IDLE: 6 * HOUR,
}


def queue_rank(priority: Priority, queued_at: Instant, deadline: Instant | None = None) -> int:
    """Where a task stands in the queue: lowest first. Ageing is built in, as a later arrival ranks later.

    A deadline pulls a task forward as if it had to start then at the latest.
    """
    rank = queued_at + _HEAD_START[priority]
    return rank if deadline is None else min(rank, deadline)


class Runtime(StrEnum):
    CRON = "cron"
    SUBAGENT = "subagent"
    ACP = "acp"
    CLI = "cli"


class Notify(StrEnum):
    SILENT = "silent"
    DONE_ONLY = "done_only"
    STATE_CHANGES = "state_changes"
    ON_FAILURE = "on_failure"


DEFAULT_NOTIFY = {
    Runtime.CRON: Notify.SILENT,
    Runtime.CLI: Notify.SILENT,
    Runtime.SUBAGENT: Notify.DONE_ONLY,
    Runtime.ACP: Notify.DONE_ONLY,
}


class Effect(StrEnum):
    """What running a step again would mean."""

    PURE = "pure"
    IDEMPOTENT = "idempotent"
    AT_MOST_ONCE = "at_most_once"


class Delivery(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a result goes: names or kinds of channels, `webhook:URL`, `inbox`, `memory`, `file:PATH`, `chat`."""

    channels: tuple[str, ...] = ()
    priority: str = "normal"
    at_least_once: bool = False
    failures_to: tuple[str, ...] = ()
    partial: bool = True


class Progress(msgspec.Struct, frozen=True):
    current: float = 0
    total: float | None = None
    percentage: int | None = None
    unit: str | None = None
    message: str | None = None


class Failure(msgspec.Struct, frozen=True):
    """Why a task or step did not succeed; `kind` is temporary, permanent, refused, timeout, cancelled or lost."""

    kind: str
    message: str
    step: str | None = None


class WaitingFor(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a waiting task waits for; `kind` is timer, event, approval, child, budget or reconcile."""

    kind: str
    key: str = ""
    until: Instant | None = None
    detail: dict[str, Json] = {}


class After(msgspec.Struct, frozen=True):
    """A task that must end first, and how: `success`, `failure` or `any`."""

    task: str
    on: str = "success"


class Retry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When and how often a temporary failure is tried again. Times are durations such as `2s`."""

    max: int = 3
    base: str = "2s"
    factor: float = 2.0
    cap: str = "15m"
    jitter: float = 0.1
    on: tuple[str, ...] = ("temporary",)


class Usage(msgspec.Struct, frozen=True):
    """What the work has used. `cost` is in US dollars, `None` where a price is unknown."""

    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = 0
    wall_seconds: float = 0
    cpu_seconds: float = 0
    model_calls: int = 0
    tool_calls: int = 0


class Budget(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Upper bounds; `None` is unbounded. `cost` in US dollars, `seconds` at work (waiting is free)."""

    tokens: int | None = None
    cost: float | None = None
    seconds: float | None = None
    model_calls: int | None = None
    tool_calls: int | None = None


class Origin(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who set the work going, and whether untrusted content had a hand in it.

    `by`: owner, automation, event, model, contact, stranger. `via`: cli, http, panel, chat, channel, schedule,
    webhook, subagent, flow, mcp. `session` and `reply_to` are where it was asked, for `chat` deliveries.
    """

    by: str = "owner"
    via: str = "cli"
    trusted: bool = True
    reply_to: str | None = None
    detail: dict[str, Json] = {}


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """Work as it is handed in, already checked. Times are instants, durations microseconds."""

    kind: str
    params: dict[str, Json] = {}
    title: str = ""
    runtime: Runtime = Runtime.CLI
    priority: Priority = Priority.NORMAL
    timeout: int | None = None
    notify: Notify | None = None
    retry: Retry | None = None
    delivery: Delivery | None = None
    session: str | None = None
    owner: str = "owner"
    lane: str | None = None
    after: tuple[After, ...] = ()
    dedupe_key: str | None = None
    merge_key: str | None = None
    merge_window: int = 0
    not_before: Instant | None = None
    window: str | None = None
    deadline: Instant | None = None
    budget: Budget | None = None
    effect: Effect | None = None
    automation_id: str | None = None
    parent_id: str | None = None
    flow_id: str | None = None
    detached: bool = True
    awaited: bool = True
    origin: Origin = Origin()


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """One recorded piece of detached work. Times are instants, durations microseconds."""

    task_id: str
    kind: str
    params: dict[str, Json]
    title: str
    runtime: Runtime
    owner: str
    session: str | None
    status: Status
    attempt: int
    execution_id: str | None
    automation_id: str | None
    parent_id: str | None
    flow_id: str | None
    priority: Priority
    notify: Notify
    detached: bool
    lane: str | None
    timeout: int | None
    retry: Retry
    failures: int
    crashes: int
    not_before: Instant | None
    window: str | None
    deadline: Instant | None
    next_attempt_at: Instant | None
    effect: Effect | None
    intent: str | None
    waiting_for: WaitingFor | None
    progress: Progress
    estimated_completion: Instant | None
    created_at: Instant
    started_at: Instant | None
    ended_at: Instant | None
    ran_for: int
    result: dict[str, Json] | None
    error: Failure | None
    verdict: str | None
    delivery: Delivery
    delivery_status: str
    usage: Usage
    budget: Budget | None
    origin: Origin
    merged_into: str | None
