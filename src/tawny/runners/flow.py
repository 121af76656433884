"""The kind `flow`: runs a flow's steps as child tasks; every wait is a row, every finished step a record."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import msgspec

from tawny.clock import parse_duration, parse_time
from tawny.domain.approvals import Question
from tawny.domain.expressions import compile
from tawny.domain.flows import NAMES, WHOLE, Flow, Map, Step, Work, bind, form_of, parse_flow
from tawny.domain.holes import has_holes
from tawny.domain.origin import OWNER, UNTRUSTED, glimpsed, is_from_outside, of_strangers, read_from
from tawny.domain.retry import classify
from tawny.domain.tasks import Json, Notify, Origin, Runtime, Status, Submission, Task
from tawny.domain.templates import fill, placeholders
from tawny.engine.flows import check_order
from tawny.engine.kinds import Context, Kind, Kinds, Result
from tawny.engine.outcomes import Interrupted
from tawny.errors import (
    Changed,
    InvalidInput,
    NotFound,
    PermanentError,
    Refused,
    TawnyError,
    TemporaryError,
)
from tawny.ledger.steps import UNDONE
from tawny.runners.flowfile import read_flow

Scope = dict[str, Any]
_FROM_BEFORE = re.compile(r"\b(?:steps|event)\b")
_ITEM = re.compile(r"\bitem\b")
_INTERPRETERS = frozenset(
    ("sh", "bash", "dash", "zsh", "python", "python3", "node", "perl", "ruby", "php", "xargs")
)


class FlowParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`file` in the workspace's `flows/`, or the `document` itself; `scope` is what a branch inherits."""

    file: str | None = None
    document: dict[str, Json] | None = None
    args: dict[str, Json] = {}
    scope: dict[str, Json] = {}


def flow(folder: Path, kinds: Kinds) -> Kind:
    """The kind; `folder` is where flows are looked up by file name, `kinds` are what their steps may be."""

    def check(params: Mapping[str, Json]) -> None:
        document, file = params.get("document"), params.get("file")
        if isinstance(file, str) and document is None and not has_holes(file):
            try:
                document = read_flow(folder, file)
            except NotFound as error:
                raise InvalidInput(error.message, hint=error.hint) from error
        if isinstance(document, Mapping):
            check_order(cast("Mapping[str, Json]", document), kinds)
            given = params.get("args", {})
            if not has_holes(document) and isinstance(given, Mapping):
                bind(parse_flow(cast("Mapping[str, Json]", document)), cast("Mapping[str, Json]", given))
        elif document is None and file is None:
            raise _neither()

    async def run(ctx: Context, params: FlowParams) -> Result:
        async def snapshot() -> Json:
            if params.document is not None:
                return params.document
            if params.file is None:
                raise _neither()
            return read_flow(folder, params.file)

        # The document is journaled: a file that changes under a running flow changes nothing of that run.
        checked = parse_flow(await ctx.step("document", snapshot, input=[params.file, params.document]))
        scope: Scope = {"args": bind(checked, params.args), "steps": {}, **params.scope}
        return await _Run(ctx, checked, scope, kinds).whole()

    return Kind(
        name="flow",
        params=FlowParams,
        run=run,
        description="Steps that may wait, branch, fan out, ask and undo; YAML or JSON.",
        title=_title,
        timeout=None,
        check=check,
    )


def _neither() -> InvalidInput:
    return InvalidInput("neither file nor document", hint="give one of them")


def _title(params: FlowParams) -> str:
    named = (params.document or {}).get("name", "")
    return f"Flow {params.file or named}".strip()


