"""What a tool is. Every call of one goes through `call.py`, whoever asks."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import msgspec

from tawny.domain.permissions import CHANGE, REACH_OUT, READ, SENSITIVE
from tawny.domain.tasks import Effect, Json, Origin
from tawny.engine.kinds import Context

__all__ = ["CHANGE", "REACH_OUT", "READ", "SENSITIVE", "Operation", "Tool", "ToolContext", "Tools", "tool"]


class ToolContext(Protocol):
    """What one call of a tool may use."""

    run: Context
    """The execution the call belongs to: its journal, its clock, its task."""
    call_id: str
    session: str | None
    origin: Origin


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """What one call would do, in the words rules are written in; a data table, see docs/reference/permissions.md.

    `name` is such as `mail.send` or `file.delete`; `operation` the verb rules compare (`read create update send
    pay delete authorise execute`); `targets` are the addresses, URLs or paths it touches, `recipients` the people.
    `text` is what goes out in words (addresses in it count as targets), `subjects` the titles of what is made.
    `level` may only raise what the table in `domain/permissions.py` says. `bound` is what a yes to the call holds for
    beside its arguments: the programs and files it would run, with their hashes.
    """

    name: str
    operation: str
    level: int
    targets: tuple[str, ...] = ()
    amount: float | None = None
    currency: str | None = None
    recipients: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    channel: str | None = None
    bound: tuple[str, ...] = ()


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """Something the model may call. `operation` tells, from checked parameters, what the call would do.

    `reads_untrusted` marks tools whose results come from outside (web, mail, documents): the run's origin then
    counts as untrusted. `origin` tells it of one result instead (mail from a known contact, say). `reads_private`
    marks identity papers, account data and the like. `rows` are the operations its calls may come to, of the table in
    `domain/permissions.py`: they give its level in docs/reference/tools.md.
    """

    name: str
    description: str
    params: type[msgspec.Struct]
    operation: Callable[[Any], Operation]
    run: Callable[[ToolContext, Any], Awaitable[Json]]
    rows: tuple[str, ...] = ()
    effect: Effect | Callable[[Any], Effect] = Effect.PURE
    reads_untrusted: bool = False
    reads_private: bool = False
    origin: Callable[[Any, Json], Origin | None] | None = None


Tools = Mapping[str, Tool]


def tool(
    name: str,
    params: type[msgspec.Struct],
    *,
    operation: Callable[[Any], Operation] | None = None,
    description: str = "",
    effect: Effect | Callable[[Any], Effect] = Effect.PURE,
    reads_untrusted: bool = False,
) -> Callable[[Callable[[ToolContext, Any], Awaitable[Json]]], Tool]:
    """Make a tool of a coroutine function that takes the call's context and checked parameters.

    Without `operation` it is taken for a sensitive one (level 4) and asks every time.
    """

    def unknown(_: Any) -> Operation:
        return Operation(name=name, operation="execute", level=SENSITIVE)

    def make(run: Callable[[ToolContext, Any], Awaitable[Json]]) -> Tool:
        return Tool(
            name=name,
            description=description or (run.__doc__ or "").strip().split("\n")[0],
            params=params,
            operation=operation or unknown,
            run=run,
            effect=effect,
            reads_untrusted=reads_untrusted,
        )

    return make
