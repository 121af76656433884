"""The one door: every call of a tool, whoever asks for it and however it came in, passes here and nowhere else.

validate → loop guard → level, rules and what was read → a person's yes where it is asked → run (journaled) → redact
and shorten → record. A run that starts again from the top gets the recorded results of the calls it has made.
"""

import difflib
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Any

import msgspec

from tawny.clock import stopwatch
from tawny.domain import scope
from tawny.domain.approvals import Answer, Question, fingerprint
from tawny.domain.loops import Loop, LoopGuard
from tawny.domain.origin import OWNER, is_owners, of_strangers, read_from, standing
from tawny.domain.policy import Call, Decision, Verdict, decide
from tawny.domain.rules import Rules
from tawny.domain.tasks import Effect, Json, Origin, Usage
from tawny.engine.kinds import Context
from tawny.errors import InvalidInput, PermanentError, Refused, TawnyError, Uncertain
from tawny.ledger import audit, grants
from tawny.ledger.database import Ledger, Tx
from tawny.log import redact
from tawny.sandbox.held import HELD
from tawny.tools.answers import asker, held_to, hold_to, said_no
from tawny.tools.outcomes import failure, is_heard, opened, tell_owner, warned, where
from tawny.tools.registry import Operation, Tool, Tools
from tawny.tools.results import as_text, clean, longest, shorten, size

Arguments = dict[str, Json]

_NO_CONTACTS: tuple[str, ...] = ()


async def _no_contacts() -> Collection[str]:
    return _NO_CONTACTS


@dataclass
class CallContext:
    """What one call of a tool may use (`registry.ToolContext`)."""

    run: Context
    call_id: str
    session: str | None
    origin: Origin


