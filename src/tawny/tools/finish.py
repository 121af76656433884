"""The tool `finish`: the run has nothing (more) to say."""

import msgspec

from tawny.domain.tasks import Json
from tawny.tools.registry import READ, Operation, Tool, ToolContext


class Finish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`notify` false: tell nobody, there is nothing to tell."""

    notify: bool = True


async def _run(scope: ToolContext, params: Finish) -> Json:
    del scope
    return {
        "text": "Noted: say nothing more than needed." if params.notify else "Noted: nobody will be told."
    }


finish = Tool(
    name="finish",
    description="End a run that nobody asked for; notify=false when there is nothing to tell.",
    params=Finish,
    rows=("turn.finish",),
    operation=lambda _params: Operation(name="turn.finish", operation="read", level=READ),
    run=_run,
)