class _Run:
    """One execution of a flow. Which step comes next follows from the journal alone."""

    def __init__(self, ctx: Context, flow: Flow, scope: Scope, kinds: Kinds) -> None:
        self._ctx = ctx
        self._flow = flow
        self._scope = scope
        self._kinds = kinds
        self._done: list[Step] = []
        self._count = 0
        self._total = len(flow.steps)
        # Steps whose results come from outside: what they fill in is nobody's order.
        self._outside: list[str] = ["what set it going"] if is_from_outside(ctx.task) else []
        self._outside += cast("list[str]", scope.pop("outside", []))
        # Single words of strangers among the results.
        self._glimpsed = cast("list[str]", scope.pop("glimpsed", []))
        # The item of a map is the flow's own word where its list is.
        self._item_is_own = bool(scope.pop("item_is_own", False))

    async def whole(self) -> Result:
        try:
            last = await self._sequence(self._flow.steps, top=True)
        except (Interrupted, Changed):
            # What is recorded stands: it is for a person to say what has become of the flow.
            raise
        except Exception as error:
            await self._compensate()
            told = _told(error, self._outside)
            if told is error:
                raise
            raise told from error
        # Only now: whoever reads the result has read that; a step of the flow's own text is its owner's order still.
        for name in self._outside:
            self._ctx.add_origin(read_from(f"the result of {name}"))
        if self._glimpsed:
            self._ctx.add_origin(read_from("words of somebody else", trust=OWNER, glimpsed=self._glimpsed))
        if self._flow.result is not None:
            last = fill(self._flow.result, self._scope, names=NAMES)
        if isinstance(last, dict):
            return {**last, "steps": self._scope["steps"]}
        return {"text": "" if last is None else str(last), "steps": self._scope["steps"]}

    async def _sequence(self, steps: list[Step], *, top: bool = False) -> Json:
        last: Json = None
        for step in steps:
            last = await self._step(step)
            if top:
                self._count += 1
                await self._ctx.progress(self._count, self._total, unit="steps", message=step.name or step.id)
        return last

    async def _step(self, step: Step) -> Json:
        if step.when is not None and not compile(step.when, NAMES).test(self._scope):
            self._keep(step, "skipped", None)
            return None
        try:
            result = await self._form(step)
        except (Interrupted, Changed):
            raise
        except Exception as error:
            self._keep(step, "failed", None, error=str(error))
            if step.on_error == "continue":
                self._ctx.log(f"{step.id} failed and the flow goes on: {error}", level="warning")
                return None
            raise
        self._keep(step, "succeeded", result)
        self._done.append(step)
        return result

    def _keep(self, step: Step, status: str, result: Json, *, error: str | None = None) -> None:
        self._scope["steps"][step.id] = {"status": status, "result": result, "error": error}

    async def _form(self, step: Step) -> Json:
        match form_of(step):
            case "kind" | "command" | "agent":
                self._refuse_gone(step.id, step)
                return self._taken(step, await self._ctx.child(step.id, self._submission(step, step)))
            case "sequence":
                return await self._sequence(step.sequence or [])
            case "choose":
                holds = compile(step.choose or "", NAMES).test(self._scope)
                return await self._sequence(step.then if holds else step.otherwise)
            case "parallel":
                return await self._parallel(step)
            case "map":
                assert step.map is not None
                return await self._map(step, step.map)
            case "wait_until":
                return await self._wait_until(step)
            case "wait_event":
                return await self._wait_event(step)
            case _:
                return await self._approval(step)

    # --- the forms

    def _refuse_gone(self, key: str, work: Work) -> None:
        """A step that is still to be started must not wait for a kind that was taken away meanwhile.

        Raises:
            PermanentError: it would.
        """
        if work.kind is not None and work.kind not in self._kinds and not self._ctx.is_recorded(key):
            raise PermanentError(
                f"{key}: there is no kind {work.kind!r} any more; install it again and 'tawny tasks retry'"
            )

    def _submission(
        self,
        work: Work,
        step: Step,
        *,
        values: Mapping[str, Any] | None = None,
        item_is_own: bool | None = None,
    ) -> Submission:
        is_own = self._item_is_own if item_is_own is None else item_is_own
        scope = {**self._scope, **(values or {})}
        kind = work.kind
        params: dict[str, Json] = fill(work.params, scope, names=NAMES)
        if work.command is not None:
            kind = "command"
            params = {**params, "argv": [str(part) for part in fill(work.command, scope, names=NAMES)]}
            if work.stdin is not None:
                text = fill(work.stdin, scope, names=NAMES)
                params["input"] = text if isinstance(text, str) else msgspec.json.encode(text).decode()
        elif work.agent is not None:
            kind = "agent_turn"
            params = {**params, "message": str(fill(work.agent, scope, names=NAMES))}
        elif kind is None:
            kind = "flow"
            inner = msgspec.to_builtins(_as_steps(work))
            params = {
                "document": {
                    "name": step.id,
                    "steps": inner,
                    "args": {name: {} for name in self._scope["args"]},
                },
                "args": self._scope["args"],
                "scope": {
                    "steps": dict(self._scope["steps"]),
                    **({"outside": [*self._outside]} if self._outside else {}),
                    **({"glimpsed": [*self._glimpsed]} if self._glimpsed else {}),
                    **({"item_is_own": True} if is_own else {}),
                    **(values or {}),
                },
            }
        return Submission(
            kind=kind,
            params=params,
            origin=self._origin(work, item_is_own=is_own),
            title=step.name or f"{self._flow.name}: {step.id}",
            runtime=Runtime.SUBAGENT,
            # Its result is one on the way: the flow's own is what is told.
            notify=Notify.SILENT,
            timeout=None if step.timeout is None else parse_duration(step.timeout),
            retry=step.retry,
            priority=self._ctx.task.priority,
            session=self._ctx.task.session,
            flow_id=self._ctx.task.flow_id or self._ctx.task.task_id,
        )

    def _origin(self, work: Work, *, item_is_own: bool) -> Origin:
        """A step that is wholly the flow's own text is the owner's order; what came from outside makes it another's."""
        own = _own_words(work)
        detail: dict[str, Json] = {"words": [text for text in own if not placeholders(text)]}
        holes = [hole for text in own for hole in placeholders(text)]
        if not any(_is_from_before(hole, item_is_own=item_is_own) for hole in holes):
            return Origin(detail=detail)
        if self._glimpsed:
            detail["glimpsed"] = [*self._glimpsed]
        if self._outside:
            read = [{"what": f"the result of {name}", "trust": UNTRUSTED} for name in self._outside]
            return Origin(trusted=False, detail={**detail, "read": read})
        return Origin(detail=detail)

    def _taken(self, step: Step, task: Task) -> Json:
        """A child's result, noted as coming from outside where the child has read something untrusted."""
        # Also of a failure: its message is read by the steps that go on after it.
        self._note(step, task)
        return _result(task)

    def _note(self, step: Step, task: Task) -> None:
        said = task.result if task.error is None else [task.result, task.error.message]
        if is_from_outside(task):
            self._heard(step, said)
        else:
            self._glimpse(str(word) for word in glimpsed(task.origin))

    def _heard(self, step: Step, said: Json) -> None:
        """Keep that a stranger's words are among the results from now on."""
        read = of_strangers(step.id, said)
        if read is None:
            return
        if read.trusted:
            self._glimpse(str(word) for word in glimpsed(read))
        elif step.id not in self._outside:
            self._outside.append(step.id)

    def _glimpse(self, words: Iterable[str]) -> None:
        self._glimpsed += [word for word in words if word not in self._glimpsed]

    async def _parallel(self, step: Step) -> Json:
        branches = step.parallel or []
        for branch in branches:
            self._refuse_gone(step.id, branch)
        ended = await self._ctx.children(step.id, [self._submission(branch, branch) for branch in branches])
        results: dict[str, Json] = {}
        broken: Task | None = None
        for branch, task in zip(branches, ended, strict=True):
            self._note(branch, task)
            if task.status is Status.SUCCEEDED:
                results[branch.id] = task.result
                self._keep(branch, "succeeded", task.result)
                self._done.append(branch)
            else:
                self._keep(branch, "failed", None, error=task.error.message if task.error else task.status)
                if branch.on_error == "fail":
                    broken = broken or task
        if broken is not None:
            _result(broken)
        return results

    async def _map(self, step: Step, wanted: Map) -> Json:
        found = compile(wanted.items, NAMES).evaluate(self._scope)
        if not isinstance(found, list):
            raise InvalidInput(
                f"{step.id}: map.items is {type(found).__name__}, not a list",
                hint="give an expression for a list",
            )
        items = cast("list[Json]", found)
        bound = wanted.max_failures or 0

        is_own = not _is_from_before(wanted.items, item_is_own=self._item_is_own)

        def make(item: Json, n: int) -> Submission:
            return self._submission(wanted.do, step, values={"item": item, "n": n}, item_is_own=is_own)

        self._refuse_gone(step.id, wanted.do)

        ended = await self._ctx.each(
            step.id,
            items,
            make,
            input=msgspec.to_builtins(wanted.do),
            concurrency=wanted.concurrency,
            max_failures=bound,
        )
        results: list[Json] = []
        failed: list[str] = []
        for task in ended:
            if task is None:
                continue
            self._note(step, task)
            results.append(task.result if task.status is Status.SUCCEEDED else None)
            if task.status is not Status.SUCCEEDED:
                failed.append(task.error.message if task.error else task.status)
        if len(failed) > bound:
            raise PermanentError(f"{step.id}: {len(failed)} items failed, the first: {failed[0]}")
        return {"items": results, "failed": len(failed)}

    async def _wait_until(self, step: Step) -> Json:
        async def due() -> Json:
            text = fill(step.wait_until, self._scope, names=NAMES)
            try:
                return parse_time(text, now=self._ctx.clock.now())
            except (ValueError, TypeError) as error:
                raise InvalidInput(f"{step.id}: wait_until: {error}") from error

        await self._ctx.wait_until(step.id, await self._ctx.step(f"{step.id}.due", due))
        return None

    async def _wait_event(self, step: Step) -> Json:
        assert step.wait_event is not None
        timeout = step.wait_event.timeout
        data = await self._ctx.wait_event(
            step.id,
            step.wait_event.source,
            filter=step.wait_event.filter,
            timeout=None if timeout is None else parse_duration(timeout),
        )
        if data is None:
            raise PermanentError(f"{step.id}: no event from {step.wait_event.source!r} within {timeout}")
        self._heard(step, data)
        return data

    async def _approval(self, step: Step) -> Json:
        assert step.approval is not None
        wanted = step.approval
        answer = await self._ctx.ask(
            step.id,
            Question(
                tool="flow",
                operation=f"flow.{step.id}",
                arguments=fill(wanted.details, self._scope, names=NAMES),
                level=4,
                reason=str(fill(wanted.reason, self._scope, names=NAMES)),
                origin=self._ctx.task.origin,
                expires_in=None if wanted.expires is None else parse_duration(wanted.expires),
            ),
        )
        approved = answer.status == "approved"
        if not approved and wanted.on_deny == "fail":
            raise Refused(
                f"{step.id}: {answer.status}" + (f" by {answer.answered_by}" if answer.answered_by else "")
            )
        return {"approved": approved, "note": answer.note, **answer.arguments}

    async def _compensate(self) -> None:
        """Undo what was done, the last first; what cannot be undone is logged and does not stop the rest."""
        for step in reversed(self._done):
            if step.compensate is None:
                continue
            task = await self._ctx.child(step.id + UNDONE, self._submission(step.compensate, step))
            if task.status is not Status.SUCCEEDED:
                why = task.error.message if task.error else task.status
                self._ctx.log(f"{step.id} could not be undone: {why}", level="error")


