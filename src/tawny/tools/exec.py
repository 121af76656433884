"""The tool `exec`: runs a command in the sandbox, waits a little, and lets what takes longer run on."""

import asyncio
import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, cast

import msgspec

from tawny.clock import SECOND, parse_duration
from tawny.domain import environment, shell
from tawny.domain.commands import (
    Binary,
    Entry,
    Mode,
    Request,
    Verdict,
    bound,
    decide,
    fake_reminder,
    fingerprint,
    parse_entry,
    quoted,
    runs_files,
)
from tawny.domain.origin import UNTRUSTED, read_from, trust_of
from tawny.domain.tasks import Effect, Json, Origin
from tawny.errors import InvalidInput, NotFound, Refused, TawnyError, Uncertain
from tawny.sandbox.commands import Outcome
from tawny.sandbox.held import HELD
from tawny.sandbox.identity import behind, files_among, find_binary
from tawny.sandbox.order import Limits, Order
from tawny.sandbox.place import Workplace, find_program
from tawny.sandbox.processes import Note, Process, Processes, status_of
from tawny.skills.grants import Grants, Leave
from tawny.tools.registry import CHANGE, SENSITIVE, Operation, Tool, ToolContext

_TIMEOUT = "30m"
_LONGEST = 24 * 3600.0
_SHOWN = 30_000
_TAIL = 2_000
_CUT = 'the beginning is left out; {"action": "log"} of process shows what is kept'
_SHELLS = (("/bin/bash", "--noprofile", "--norc", "-c"), ("/bin/sh", "-c"))


