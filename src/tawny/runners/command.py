"""The kind `command`: one program in the sandbox, under a supervisor that outlives us.

Starting is a step of its own; the end is another. After a crash the command is found again by its id and its result
taken; only where nobody knows how it ended does a person decide, unless the task says that running it again is fine.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import msgspec

from tawny.clock import SECOND
from tawny.domain import environment
from tawny.domain.network import parse_rules
from tawny.domain.tasks import Effect, Json, Task, Usage
from tawny.engine.kinds import Context, Kind, Result
from tawny.errors import InvalidInput, NotFound, PermanentError, Refused, TemporaryError, Uncertain
from tawny.sandbox.commands import Command, Commands, Outcome
from tawny.sandbox.order import Limits, Order
from tawny.sandbox.place import Workplace, find_program

TIMEOUT = 30 * 60 * SECOND
_SHOWN = 256 * 1024
"""Bytes of each stream that a result keeps; the whole is an artifact where it is longer."""
_GRACE = 60.0
_TAIL = 400


class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`argv` is run without a shell. `allow` narrows the network list for this task.

    `cwd` lies in the workspace; the owner's own hand may also name a folder elsewhere, which is then writable.
    """

    argv: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=4096)]
    cwd: str | None = None
    env: dict[str, str] = {}
    input: str | None = None
    allow: tuple[str, ...] | None = None


def command(commands: Callable[[], Commands], place: Workplace, *, limits: Limits | None = None) -> Kind:
    """The kind, with its sandbox and the folders it may use."""

    async def run(ctx: Context, params: Params) -> Result:
        return await _run(ctx, params, commands(), place, limits or Limits())

    return Kind(
        name="command",
        params=Params,
        run=run,
        description="Runs a program in the sandbox: no shell, no home, no network but the list.",
        title=lambda params: "Command: " + " ".join(params.argv)[:80],
        effect=Effect.AT_MOST_ONCE,
        timeout=TIMEOUT,
    )


async def _run(ctx: Context, params: Params, commands: Commands, place: Workplace, limits: Limits) -> Result:
    task = ctx.task
    effect = Effect.IDEMPOTENT if task.effect in (Effect.IDEMPOTENT, Effect.PURE) else Effect.AT_MOST_ONCE
    again = effect is Effect.IDEMPOTENT
    # A person's own retry is a new task; what this task's attempts share is this id.
    command_id = f"cmd-{task.task_id}"
    seconds = (task.timeout or TIMEOUT) / SECOND + _GRACE
    order = _order(params, place, task, msgspec.structs.replace(limits, seconds=seconds))

    async def start() -> Json:
        found = _existing(commands, command_id)
        if found is not None and _is_unknown(found):
            # Only reached when it may run again: by its class, or because a person said so.
            found.remove()
        await commands.start(command_id, order)
        return {"command": command_id}

    doubt = commands.folder / f"{command_id}.doubt"

    async def end() -> Json:
        found = _existing(commands, command_id)
        if found is None or _is_unknown(found):
            # A person who was asked and said "redo" brings us here with the mark and without a crash in between.
            if not again and not (doubt.exists() and task.crashes == 0):
                raise _doubt(params, doubt)
            if found is not None:
                found.remove()
            found = await commands.start(command_id, order)
            doubt.unlink(missing_ok=True)
        outcome = await found.wait()
        if outcome.state == "unknown":
            if again:
                raise TemporaryError(f"the supervisor of {params.argv[0]} died; it is run again")
            raise _doubt(params, doubt)
        return await _document(ctx, found, outcome)

    given = {"argv": list(params.argv), "cwd": order.cwd}
    try:
        await ctx.step("start", start, input=given, effect=effect, name=f"start {params.argv[0]}")
        document = await ctx.step("end", end, effect=Effect.PURE, name="wait for its end")
    except asyncio.CancelledError:
        # Wherever the end of the task met it, also between its start and the wait for it.
        begun = _existing(commands, command_id)
        if begun is not None and ctx.stop_reason in ("cancel", "timeout"):
            # Only when nothing of it is left may the task be called cancelled.
            await asyncio.shield(begun.kill())
        raise
    found = _existing(commands, command_id)
    if found is not None and not found.is_alive:
        await asyncio.to_thread(found.remove)
    doubt.unlink(missing_ok=True)
    return _result(params, document)


