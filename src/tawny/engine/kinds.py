"""What a kind of task is, and what its run may ask of the engine."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from tawny.clock import MINUTE, Clock, Instant
from tawny.domain.approvals import Answer, Question
from tawny.domain.tasks import Effect, Json, Origin, Retry, Submission, Task, Usage
from tawny.ledger.database import Tx
from tawny.ledger.items import Item

DEFAULT_TIMEOUT = 10 * MINUTE

Result = dict[str, Json] | str | None
"""What a run returns: an object with `text` and, by kind, more; a plain string stands for `{"text": …}`."""


class Context(Protocol):
    """The engine's side of one execution, handed to the run.

    Every method may raise to end the execution (pause, cancel, timeout, fence, suspension): let that pass.
    """

    clock: Clock

    @property
    def task(self) -> Task:
        """The task as this execution knows it."""
        ...

    @task.setter
    def task(self, task: Task) -> None: ...

    @property
    def stop_reason(self) -> str | None:
        """Why the run is being cancelled: `cancel`, `timeout`, `shutdown` or `fence`; `None` while it may go on."""
        ...

    async def step(
        self,
        key: str,
        fn: Callable[[], Awaitable[Json]],
        *,
        input: Json = None,
        effect: Effect = Effect.PURE,
        name: str = "",
        also: Callable[[Tx], None] | None = None,
    ) -> Json:
        """Run `fn` once and journal its result under `key` and the hash of `input`.

        A finished step returns its record without running. With `effect=AT_MOST_ONCE` the intent is written
        first; after a crash in between the task waits for a person (`reconcile`). What `also` writes is in the same
        commit as the record; where another attempt has the task by then, it is written all the same.

        Raises:
            Changed: the journal has `key` with another input, or something that the run has left out: its code or
                data has changed.
        """
        ...

    def is_recorded(self, key: str) -> bool:
        """Whether the journal has a finished step or wait under `key`: it would return its record at once."""
        ...

    def idempotency_key(self, step: str) -> str:
        """Task and step, the same in every attempt and retry: what an `IDEMPOTENT` effect sends along."""
        ...

    async def progress(
        self,
        current: float,
        total: float | None = None,
        *,
        unit: str | None = None,
        message: str | None = None,
    ) -> None:
        """Tell how far the work is. Writes are coalesced to four a second; the percentage never falls."""
        ...

    def log(self, message: str, *, level: str = "info") -> None:
        """A line in the task's own log (bounded to its newest 1,000 lines)."""
        ...

    async def artifact(
        self, name: str, data: bytes | str | Path, *, partial: bool = False, media_type: str = ""
    ) -> str:
        """Keep a result file, under the task's folder; the same name replaces. Returns its id."""
        ...

    async def wait_until(self, key: str, due: Instant) -> None:
        """Leave memory until `due`; the run starts again from the top and passes this point."""
        ...

    async def wait_event(
        self, key: str, source: str, *, filter: str = "", timeout: int | None = None
    ) -> Json:
        """Leave memory until an outside event from `source` matches; returns its data, `None` on timeout (µs)."""
        ...

    async def ask(self, key: str, question: Question) -> Answer:
        """Leave memory until a person has answered (an approval)."""
        ...

    async def wait_budget(self, key: str, *, scope: str, reason: str, until: Instant | None = None) -> None:
        """Leave memory until the budget of `scope` is raised, or `until`; the run then looks again."""
        ...

    async def child(self, key: str, submission: Submission) -> Task:
        """Start a child once and leave memory until it has ended; returns the ended child."""
        ...

    async def children(self, key: str, submissions: Sequence[Submission]) -> list[Task]:
        """Start children once, in parallel, and leave memory until all have ended."""
        ...

    async def each(
        self,
        key: str,
        items: Sequence[Json],
        make: Callable[[Json, int], Submission],
        *,
        input: Json = None,
        concurrency: int = 1,
        max_failures: int | None = None,
    ) -> list[Task | None]:
        """Start a child for each item, `concurrency` at a time all the time, and leave memory until all have ended.

        `make` says what is to be done for an item and its number; `input` is what else it depends on. Once more than
        `max_failures` have failed no further one is started: `None` stands for those that never were.

        Raises:
            Changed: the journal has `key` with other items or another input.
        """
        ...

    async def submit(self, key: str, submission: Submission) -> str:
        """Start a task once, without waiting for it; returns its id."""
        ...

    async def map(
        self,
        key: str,
        items: Sequence[Json],
        work: Callable[["Context", Json], Awaitable[Json]],
        *,
        concurrency: int = 1,
        max_failures: int | None = None,
        retry: Retry | None = None,
    ) -> dict[str, int]:
        """Do `work` for each item, each finished once; returns `total`, `succeeded` and `failed`.

        Only what is unfinished is done after a crash. An item's work journals its steps under its own name and
        cannot wait.

        Raises:
            PermanentError: more than `max_failures` items failed.
        """
        ...

    async def items(self, key: str, *, status: str, limit: int = 500) -> list[Item]:
        """The items of a `map` that stand as `succeeded`, `failed` or `pending`, in order."""
        ...

    def spend(self, usage: Usage) -> None:
        """Add to what the task has used; written with the next step or outcome."""
        ...

    def add_origin(self, origin: Origin) -> None:
        """Record that the run has read content of this origin; from then on it counts for every decision."""
        ...


Run = Callable[[Context, Any], Awaitable[Result]]

Ask = Callable[[Context, str, str], Awaitable[str]]
"""A model's plain answer to (system, prompt), without tools; what it costs is spent on the run. Not journaled."""


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of task: its name, its parameters' struct and its run.

    `effect` is what running the whole again would mean where the run journals no steps of its own.
    `speaks` says that its result is words for a person: an automation of it tells them unless it is told otherwise.
    `resumable=False` marks work whose backing can vanish (then `lost`, after the grace). `refuse` raises for
    parameters that the run could only refuse, as they are written: holes may not be filled in yet. `check` raises
    `InvalidInput` for those that are of the right shape and wrong in what they say; it is asked at every submission.
    """

    name: str
    params: type[msgspec.Struct]
    run: Run
    description: str = ""
    title: Callable[[Any], str] | None = None
    effect: Effect = Effect.PURE
    timeout: int | None = DEFAULT_TIMEOUT
    resumable: bool = True
    speaks: bool = False
    refuse: Callable[[Mapping[str, Json]], None] | None = None
    check: Callable[[Mapping[str, Json]], None] | None = None


Kinds = Mapping[str, Kind]


def action(
    name: str,
    params: type[msgspec.Struct],
    *,
    description: str = "",
    title: Callable[[Any], str] | None = None,
    effect: Effect = Effect.PURE,
    timeout: int | None = DEFAULT_TIMEOUT,
    speaks: bool = False,
) -> Callable[[Run], Kind]:
    """Make a kind of task of a coroutine function that takes the context and checked parameters.

    `timeout` is in microseconds, `None` for none; `speaks` that its result is words for a person.
    """

    def make(run: Run) -> Kind:
        return Kind(
            name=name,
            params=params,
            run=run,
            description=description or (run.__doc__ or "").strip().split("\n")[0],
            title=title,
            effect=effect,
            timeout=timeout,
            speaks=speaks,
        )

    return make