class Exec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Run a command in the workspace's sandbox. It may reach only what the owner's network list names."""

    command: Annotated[
        str, msgspec.Meta(description="the command line; one plain command is run without a shell")
    ] = ""
    argv: Annotated[list[str], msgspec.Meta(description="instead of command: the words themselves")] = []
    workdir: Annotated[str, msgspec.Meta(description="a folder in the workspace")] = ""
    env: Annotated[dict[str, str], msgspec.Meta(description="names added to the environment")] = {}
    yieldMs: Annotated[  # noqa: N815 - the name on the wire
        int,
        msgspec.Meta(ge=0, le=120_000, description="how long to wait before it goes on in the background"),
    ] = 10_000
    background: Annotated[bool, msgspec.Meta(description="do not wait at all; its end is told by itself")] = (
        False
    )
    timeout: Annotated[str | float, msgspec.Meta(description="how long it may run, e.g. 600 or 10m")] = (
        _TIMEOUT
    )
    pty: Annotated[bool, msgspec.Meta(description="give it a terminal")] = False


class AllowList:
    """`[exec]`, its entries bound to the programs they meant when first looked at."""

    def __init__(self, mode: Mode, allow: tuple[str, ...], workspace: Path) -> None:
        self.mode = mode
        self.workspace = workspace
        self._texts = allow
        self._entries: tuple[Entry, ...] | None = None

    @property
    def entries(self) -> tuple[Entry, ...]:
        if self._entries is None:
            words = [parse_entry(text) for text in self._texts]
            found = [(one, find_binary(one[0], self.workspace)) for one in words]
            self._entries = tuple(
                Entry(one, binary, _files(one, binary, self.workspace)) for one, binary in found
            )
        return self._entries

    def request(self, params: Exec, cwd: Path) -> Request:
        """What the call asks to run.

        Raises:
            InvalidInput: it names no command, or two.
        """
        if bool(params.command.strip()) == bool(params.argv):
            raise InvalidInput("exec: give either command or argv")
        if params.argv:
            words: tuple[str, ...] | None = tuple(params.argv)
            line, because, names = quoted(params.argv), "", ()
            if any("\0" in word for word in params.argv) or not params.argv[0]:
                raise InvalidInput("exec: argv has an empty program or a NUL in it")
        else:
            read = shell.parse(params.command)
            line, words, because, names = params.command, read.words, read.because, read.programs
        if words:
            binary = find_binary(words[0], cwd)
            return Request(
                line=line,
                words=words,
                because=because,
                binary=binary,
                files=_files(words, binary, cwd),
                env=params.env,
            )
        commands = shell.commands_in(line)
        found = (find_binary(name, cwd) for name in (_shell_words()[0], *names))
        others = tuple(binary for binary in found if binary is not None)
        files = {file for each in commands for file in files_among(map(_bare, each), cwd)}
        for path in [*(binary.path for binary in others), *(name for name, _ in files)]:
            files.update(behind(path, cwd))
        return Request(
            line=line,
            words=None,
            because=because,
            others=others,
            files=tuple(sorted(files)),
            env=params.env,
        )


def _files(words: Sequence[str], binary: Binary | None, cwd: Path) -> tuple[tuple[str, str], ...]:
    """What runs with a program: a script's interpreter, and what an interpreter is given to run.

    The file a plain program reads is its own matter.
    """
    if not runs_files(words):
        return ()
    files = dict(files_among(words[1:], cwd))
    for path in [*([binary.path] if binary else []), *files]:
        files.update(behind(path, cwd))
    return tuple(sorted(files.items()))


def _bare(word: str) -> str:
    return word.strip("'\"")


def _shell_words() -> tuple[str, ...]:
    return next(words for words in _SHELLS if os.path.exists(words[0]))


def exec_tool(
    processes: Processes,
    place: Callable[[], Workplace],
    allowed: AllowList,
    *,
    limits: Limits | None = None,
    grants: Grants | None = None,
) -> Tool:
    """The tool, with its sandbox, the owner's allow-list, and what was granted to skills."""

    def leave_of(request: Request, cwd: Path) -> Leave | None:
        return None if grants is None else grants.leave(request.words, request.line, cwd)

    def operation(params: Exec) -> Operation:
        environment.check(params.env)
        cwd = _folder(place(), params)
        request = allowed.request(params, cwd)
        hint = fake_reminder(request.line, background=params.background)
        if hint is not None:
            raise Refused(hint, code="use_automations")
        decision = decide(allowed.mode, allowed.entries, request)
        leave = leave_of(request, cwd)
        granted = leave is not None and leave.runs and not params.env and allowed.mode is not Mode.DENY
        if decision.verdict is Verdict.REFUSE and not granted:
            raise Refused(f"exec: {decision.reason}", hint="see [exec] in config.toml")
        runs = granted or decision.verdict is Verdict.RUN
        # Also what runs by itself may be asked for, by a rule or because of what was read: that yes is held as well.
        return Operation(
            name="exec.allowed" if runs else "exec.run",
            operation="execute",
            level=CHANGE if runs else SENSITIVE,
            text=(request.line,),
            bound=bound(request),
        )

    async def run(call: ToolContext, params: Exec) -> Json:
        where = place()
        cwd = _folder(where, params)
        request = allowed.request(params, cwd)
        order = _order(params, request, where, task_id=call.run.task.task_id, limits=limits or Limits())
        if (leave := leave_of(request, cwd)) is not None and not params.env:
            order = msgspec.structs.replace(order, allow=(*order.allow, *leave.network))
        if request.binary is not None and request.words is not None:
            named = f"{order.argv[0]} sha256:{request.binary.digest}"
            order = msgspec.structs.replace(order, held=(*HELD.get(), named))
        task = call.run.task
        note = Note(
            conversation=call.session or task.task_id,
            session=call.session,
            task_id=task.task_id,
            line=request.line,
            cwd=str(cwd),
            fingerprint=fingerprint(request, str(cwd)),
            started_at=call.run.clock.now(),
            pty=params.pty,
            origin=call.origin,
            params=task.params,
        )
        await _forget_doubted(processes, note.conversation, call)
        process, running = await processes.start(_process_id(call), order, note)
        outcome = await _patiently(process, 0 if params.background else params.yieldMs / 1000)
        if outcome is None:
            processes.push(process)
            return _running(process, already=running)
        return _finished(process, outcome)

    return Tool(
        name="exec",
        description=(
            "Run a command in the sandbox (workspace only, network by the owner's list). What takes longer than"
            " yieldMs goes on in the background: look after it with the tool process; its end is told by itself."
        ),
        params=Exec,
        rows=("exec.allowed", "exec.run"),
        operation=operation,
        run=run,
        # Keyed by task and call: after a crash the same call finds the command it has started, and where its outcome
        # is not to be known it raises Uncertain. It is never run twice.
        effect=Effect.IDEMPOTENT,
        origin=origin_of,
    )


