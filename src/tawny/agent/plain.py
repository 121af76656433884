"""A model's plain answer, without tools or history: for kinds of task that let it rank, write or read."""

import zlib

from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    SystemPromptPart,
    TextPart,
    UserPromptPart,
)
from pydantic_ai.models import ModelRequestParameters

from tawny.agent.budgets import BudgetGate
from tawny.agent.run import spent
from tawny.engine.kinds import Context
from tawny.errors import TemporaryError
from tawny.models.failures import ModelFailure, ModelsUnavailable
from tawny.models.router import Router
from tawny.models.speech import sound

_BYTES_A_TOKEN = 4


async def ask(
    ctx: Context, router: Router, *, system: str, prompt: str, gate: BudgetGate | None = None
) -> str:
    """The model's text; what it used is spent on the run, and counts at the gate.

    Raises:
        TemporaryError: no account answered, or the model could not.
        Refused: the gate let nothing pass.
    """
    number = zlib.crc32(prompt.encode())
    if gate is not None:
        await gate.claim(number, len((system + prompt).encode()) // _BYTES_A_TOKEN, router.specs)
    messages: list[ModelMessage] = [ModelRequest(parts=[SystemPromptPart(system), UserPromptPart(prompt)])]

    async def call() -> ModelResponse:
        async with router.stream(messages, ModelRequestParameters()) as stream:
            async for _ in stream:
                pass
            return sound(stream.get())

    try:
        answer, spec = await router.attempt(call, retrying=lambda: None)
    except BaseException as error:
        if gate is not None:
            gate.failed(number)
        if isinstance(error, ModelFailure | ModelsUnavailable):
            raise TemporaryError(f"the model did not answer: {error}") from error
        raise
    usage = spent(answer, spec)
    ctx.spend(usage)
    if gate is not None:
        gate.after(number, usage)
    return "".join(part.content for part in answer.parts if isinstance(part, TextPart))
