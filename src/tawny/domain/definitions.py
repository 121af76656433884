"""An automation's document as people write it, checked into its definition."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from tawny.clock import SECOND, Instant
from tawny.domain import automations, expressions, holes, jsonshape, phrases, schedule, zones
from tawny.domain import scope as bounds
from tawny.domain.automations import (
    ALERT,
    STATUSES,
    TYPES,
    WATCH_NAMES,
    Action,
    Expect,
    On,
    Policy,
    Spec,
    Status,
    Success,
    Type,
    Watch,
    duration,
)
from tawny.domain.tasks import Delivery, Json
from tawny.errors import InvalidInput

EXAMPLE = (
    '{"name": "Morning brief", "type": "scheduled", "schedule": {"type": "cron", "expression": "0 8 * * 1-5"},'
    ' "action": {"type": "remind", "parameters": {"text": "Good morning"}}}'
)


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The keys a document may have; `task_id` and `automation_id` say `id`, the last row is told, not asked."""

    action: Action | None = None
    id: str | None = None
    task_id: str | None = None
    automation_id: str | None = None
    name: str = ""
    type: str | None = None
    timezone: str | None = None
    schedule: dict[str, Json] | str | None = None
    on: On | None = None
    watch: Watch | None = None
    expect: Expect | None = None
    delivery: Delivery | None = None
    policy: Policy = Policy()
    success: Success | None = None
    status: str = "active"
    created_at: str | None = None
    updated_at: str | None = None
    last_run: str | None = None
    next_run: str | None = None
    reason: str | None = None
    failures: int | None = None
    version: int | None = None
    ping_url: str | None = None
    next_runs: list[str] | None = None


class Parsed(msgspec.Struct, frozen=True):
    """A checked document: the definition, and what else it says."""

    spec: Spec
    id: str | None
    status: Status
    created_at: Instant | None


def parse(document: Mapping[str, Any], *, now: Instant, timezone: str, new: bool = True) -> Parsed:
    """Check a document as users write it. `timezone` is the owner's, kept where the document names none.

    Raises:
        InvalidInput: names the field and a correct example.
    """
    given = _convert(document)
    kind = _type(given)
    zone = given.timezone or timezone
    zones.load(zone)
    if given.action is None and given.expect is None:
        raise InvalidInput("automation.action is missing", hint=f"for example {EXAMPLE}")
    if given.action is not None:
        holes.check(given.action.parameters, field="action.parameters")
    action = given.action or Action(ALERT)
    plan = None
    if given.schedule is not None:
        plan = compile_schedule(given.schedule, now=now, timezone=zone, new=new)
        zone = plan.timezone
    name = given.name or _name_of(action)
    on = given.on
    if on is not None and on.source == "webhook" and not on.name:
        on = msgspec.structs.replace(on, name=re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "hook")
    _check_on(on)
    _check_watch(given.watch)
    if given.expect is not None:
        duration("expect.every", given.expect.every, least=SECOND)
        duration("expect.grace", given.expect.grace)
    _check_policy(given.policy, zone)
    _check_success(given.success)
    if given.status not in STATUSES:
        raise InvalidInput(
            f"automation.status: {given.status!r} is none", hint=f"one of {', '.join(STATUSES)}"
        )
    spec = Spec(
        name=name,
        type=kind,
        timezone=zone,
        action=action,
        schedule=None if plan is None else plan.document,
        on=on,
        watch=given.watch,
        expect=given.expect,
        delivery=given.delivery,
        policy=given.policy,
        success=given.success,
    )
    created = given.created_at
    return Parsed(
        spec,
        given.id or given.task_id or given.automation_id,
        given.status,
        None if created is None else schedule.read_time(created, key="created_at", now=now, timezone=zone),
    )


def _name_of(action: Action) -> str:
    return action.title or action.type.replace("_", " ").capitalize()


_MISSING = re.compile(r"Object missing required field `([^`]+)`(?: - at `\$\.?([^`]*)`)?")
_UNKNOWN = re.compile(r"Object contains unknown field `([^`]+)`(?: - at `\$\.?([^`]*)`)?")
_WRONG = re.compile(r"(.+?) - at `\$\.?([^`]*)`")


def _convert(document: Mapping[str, Any]) -> _Document:
    try:
        return msgspec.convert(document, _Document)
    except msgspec.ValidationError as error:
        text = str(error)
        if match := _MISSING.match(text):
            problem = f"{_path(match[2], match[1])} is missing"
        elif match := _UNKNOWN.match(text):
            problem = f"{_path(match[2], match[1])}: there is no such key"
        elif match := _WRONG.match(text):
            problem = f"{_path(match[2])}: {match[1]}"
        else:
            problem = text
        raise InvalidInput(f"automation: {problem}", hint=f"for example {EXAMPLE}") from error


def _path(*parts: str | None) -> str:
    return ".".join(part for part in parts if part)


def _type(given: _Document) -> Type:
    parts = {
        "schedule": given.schedule, "on": given.on, "watch": given.watch, "expect": given.expect,
    }  # fmt: skip
    present = [name for name, value in parts.items() if value is not None]
    if len(present) != 1:
        what = "none" if not present else " and ".join(present)
        raise InvalidInput(
            f"automation: it has {what} of schedule, on, watch and expect, and needs one",
            hint=f"for example {EXAMPLE}",
        )
    allowed = {
        "schedule": ("scheduled", "delayed"),
        "on": ("event",),
        "watch": ("continuous",),
        "expect": ("continuous",),
    }[present[0]]
    if given.type is not None and given.type not in allowed:
        known = (
            f"type {given.type!r} has no {present[0]!r}"
            if given.type in TYPES
            else f"{given.type!r} is no type"
        )
        raise InvalidInput(
            f"automation.type: {known}", hint=f"with {present[0]!r} it is {' or '.join(allowed)}"
        )
    if present[0] == "schedule":
        is_delay = isinstance(given.schedule, dict) and given.schedule.get("type") == "after"
        return "delayed" if given.type == "delayed" or (given.type is None and is_delay) else "scheduled"
    return "event" if present[0] == "on" else "continuous"