class Door:
    """Built once; knows the tools and the owner's rules.

    Args:
        tools: all tools by name.
        ledger: where decisions are recorded.
        rules: the owner's rules as they are now.
        contacts: addresses and names of the owner's contacts, for rules that speak of them.
        redact: takes known secrets out of a text.
    """

    def __init__(
        self,
        tools: Tools,
        ledger: Ledger,
        *,
        rules: Callable[[], Rules] = Rules,
        contacts: Callable[[], Awaitable[Collection[str]]] = _no_contacts,
        redact: Callable[[str], str] = redact,
    ) -> None:
        self.tools = tools
        self._ledger = ledger
        self._rules = rules
        self._contacts = contacts
        self._redact = redact

    def for_run(
        self,
        context: Context,
        *,
        session: str | None = None,
        window: int | None = None,
        tools: Tools | None = None,
    ) -> "Calls":
        """The door for one execution. `window` is the model's, in tokens; `tools` those of an agent of its own."""
        return Calls(self, context, tools=tools or self.tools, session=session, window=window)

    async def permit(
        self, context: Context, *, tool: str, operation: Operation, arguments: Arguments, key: str
    ) -> Arguments:
        """Ask leave for work that is no tool call (a `command` or `http` task); the arguments to use, perhaps edited.

        What the owner's own hand submitted, or a standing order of his, has been said yes to already.

        Raises:
            Refused: a rule or a person said no.
        """
        origin = context.task.origin
        if is_owners(origin):
            decision = await self.decide(context, tool, operation)
            if decision.verdict is not Verdict.DENY and decision.rule != scope.GATE:
                return arguments
        else:
            decision = await self.decide(context, tool, operation)
        if decision.verdict is Verdict.DENY:
            await self.record(context, tool, operation, decision, arguments, outcome="refused")
            raise Refused(f"{tool}: {decision.reason}")
        if decision.verdict is Verdict.ASK:
            answer = await self.ask(
                context, f"ask:{key}", tool=tool, operation=operation, decision=decision, arguments=arguments
            )
            if answer.status != "approved":
                await self.record(context, tool, operation, decision, arguments, outcome=answer.status)
                raise Refused(said_no(tool, answer))
            if answer.arguments == arguments:
                hold_to(answer, tool, operation, arguments)
            return answer.arguments
        return arguments

    async def decide(self, context: Context, tool: str, operation: Operation) -> Decision:
        """What the policy says of a call of this run, now."""
        task = context.task
        rules, scopes = self._rules(), scope.of(task.origin)
        names = (operation.name, tool)
        if outside := scope.refusal(scopes, names, (*operation.targets, *operation.recipients)):
            return Decision(verdict=Verdict.DENY, level=operation.level, reasons=(outside,))
        if scopes:
            rules = msgspec.structs.replace(rules, rules=(*scope.gates(scopes), *rules.rules))
        call = Call(
            tool=tool,
            name=operation.name,
            operation=operation.operation,
            level=operation.level,
            targets=operation.targets,
            recipients=operation.recipients,
            text=operation.text,
            subjects=operation.subjects,
            amount=operation.amount,
            currency=operation.currency,
            channel=operation.channel,
            kind=task.kind,
        )
        contacts = await self._contacts() if rules.need_contacts else _NO_CONTACTS
        return decide(call, rules=rules, standing=standing(task.origin, task.params), contacts=contacts)

    async def ask(
        self,
        context: Context,
        key: str,
        *,
        tool: str,
        operation: Operation,
        decision: Decision,
        arguments: Arguments,
    ) -> Answer:
        """A person's answer: a standing grant's at once, else the task waits for one and costs nothing meanwhile."""
        task_id = context.task.task_id
        if not context.is_recorded(key):
            granted = await self._ledger.write(
                lambda tx: grants.use(
                    tx,
                    task_id=task_id,
                    tool=tool,
                    operation=operation.name,
                    arguments=arguments,
                    bound=operation.bound,
                )
            )
            if granted is not None:
                return Answer(
                    status="approved",
                    arguments=arguments,
                    approval_id=granted.approval_id,
                    answered_by=granted.granted_by,
                    note=f"standing grant {granted.grant_id}",
                    fingerprint=fingerprint(tool, operation.name, arguments, operation.bound),
                )
        question = Question(
            tool=tool,
            operation=operation.name,
            arguments=arguments,
            level=decision.level,
            reason=self._redact(decision.reason + held_to(operation.bound)),
            origin=context.task.origin,
            bound=operation.bound,
            may_confirm=asker(context.task.origin) if decision.confirmation else (),
        )
        return await context.ask(key, question)

    async def bind(self, answer: Answer, operation: Operation) -> None:
        """Let an "always" that came with edited arguments hold for what those name."""
        if operation.bound:
            await self._ledger.write(lambda tx: grants.bind(tx, answer.approval_id, bound=operation.bound))

    async def record(
        self,
        context: Context,
        tool: str,
        operation: Operation,
        decision: Decision,
        arguments: Arguments,
        *,
        outcome: str,
    ) -> None:
        """Record a call that nothing came of."""
        await self._ledger.write(self.note(context, tool, operation, decision, arguments, outcome=outcome))

    def note(
        self,
        context: Context,
        tool: str,
        operation: Operation,
        decision: Decision,
        arguments: Arguments,
        *,
        outcome: str,
        seconds: float = 0.0,
        tell: str = "",
    ) -> Callable[[Tx], None]:
        """What writes the audit row of a call, and, where the owner is to be told of it, the message."""
        task = context.task
        detail: dict[str, Any] = {
            "tool": tool,
            "operation": operation.name,
            "level": decision.level,
            "outcome": outcome,
            "fingerprint": fingerprint(tool, operation.name, arguments, operation.bound),
            "to": [self._redact(where(target)) for target in (*operation.recipients, *operation.targets)][:5],
        }
        if decision.rule is not None:
            detail["rule"] = decision.rule
        if decision.untrusted:
            detail["untrusted"] = True

        def write(tx: Tx) -> None:
            audit.append(
                tx,
                "tool.call",
                actor=f"task:{task.task_id}",
                task_id=task.task_id,
                detail=detail,
                usage={"wall_seconds": round(seconds, 3)},
                decision=decision.verdict.value,
            )
            if tell:
                tell_owner(tx, context, tool, operation, key=tell)

        return write

    @property
    def redact(self) -> Callable[[str], str]:
        """Takes known secrets out of a text."""
        return self._redact


