"""How a turn reaches tools: through one door that checks, asks, journals and runs."""

from dataclasses import dataclass
from typing import Protocol

import msgspec

from tawny.domain.tasks import Effect, Json, Origin
from tawny.engine.kinds import Context
from tawny.errors import InvalidInput, NotFound
from tawny.tools.registry import Tools


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """What a model asks for. `call_id` is unique within the task; it keys the journal."""

    tool: str
    arguments: dict[str, Json]
    call_id: str
    session: str | None = None
    origin: Origin = Origin()


class Door(Protocol):
    """The one way to a tool."""

    async def call(self, ctx: Context, call: ToolCall) -> Json:
        """The tool's result, or `{"refused": reason}`.

        Raises:
            InvalidInput: the arguments are wrong; the model may correct them.
        """
        ...


@dataclass(kw_only=True)
class _Scope:
    """The tool's side of one call."""

    run: Context
    call_id: str
    session: str | None
    origin: Origin


class PlainDoor:
    """A door without a policy: checks arguments, journals by effect, runs. For tests of turns."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    async def call(self, ctx: Context, call: ToolCall) -> Json:
        tool = self._tools.get(call.tool)
        if tool is None:
            raise NotFound(f"there is no tool {call.tool!r}")
        try:
            params = msgspec.convert(call.arguments, tool.params)
        except msgspec.ValidationError as error:
            raise InvalidInput(f"{call.tool}: {error}") from error
        scope = _Scope(run=ctx, call_id=call.call_id, session=call.session, origin=call.origin)
        effect = tool.effect if isinstance(tool.effect, Effect) else tool.effect(params)

        async def run() -> Json:
            return await tool.run(scope, params)

        return await ctx.step(
            f"tool:{call.call_id}", run, input=call.arguments, effect=effect, name=f"tool {call.tool}"
        )
