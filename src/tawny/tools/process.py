"""The tool `process`: looks after commands that went on in the background."""

import asyncio
from typing import Annotated, Literal

import msgspec

from tawny.domain import shell
from tawny.domain.commands import Mode, bare_name_means_nothing
from tawny.domain.keys import UnknownKey, keystrokes
from tawny.domain.tasks import Effect, Json
from tawny.errors import InvalidInput, Refused
from tawny.sandbox.processes import Process, Processes, described, status_of
from tawny.tools.exec import AllowList, ending, network_facts, origin_of
from tawny.tools.registry import CHANGE, READ, SENSITIVE, Operation, Tool, ToolContext

_SHOWN = 30_000
_LINES = 200
_KEPT = 8 * 1024 * 1024

Action = Literal["list", "poll", "log", "write", "send-keys", "submit", "paste", "kill", "clear", "remove"]


class ProcessParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Commands in the background: list, poll (what is new), log (all that is kept), type into them, end them."""

    action: Annotated[Action, msgspec.Meta(description="what to do")]
    sessionId: Annotated[str, msgspec.Meta(description="which; all but list need it")] = ""  # noqa: N815 - on the wire
    data: Annotated[str, msgspec.Meta(description="write, submit, paste: the text")] = ""
    eof: Annotated[bool, msgspec.Meta(description="write: close the input after it")] = False
    keys: Annotated[
        list[str], msgspec.Meta(description="send-keys: such as C-c, Enter, Up, Escape, or a text")
    ] = []
    offset: Annotated[
        int, msgspec.Meta(description="log: the first line, from 0; negative from the end")
    ] = -_LINES
    limit: Annotated[int, msgspec.Meta(ge=1, le=2000, description="log: how many lines")] = _LINES
    waitMs: Annotated[  # noqa: N815 - on the wire
        int, msgspec.Meta(ge=0, le=60_000, description="poll: how long to wait for its end")
    ] = 0


_NAMES = {
    "list": ("process.read", READ, "read"),
    "poll": ("process.read", READ, "read"),
    "log": ("process.read", READ, "read"),
    "kill": ("process.end", CHANGE, "update"),
    "clear": ("process.end", CHANGE, "update"),
    "remove": ("process.end", CHANGE, "update"),
}


_ENDING = frozenset({"C-c", "C-d", "C-\\"})
"""Keys that stop a program or close its input, and say nothing to it."""


def process_tool(processes: Processes, allowed: AllowList) -> Tool:
    """The tool, over the same processes as `exec`, and by the same `[exec]`."""

    def operation(params: ProcessParams) -> Operation:
        if params.action in _NAMES:
            name, level, verb = _NAMES[params.action]
            return Operation(name=name, operation=verb, level=level)
        typed = _typed(params)
        if not typed:
            return Operation(name="process.end", operation="update", level=CHANGE)
        process = processes.any(params.sessionId)
        line = process.note.line
        if allowed.mode is Mode.FULL or _only_reads(line):
            return Operation(name="process.write", operation="execute", level=CHANGE, text=(typed,))
        # A shell, an interpreter, an installer does what it is told: what is typed is a command of its own, and the
        # yes to start the program was none to whatever it would be told later.
        if allowed.mode is not Mode.ASK:
            raise Refused(
                f"process: what is typed into {line[:200]!r} may run anything, and the mode asks nobody",
                hint="see [exec] in config.toml; give the program its input when it is started",
            )
        return Operation(
            name="process.run",
            operation="execute",
            level=SENSITIVE,
            text=(typed,),
            bound=(f"{line} {process.id}",),
        )

    async def run(call: ToolContext, params: ProcessParams) -> Json:
        conversation = call.session or call.run.task.task_id
        processes.sweep()
        if params.action == "list":
            return {"processes": [dict(described(process)) for process in processes.of(conversation)]}
        process = processes.find(conversation, params.sessionId)
        if params.action in ("poll", "log"):
            return await _read(process, params, call=f"{call.run.task.task_id}:{call.call_id}")
        if params.action in ("write", "send-keys", "submit", "paste"):
            return await _type(process, params)
        if params.action == "kill":
            process.mark("told")
            outcome = await process.command.kill()
            tail = process.command.tail(limit=_SHOWN)
            process.advance(tail.end)
            return ending(process, outcome, tail.data, cut=tail.start > 0)
        await processes.remove(process, running=params.action == "remove")
        return {"sessionId": process.id, "status": "removed"}

    return Tool(
        name="process",
        description="Look after commands that exec left running: list, poll, log, type into them, end them.",
        params=ProcessParams,
        rows=("process.read", "process.write", "process.run", "process.end"),
        operation=operation,
        run=run,
        effect=_effect,
        origin=origin_of,
    )


def _typed(params: ProcessParams) -> str:
    """What is said to the program; nothing where it is only stopped, or its input closed."""
    if params.action == "send-keys":
        return "" if _ENDING.issuperset(params.keys) else " ".join(params.keys)
    return params.data if params.data or params.action == "write" else "\n"


def _only_reads(line: str) -> bool:
    """Whether the command is one plain program that nothing said to it can make do something."""
    words = shell.parse(line).words
    return words is not None and bare_name_means_nothing(words[0]) is None


def _effect(params: ProcessParams) -> Effect:
    if params.action in ("list", "poll", "log"):
        return Effect.PURE
    return Effect.IDEMPOTENT if params.action in ("kill", "clear", "remove") else Effect.AT_MOST_ONCE


async def _read(process: Process, params: ProcessParams, *, call: str) -> Json:
    command = process.command
    if params.action == "poll":
        if params.waitMs:
            try:
                async with asyncio.timeout(params.waitMs / 1000):
                    await command.wait()
            except TimeoutError:
                pass  # it runs on, and what there is so far is the answer
        outcome = command.outcome()
        chunk = process.poll(limit=_SHOWN, call=call)
        if outcome is not None and chunk.end >= command.size():
            process.mark("told")
            document = ending(process, outcome, chunk.data, cut=False)
        else:
            document = {
                "status": "running",
                "output": chunk.data.decode(errors="replace"),
                "sessionId": process.id,
            }
            document |= network_facts(process)
            if outcome is not None:
                document |= {"status": status_of(outcome), "exitCode": outcome.exit_code, "more": True}
        if chunk.dropped:
            document["dropped"] = f"{chunk.dropped} bytes before this are no longer kept"
        return document
    kept = command.read("output", 0, limit=_KEPT).data.decode(errors="replace").splitlines()
    first = max(0, len(kept) + params.offset) if params.offset < 0 else params.offset
    document = {
        "status": status_of(command.outcome()),
        "lines": len(kept),
        "offset": first,
        "output": "\n".join(kept[first : first + params.limit]),
        "sessionId": process.id,
    }
    return document | network_facts(process)


async def _type(process: Process, params: ProcessParams) -> Json:
    command, pty = process.command, process.note.pty
    enter = "\r" if pty else "\n"
    if params.action == "write":
        data = params.data.encode()
    elif params.action == "submit":
        data = (params.data + enter).encode()
    elif params.action == "paste":
        data = (f"\x1b[200~{params.data}\x1b[201~" if pty else params.data).encode()
    else:
        try:
            data = keystrokes(params.keys)
        except UnknownKey as error:
            raise InvalidInput(f"keys: {error}", hint="such as C-c, Enter, Tab, Up, F1, M-x") from error
    await asyncio.to_thread(command.write, data, eof=params.action == "write" and params.eof)
    return {"sessionId": process.id, "status": "running", "written": len(data)}