class Calls:
    """The calls of one execution."""

    def __init__(
        self, door: Door, context: Context, *, tools: Tools, session: str | None, window: int | None
    ) -> None:
        self._door = door
        self._tools = tools
        self._context = context
        self._session = session
        self._most = longest(window)
        self._loops = LoopGuard()

    async def call(self, name: str, arguments: Arguments, *, call_id: str) -> Json:
        """Make a call; its result, redacted and shortened. `call_id` is the same whenever the run starts again.

        Raises:
            InvalidInput: no such tool, or the arguments do not fit.
            Refused: policy, or a person, or the loop guard said no; the model gets to read why.
            PermanentError: the run goes in circles and ends here (code `loop`).
            TawnyError: the tool failed.
        """
        context = self._context
        tool = self._tool(name)
        params = _checked(tool, arguments)
        self._guard(name, arguments)
        key = f"call:{call_id}"
        try:
            if context.is_recorded(key):
                kept = await context.step(key, _never, input=await self._final(call_id, arguments))
                result = self._opened(tool, params, kept)
            else:
                result = await self._decided(tool, params, arguments, call_id=call_id)
        except Refused as refusal:
            self._loops.after(name, arguments, {"refused": refusal.message})
            raise
        except TawnyError as error:
            self._loops.after(name, arguments, {"error": error.message})
            raise
        self._note_origin(tool, params, result)
        if self._loops.after(name, arguments, result) is Loop.WARN:
            result = warned(result)
        return result

    async def _decided(self, tool: Tool, params: Any, arguments: Arguments, *, call_id: str) -> Json:
        """Decide on a call that has not been made yet, ask where that is the decision, and make it."""
        door, context, asked = self._door, self._context, f"ask:{call_id}"
        operation = tool.operation(params)
        decision = await door.decide(context, tool.name, operation)
        # Once a person was asked, their answer counts, even if the rules have become milder since.
        if decision.verdict is Verdict.ASK or (
            context.is_recorded(asked) and decision.verdict is not Verdict.DENY
        ):
            answer = await door.ask(
                context, asked, tool=tool.name, operation=operation, decision=decision, arguments=arguments
            )
            if answer.status != "approved":
                await door.record(context, tool.name, operation, decision, arguments, outcome=answer.status)
                raise Refused(said_no(tool.name, answer))
            if answer.arguments != arguments:
                params, arguments = _checked(tool, answer.arguments, edited=True), answer.arguments
                operation = tool.operation(params)
                again = await door.decide(context, tool.name, operation)
                decision = again if again.verdict is Verdict.DENY else decision
                await door.bind(answer, operation)
            else:
                hold_to(answer, tool.name, operation, arguments)
        return await self._run(tool, params, arguments, operation, decision, key=f"call:{call_id}")

    async def _final(self, call_id: str, arguments: Arguments) -> Arguments:
        """The arguments a recorded call was made with: edited ones where a person edited them."""
        asked = f"ask:{call_id}"
        if not self._context.is_recorded(asked):
            return arguments
        unasked = Question(tool="", operation="", arguments={}, level=0, reason="")
        return (await self._context.ask(asked, unasked)).arguments

    async def _run(
        self,
        tool: Tool,
        params: Any,
        arguments: Arguments,
        operation: Operation,
        decision: Decision,
        *,
        key: str,
    ) -> Json:
        door, context = self._door, self._context
        effect = tool.effect if isinstance(tool.effect, Effect) else tool.effect(params)
        call = CallContext(context, key.removeprefix("call:"), self._session, context.task.origin)
        denied = decision.verdict is Verdict.DENY
        notes: list[Callable[[Tx], None]] = []

        def note(outcome: str, *, seconds: float = 0.0, tell: str = "") -> None:
            notes.append(
                door.note(
                    context,
                    tool.name,
                    operation,
                    decision,
                    arguments,
                    outcome=outcome,
                    seconds=seconds,
                    tell=tell,
                )
            )

        def write(tx: Tx) -> None:
            for written in notes:
                written(tx)

        async def act() -> Json:
            if denied:
                note("refused")
                return failure(Refused(f"{tool.name}: {decision.reason}"))
            elapsed = stopwatch()
            # What was decided on is looked at once more by whoever starts it, as late as can be.
            HELD.set(operation.bound)
            try:
                found = await tool.run(call, params)
            except Uncertain:
                raise  # nobody can know whether it happened: the step stays open until a person has said
            except TawnyError as error:
                note(error.code, seconds=elapsed())
                return failure(error, door.redact, heard=tool.reads_untrusted and not error.own_words)
            except Exception as error:  # noqa: BLE001 - a tool is a stranger's code; its failure is a result
                note("error", seconds=elapsed())
                bug = PermanentError(f"{tool.name}: {type(error).__name__}: {error}")
                return failure(bug, door.redact, heard=tool.reads_untrusted)
            found = clean(found, door.redact)
            self._note_origin(tool, params, found)
            context.spend(Usage(tool_calls=1))
            note("done", seconds=elapsed(), tell=key if decision.verdict is Verdict.NOTIFY else "")
            return {"value": await self._fit(found, key)}

        kept_effect = Effect.PURE if denied else effect
        # The row of the call and the record of its step are one commit: there is no moment with one of them.
        record = await context.step(key, act, input=arguments, effect=kept_effect, name=tool.name, also=write)
        return self._opened(tool, params, record)

    def _opened(self, tool: Tool, params: Any, record: Json) -> Json:
        """The value of a recorded call; its failure is raised, and read like a value where it may quote a stranger."""
        if is_heard(record):
            self._context.add_origin(read_from(f"a failure of {_about(tool, params)}"))
        return opened(record)

    async def _fit(self, found: Json, key: str) -> Json:
        if size(found) <= self._most:
            return found
        artifact = f"{key.replace(':', '-')}.txt"
        await self._context.artifact(artifact, as_text(found), media_type="text/plain")
        return shorten(found, self._most, whole=f"artifact {artifact}")

    def _tool(self, name: str) -> Tool:
        tool = self._tools.get(name)
        if tool is None:
            close = difflib.get_close_matches(name, self._tools, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(sorted(self._tools))}"
            raise InvalidInput(f"there is no tool {name!r}", hint=hint)
        return tool

    def _guard(self, name: str, arguments: Arguments) -> None:
        match self._loops.before(name, arguments):
            case Loop.END:
                raise PermanentError(
                    f"the run goes in circles: {name} with the same arguments and the same outcome, over and over",
                    hint="give it another way to go, then retry the task",
                    code="loop",
                )
            case Loop.BLOCK:
                raise Refused(
                    f"{name} was called like this many times with the same outcome; it is not called again",
                    hint="do something else, or finish; to wait for something, add an automation",
                )
            case _:
                pass

    def _note_origin(self, tool: Tool, params: Any, result: Json) -> None:
        """What was read counts from now on, also when a recorded result is read again."""
        if tool.origin is not None:
            read = tool.origin(params, result)
            if read is not None:
                self._context.add_origin(read)
        elif tool.reads_untrusted:
            read = of_strangers(_about(tool, params), result, asked=msgspec.to_builtins(params))
            if read is not None:
                self._context.add_origin(read)
        if tool.reads_private:
            self._context.add_origin(read_from(f"private data by {tool.name}", trust=OWNER, private=True))


def _about(tool: Tool, params: Any) -> str:
    targets = tool.operation(params).targets
    return f"{tool.name} {where(targets[0])}" if targets else tool.name


def _checked(tool: Tool, arguments: Arguments, *, edited: bool = False) -> Any:
    try:
        return msgspec.convert(arguments, tool.params)
    except msgspec.ValidationError as error:
        lead = "the edited arguments of" if edited else "the arguments of"
        raise InvalidInput(
            f"{lead} {tool.name} do not fit: {error}", hint="correct them and call again"
        ) from error


async def _never() -> Json:
    raise AssertionError("a recorded step does not run again")
