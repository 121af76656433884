"""Standing orders: one YAML programme, checked and compiled into automations bounded by its scope."""

from collections.abc import Callable
from typing import Annotated, Any, cast

import msgspec
import yaml

from tawny.domain import automations
from tawny.domain.scope import Gate, Scope
from tawny.domain.tasks import Budget, Json
from tawny.errors import InvalidInput

PREFIX = "order-"
EXAMPLE = "name: Papers / scope: {allow: [web.fetch]} / triggers: [{schedule: every day at 8}] / action: {…}"


class Escalation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who is told when the order fails `after` times in a row, is disabled, or was denied something (`denied`)."""

    to: tuple[automations.Name, ...]
    after: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1
    denied: bool = True


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A programme as it is written."""

    name: automations.Name
    scope: Scope
    triggers: list[dict[str, Json]]
    action: automations.Action
    gates: tuple[Gate, ...] = ()
    budget: Budget | None = None
    escalation: Escalation | None = None


def compile(
    text: str, *, stem: str, file: str, check: Callable[[dict[str, Any]], Any]
) -> list[dict[str, Any]]:
    """The automation documents of a programme, one for each trigger; `check` refuses a wrong one.

    Raises:
        InvalidInput: names the file, the line and how to mend it.
    """
    try:
        given = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InvalidInput(f"{file}:{line}: {error.problem}", hint="mend the YAML there") from error
    try:
        order = msgspec.convert(given, Order)
    except msgspec.ValidationError as error:
        at = str(error).partition("`$.")[2].split(".")[0].split("[")[0].rstrip("`")
        named = at or str(error).partition("field `")[2].split("`")[0]
        raise InvalidInput(
            f"{file}:{_line(text, named)}: {error}", hint=f"write it like this: {EXAMPLE}"
        ) from error
    bounds = msgspec.structs.replace(order.scope, gates=(*order.scope.gates, *order.gates))
    documents: list[dict[str, Any]] = []
    for number, trigger in enumerate(order.triggers):
        if not set(trigger) <= {"schedule", "on", "watch", "timezone"}:
            raise InvalidInput(
                f"{file}:{_line(text, 'triggers')}: triggers[{number}] has an unknown key",
                hint="a trigger is one of schedule, on, watch",
            )
        policy: dict[str, Any] = {"scope": msgspec.to_builtins(bounds)}
        if order.budget is not None:
            policy["budget"] = msgspec.to_builtins(order.budget)
        document: dict[str, Any] = {
            **trigger,
            "id": f"{PREFIX}{stem}-{number}",
            "name": order.name if len(order.triggers) == 1 else f"{order.name} ({number + 1})",
            "action": msgspec.to_builtins(order.action),
            "policy": policy,
        }
        if order.escalation is not None:
            document["delivery"] = {"failures_to": list(order.escalation.to)}
            policy |= {"alert_after": order.escalation.after, "tell_denied": order.escalation.denied}
        try:
            check(document)
        except InvalidInput as error:
            place = next((key for key in ("gates", "action") if key in error.message), "triggers")
            raise InvalidInput(f"{file}:{_line(text, place)}: {error.message}", hint=error.hint) from error
        documents.append(document)
    return documents


def _line(text: str, key: str) -> int:
    node = cast("Any", yaml.compose(text, Loader=yaml.SafeLoader))  # pyright: ignore[reportUnknownMemberType]
    if isinstance(node, yaml.MappingNode):
        for name, _ in cast("list[tuple[Any, Any]]", node.value):
            if name.value == key:
                return int(name.start_mark.line) + 1
    return 1