def _is_from_before(expression: str, *, item_is_own: bool) -> bool:
    """Whether an expression reads what earlier steps have brought."""
    return bool(_FROM_BEFORE.search(expression) or (not item_is_own and _ITEM.search(expression)))


def _own_words(work: Work) -> list[str]:
    """The texts of a step that say what is done. What a program merely gets on its input is data, unless it runs it."""
    texts = [*(work.command or []), *(_leaves(work.params))]
    if work.agent is not None:
        texts.append(work.agent)
    program = Path(work.command[0]).name if work.command else ""
    if work.stdin is not None and (program in _INTERPRETERS or placeholders(program)):
        texts.append(work.stdin)
    return texts


def _leaves(value: Json) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [leaf for item in cast("Mapping[str, Json]", value).values() for leaf in _leaves(item)]
    if isinstance(value, list):
        return [leaf for item in cast("list[Json]", value) for leaf in _leaves(item)]
    return []


def _as_steps(work: Work) -> list[Step]:
    """A branch of its own as the steps of a flow of its own."""
    if isinstance(work, Step):
        return [work]
    fields = {name: getattr(work, name) for name in Work.__struct_fields__}
    return [Step(id=WHOLE, **fields)]


def _told(error: Exception, outside: list[str]) -> Exception:
    """The flow's own failure; whoever reads it has read what was heard outside, where something was."""
    if not outside:
        return error
    if not isinstance(error, TawnyError):
        failure = classify(error)
        kind = TemporaryError if failure.kind == "temporary" else PermanentError
        error = kind(failure.message)
    error.result = {**(error.result or {}), "outside": [*outside]}
    return error


def _result(task: Task) -> Json:
    """A child's result; its failure becomes the step's."""
    if task.status is Status.SUCCEEDED:
        return task.result
    why = task.error.message if task.error else task.status
    raise PermanentError(f"{task.title}: {why}")
