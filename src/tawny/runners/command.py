"""The kind `command`: one program in the sandbox, under a supervisor that outlives us.

Starting is a step of its own; the end is another. After a crash the command is found again by its id and its result
taken; only where nobody knows how it ended does a person decide, unless the task says that running it again is fine.
"""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, cast

import msgspec

from tawny.clock import SECOND
from tawny.domain import environment
from tawny.domain.network import parse_rules
from tawny.domain.tasks import Effect, Json, Task, Usage
from tawny.engine.kinds import Context, Kind, Result
from tawny.engine.parts import file_of, part_of
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
        refuse=_refuse,
    )


def _refuse(params: Mapping[str, Json]) -> None:
    env = params.get("env")
    if isinstance(env, Mapping):
        given = cast("Mapping[str, Json]", env)
        environment.check({name: str(value) for name, value in given.items()})


async def _run(ctx: Context, params: Params, commands: Commands, place: Workplace, limits: Limits) -> Result:
    seconds = (ctx.task.timeout or TIMEOUT) / SECOND + _GRACE
    order = _order(params, place, ctx.task, msgspec.structs.replace(limits, seconds=seconds))
    return await _Errand(ctx, params, commands, order).run()


class _Errand:
    """One task's command: started once, found again by its id in every attempt."""

    def __init__(self, ctx: Context, params: Params, commands: Commands, order: Order) -> None:
        task = ctx.task
        self._ctx = ctx
        self._params = params
        self._commands = commands
        self._order = order
        self._again = task.effect in (Effect.IDEMPOTENT, Effect.PURE)
        # A person's own retry is a new task; what this task's attempts share is this id.
        self._id = "-".join(filter(None, ("cmd", task.task_id, part_of(ctx))))
        self._mark = commands.folder / f"{self._id}.doubt"

    async def run(self) -> Result:
        """Start it, or find it started, and wait for its end."""
        try:
            document = await self._through()
        except asyncio.CancelledError:
            # Wherever the end of the task met it, also between its start and the wait for it.
            begun = self._found()
            if begun is not None and self._ctx.stop_reason in ("cancel", "timeout"):
                # Only when nothing of it is left may the task be called cancelled.
                await asyncio.shield(begun.kill())
            raise
        found = self._found()
        if found is not None and not found.is_alive:
            await asyncio.to_thread(found.remove)
        self._mark.unlink(missing_ok=True)
        return _result(self._params, document)

    async def _through(self) -> Json:
        given = {"argv": list(self._params.argv), "cwd": self._order.cwd}
        name = f"start {self._params.argv[0]}"
        effect = Effect.IDEMPOTENT if self._again else Effect.AT_MOST_ONCE
        nth = 1
        while True:
            begun = await self._ctx.step(
                _key("start", nth), self._start, input=given, effect=effect, name=name
            )
            if begun is None or begun["command"] == self._id:
                break
            # Another task's, taken over in a person's retry: with the end that it had, if any, it led to nothing.
            self._ctx.is_recorded(_key("end", nth))
            nth += 1

        async def end() -> Json:
            return await self._end(said_done=begun is None)

        return await self._ctx.step(_key("end", nth), end, effect=Effect.PURE, name="wait for its end")

    async def _start(self) -> Json:
        found = self._found()
        if found is not None and _is_unknown(found):
            # Only reached when it may run again: by its class, or because a person said so.
            found.remove()
        await self._commands.start(self._id, self._order)
        return {"command": self._id}

    async def _end(self, *, said_done: bool) -> Json:
        """Wait for its end; `said_done` where a person has answered for its start."""
        found = self._found()
        if found is None and said_done:
            return None
        if found is None or _is_unknown(found):
            # A person who was asked and said "redo" brings us here with the mark and without a crash in between.
            if not self._again and not (self._mark.exists() and self._ctx.task.crashes == 0):
                raise self._doubt()
            if found is not None:
                found.remove()
            found = await self._commands.start(self._id, self._order)
            self._mark.unlink(missing_ok=True)
        outcome = await found.wait()
        if outcome.state == "unknown":
            if self._again:
                raise TemporaryError(f"the supervisor of {self._params.argv[0]} died; it is run again")
            raise self._doubt()
        return await _document(self._ctx, found, outcome)

    def _found(self) -> Command | None:
        try:
            return self._commands.find(self._id)
        except NotFound:
            return None

    def _doubt(self) -> Uncertain:
        self._mark.parent.mkdir(parents=True, exist_ok=True)
        self._mark.touch()
        return Uncertain(f"the supervisor of {self._params.argv[0]} died")


def _key(step: str, nth: int) -> str:
    """A step's key, with a number from the second time on that a person has it run."""
    return step if nth == 1 else f"{step} {nth}"


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
        narrow = parse_rules(allow, private).narrowed(params.allow)
        allow, private = params.allow, tuple(entry.text for entry in narrow.allow_private)
    folder = place.task_folder(task.task_id)
    lent = place.writable()
    writable = dict.fromkeys((*lent, str(folder), str(cwd)))
    return Order(
        argv=(find_program(params.argv[0], cwd), *params.argv[1:]),
        cwd=str(cwd),
        env={**params.env},
        input=(params.input or "").encode(),
        split=True,
        writable=tuple(
            path
            for path in writable
            if path in lent or path != str(cwd) or not _is_inside(cwd, place.workspace)
        ),
        protected=place.protected(),
        allow=allow,
        allow_private=private,
        limits=limits,
    )


def _is_inside(path: Path, folder: Path) -> bool:
    root = folder.resolve()
    return path != root and path.is_relative_to(root)


def _is_unknown(command: Command) -> bool:
    outcome = command.outcome()
    return outcome is not None and outcome.state == "unknown"


async def _document(ctx: Context, command: Command, outcome: Outcome) -> Json:
    """What the end step records: the outcome and the newest output; longer output is kept as artifacts."""
    streams: dict[str, str] = {}
    for name in ("stdout", "stderr"):
        size = command.size(name)
        if size > _SHOWN:
            whole = command.read(name, 0, limit=size)
            await ctx.artifact(file_of(ctx, f"{name}.txt"), whole.data, media_type="text/plain")
        streams[name] = command.tail(name, limit=_SHOWN).data.decode(errors="replace")
    ctx.spend(Usage(cpu_seconds=outcome.cpu_seconds))
    refused = command.refusals()
    for reason in refused:
        ctx.log(f"network: {reason}", level="warning")
    return {
        "state": outcome.state,
        "exit_code": outcome.exit_code,
        "message": outcome.message,
        "reached": command.reached(),
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
    for name in ("reached", "network_refused"):
        if told := document.get(name):
            result[name] = told
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
