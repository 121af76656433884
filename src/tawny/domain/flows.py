"""Flows: a task made of steps that may wait, branch and fan out. The document, checked; nothing runs here."""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec

from tawny.clock import parse_duration
from tawny.domain.expressions import compile
from tawny.domain.retry import check as check_retry
from tawny.domain.tasks import Json, Retry
from tawny.domain.templates import check as check_template
from tawny.errors import InvalidInput

NAMES = frozenset({"args", "steps", "item", "n"})
ID = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
WHOLE = "do"
"""The id of the one step of a flow that does what `map` or `compensate` says."""


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
    on_deny: Literal["fail", "skip"] = "fail"


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
    on_error: Literal["fail", "continue"] = "fail"
    compensate: Work | None = None


class Map(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`do` for each of `items` (an expression), `concurrency` at a time."""

    items: str
    do: Work
    concurrency: Annotated[int, msgspec.Meta(ge=1)] = 4
    max_failures: Annotated[int, msgspec.Meta(ge=0)] | None = None


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


NO_TASK = {
    "sequence": "give it to the steps inside",
    "parallel": "give it to the branches",
    "choose": "give it to the steps inside",
    "wait_until": "leave it out: the wait ends at its time",
    "wait_event": "a wait has 'wait_event.timeout'",
    "approval": "a question has 'approval.expires'",
}
"""The forms that are no tasks of their own, which alone have retries and a timeout; and what to write instead."""


def forms() -> list[str]:
    """The fields of which a step has exactly one, as they are written."""
    return ["if" if name == "choose" else name for name in _FORMS]


def form_of(work: Work) -> str:
    """Which of the forms a step has.

    Raises:
        InvalidInput: none, or several.
    """
    found = [name for name in _FORMS if getattr(work, name) is not None]
    if len(found) != 1:
        shown = ", ".join("if" if name == "choose" else name for name in found) or ", ".join(forms())
        what = "has several of" if found else "has none of"
        raise InvalidInput(f"it {what}: {shown}", hint="a step does exactly one thing")
    return found[0]


_CHOICES = {
    field.encode_name: get_args(field.type)
    for struct in (Step, Approval)
    for field in msgspec.structs.fields(struct)
    if get_origin(field.type) is Literal
}
"""The values of those fields that have only some."""


def parse_flow(document: Mapping[str, Any], *, kinds: Collection[str] | None = None) -> Flow:
    """A checked flow. With `kinds`, each kind that it names has to be one of them.

    Raises:
        InvalidInput: names the place as a path (`steps[2].params`) and the mend.
    """
    try:
        flow = msgspec.convert(document, Flow)
    except msgspec.ValidationError as error:
        problem, _, rest = str(error).partition(" - at `$")
        path = rest.rstrip("`").lstrip(".")
        choices = _CHOICES.get(path.rpartition(".")[2])
        raise InvalidInput(
            f"{path or 'flow'}: {problem}",
            hint=f"one of {', '.join(choices)}" if choices else "see docs/how-to/flows.md",
        ) from error
    if not flow.steps:
        raise InvalidInput("steps: the flow has no steps", hint="give at least one")
    seen: set[tuple[str, str]] = set()
    for path, within, work in walk(flow.steps, "steps"):
        try:
            if isinstance(work, Step):
                _check_step(work, within, seen)
            _check_work(work, kinds)
        except InvalidInput as error:
            place = f"{path} ({work.id})" if isinstance(work, Step) else path
            raise InvalidInput(f"{place}: {error.message}", hint=error.hint) from error
    if flow.result is not None:
        check_template(flow.result, NAMES)
    return flow


def walk(steps: list[Step], path: str, within: str = "") -> Iterator[tuple[str, str, Work]]:
    """Every step and whatever else does work, with its path, outer ones first.

    The second is where its id has to be its own: what `map` and `compensate` do is a flow of its own.
    """
    for index, step in enumerate(steps):
        yield from _walk(step, f"{path}[{index}]", within)


def _walk(work: Work, path: str, within: str) -> Iterator[tuple[str, str, Work]]:
    yield path, within, work
    for name in ("sequence", "parallel", "then", "otherwise"):
        inner = getattr(work, name)
        if inner:
            yield from walk(inner, f"{path}.{'else' if name == 'otherwise' else name}", within)
    if work.map is not None:
        yield from _walk(work.map.do, f"{path}.map.do", f"{path}.map.do")
    if isinstance(work, Step) and work.compensate is not None:
        yield from _walk(work.compensate, f"{path}.compensate", f"{path}.compensate")


def _check_step(step: Step, within: str, seen: set[tuple[str, str]]) -> None:
    if not ID.fullmatch(step.id):
        raise InvalidInput(f"id: {step.id!r} is none", hint="letters, digits and _, such as fetch_page")
    if (within, step.id) in seen or (within and step.id == WHOLE):
        raise InvalidInput(f"id: {step.id!r} stands twice", hint="give each step its own")
    seen.add((within, step.id))
    form = form_of(step)
    for field in ("retry", "timeout"):
        if getattr(step, field) is not None and form in NO_TASK:
            raise InvalidInput(f"{field}: this form of step takes none", hint=NO_TASK[form])
    if step.timeout is not None:
        _duration("timeout", step.timeout)
    if step.retry is not None:
        check_retry(step.retry)
    if step.when is not None:
        _expression("when", step.when)


def _check_work(work: Work, kinds: Collection[str] | None) -> None:
    form_of(work)
    if work.kind is not None and kinds is not None and work.kind not in kinds:
        raise InvalidInput(f"kind: there is no kind {work.kind!r}", hint=f"one of {', '.join(sorted(kinds))}")
    _check_company(work)
    if work.choose is not None:
        _expression("if", work.choose)
    if work.map is not None:
        _expression("map.items", work.map.items)
    for value in (work.params, work.command, work.stdin, work.agent, work.wait_until):
        check_template(value, NAMES)
    if work.wait_event is not None:
        if work.wait_event.filter:
            _expression("wait_event.filter", work.wait_event.filter, None)
        if work.wait_event.timeout is not None:
            _duration("wait_event.timeout", work.wait_event.timeout)
    if work.approval is not None:
        check_template(work.approval.details, NAMES)
        check_template(work.approval.reason, NAMES)
        if work.approval.expires is not None:
            _duration("approval.expires", work.approval.expires)


def _check_company(work: Work) -> None:
    """What stands with some forms alone would mean nothing to the others."""
    if work.stdin is not None and work.command is None:
        raise InvalidInput("stdin: it stands without a command", hint="write the program as 'command'")
    if work.params and work.kind is None and work.command is None and work.agent is None:
        raise InvalidInput("params: this form of step takes none", hint="give them to a 'kind'")
    if work.choose is None and (work.then or work.otherwise):
        field = "then" if work.then else "else"
        raise InvalidInput(f"{field}: it stands without an if", hint="write the condition as 'if'")


def _expression(field: str, text: str, names: frozenset[str] | None = NAMES) -> None:
    try:
        compile(text, names)
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
