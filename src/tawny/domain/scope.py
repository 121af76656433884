"""What a standing order may do: the bounds that travel with its runs, whatever else would allow more."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, Literal, cast

import msgspec

from tawny.domain import expressions
from tawny.domain.rules import NAMES, Action, Rule
from tawny.domain.tasks import Json, Origin
from tawny.errors import InvalidInput

KEY = "scopes"
"""Where a task's origin keeps its scopes: a list, each of which must let a call through."""


GATE = 0
"""The number of a gate among rules, which count from 1."""


class Gate(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """An expression (in the words of the approval rules) that must hold; where it does not, it asks or refuses."""

    condition: str
    otherwise: Literal["ask", "deny"] = "ask"


class Scope(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Names are operations (`mail.send`), tools or kinds (`command`), `*` within them matches anything.

    `targets`, where given, bounds the links, paths and recipients of every call in the same way.
    """

    allow: tuple[str, ...]
    deny: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    gates: tuple[Gate, ...] = ()


def check(scope: Scope, *, field: str) -> None:
    """Raises InvalidInput: a gate is no expression; names it and a correct example."""
    for number, gate in enumerate(scope.gates):
        try:
            expressions.compile(gate.condition, NAMES, example="amount < 100")
        except InvalidInput as error:
            raise InvalidInput(
                f"{field}.gates[{number}].condition: {error.message}", hint=error.hint
            ) from error


def bound(origin: Origin, scope: Scope | None) -> Origin:
    """The origin with this scope beside those it has."""
    if scope is None:
        return origin
    kept = cast("list[Json]", origin.detail.get(KEY) or [])
    detail: Mapping[str, Any] = {**origin.detail, KEY: [*kept, msgspec.to_builtins(scope)]}
    return msgspec.structs.replace(origin, detail=detail)


def of(origin: Origin) -> tuple[Scope, ...]:
    """The scopes a run is bound by; none for work that is no standing order's."""
    return msgspec.convert(origin.detail.get(KEY) or [], tuple[Scope, ...])


def refusal(scopes: tuple[Scope, ...], names: tuple[str, ...], targets: tuple[str, ...]) -> str:
    """Why a call known by these names is outside a scope; empty where it is inside of all."""
    for scope in scopes:
        if _any(names, scope.deny):
            return f"{names[0]} is denied by the standing order's scope"
        if not _any(names, scope.allow):
            return f"{names[0]} is outside the standing order's scope"
        outside = [one for one in targets if scope.targets and not _within(one, scope.targets)]
        if outside:
            return f"{names[0]} reaches a target outside the standing order's scope"
    return ""


def gates(scopes: tuple[Scope, ...]) -> tuple[Rule, ...]:
    """The gates as approval rules, which apply where the gate's condition does not hold."""
    found: list[Rule] = []
    for gate in (gate for scope in scopes for gate in scope.gates):
        condition = f"not ({gate.condition})"
        action = Action.DENY if gate.otherwise == "deny" else Action.REQUIRE_APPROVAL
        expression = expressions.compile(condition, NAMES, example="amount < 100")
        found.append(Rule(GATE, 0, condition, action, expression, "a gate of the standing order"))
    return tuple(found)


def _within(target: str, patterns: tuple[str, ...]) -> bool:
    climbs = ".." in target.replace("\\", "/").split("/")
    return not climbs and _any((target,), patterns)


def _any(names: tuple[str, ...], patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for name in names for pattern in patterns)
