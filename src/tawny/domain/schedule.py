"""When something is due: cron, every, at, after and rrule, as documents and as plans that give the next slot."""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from tawny.clock import (
    MINUTE,
    SECOND,
    Instant,
    format_duration,
    from_datetime,
    iso,
    parse_duration,
    parse_time,
    to_datetime,
)
from tawny.domain import cron, recurrence, zones
from tawny.errors import InvalidInput

Kind = Literal["cron", "every", "at", "after", "rrule"]

EXAMPLES: dict[str, str] = {
    "cron": '{"type": "cron", "expression": "0 8 * * 1-5", "timezone": "Europe/Berlin"}',
    "every": '{"type": "every", "interval": "30m"}',
    "at": '{"type": "at", "time": "2026-12-24T18:00:00+01:00"}',
    "after": '{"type": "after", "delay": "30m"}',
    "rrule": '{"type": "rrule", "expression": "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO",'
    ' "start": "2026-12-07T09:00:00", "timezone": "Europe/Berlin"}',
}
_KEYS: dict[str, tuple[set[str], set[str]]] = {
    "cron": ({"expression"}, {"timezone", "until", "stagger"}),
    "every": ({"interval"}, {"anchor", "until", "timezone"}),
    "at": ({"time"}, {"timezone"}),
    "after": ({"delay"}, {"time", "timezone"}),
    "rrule": ({"expression"}, {"start", "timezone", "until"}),
}
_STALE = MINUTE


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A compiled schedule. `document` is the same in full: zone, anchor and due time written out.

    `one_shot` plans have exactly one slot. `until` (an instant) is the last moment a slot may have.
    """

    kind: Kind
    document: dict[str, Any]
    timezone: str
    one_shot: bool
    until: Instant | None
    find: Callable[[Instant], Instant | None]

    def next_after(self, after: Instant) -> Instant | None:
        """The first slot later than `after`; `None` where there is none (any more)."""
        slot = self.find(after)
        return None if slot is None or (self.until is not None and slot > self.until) else slot

    def slots(self, after: Instant, until: Instant) -> Iterator[Instant]:
        """The slots in (after, until], in order."""
        slot = self.next_after(after)
        while slot is not None and slot <= until:
            yield slot
            slot = self.next_after(slot)


def compile(document: Mapping[str, Any], *, now: Instant, timezone: str = "UTC", new: bool = True) -> Plan:
    """Read a schedule's document; what it leaves open (zone, anchor, due time) is fixed as of `now`.

    With `new` a one-shot in the past and a schedule without any run to come are refused.

    Raises:
        InvalidInput: names the field and a correct example.
    """
    kind = document.get("type")
    if kind not in _KEYS:
        raise InvalidInput(
            f"schedule.type: {kind!r} is none of {', '.join(_KEYS)}", hint=f"for example {EXAMPLES['cron']}"
        )
    _check_keys(kind, document)
    zone_name = document.get("timezone") or timezone
    try:
        zones.load(_text(kind, "timezone", zone_name))
        plan = _COMPILERS[kind](document, now, zone_name)
    except InvalidInput as error:
        where = "" if error.message.startswith("schedule") else "schedule."
        raise InvalidInput(
            f"{where}{error.message}", hint=error.hint or f"for example {EXAMPLES[kind]}"
        ) from error
    except ValueError as error:
        raise InvalidInput(f"schedule: {error}", hint=f"for example {EXAMPLES[kind]}") from error
    if new:
        if kind == "rrule":
            recurrence.refuse_stray(document["expression"])
        _check_future(plan, now)
    return plan


def _check_keys(kind: str, document: Mapping[str, Any]) -> None:
    required, optional = _KEYS[kind]
    if missing := required - document.keys():
        raise InvalidInput(f"schedule.{min(missing)} is missing", hint=f"for example {EXAMPLES[kind]}")
    if unknown := document.keys() - required - optional - {"type"}:
        raise InvalidInput(
            f"schedule.{min(unknown)}: a schedule of type {kind!r} has no such key",
            hint=f"known are {', '.join(sorted(required | optional))}; for example {EXAMPLES[kind]}",
        )


def _check_future(plan: Plan, now: Instant) -> None:
    first = plan.next_after(0 if plan.one_shot else now)
    if first is None:
        raise InvalidInput("schedule: it has no run to come, ever", hint=f"for example {EXAMPLES[plan.kind]}")
    if plan.one_shot and first < now - _STALE:
        raise InvalidInput(
            f"schedule.time: {iso(first)} has passed", hint=f"for example {EXAMPLES[plan.kind]}"
        )


def _text(kind: str, key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidInput(f"schedule.{key}: {value!r} is no text", hint=f"for example {EXAMPLES[kind]}")
    return value


def _duration(kind: str, key: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise InvalidInput(f"schedule.{key}: {value!r} is no duration", hint=f"for example {EXAMPLES[kind]}")
    try:
        return parse_duration(value)
    except ValueError as error:
        raise InvalidInput(f"schedule.{key}: {error}", hint=f"for example {EXAMPLES[kind]}") from error


def read_time(text: Any, *, key: str, now: Instant, timezone: str) -> Instant:
    """A time of a document: with a zone, without one (then in `timezone`), or a duration from `now`.

    Raises:
        InvalidInput: it is none of these.
    """
    if isinstance(text, str):
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            pass
        else:
            if moment.tzinfo is None:
                return zones.to_instant(moment, zones.load(timezone))
            return from_datetime(moment)
    try:
        return parse_time(text, now=now)
    except (ValueError, TypeError, AttributeError) as error:
        raise InvalidInput(
            f"{key}: {text!r} is no time", hint="write it like 2026-12-24T18:00:00+01:00, or 30m from now"
        ) from error


def _until(document: Mapping[str, Any], now: Instant, timezone: str) -> Instant | None:
    if (value := document.get("until")) is None:
        return None
    return read_time(value, key="schedule.until", now=now, timezone=timezone)


def _with_until(document: dict[str, Any], until: Instant | None) -> dict[str, Any]:
    return document if until is None else {**document, "until": iso(until)}


def _cron(document: Mapping[str, Any], now: Instant, timezone: str) -> Plan:
    expression = _text("cron", "expression", document["expression"])
    try:
        parsed = cron.parse(expression)
    except InvalidInput as error:
        raise InvalidInput(f"schedule.expression: {error.message}", hint=error.hint) from error
    zone = zones.load(timezone)
    until = _until(document, now, timezone)
    full: dict[str, Any] = {"type": "cron", "expression": expression, "timezone": timezone}
    if (stagger := document.get("stagger")) is not None:
        full["stagger"] = format_duration(_duration("cron", "stagger", stagger))
    search = zones.next_elapsed if parsed.elapsed else zones.next_fixed
    return Plan(
        kind="cron",
        document=_with_until(full, until),
        timezone=timezone,
        one_shot=False,
        until=until,
        find=lambda after: search(parsed.next_wall, zone, after),
    )


def _every(document: Mapping[str, Any], now: Instant, timezone: str) -> Plan:
    interval = _duration("every", "interval", document["interval"])
    if interval < SECOND:
        raise InvalidInput(
            f"schedule.interval: {document['interval']!r} is less than a second",
            hint=f"for example {EXAMPLES['every']}",
        )
    given = document.get("anchor")
    if given is None:
        # whole milliseconds, so that the document says the anchor exactly
        anchor = now // 1000 * 1000
    else:
        anchor = read_time(given, key="schedule.anchor", now=now, timezone=timezone)
    until = _until(document, now, timezone)

    def find(after: Instant) -> Instant:
        return anchor if after < anchor else anchor + ((after - anchor) // interval + 1) * interval

    return Plan(
        kind="every",
        document=_with_until(
            {"type": "every", "interval": format_duration(interval), "anchor": iso(anchor)}, until
        ),
        timezone=timezone,
        one_shot=False,
        until=until,
        find=find,
    )


def _once(kind: Kind, document: dict[str, Any], due: Instant, timezone: str) -> Plan:
    return Plan(
        kind=kind,
        document=document,
        timezone=timezone,
        one_shot=True,
        until=None,
        find=lambda after: due if due > after else None,
    )


def _at(document: Mapping[str, Any], now: Instant, timezone: str) -> Plan:
    due = read_time(document["time"], key="schedule.time", now=now, timezone=timezone)
    return _once("at", {"type": "at", "time": _exact(due), "timezone": timezone}, due, timezone)


def _after(document: Mapping[str, Any], now: Instant, timezone: str) -> Plan:
    delay = _duration("after", "delay", document["delay"])
    given = document.get("time")
    due = now + delay if given is None else read_time(given, key="schedule.time", now=now, timezone=timezone)
    full = {"type": "after", "delay": format_duration(delay), "time": _exact(due)}
    return _once("after", full, due, timezone)


def _exact(due: Instant) -> str:
    """ISO to the microsecond where it needs one: a one-shot must never be early."""
    if due % 1000 == 0:
        return iso(due)
    return to_datetime(due).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _rrule(document: Mapping[str, Any], now: Instant, timezone: str) -> Plan:
    expression = _text("rrule", "expression", document["expression"])
    zone = zones.load(timezone)
    given = document.get("start")
    start = now if given is None else read_time(given, key="schedule.start", now=now, timezone=timezone)
    first = zones.wall(start, zone).replace(microsecond=0)
    rule = recurrence.read(expression, first, timezone)
    until = _until(document, now, timezone)
    # rules within the day are what wildcards are to cron
    hourly = re.search(r"FREQ=(HOURLY|MINUTELY)", expression.upper())
    search = zones.next_elapsed if hourly else zones.next_fixed
    return Plan(
        kind="rrule",
        document=_with_until(
            {
                "type": "rrule",
                "expression": expression,
                "start": first.isoformat(),
                "timezone": timezone,
            },
            until,
        ),
        timezone=timezone,
        one_shot=False,
        until=until,
        find=lambda after: search(rule.after, zone, after),
    )


_COMPILERS: dict[str, Callable[[Mapping[str, Any], Instant, str], Plan]] = {
    "cron": _cron,
    "every": _every,
    "at": _at,
    "after": _after,
    "rrule": _rrule,
}


def next_runs(
    expression: str | Mapping[str, Any], timezone: str, start: datetime | str, n: int = 5
) -> list[datetime]:
    """The next `n` runs after `start` (itself excluded), as aware datetimes in `timezone`.

    `expression` is a cron expression, or a whole schedule document. `start` is an aware datetime or an ISO string;
    a string without a zone is read in `timezone`. Fewer than `n` come back where the schedule ends before.

    Raises:
        InvalidInput: names the field and a correct example.
    """
    zone = zones.load(timezone)
    if isinstance(start, datetime):
        if start.tzinfo is None:
            raise InvalidInput("start has no time zone", hint="for example 2026-12-01T08:00:00+01:00")
        after = from_datetime(start)
    else:
        after = read_time(start, key="start", now=0, timezone=timezone)
    if isinstance(n, bool) or n < 0:
        raise InvalidInput(f"n: {n!r} is no count", hint="for example 5")
    document = {"type": "cron", "expression": expression} if isinstance(expression, str) else expression
    plan = compile(document, now=after, timezone=timezone, new=False)
    if plan.next_after(after) is None and plan.kind == "cron" and _never(plan, after):
        raise InvalidInput(
            f"schedule.expression: {expression!r} never happens", hint=f"for example {cron.EXAMPLE!r}"
        )
    return [to_datetime(slot, zone) for slot in first_slots(plan, after, n)]


def _never(plan: Plan, after: Instant) -> bool:
    return after < from_datetime(datetime(9000, 1, 1, tzinfo=UTC)) and plan.next_after(0) is None


def first_slots(plan: Plan, after: Instant, n: int) -> list[Instant]:
    """The next `n` slots after `after`, fewer where the plan ends before."""
    found: list[Instant] = []
    slot: Instant | None = after
    while len(found) < n:
        slot = plan.next_after(slot)
        if slot is None:
            break
        found.append(slot)
    return found
