"""A model's plain answer, without tools or history: for kinds of task that let it rank, write or read."""

from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    SystemPromptPart,
    TextPart,
    UserPromptPart,
)
from pydantic_ai.models import ModelRequestParameters

from tawny.agent.run import spent
from tawny.engine.kinds import Context
from tawny.errors import TemporaryError
from tawny.models.failures import ModelFailure, ModelsUnavailable
from tawny.models.router import Router


async def ask(ctx: Context, router: Router, *, system: str, prompt: str) -> str:
    """The model's text; what it used is spent on the run.

    Raises:
        TemporaryError: no account answered, or the model could not.
    """
    messages: list[ModelMessage] = [ModelRequest(parts=[SystemPromptPart(system), UserPromptPart(prompt)])]

    async def call() -> ModelResponse:
        async with router.stream(messages, ModelRequestParameters()) as stream:
            async for _ in stream:
                pass
            return stream.get()

    try:
        answer, spec = await router.attempt(call, retrying=lambda: None)
    except (ModelFailure, ModelsUnavailable) as error:
        raise TemporaryError(f"the model did not answer: {error}") from error
    ctx.spend(spent(answer, spec))
    return "".join(part.content for part in answer.parts if isinstance(part, TextPart))
