"""Flows: a task made of steps that may wait, branch and fan out. The document, checked; nothing runs here."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from tawny.clock import parse_duration
from tawny.domain.expressions import compile
from tawny.domain.tasks import Json, Retry
from tawny.domain.templates import check as check_template
from tawny.errors import InvalidInput

NAMES = frozenset({"args", "steps", "item", "n"})
_ID = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")


class Argument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An argument of the flow; without a `default` it must be given."""

    default: Json | msgspec.UnsetType = msgspec.UNSET
    description: str = ""


class WaitEvent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    source: str
    filter: str = ""
    timeout: str | None = None


class Approval(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A question to the person; a no fails the step, unless `on_deny` is `skip`."""

    reason: str
    details: dict[str, Json] = {}
    expires: str | None = None
    on_deny: str = "fail"


class Work(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What one step does: exactly one of the fields below.

    `kind` with `params` is any kind of task; `command` and `agent` are short for theirs.
    """

    kind: str | None = None
    params: dict[str, Json] = {}
    command: list[str] | None = None
    stdin: str | None = None
    agent: str | None = None
    sequence: list["Step"] | None = None
    parallel: list["Step"] | None = None
    map: "Map | None" = None
    choose: str | None = msgspec.field(default=None, name="if")
    then: list["Step"] = []
    otherwise: list["Step"] = msgspec.field(default=[], name="else")
    wait_until: str | None = None
    wait_event: WaitEvent | None = None
    approval: Approval | None = None


class Step(Work, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """One step of a flow. `when` skips it where it does not hold; `compensate` undoes it if a later step fails."""

    id: str
    name: str = ""
    when: str | None = None
    retry: Retry | None = None
    timeout: str | None = None
    on_error: str = "fail"
    compensate: Work | None = None


class Map(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`do` for each of `items` (an expression), `concurrency` at a time."""

    items: str
    do: Work
    concurrency: int = 4
    max_failures: int | None = None


class Flow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole flow. `result` is an expression or a text with placeholders; else the last step's result."""

    steps: list[Step]
    name: str = "flow"
    description: str = ""
    args: dict[str, Argument] = {}
    result: str | None = None


_FORMS = (
    "kind",
    "command",
    "agent",
    "sequence",
    "parallel",
    "map",
    "choose",
    "wait_until",
    "wait_event",
    "approval",
)


def form_of(work: Work) -> str:
    """Which of the forms a step has.

    Raises:
        InvalidInput: none, or several.
    """
    found = [name for name in _FORMS if getattr(work, name) is not None]
    if len(found) != 1:
        shown = ", ".join("if" if name == "choose" else name for name in (found or _FORMS))
        what = "has several of" if found else "has none of"
        raise InvalidInput(f"it {what}: {shown}", hint="a step does exactly one thing")
    return found[0]


def parse_flow(document: Mapping[str, Any]) -> Flow:
    """A checked flow.

    Raises:
        InvalidInput: names the place as a path (`steps[2].params`) and the mend.
    """
    try:
        flow = msgspec.convert(document, Flow)
    except msgspec.ValidationError as error:
        problem, _, path = str(error).partition(" - at `$")
        raise InvalidInput(
            f"{path.rstrip('`').lstrip('.') or 'flow'}: {problem}", hint="see docs/how-to/flows.md"
        ) from error
    if not flow.steps:
        raise InvalidInput("steps: the flow has no steps", hint="give at least one")
    seen: set[str] = set()
    for path, step in walk(flow.steps, "steps"):
        try:
            _check_step(step, seen)
        except InvalidInput as error:
            raise InvalidInput(f"{path} ({step.id}): {error.message}", hint=error.hint) from error
    if flow.result is not None:
        check_template(flow.result, NAMES)
    return flow


def walk(steps: list[Step], path: str) -> Iterator[tuple[str, Step]]:
    """Every step with its path, outer ones first."""
    for index, step in enumerate(steps):
        here = f"{path}[{index}]"
        yield here, step
        for name in ("sequence", "parallel", "then", "otherwise"):
            inner = getattr(step, name)
            if inner:
                yield from walk(inner, f"{here}.{'else' if name == 'otherwise' else name}")


def _check_step(step: Step, seen: set[str]) -> None:
    if not _ID.fullmatch(step.id):
        raise InvalidInput(f"id: {step.id!r} is none", hint="letters, digits and _, such as fetch_page")
    if step.id in seen:
        raise InvalidInput(f"id: {step.id!r} stands twice", hint="give each step its own")
    seen.add(step.id)
    form_of(step)
    if step.on_error not in ("fail", "continue"):
        raise InvalidInput(f"on_error: {step.on_error!r} is none", hint="one of fail, continue")
    if step.timeout is not None:
        _duration("timeout", step.timeout)
    for field, text in (
        ("when", step.when),
        ("if", step.choose),
        ("map.items", step.map.items if step.map else None),
    ):
        if text is not None:
            _expression(field, text)
    for work in (step, step.compensate, step.map.do if step.map else None):
        if work is not None:
            form_of(work)
            for value in (work.params, work.command, work.stdin, work.agent, work.wait_until):
                check_template(value, NAMES)
    if step.approval is not None:
        check_template(step.approval.details, NAMES)
        check_template(step.approval.reason, NAMES)


def _expression(field: str, text: str) -> None:
    try:
        compile(text, NAMES)
    except InvalidInput as error:
        raise InvalidInput(f"{field}: {error.message}", hint=error.hint) from error


def _duration(field: str, text: str) -> None:
    try:
        parse_duration(text)
    except ValueError as error:
        raise InvalidInput(f"{field}: {error}") from error


def bind(flow: Flow, given: Mapping[str, Json]) -> dict[str, Json]:
    """The arguments of a run, defaults filled in.

    Raises:
        InvalidInput: one is missing or unknown.
    """
    if unknown := set(given) - set(flow.args):
        known = ", ".join(flow.args) or "none"
        raise InvalidInput(f"args: the flow has no argument {sorted(unknown)[0]!r}", hint=f"it has: {known}")
    bound: dict[str, Json] = {}
    for name, argument in flow.args.items():
        if name in given:
            bound[name] = given[name]
        elif argument.default is msgspec.UNSET:
            raise InvalidInput(f"args: {name!r} is missing", hint=f"give it as {name}=…")
        else:
            bound[name] = argument.default
    return bound
