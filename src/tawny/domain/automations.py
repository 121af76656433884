"""What an automation is. Document: `definitions.py`; row: `ledger/automations.py`; motion: `engine/scheduler.py`."""

import re
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from tawny.clock import DAY, HOUR, MINUTE, SECOND, Instant, parse_duration
from tawny.domain import schedule
from tawny.domain import scope as bounds
from tawny.domain.tasks import Budget, Delivery, Json, Notify, Priority, Retry
from tawny.domain.windows import parse_window
from tawny.errors import InvalidInput

T = TypeVar("T")
Type = Literal["scheduled", "delayed", "event", "continuous"]
Status = Literal["active", "paused", "completed", "disabled"]
TYPES = ("scheduled", "delayed", "event", "continuous")
STATUSES = ("active", "paused", "completed", "disabled")
SOURCES = ("email", "webhook", "file", "rss", "mqtt", "calendar", "task", "process", "stream")

BACKOFF = (30 * SECOND, MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR)
"""How long the next run waits at least, after 1, 2, 3, 4 and more failures in a row."""
RUN_ALL_MAX = 100
ALERT = "alert"
"""The action of an expectation that names none: the person is told, no task is made."""

WATCH_NAMES = (
    "value", "previous", "change_percent", "baseline", "baseline_percent", "first", "changed", "text",
)  # fmt: skip
"""What a watch's condition may speak of."""

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Duration = str | int | float


