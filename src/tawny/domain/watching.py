"""One look of a watch: what was seen, what it is compared with, and whether it fires. State in, state out."""

from collections.abc import Mapping
from typing import Any, cast

import msgspec

from tawny.domain import expressions
from tawny.domain.automations import WATCH_NAMES, Watch
from tawny.domain.tasks import Json

State = Mapping[str, Json]


class Step(msgspec.Struct, frozen=True):
    """What a look came to: the state to keep, whether it fires, and the names that texts may use."""

    state: dict[str, Json]
    fires: bool
    names: dict[str, Json]


def step(watch: Watch, state: State, observed: Json) -> Step:
    """Take in what a probe saw.

    An edge fires when the condition begins to hold, and is armed again once `clear` holds (without it: once the
    condition does not). `confirm` looks in a row must agree before it fires.

    Raises:
        EvaluationError: the values do not go with the condition.
    """
    names = names_of(state, observed)
    holds = _test(watch.condition, names)
    agreeing = _count(state.get("agreeing")) + 1 if holds else 0
    armed = bool(state.get("armed", True))
    if not armed and (_test(watch.clear, names) if watch.clear else not holds):
        armed = True
    fires = holds and agreeing >= watch.confirm and (armed or watch.rearm == "always")
    value = names["value"]
    kept: dict[str, Json] = {
        "value": value,
        "previous": state.get("value"),
        "baseline": value if fires or "baseline" not in state else state.get("baseline"),
        "first": value if "first" not in state else state.get("first"),
        "armed": armed and not fires,
        "agreeing": min(agreeing, watch.confirm),
    }
    return Step(kept, fires, names)


def names_of(state: State, observed: Json) -> dict[str, Json]:
    """What a condition may use: see `WATCH_NAMES`; the keys of an object that was seen are names too."""
    fields: dict[str, Json] = (
        dict(cast("Mapping[str, Json]", observed)) if isinstance(observed, Mapping) else {}
    )
    seen = cast(Json, observed)
    value: Json = next((fields[name] for name in ("value", "price") if name in fields), seen)
    previous, baseline, first = state.get("value"), state.get("baseline"), state.get("first")
    names: dict[str, Json] = {
        **fields,
        "value": value,
        "previous": previous,
        "baseline": baseline,
        "first": first if first is not None else value,
        "change_percent": percent(previous, value),
        "baseline_percent": percent(baseline, value),
        "changed": previous is not None and previous != value,
        "text": str(fields.get("text", value)),
    }
    if _is_number(value):
        names.setdefault("price", value)
    return names


def percent(before: Json, after: Json) -> float | None:
    """By how many percent a number has moved; `None` where there is nothing to compare."""
    if not _is_number(before) or not _is_number(after) or before == 0:
        return None
    return round((float(after) - float(before)) / abs(float(before)) * 100, 6)


def failed(state: State, problem: str) -> dict[str, Json]:
    """The state after a probe that did not answer."""
    return {**state, "failed": _count(state.get("failed")) + 1, "error": problem[:500]}


def failures(state: State) -> int:
    """How many probes in a row did not answer."""
    return _count(state.get("failed"))


def _test(text: str, names: Mapping[str, Json]) -> bool:
    return expressions.compile(text, WATCH_NAMES, extra_names=True).test(names)


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _count(value: Any) -> int:
    return value if isinstance(value, int) else 0
