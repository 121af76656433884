"""One exchange with a model: ask, make the calls it wants, ask again, until it has answered in words."""

import asyncio
import difflib
from collections.abc import Coroutine
from itertools import groupby
from typing import Any

from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelRequestPart,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)

from tawny.agent.run import Run
from tawny.agent.toolbox import Toolset
from tawny.models.failures import failure

_EMPTY_ANSWERS = 2
_SENSELESS_ROUNDS = 3
_SAY_SOMETHING = "(Your answer was empty. Answer in words, or call a tool.)"
_CUT_OFF = {
    "length": "\n\n(The answer stops here: it has reached the length this model's answers may have.)",
    "content_filter": "\n\n(The answer stops here: the provider's content filter cut it off.)",
}
"""For the person: half an answer must not look like a whole one."""


async def converse(
    run: Run, toolset: Toolset, *, text: str, instructions: str, history: list[ModelMessage]
) -> tuple[str, list[ModelMessage]]:
    """The answer, and the messages the exchange added (the person's included).

    Raises:
        ModelFailure, ModelsUnavailable: the model could not be had, or made no sense.
        Ended: a guard ended the run.
    """
    messages: list[ModelMessage] = [*history, _request([UserPromptPart(text)], instructions)]
    nudge: list[ModelMessage] = []
    empty = senseless = 0
    while True:
        answer = await run.model_call([*messages, *nudge], toolset.parameters)
        calls = [part for part in answer.parts if isinstance(part, ToolCallPart)]
        if calls:
            messages.append(answer)
            parts, is_senseless = await _make(run, toolset, calls)
            messages.append(_request(parts, instructions))
            nudge = []
            senseless = senseless + 1 if is_senseless else 0
            if senseless > _SENSELESS_ROUNDS:
                raise failure("format", run.router.current.label, detail="it calls tools there are not")
            continue
        said = _text(answer)
        if said.strip():
            messages.append(answer)
            return said + _CUT_OFF.get(answer.finish_reason or "", ""), messages[len(history) :]
        if answer.finish_reason == "content_filter":
            words = str((answer.provider_details or {}).get("refusal") or "")
            raise failure(
                "rejected",
                run.router.current.label,
                detail=words or "its content filter kept the answer back",
            )
        empty += 1
        if empty > _EMPTY_ANSWERS:
            raise failure("format", run.router.current.label, detail="its answers are empty")
        # Neither the empty answer nor the reminder gets into the transcript: they are nobody's words.
        nudge = [ModelRequest(parts=[UserPromptPart(_SAY_SOMETHING)])]


def _request(parts: list[ModelRequestPart], instructions: str) -> ModelRequest:
    return ModelRequest(parts=parts, instructions=instructions)


def _text(answer: ModelResponse) -> str:
    return "".join(part.content for part in answer.parts if isinstance(part, TextPart))


async def _make(run: Run, toolset: Toolset, calls: list[ToolCallPart]) -> tuple[list[ModelRequestPart], bool]:
    """Make the calls of one answer; the parts that answer them, in order, and whether there was no sense in any."""
    run.announce(len(calls))
    results: dict[int, ToolReturnPart] = {}
    said: list[str] = []
    sound: list[tuple[int, ToolCallPart]] = []
    for position, call in enumerate(calls):
        if wrong := _fault(toolset, call):
            results[position] = ToolReturnPart(
                call.tool_name, wrong, tool_call_id=call.tool_call_id, outcome="failed"
            )
        else:
            sound.append((position, call))

    async def make(position: int, call: ToolCallPart) -> None:
        text, meanwhile = await run.tool_call(call.tool_name, call.args_as_dict(), call_id=call.tool_call_id)
        results[position] = ToolReturnPart(call.tool_name, text, tool_call_id=call.tool_call_id)
        said.extend(meanwhile)

    for beside, group in groupby(sound, key=lambda one: toolset.overlaps(one[1].tool_name)):
        if beside:
            await _together([make(position, call) for position, call in group])
        else:
            for position, call in group:
                await make(position, call)
    parts: list[ModelRequestPart] = [results[position] for position in range(len(calls))]
    parts.extend(UserPromptPart(words) for words in said)
    return parts, not sound


async def _together(work: list[Coroutine[Any, Any, None]]) -> None:
    """Run beside each other; the first that fails ends all, and its error is the one that counts."""
    if len(work) == 1:
        await work[0]
        return
    try:
        async with asyncio.TaskGroup() as group:
            for one in work:
                group.create_task(one)
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None


def _fault(toolset: Toolset, call: ToolCallPart) -> str:
    """What keeps a call from being made at all; empty where nothing does."""
    if call.tool_name not in toolset.names:
        close = difflib.get_close_matches(call.tool_name, toolset.names, n=1)
        known = f"did you mean {close[0]}?" if close else f"there are {', '.join(toolset.names)}"
        return f"There is no tool {call.tool_name!r}; {known}"
    try:
        call.args_as_dict(raise_if_invalid=True)
    except (ValueError, AssertionError):
        return f"The arguments of {call.tool_name} are no JSON object. Send them again, whole."
    return ""