def _order(params: Params, place: Workplace, task: Task, limits: Limits) -> Order:
    # What the owner's own hand has named he has said yes to; nobody else's word reaches out of the workspace.
    by_owner = task.origin.by == "owner" and task.origin.trusted
    environment.check(params.env)
    if any("\0" in part for part in params.argv):
        raise InvalidInput("argv: an argument has a NUL in it")
    cwd = place.named(params.cwd) if by_owner else place.folder(params.cwd)
    rules = place.network
    allow, private = rules.allow, rules.allow_private
    if params.allow is not None:
        parse_rules(allow, private).narrowed(params.allow)
        allow = params.allow
    folder = place.task_folder(task.task_id)
    writable = dict.fromkeys((str(place.workspace.resolve()), str(folder), str(cwd)))
    return Order(
        argv=(find_program(params.argv[0], cwd), *params.argv[1:]),
        cwd=str(cwd),
        env={**params.env},
        input=(params.input or "").encode(),
        split=True,
        writable=tuple(path for path in writable if path != str(cwd) or not _is_inside(cwd, place.workspace)),
        protected=place.protected(),
        allow=allow,
        allow_private=private,
        limits=limits,
    )


def _is_inside(path: Path, folder: Path) -> bool:
    root = folder.resolve()
    return path != root and path.is_relative_to(root)


def _existing(commands: Commands, command_id: str) -> Command | None:
    try:
        return commands.find(command_id)
    except NotFound:
        return None


def _is_unknown(command: Command) -> bool:
    outcome = command.outcome()
    return outcome is not None and outcome.state == "unknown"


def _doubt(params: Params, mark: Path) -> Uncertain:
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()
    return Uncertain(f"the supervisor of {params.argv[0]} died")


async def _document(ctx: Context, command: Command, outcome: Outcome) -> Json:
    """What the end step records: the outcome and the newest output; longer output is kept as artifacts."""
    streams: dict[str, str] = {}
    for name in ("stdout", "stderr"):
        size = command.size(name)
        if size > _SHOWN:
            whole = command.read(name, 0, limit=size)
            await ctx.artifact(f"{name}.txt", whole.data, media_type="text/plain")
        streams[name] = command.tail(name, limit=_SHOWN).data.decode(errors="replace")
    ctx.spend(Usage(cpu_seconds=outcome.cpu_seconds))
    refused = command.refusals()
    for reason in refused:
        ctx.log(f"network: {reason}", level="warning")
    return {
        "state": outcome.state,
        "exit_code": outcome.exit_code,
        "message": outcome.message,
        "network_refused": refused,
        **streams,
    }


def _result(params: Params, document: Json) -> Result:
    if document is None:
        return {"text": "A person said that it was done.", "exit_code": None, "stdout": "", "stderr": ""}
    state, code = document["state"], document["exit_code"]
    result: dict[str, Json] = {
        "text": document["stdout"] or document["stderr"],
        "exit_code": code,
        "stdout": document["stdout"],
        "stderr": document["stderr"],
    }
    if document["network_refused"]:
        result["network_refused"] = document["network_refused"]
    if state == "exited" and code == 0:
        return result
    name = params.argv[0]
    tail = (document["stderr"] or document["stdout"]).strip()[-_TAIL:]
    problem: PermanentError
    if state == "refused":
        problem = Refused(f"{name} was not started: {document['message']}", hint="tawny doctor")
    elif state == "exited":
        problem = PermanentError(f"{name} ended with exit code {code}" + (f": {tail}" if tail else ""))
    elif state == "out_of_memory":
        problem = PermanentError(f"{name} used more memory than it may")
    elif state == "timed_out":
        problem = PermanentError(f"{name} ran longer than it may")
    else:
        problem = PermanentError(f"{name} was ended from outside ({state})")
    problem.result = result
    raise problem