_CRON = re.compile(r"@\w+$|[\d*?][\d*,/?-]*\s+[\d*?][\d*,/?-]*\s+\S+\s+\S+\s+\S+")
"""Minute and hour in figures: so begins no phrase of five words."""
_RRULE = re.compile(r"(?:RRULE:|FREQ=)", re.IGNORECASE)


def compile_schedule(
    given: Mapping[str, Json] | str, *, now: Instant, timezone: str, new: bool = True
) -> schedule.Plan:
    """A schedule as people give it: a document, a cron expression, a recurrence rule, or a phrase.

    Raises:
        InvalidInput: names the field and a correct example.
    """
    if not isinstance(given, str):
        return schedule.compile(given, now=now, timezone=timezone, new=new)
    written = "cron" if _CRON.match(given.strip()) else "rrule" if _RRULE.match(given.strip()) else ""
    if written:
        return schedule.compile({"type": written, "expression": given}, now=now, timezone=timezone, new=new)
    try:
        document = phrases.parse(given, now=now, timezone=timezone).schedule
    except InvalidInput as error:
        raise type(error)(f"schedule: {error.message}", hint=error.hint) from error
    return schedule.compile(document, now=now, timezone=timezone, new=new)


_NEEDED = {
    "file": ("path", '{"source": "file", "path": "inbox/", "pattern": "*.pdf"}'),
    "rss": ("url", '{"source": "rss", "url": "https://example.org/feed.xml"}'),
    "mqtt": ("topic", '{"source": "mqtt", "topic": "home/+/door"}'),
    "stream": ("argv", '{"source": "stream", "argv": ["tail", "-F", "app.log"], "match": "ERROR"}'),
    "process": ("argv", '{"source": "process", "argv": ["make", "test"]}'),
}
"""What a source cannot do without, and an example."""


def _check_on(on: On | None) -> None:
    if on is None:
        return
    if on.filter:
        _expression("on.filter", on.filter, None, 'contains(lower(subject), "invoice")')
    needed, example = _NEEDED.get(on.source, ("", ""))
    if needed and not getattr(on, needed):
        raise InvalidInput(
            f"on.{needed} is missing: source {on.source!r} needs it", hint=f"for example {example}"
        )
    if on.secret and not on.secret.startswith(("env:", "file:", "keyring:")):
        raise InvalidInput("on.secret: a secret does not stand in a document", hint="write env:HOOK_SECRET")
    if on.source == "webhook" and not re.fullmatch(r"[A-Za-z0-9._-]{1,100}", on.name):
        raise InvalidInput(f"on.name: {on.name!r} is no part of an address", hint="for example 'deploys'")
    duration("on.before", on.before)
    duration("on.every", on.every, least=SECOND)
    if on.match:
        try:
            re.compile(on.match)
        except re.error as error:
            raise InvalidInput(f"on.match: {on.match!r}: {error}", hint="for example 'ERROR.*'") from error


def _check_watch(watch: Watch | None) -> None:
    if watch is None:
        return
    duration("watch.every", watch.every, least=SECOND)
    if not isinstance(watch.probe.get("type", watch.probe.get("kind")), str):
        raise InvalidInput(
            "watch.probe.type is missing",
            hint='for example {"type": "http", "url": "https://example.org/price.json", "jsonpath": "$.price"}',
        )
    _expression("watch.condition", watch.condition, WATCH_NAMES, "price < 2000")
    if watch.clear:
        _expression("watch.clear", watch.clear, WATCH_NAMES, "price > 2100")


def _check_policy(policy: Policy, zone: str) -> None:
    automations.misfire(policy)
    duration("policy.timeout", policy.timeout, least=1)
    duration("policy.max_age", policy.max_age)
    if policy.scope is not None:
        bounds.check(policy.scope, field="policy.scope")
    if policy.retry is not None:
        duration("policy.retry.base", policy.retry.base)
        duration("policy.retry.cap", policy.retry.cap)
    if policy.pacing is not None:
        low = duration("policy.pacing.min", policy.pacing.min, least=SECOND) or 0
        high = duration("policy.pacing.max", policy.pacing.max) or 0
        if low > high:
            raise InvalidInput(
                "policy.pacing: min is more than max", hint='for example {"min": "5m", "max": "1d"}'
            )
    if policy.active_hours is not None:
        automations.window(policy.active_hours, zone)


def _check_success(success: Success | None) -> None:
    if success is None:
        return
    if success.schema is not None:
        jsonshape.check(success.schema)
    if success.condition:
        _expression("success.condition", success.condition, None, 'contains(text, "done")')
    if success.verifier is not None:
        duration("success.verifier.timeout", success.verifier.timeout, least=1)
        holes.check(success.verifier.parameters, field="success.verifier.parameters")
        if success.verifier.condition:
            _expression("success.verifier.condition", success.verifier.condition, None, "exit_code == 0")
    if success.file_fresh is not None:
        duration("success.file_fresh.within", success.file_fresh.within)


def _expression(field: str, text: str, names: tuple[str, ...] | None, example: str) -> None:
    try:
        expressions.compile(text, names, extra_names=True, example=example)
    except InvalidInput as error:
        raise InvalidInput(f"{field}: {error.message}", hint=error.hint) from error
