"""The kind `agent_turn`: one turn of the agent, in a chat (a person waits for it) or by itself."""

from collections.abc import Awaitable, Callable

import msgspec

from tawny.engine.kinds import Context, Kind, Result

RunTurn = Callable[[Context, "AgentTurn"], Awaitable[Result]]


class AgentTurn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`message` is what the agent is asked. Without a `session` the task has one of its own.

    `tools` names the tools it may use (all unless told). `input` and `helper` are set by the house: the message it
    answers, and that it is a subagent.
    """

    message: str
    model: str = ""
    session: str = ""
    agent: str = ""
    tools: tuple[str, ...] | None = None
    input: str = ""
    helper: bool = False


def agent_turn(run: RunTurn) -> Kind:
    """The kind; `run` loads the agent when the first turn comes."""
    return Kind(
        name="agent_turn",
        params=AgentTurn,
        run=run,
        speaks=True,
        description="A turn of the agent: it reads the message, uses tools, and answers.",
        title=lambda params: " ".join(params.message.split())[:60],
    )