def origin_of(_: object, result: Json) -> Origin | None:
    """Output of a command that has been outside, or that distrusted work has started, counts as read from there."""
    facts = cast(dict[str, Json], result) if isinstance(result, dict) else {}
    if reached := cast(list[str], facts.get("reached") or []):
        return read_from(f"a command that reached {', '.join(reached)}")
    return read_from("a command that untrusted content had a part in") if facts.get("untrusted") else None


def _folder(place: Workplace, params: Exec) -> Path:
    return place.folder(params.workdir or None)


def _process_id(call: ToolContext) -> str:
    name = hashlib.sha256(f"{call.run.task.task_id}:{call.call_id}".encode()).hexdigest()
    return f"proc_{name[:20]}"


async def _forget_doubted(processes: Processes, conversation: str, call: ToolContext) -> None:
    """Make room for a second run where a person was asked and said so: there is the mark, and no crash in between."""
    try:
        process = processes.find(conversation, _process_id(call))
    except NotFound:
        return
    outcome = process.command.outcome()
    if outcome is not None and process.is_marked("doubted") and call.run.task.crashes == 0:
        await processes.remove(process, running=False)


def _order(params: Exec, request: Request, place: Workplace, *, task_id: str, limits: Limits) -> Order:
    cwd = _folder(place, params)
    if request.words is not None:
        argv = (find_program(request.words[0], cwd), *request.words[1:])
    else:
        argv = (*_shell_words(), request.line)
    try:
        seconds = parse_duration(params.timeout) / SECOND
    except ValueError as error:
        raise InvalidInput(f"timeout: {error}") from error
    return Order(
        argv=argv,
        cwd=str(cwd),
        env=dict(params.env),
        pty=params.pty,
        keep_stdin=params.pty or params.background,
        writable=(*place.writable(), str(place.task_folder(task_id))),
        protected=place.protected(),
        allow=place.network.allow,
        allow_private=place.network.allow_private,
        limits=msgspec.structs.replace(limits, seconds=min(max(seconds, 1.0), _LONGEST)),
    )


async def _patiently(process: Process, seconds: float) -> Outcome | None:
    """The outcome, if it comes in time."""
    if seconds <= 0:
        return process.command.outcome()
    try:
        async with asyncio.timeout(seconds):
            return await process.command.wait()
    except TimeoutError:
        return process.command.outcome()


def _running(process: Process, *, already: bool) -> Json:
    tail = process.command.tail(limit=_TAIL)
    process.advance(tail.end)
    document: dict[str, Json] = {
        "status": "running",
        "sessionId": process.id,
        "tail": tail.data.decode(errors="replace"),
        "hint": 'it goes on in the background and its end is told by itself; {"action": "poll"} of process reads on',
    }
    if tail.start > 0:
        document["truncated"] = _CUT
    if already:
        document["hint"] = "this very command is running here already; " + str(document["hint"])
        document["alreadyRunning"] = True
    return document


def _finished(process: Process, outcome: Outcome) -> Json:
    process.mark("told")
    if outcome.state == "unknown":
        process.mark("doubted")
        raise Uncertain(f"the supervisor of {process.note.line[:80]!r} died")
    if outcome.state == "refused":
        raise Refused(f"exec: it was not started: {outcome.message}", hint="tawny doctor")
    end = process.command.size()
    chunk = process.command.tail(limit=_SHOWN)
    process.advance(end)
    return ending(process, outcome, chunk.data, cut=chunk.start > 0)


def ending(process: Process, outcome: Outcome, output: bytes, *, cut: bool) -> dict[str, Json]:
    """What the model reads of a process that has ended."""
    document: dict[str, Json] = {
        "status": status_of(outcome),
        "exitCode": outcome.exit_code,
        "output": output.decode(errors="replace"),
        "sessionId": process.id,
    }
    if cut:
        document["truncated"] = _CUT
    return document | network_facts(process)


def network_facts(process: Process) -> dict[str, Json]:
    """What the command reached and what it was refused."""
    facts: dict[str, Json] = {}
    if trust_of(process.note.origin) == UNTRUSTED:
        facts["untrusted"] = True
    try:
        if reached := process.command.reached():
            facts["reached"] = [*reached]
        if refused := process.command.refusals():
            facts["networkRefused"] = [*refused[:20]]
    except (TawnyError, msgspec.DecodeError):
        return facts
    return facts