class Action(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What is done: a kind of task and its parameters; `{{ … }}` in a text is an expression over the event."""

    type: Name
    parameters: dict[str, Json] = {}
    title: str = ""
    session: str | None = None


class Pacing(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Within what the run itself may choose its next time (`next_check`)."""

    min: Duration = "1m"
    max: Duration = "1d"


class ActiveHours(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Outside of these hours slots are skipped; what runs only once waits for them.

    `timezone` is the schedule's unless given.
    """

    start: str
    end: str
    timezone: str = ""


class Policy(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """How it runs. `misfire`: `run_once`, `run_all`, `run_all(5)`, `skip`; durations such as `12h`.

    With `tell_denied` a run that was denied something is told of once it has ended.
    """

    misfire: str = "run_once"
    misfire_window: Duration | None = None
    overlap: Literal["skip", "queue", "parallel", "replace"] | None = None
    timeout: Duration | None = None
    retry: Retry | None = None
    notify: Notify | None = None
    priority: Priority | None = None
    budget: Budget | None = None
    pacing: Pacing | None = None
    active_hours: ActiveHours | None = None
    alert_after: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 2
    disable_after: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 10
    max_age: Duration | None = None
    scope: bounds.Scope | None = None
    tell_denied: bool = False


class On(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What event fires it. `filter` is an expression over the event's data; the rest belongs to single sources.

    webhook: `name` `scheme` `secret`. email: `account` `mailbox` `senders`. file: `path` `pattern`. rss: `url`.
    mqtt: `url` `topic`. calendar: `account` `before`. task: `automation` `status`. process: `argv`.
    stream: `argv` `match`.
    """

    source: Name
    filter: str = ""
    name: str = ""
    scheme: Literal["", "standard", "github", "stripe", "token"] = ""
    secret: str = ""
    account: str = ""
    mailbox: str = "INBOX"
    senders: tuple[str, ...] = ()
    path: str = ""
    pattern: str = ""
    url: str = ""
    topic: str = ""
    before: Duration = "15m"
    automation: str = ""
    status: tuple[str, ...] = ()
    argv: tuple[str, ...] = ()
    match: str = ""
    every: Duration = "15m"


class Watch(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What is looked at, how often, and when it matters.

    `clear` re-arms an edge (hysteresis; without it the condition's end does); `confirm` is how many checks in a row
    must agree; `alert_after` failing probes in a row are told.
    """

    probe: dict[str, Json]
    every: Duration
    condition: str
    rearm: Literal["edge", "always", "once"] = "edge"
    clear: str = ""
    confirm: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1
    alert_after: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 3


class Expect(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Silence watched: a ping is due at least every `every`; after `grace` more its absence is told."""

    every: Duration
    grace: Duration = "5m"


class FileFresh(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file (in the workspace, or absolute) must have changed within this long."""

    path: Name
    within: Duration = "1h"


class Verifier(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A task of its own that looks at what the run did: a kind and its parameters, whose `{{ … }}` are over the result.

    It holds where the task succeeds and `condition`, over the verifier's own result, does too.
    """

    type: Name
    parameters: dict[str, Json] = {}
    condition: str = ""
    timeout: Duration = "5m"


class Success(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """When the run did what was asked, whatever it says itself; all that are given must hold."""

    exit_code: int | None = None
    file_fresh: FileFresh | None = None
    schema: dict[str, Json] | None = None
    min_length: int | None = None
    condition: str = ""
    verifier: Verifier | None = None


class Spec(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An automation as it is defined; what has become of it is beside it in the ledger.

    `timezone` is stored at creation. Exactly one of `schedule`, `on`, `watch`, `expect` is set.
    """

    name: str
    type: Type
    timezone: str
    action: Action
    schedule: dict[str, Json] | None = None
    on: On | None = None
    watch: Watch | None = None
    expect: Expect | None = None
    delivery: Delivery | None = None
    policy: Policy = Policy()
    success: Success | None = None

    def document(self) -> dict[str, Any]:
        """The definition as on the wire."""
        document: dict[str, Any] = msgspec.to_builtins(self)
        if self.schedule is not None:
            document.pop("timezone")
        policy = {"misfire": self.policy.misfire, "overlap": overlap(self)}
        document["policy"] = policy | document.get("policy", {})
        if self.policy.retry is not None:
            usual = msgspec.to_builtins(Retry())
            given = document["policy"]["retry"]
            document["policy"]["retry"] = {
                key: value for key, value in given.items() if key == "max" or value != usual[key]
            }
        return document


class Misfire(msgspec.Struct, frozen=True):
    """What becomes of slots that passed while nobody was there. `window` in microseconds, `None` without bound."""

    mode: Literal["run_once", "run_all", "skip"]
    most: int
    window: int | None


def duration(field: str, value: Duration | None, *, least: int = 0) -> int | None:
    """A duration of the document in microseconds.

    Raises:
        InvalidInput: it is none, or less than `least`.
    """
    if value is None:
        return None
    try:
        micros = parse_duration(value)
    except ValueError as error:
        raise InvalidInput(f"{field}: {error}", hint="for example 10m") from error
    if micros < least:
        raise InvalidInput(f"{field}: {value!r} is too short", hint="for example 10m")
    return micros


def window(hours: ActiveHours, zone: str) -> str:
    """Active hours as a window of `domain/windows.py`."""
    text = f"{hours.start}-{hours.end}@{hours.timezone or zone}"
    try:
        parse_window(text, zone)
    except InvalidInput as error:
        raise InvalidInput(
            f"policy.active_hours: {error.message}", hint='for example {"start": "08:00", "end": "22:00"}'
        ) from error
    return text


_MISFIRE = re.compile(r"(run_once|run_all|skip)(?:\((\d{1,4})\))?")


def misfire(policy: Policy) -> Misfire:
    """The policy for missed slots.

    Raises:
        InvalidInput: it is none.
    """
    match = _MISFIRE.fullmatch(policy.misfire)
    if match is None or (match[2] and match[1] != "run_all"):
        raise InvalidInput(
            f"policy.misfire: {policy.misfire!r} is none", hint="one of run_once, run_all, run_all(5), skip"
        )
    return Misfire(
        match[1],  # pyright: ignore[reportArgumentType] - the pattern's words
        int(match[2] or RUN_ALL_MAX),
        duration("policy.misfire_window", policy.misfire_window),
    )


def overlap(spec: Spec) -> str:
    """What happens when a run comes up while the one before has not ended: a slot is skipped, an event waits."""
    return spec.policy.overlap or ("queue" if spec.on is not None else "skip")


def max_age(policy: Policy) -> int:
    """How old an event may be and still start work, in microseconds."""
    return DAY if policy.max_age is None else parse_duration(policy.max_age)


def backoff(failures: int) -> int:
    """The least wait after so many failures in a row, in microseconds."""
    return 0 if failures <= 0 else BACKOFF[min(failures, len(BACKOFF)) - 1]


def plan(spec: Spec, *, anchor: Instant) -> schedule.Plan | None:
    """The rhythm to follow: the automation's own schedule or its watch's; `None` for events and expectations.

    `anchor` is when the automation was made: a watch keeps its rhythm over restarts.
    """
    document = spec.schedule
    if document is None:
        if spec.watch is None:
            return None
        document = {"type": "every", "interval": spec.watch.every}
    return schedule.compile(document, now=anchor, timezone=spec.timezone, new=False)
